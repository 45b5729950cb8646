"""Ledger and proofs over HTTP: what is served verifies without us, and nothing else is served."""

import base64
from typing import LiteralString

import psycopg
import pytest
from structlog.testing import capture_logs

from schemas.canonical import ed25519
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_proofs import verify_consistency, verify_inclusion
from schemas.ledger.merkle_tree import EMPTY_ROOT, root_of
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from tests.integration.gateway.gateways import RunningGateway, code_of, run
from tests.integration.gateway.tables import (
    DEPLOYMENT,
    LEDGER_SEED,
    history_of,
    long_history,
    migrated,
    store,
)
from tests.support.databases import FreshDatabase
from tests.support.domain_world import evidenced, funded

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

LEDGER = "/harbor/ledger/v1"
PREFIXES = (LEDGER, "/v1/compliance/ledger")
SIZE = 600
CHECKPOINTS = (1, 3, 256, 257, 400, 590)
NEWEST = CHECKPOINTS[-1]
LONG = long_history(funded(), "acme", SIZE)
LEAVES = LONG.leaf_hashes


@pytest.fixture(scope="module")
def filled(module_postgres: FreshDatabase) -> FreshDatabase:
    """`acme` has 600 entries: two full tiles, a partial one, a tip ahead of the newest checkpoint."""
    database = migrated(module_postgres)
    store(database, LONG, checkpoints=CHECKPOINTS)
    store(database, history_of(evidenced(), "acme-corp"), checkpoints=[2])
    return database


def _opened(note: str, tenant_id: str = "acme") -> Checkpoint:
    key = verifier_key_of(
        deployment=DEPLOYMENT,
        tenant_id=tenant_id,  # type: ignore[arg-type]
        public_key=ed25519.public_key(LEDGER_SEED),
    )
    checkpoint = open_checkpoint(note, origin=key.name, trusted_keys=[key])
    assert isinstance(checkpoint, Checkpoint)
    return checkpoint


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_tip_is_the_newest_entry_and_the_root_over_all(
    filled: FreshDatabase, prefix: str
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{prefix}/tip", await gateway.bearer("acme"))

        assert answer.json() == {
            "tenant_id": "acme",
            "schema_version": 1,
            "seq": SIZE,
            "entry_hash_hex": LEAVES[-1].hex(),
            "root_hash_hex": root_of(LEAVES).hex(),
            "empty": False,
        }

    run(filled, scenario)


def test_a_tenant_without_entries_has_an_empty_ledger(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("newcomer")

        tip = await gateway.get(f"{LEDGER}/tip", headers)
        events = await gateway.get(f"{LEDGER}/events", headers)
        checkpoint = await gateway.get(f"{LEDGER}/merkle/latest", headers)
        proof = await gateway.get(f"{LEDGER}/proof/inclusion", headers, seq=1)
        verified = await gateway.get(f"{LEDGER}/verify", headers)

        assert (tip.json()["seq"], tip.json()["empty"]) == (0, True)
        assert tip.json()["root_hash_hex"] == EMPTY_ROOT.hex()
        assert events.json() == {"tenant_id": "newcomer", "entries": [], "next_after_seq": None}
        assert code_of(checkpoint) == (404, "checkpoint_not_found")
        assert code_of(proof) == (404, "checkpoint_not_found")
        assert (verified.json()["ok"], verified.json()["checked"]) == (True, 0)

    run(filled, scenario)


def test_entries_are_served_byte_for_byte_in_pages(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")
        values: list[bytes] = []
        after_seq: int | None = 0
        while after_seq is not None:
            answer = await gateway.get(f"{LEDGER}/events", headers, after_seq=after_seq, limit=256)
            assert answer.json()["tenant_id"] == "acme"
            for entry in answer.json()["entries"]:
                value = base64.b64decode(entry["value_b64"])
                assert entry["leaf_hash_hex"] == leaf_hash(value).hex()
                assert entry["seq"] == decode_as(LedgerEntry, value).seq
                values.append(value)
            after_seq = answer.json()["next_after_seq"]

        assert values == LONG.values

    run(filled, scenario)


def test_an_entry_is_decoded_beside_its_bytes(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        answer = await gateway.get(f"{LEDGER}/events", headers, after_seq=1, limit=1)

        [entry] = answer.json()["entries"]
        created = LONG.entries[1]
        assert entry["event_type"] == "intent_created"
        assert entry["event"]["amount_minor"] == 20_000
        assert entry["intent_id"] == created.intent_id
        assert entry["prev_hash_hex"] == LEAVES[0].hex()
        assert entry["actor"] == {"kind": created.actor.kind.value, "ref": created.actor.ref}
        assert answer.json()["next_after_seq"] == 2

    run(filled, scenario)


def test_the_authority_is_the_configured_keys_under_the_tenants_origin(
    filled: FreshDatabase,
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{LEDGER}/authority", await gateway.bearer("acme"))

        [key] = answer.json()["keys"]
        assert key["public_key_hex"] == ed25519.public_key(LEDGER_SEED).hex()
        assert key["vkey"].startswith(origin_of(DEPLOYMENT, LONG.tenant_id) + "+")
        assert (key["state"], key["algorithm"]) == ("active", "ed25519")

    run(filled, scenario)


def test_the_newest_checkpoint_is_signed_for_this_tenant(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{LEDGER}/merkle/latest", await gateway.bearer("acme"))

        checkpoint = _opened(answer.json()["checkpoint"])
        assert checkpoint.size == NEWEST
        assert checkpoint.root == root_of(LEAVES[:NEWEST])

    run(filled, scenario)


@pytest.mark.parametrize(
    ("seq", "size"),
    [(1, 1), (1, 3), (3, 3), (256, 256), (1, 257), (257, 257), (300, 400), (590, None), (17, None)],
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_inclusion_proof_verifies_without_us(
    filled: FreshDatabase, prefix: str, seq: int, size: int | None
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        parameters = {"seq": seq} if size is None else {"seq": seq, "size": size}
        headers = await gateway.bearer("acme")

        answer = await gateway.get(f"{prefix}/proof/inclusion", headers, **parameters)

        document = answer.json()
        checkpoint = _opened(document["checkpoint"])
        assert answer.status_code == 200
        assert document["tenant_id"] == "acme"
        assert (document["leaf_index"], document["tree_size"]) == (seq - 1, size or NEWEST)
        assert checkpoint.size == document["tree_size"]
        assert document["root_hash_hex"] == checkpoint.root.hex()
        assert document["leaf_hash_hex"] == LEAVES[seq - 1].hex()
        assert verify_inclusion(
            leaf_hash=LEAVES[seq - 1],
            leaf_index=seq - 1,
            size=checkpoint.size,
            proof=[base64.b64decode(node) for node in document["proof"]],
            root=checkpoint.root,
        )

    run(filled, scenario)


def test_an_inclusion_proof_comes_as_a_text_file_too(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        text = await gateway.get(
            f"{LEDGER}/proof/inclusion", headers, seq=300, size=400, format="tlog-proof"
        )
        document = await gateway.get(f"{LEDGER}/proof/inclusion", headers, seq=300, size=400)

        head, _, note = text.text.partition("\n\n")
        lines = head.split("\n")
        assert text.headers["content-type"].startswith("text/plain")
        assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 299"]
        assert lines[2:] == document.json()["proof"]
        assert note == document.json()["checkpoint"]

    run(filled, scenario)


@pytest.mark.parametrize(
    ("start", "end"), [(0, 590), (1, 3), (3, 256), (256, 257), (257, None), (400, 400)]
)
def test_a_consistency_proof_verifies_without_us(
    filled: FreshDatabase, start: int, end: int | None
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        parameters = {"from": start} if end is None else {"from": start, "to": end}
        headers = await gateway.bearer("acme")

        answer = await gateway.get(f"{LEDGER}/proof/consistency", headers, **parameters)

        document = answer.json()
        checkpoint = _opened(document["checkpoint"])
        assert (document["from_size"], document["to_size"]) == (start, end or NEWEST)
        assert verify_consistency(
            from_size=start,
            from_root=root_of(LEAVES[:start]),
            to_size=checkpoint.size,
            to_root=checkpoint.root,
            proof=[base64.b64decode(node) for node in document["proof"]],
        )

    run(filled, scenario)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("proof/inclusion", "seq=1&size=2", "checkpoint_not_found"),
        ("proof/inclusion", "seq=1&size=600", "checkpoint_not_found"),
        ("proof/inclusion", "seq=601", "entry_not_found"),
        ("proof/inclusion", "seq=601&size=590", "entry_not_found"),
        ("proof/inclusion", "seq=400&size=256", "entry_not_found"),
        # The entry is there; no published checkpoint covers it yet.
        ("proof/inclusion", "seq=595", "checkpoint_not_found"),
        ("proof/consistency", "from=2&to=590", "checkpoint_not_found"),
        ("proof/consistency", "from=1&to=2", "checkpoint_not_found"),
        ("proof/consistency", "from=400&to=256", "checkpoint_not_found"),
        ("proof/consistency", "from=600", "checkpoint_not_found"),
        ("verify", "from_seq=1&to_seq=601", "entry_not_found"),
    ],
)
def test_what_was_not_published_is_not_found(
    filled: FreshDatabase, path: str, query: str, code: str
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        answer = await gateway.client.get(f"{LEDGER}/{path}?{query}", headers=headers)

        assert code_of(answer) == (404, code)

    run(filled, scenario)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("proof/inclusion", ""),
        ("proof/inclusion", "seq=0"),
        ("proof/inclusion", "seq=1&size=0"),
        ("proof/inclusion", "seq=01"),
        ("proof/inclusion", "seq=1&format=pdf"),
        ("proof/inclusion", "seq=99999999999999999"),
        ("proof/consistency", ""),
        ("proof/consistency", "from=-1"),
        ("events", "limit=257"),
        ("events", "limit=0"),
        ("events", "after_seq=1e3"),
        ("verify", "from_seq=0"),
        ("tip", "seq=1"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(
    filled: FreshDatabase, path: str, query: str
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        answer = await gateway.client.get(f"{LEDGER}/{path}?{query}", headers=headers)

        assert code_of(answer) == (400, "body_invalid")

    run(filled, scenario)


def test_another_tenants_entries_and_checkpoints_are_not_found(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme-corp")

        tip = await gateway.get(f"{LEDGER}/tip", headers)
        entry = await gateway.get(f"{LEDGER}/proof/inclusion", headers, seq=500)
        checkpoint = await gateway.get(f"{LEDGER}/proof/inclusion", headers, seq=1, size=400)

        assert tip.json()["tenant_id"] == "acme-corp"
        assert tip.json()["seq"] == len(evidenced().entries)
        assert code_of(entry) == (404, "entry_not_found")
        assert code_of(checkpoint) == (404, "checkpoint_not_found")

    run(filled, scenario)


def test_the_continuity_check_says_how_far_it_came(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        whole = await gateway.get(f"{LEDGER}/verify", headers)
        part = await gateway.get(f"{LEDGER}/verify", headers, from_seq=250, to_seq=260)

        assert whole.json() == {
            "tenant_id": "acme",
            "ok": True,
            "from_seq": 1,
            "to_seq": SIZE,
            "checked": SIZE,
            "first_bad_seq": None,
            "reason": None,
        }
        assert (part.json()["ok"], part.json()["checked"]) == (True, 11)

    run(filled, scenario)


_SAME_AS_THE_ONE_BEFORE = """
    UPDATE views.ledger_entries AS entry SET value = other.value, leaf_hash = other.leaf_hash
    FROM views.ledger_entries AS other
    WHERE entry.seq = 4 AND other.seq = 3
"""
_UNSIGNED = "UPDATE views.checkpoints SET note = replace(note, 'test', 'tost') WHERE size = 5"
_CORRUPTIONS: dict[str, tuple[LiteralString, int]] = {
    "an entry is gone": ("DELETE FROM views.ledger_entries WHERE seq = 4", 4),
    "an entry is another's": (_SAME_AS_THE_ONE_BEFORE, 4),
    "a checkpoint is not signed": (_UNSIGNED, 5),
}


@pytest.mark.parametrize("name", _CORRUPTIONS)
def test_the_continuity_check_names_the_first_bad_entry(postgres: FreshDatabase, name: str) -> None:
    statement, first_bad_seq = _CORRUPTIONS[name]
    store(migrated(postgres), history_of(evidenced(), "acme"), checkpoints=[2, 5])
    _execute(postgres, statement)

    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{LEDGER}/verify", await gateway.bearer("acme"))

        assert answer.json()["ok"] is False
        assert answer.json()["first_bad_seq"] == first_bad_seq
        assert answer.json()["reason"]

    run(postgres, scenario)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE views.ledger_tiles SET hashes = overlay(hashes PLACING '\\x00' FROM 5)",
        "DELETE FROM views.ledger_tiles",
        "UPDATE views.checkpoints SET root = decode(repeat('00', 32), 'hex')",
        "UPDATE views.checkpoints SET note = replace(note, 'test', 'tost')",
        "UPDATE views.ledger_entries SET value = value || '\\x00' WHERE seq = 7",
    ],
)
def test_a_proof_that_does_not_hold_is_never_served(
    postgres: FreshDatabase, statement: LiteralString
) -> None:
    store(migrated(postgres), long_history(funded(), "acme", 300), checkpoints=[300])
    _execute(postgres, statement)

    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        with capture_logs() as logs:
            answer = await gateway.get(f"{LEDGER}/proof/inclusion", headers, seq=7)

        assert code_of(answer) == (500, "internal_error")
        assert [log["event"] for log in logs] == ["request_failed"]

    run(postgres, scenario)


def _execute(database: FreshDatabase, statement: LiteralString) -> None:
    with psycopg.connect(database.superuser_dsn) as connection:
        assert connection.execute(statement).rowcount > 0

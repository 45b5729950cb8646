"""The file of an intent: what Kafka knows of it, proven offline, and nothing in it that must not leave the house."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harbor.adapters.memory.ports import MemoryLogReader
from harbor.fsck.shared_topics import LedgerKeys
from harbor.inspection.dossier import dossier, intent_document
from harbor.inspection.intent_file import IntentFile, read_intent_file
from schemas.canonical import ed25519
from schemas.ledger.checkpoint import verifier_key_of
from schemas.messages.avro_codec import encode
from schemas.partitioner import partition_of
from schemas.topics import INTENTS, intent_key, ledger_key, ledger_topic
from tests.support.builders import (
    RAIL_OBJECT,
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
)
from tests.support.harbor_world import DEPLOYMENT, LEDGER_SEED, PARTITIONS, HarborWorld, run
from tests.unit.docs_examples import example
from tests.unit.harbor.engine.test_life_of_an_intent import CONFIRM, FUND, with_evidence

KEYS = LedgerKeys(deployment=DEPLOYMENT, public_keys=(ed25519.public_key(LEDGER_SEED),))
VKEY = verifier_key_of(deployment=DEPLOYMENT, tenant_id=TENANT, public_key=KEYS.public_keys[0])
VERIFIER = example.FOLDER / "verify_dossier.py"
INTENT = an_intent_id()
OTHERS = 300


async def file_of(world: HarborWorld, *, keys: LedgerKeys | None = KEYS) -> IntentFile:
    reader = MemoryLogReader(world.kafka, process="operator")
    return await read_intent_file(reader, TENANT, INTENT, keys=keys, partitions=PARTITIONS)


async def asked_to_capture(*, others: int = 0) -> HarborWorld:
    """Evidence is there, the capture was asked for and not answered; `others` = intents beside it."""
    world = HarborWorld()
    await with_evidence(world)
    bodies = [(n, an_intent_id(100 + n)) for n in range(others)]
    await world.decide(
        *(
            a_command(create_intent(intent_id=intent), number=100 + n, intent_id=intent)
            for n, intent in bodies
        ),
        CONFIRM,
    )
    return world


def verified(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """As a stranger runs it: the standard library, and no environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), str(path), *flags],
        check=False,
        capture_output=True,
        text=True,
        env={},
        timeout=120,
    )


def test_the_document_says_what_is_waited_for_and_who_was_asked() -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        document = intent_document(await file_of(world), world.clock.now())

        assert document["problems"] == []
        assert document["state"]["status"] == "evidence_submitted"
        assert document["state"]["hold"]["status"] == "capture_requested"
        assert document["next_action"]["blocked_by"] == "rail"
        assert [one["event"] for one in document["timeline"]] == world.events()[1:]
        assert document["timeline"][0]["actor"] == {"kind": "api_key", "ref": "key-1"}
        assert document["rail_ids"]["objects"] == [RAIL_OBJECT]
        hold, capture = document["effects"]
        assert hold["answered_by"] == {"seq": 4, "event": "settlement_hold_placed"}
        assert (capture["answered_by"], capture["is_outstanding"]) == (None, True)
        assert document["outstanding"] == [capture]
        assert document["rail_ids"]["idempotency_keys"] == [
            hold["effect_id"],
            capture["effect_id"],
        ]
        told = {one["command_id"]: one["status"] for one in document["outcomes"]}
        assert (told[FUND.command_id], told[CONFIRM.command_id]) == ("done", "accepted")

    run(scenario)


def test_every_proof_of_a_dossier_verifies_without_our_software(tmp_path: Path) -> None:
    async def scenario() -> None:
        # More than one full tile, so that proofs reach over tiles.
        world = await asked_to_capture(others=OTHERS)
        path = tmp_path / "dossier.json"
        whole = dossier(await file_of(world), world.clock.now(), keys=[VKEY])
        path.write_text(json.dumps(whole))

        good = verified(path, "--vkey", VKEY.vkey)

        assert len(whole["entries"]) == 6
        assert whole["entries"][-1]["proof"]["tree_size"] > 256
        assert good.returncode == 0, good.stdout + good.stderr
        assert good.stdout.count("ok    seq") == 6

    run(scenario)


@pytest.mark.parametrize("member", ["value_b64", "leaf_hash_hex", "proof", "tenant"])
def test_a_changed_dossier_does_not_verify(tmp_path: Path, member: str) -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        whole = dossier(await file_of(world), world.clock.now(), keys=[VKEY])
        entry: dict[str, Any] = whole["entries"][2]
        match member:
            case "value_b64":
                entry["value_b64"] = whole["entries"][3]["value_b64"]
            case "leaf_hash_hex":
                entry["leaf_hash_hex"] = whole["entries"][3]["leaf_hash_hex"]
            case "proof":
                entry["proof"] = whole["entries"][3]["proof"]
            case _:
                whole["tenant_id"] = "tenant-two"
        path = tmp_path / "dossier.json"
        path.write_text(json.dumps(whole))

        bad = verified(path, "--vkey", VKEY.vkey)

        assert bad.returncode == 1, bad.stdout + bad.stderr
        assert bad.stdout.splitlines()[-1].startswith("FAIL")

    run(scenario)


def test_a_dossier_holds_no_signature_nonce_capability_or_body() -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        file = await file_of(world)
        text = json.dumps(dossier(file, world.clock.now(), keys=[VKEY]))
        created = next(one for one in file.entries if one.entry.seq == 2)
        body = create_intent()

        # The record's own bytes hold it, so they stay out; the proof needs only their hash.
        assert body.principal_signature in created.value
        assert json.loads(text)["entries"][0]["value_b64"] is None
        for secret in ("principal_signature", body.principal_signature.hex(), "n-fund"):
            assert secret not in text
        for of_evidence in ("cost_cents", "report_json", "payload", "capability", "5a" * 32):
            assert of_evidence not in text
        with_consent = dossier(file, world.clock.now(), keys=[VKEY], is_with_consent=True)
        assert with_consent["entries"][0]["value_b64"] is not None

    run(scenario)


def test_a_state_that_the_entries_do_not_imply_is_a_problem() -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        whole = await file_of(world)
        assert whole.topic_state is not None
        world.kafka.append(
            INTENTS,
            partition_of(TENANT, PARTITIONS),
            key=intent_key(TENANT, INTENT),
            value=encode(replace(whole.topic_state, released_minor=1)),
        )

        assert whole.problems == ()
        assert "not what the entries" in (await file_of(world)).problems[0]

    run(scenario)


def test_a_broken_ledger_is_told_and_proves_nothing() -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        records = list(world.kafka.read(ledger_topic(TENANT), 0))
        world.kafka.append(
            ledger_topic(TENANT), 0, key=ledger_key(TENANT, 3), value=records[2].value
        )
        file = await file_of(world)

        assert "bad from seq 3: doubled" in file.problems[0]
        assert file.head is not None

    run(scenario)


def test_a_checkpoint_of_another_key_proves_nothing() -> None:
    async def scenario() -> None:
        world = await asked_to_capture()
        other = LedgerKeys(deployment=DEPLOYMENT, public_keys=(ed25519.public_key(b"\x01" * 32),))
        file = await file_of(world, keys=other)

        assert file.head is None
        assert any("checkpoint of size" in problem for problem in file.problems)
        assert all(filed.proof is None for filed in file.entries)

    run(scenario)


def test_an_intent_that_is_not_there_has_no_state() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        file = await file_of(world)

        assert (file.state, file.entries, file.problems) == (None, (), ())

    run(scenario)

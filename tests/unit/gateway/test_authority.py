"""The ledger's authority: configured keys alone, each tenant under its own origin."""

import pytest

from gateway.queries.authority import KeyState, LedgerAuthority
from schemas.canonical import ed25519
from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.signed_note import NoteRefusal, parse_vkey

ACME, OTHER = TenantId("acme"), TenantId("acme-corp")
OLD_SEED, NEW_SEED, STRANGE_SEED = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
AUTHORITY = LedgerAuthority(
    deployment="test",
    public_keys_hex=[ed25519.public_key(seed).hex() for seed in (OLD_SEED, NEW_SEED)],
)


def _note(seed: bytes, tenant_id: TenantId = ACME, deployment: str = "test") -> str:
    checkpoint = Checkpoint(origin=origin_of(deployment, tenant_id), size=3, root=bytes(32))
    return sign_checkpoint(checkpoint, seed=seed)


@pytest.mark.parametrize("seed", [OLD_SEED, NEW_SEED])
def test_a_note_of_a_configured_key_is_believed(seed: bytes) -> None:
    opened = AUTHORITY.open(ACME, _note(seed))

    assert isinstance(opened, Checkpoint)
    assert opened.size == 3


@pytest.mark.parametrize(
    "note",
    [_note(STRANGE_SEED), _note(NEW_SEED, OTHER), _note(NEW_SEED, deployment="prod"), "", "x\n"],
    ids=["other key", "other tenant", "other deployment", "empty", "no note"],
)
def test_any_other_note_is_not(note: str) -> None:
    assert isinstance(AUTHORITY.open(ACME, note), NoteRefusal)


def test_the_newest_key_signs_and_older_ones_stay_published() -> None:
    members = AUTHORITY.members(ACME)

    assert [member["state"] for member in members] == [KeyState.VERIFY_ONLY, KeyState.ACTIVE]
    assert members[0]["key_id"] != members[1]["key_id"]
    for member, seed in zip(members, (OLD_SEED, NEW_SEED), strict=True):
        key = parse_vkey(str(member["vkey"]))
        assert key.public_key == ed25519.public_key(seed)
        assert key.name == "paybond/test/acme"
        assert member["public_key_hex"] == key.public_key.hex()


@pytest.mark.parametrize("texts", [["xy"], ["ab" * 31], ["ab" * 32, "AB" * 32]])
def test_a_setting_that_is_no_key_or_stands_twice_refuses_to_start(texts: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        LedgerAuthority(deployment="test", public_keys_hex=texts)

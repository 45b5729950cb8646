"""Checkpoints: believed only for their own origin, and only in the form we write."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.ledger.checkpoint import (
    Checkpoint,
    open_checkpoint,
    origin_of,
    sign_checkpoint,
    tlog_proof,
    verifier_key_of,
)
from schemas.ledger.merkle_tree import EMPTY_ROOT
from schemas.ledger.signed_note import NoteRefusal, NoteRefusalReason, parse_vkey, sign_note
from tests.unit.schemas.canonical.vectors import EDGE

VECTOR = EDGE["checkpoint"]
ORIGIN = origin_of("local", TenantId("tenant-vec"))
SEED = bytes.fromhex(VECTOR["seed_hex"])
KEY = parse_vkey(VECTOR["vkey"])
CHECKPOINT = Checkpoint(origin=ORIGIN, size=7, root=bytes.fromhex(EDGE["merkle"]["roots_hex"][7]))
ROOT_TEXT = base64.b64encode(CHECKPOINT.root).decode()


def refusal_of_text(text: str) -> NoteRefusalReason:
    note = sign_note(text, name=ORIGIN, seed=SEED)
    opened = open_checkpoint(note, origin=ORIGIN, trusted_keys=[KEY])
    assert isinstance(opened, NoteRefusal), opened
    return opened.reason


def test_the_checkpoint_vector_is_signed_byte_for_byte() -> None:
    assert VECTOR["origin"] == ORIGIN
    assert CHECKPOINT.text() == VECTOR["signed_text"]
    assert sign_checkpoint(CHECKPOINT, seed=SEED) == VECTOR["checkpoint"]


def test_the_checkpoint_vector_is_believed() -> None:
    opened = open_checkpoint(VECTOR["checkpoint"], origin=ORIGIN, trusted_keys=[KEY])

    assert opened == CHECKPOINT


def test_the_proof_file_vector_is_written_byte_for_byte() -> None:
    inclusion = EDGE["merkle"]["inclusion"]
    proof = [base64.b64decode(node) for node in inclusion["proof"]]

    written = tlog_proof(inclusion["leaf_index"], proof, VECTOR["checkpoint"])

    assert written == VECTOR["tlog_proof_seq_4"]


def test_a_configured_public_key_serves_each_tenant_under_its_own_origin() -> None:
    key = verifier_key_of(
        deployment="local",
        tenant_id=TenantId("tenant-vec"),
        public_key=bytes.fromhex(VECTOR["public_key_hex"]),
    )

    assert key == KEY


@given(size=st.integers(1, 10**16 - 1), root=st.binary(min_size=32, max_size=32))
def test_every_checkpoint_comes_back_as_it_was_signed(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root)
    note = sign_checkpoint(checkpoint, seed=SEED)

    assert open_checkpoint(note, origin=ORIGIN, trusted_keys=[KEY]) == checkpoint


def test_the_empty_tree_has_a_checkpoint() -> None:
    checkpoint = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    note = sign_checkpoint(checkpoint, seed=SEED)

    assert open_checkpoint(note, origin=ORIGIN, trusted_keys=[KEY]) == checkpoint


def test_another_tenants_checkpoint_is_refused_although_the_same_key_signed_it() -> None:
    other_origin = origin_of("local", TenantId("tenant-two"))
    other_key = replace(KEY, name=other_origin)
    note = sign_checkpoint(replace(CHECKPOINT, origin=other_origin), seed=SEED)

    opened = open_checkpoint(note, origin=ORIGIN, trusted_keys=[KEY, other_key])

    assert isinstance(opened, NoteRefusal)
    assert opened.reason is NoteRefusalReason.UNKNOWN_KEY


def test_an_origin_other_than_the_keys_name_is_refused() -> None:
    text = replace(CHECKPOINT, origin="paybond/local/tenant-two").text()

    assert refusal_of_text(text) is NoteRefusalReason.ORIGIN_MISMATCH


def test_a_checkpoint_of_an_unknown_key_is_refused() -> None:
    stranger = verifier_key_of(
        deployment="local",
        tenant_id=TenantId("tenant-vec"),
        public_key=ed25519.public_key(b"\x09" * 32),
    )

    opened = open_checkpoint(VECTOR["checkpoint"], origin=ORIGIN, trusted_keys=[stranger])

    assert isinstance(opened, NoteRefusal)
    assert opened.reason is NoteRefusalReason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("before", "after"),
    [("\n7\n", "\n8\n"), (ROOT_TEXT, base64.b64encode(bytes(32)).decode())],
)
def test_a_changed_checkpoint_is_refused(before: str, after: str) -> None:
    opened = open_checkpoint(
        VECTOR["checkpoint"].replace(before, after, 1), origin=ORIGIN, trusted_keys=[KEY]
    )

    assert isinstance(opened, NoteRefusal)
    assert opened.reason is NoteRefusalReason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n",
        f"{ORIGIN}\n7\n",
        f"\n7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n7\n\n",
        f"{ORIGIN}\n07\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n00\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n 7\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n7_0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{10**16}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT}=\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(33)).decode()}\n",
        f"{ORIGIN}\n7\n{CHECKPOINT.root.hex()}\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT_TEXT}\n\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    assert refusal_of_text(text) is NoteRefusalReason.NOT_A_CHECKPOINT

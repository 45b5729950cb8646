"""Signed notes: what a trusted key signed is read, everything else is refused with its reason."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import ed25519
from schemas.errors import ConfigurationError
from schemas.ledger.signed_note import (
    NOTE_CHARACTERS_MAX,
    SIGNATURES_MAX,
    NoteRefusal,
    NoteRefusalReason,
    UnverifiedNote,
    VerifierKey,
    is_key_name,
    open_note,
    parse_note,
    parse_vkey,
    sign_note,
)
from tests.unit.schemas.canonical.vectors import EDGE

NAME = "paybond/local/tenant-vec"
SEED = bytes.fromhex(EDGE["checkpoint"]["seed_hex"])
OTHER_SEED = b"\x07" * 32
KEY = VerifierKey(name=NAME, public_key=ed25519.public_key(SEED))
OTHER_KEY = VerifierKey(name="witness.test", public_key=ed25519.public_key(OTHER_SEED))
TEXT = "one\n\ntwo\n"
NOTE = sign_note(TEXT, name=NAME, seed=SEED)


def signature_line(*, name: str, payload: bytes) -> str:
    return f"— {name} {base64.b64encode(payload).decode()}\n"


OTHER_LINE = sign_note(TEXT, name="witness.test", seed=OTHER_SEED).removeprefix(TEXT + "\n")


def refusal_of(note: str, *keys: VerifierKey) -> NoteRefusalReason:
    opened = open_note(note, keys or (KEY,))
    assert isinstance(opened, NoteRefusal), opened
    assert opened.detail
    return opened.reason


def test_the_verifier_key_vector_is_read_and_written() -> None:
    vector = EDGE["checkpoint"]

    key = parse_vkey(vector["vkey"])

    assert key.name == vector["origin"]
    assert key.key_hash.hex() == vector["key_hash_hex"]
    assert key.public_key.hex() == vector["public_key_hex"]
    assert key.vkey == vector["vkey"]


def test_the_note_vector_is_signed_byte_for_byte() -> None:
    vector = EDGE["checkpoint"]

    note = sign_note(vector["signed_text"], name=vector["origin"], seed=SEED)
    parsed = parse_note(note)

    assert note == vector["checkpoint"]
    assert isinstance(parsed, UnverifiedNote)
    assert parsed.signatures[0].signature.hex() == vector["signature_hex"]


def test_a_text_with_blank_lines_ends_at_the_last_one() -> None:
    assert open_note(NOTE, [KEY]) == TEXT


@given(
    lines=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), min_size=1, max_size=5
    )
)
def test_what_was_signed_is_what_is_read(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)

    assert open_note(sign_note(text, name=NAME, seed=SEED), [KEY]) == text


@given(position=st.integers(0, len(NOTE) - 1), other=st.characters(exclude_categories=["Cs"]))
def test_no_character_of_a_note_can_be_changed_unnoticed(position: int, other: str) -> None:
    forged = NOTE[:position] + other + NOTE[position + 1 :]

    opened = open_note(forged, [KEY])

    assert forged == NOTE or isinstance(opened, NoteRefusal)


def test_a_witness_may_sign_beside_the_ledger() -> None:
    assert open_note(NOTE + OTHER_LINE, [KEY]) == TEXT
    assert open_note(NOTE + OTHER_LINE, [OTHER_KEY]) == TEXT
    assert open_note(NOTE + OTHER_LINE, [KEY, OTHER_KEY]) == TEXT


def test_a_signature_of_an_unknown_type_is_ignored() -> None:
    line = signature_line(name="witness.test", payload=b"\x01\x02\x03\x04" + bytes(2_420))

    assert open_note(NOTE + line, [KEY]) == TEXT


def test_a_line_that_shares_only_name_or_only_hash_with_a_key_is_ignored() -> None:
    same_name = signature_line(name=NAME, payload=b"\x00\x00\x00\x00" + bytes(64))
    same_hash = signature_line(name="other.test", payload=KEY.key_hash + bytes(64))

    assert open_note(NOTE + same_name + same_hash, [KEY]) == TEXT


def test_a_note_without_a_trusted_signature_is_refused() -> None:
    assert refusal_of(NOTE, OTHER_KEY) is NoteRefusalReason.UNKNOWN_KEY
    assert open_note(NOTE, []) == NoteRefusal(
        reason=NoteRefusalReason.UNKNOWN_KEY,
        detail=f"signed by no trusted key, only {NAME}+{KEY.key_hash.hex()}",
    )


def test_the_same_key_under_another_name_is_another_key() -> None:
    renamed = replace(KEY, name="paybond/local/tenant-two")

    assert refusal_of(NOTE, renamed) is NoteRefusalReason.UNKNOWN_KEY


@pytest.mark.parametrize("length", [1, 63, 65])
def test_a_signature_of_a_trusted_key_with_another_length_is_refused(length: int) -> None:
    line = signature_line(name=NAME, payload=KEY.key_hash + bytes(length))

    assert refusal_of(TEXT + "\n" + line) is NoteRefusalReason.SIGNATURE_INVALID


def test_one_wrong_signature_of_a_trusted_key_spoils_the_note() -> None:
    wrong = signature_line(name="witness.test", payload=OTHER_KEY.key_hash + bytes(64))

    assert refusal_of(NOTE + wrong, KEY, OTHER_KEY) is NoteRefusalReason.SIGNATURE_INVALID
    assert open_note(NOTE + wrong, [KEY]) == TEXT


def test_a_signature_over_another_text_is_refused() -> None:
    assert refusal_of(NOTE.replace("one", "0ne")) is NoteRefusalReason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT + "\n",
        NOTE.removesuffix("\n"),
        NOTE + "\n",
        NOTE + "text behind\n",
        NOTE.removeprefix(TEXT),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("one", "one\t"),
        NOTE.replace("one", "one\x00"),
        NOTE.replace("one", "\ud800"),
        NOTE.replace(NAME, "two words"),
        NOTE.replace(NAME, "no\u00a0break"),
        NOTE.replace(NAME, "a+b"),
        NOTE.replace("=\n", "\n"),
        NOTE.replace("=\n", "= \n"),
        NOTE.replace("=\n", "=é\n"),
        TEXT + "\n" + signature_line(name=NAME, payload=KEY.key_hash),
        TEXT + "\n" + f"— {NAME}\n",
        TEXT + "\n" + OTHER_LINE * (SIGNATURES_MAX + 1),
        "x" * NOTE_CHARACTERS_MAX + "\n" + NOTE,
    ],
)
def test_a_note_of_another_form_is_malformed(note: str) -> None:
    assert refusal_of(note) is NoteRefusalReason.MALFORMED


def test_sixteen_signatures_are_read() -> None:
    assert open_note(NOTE + OTHER_LINE * (SIGNATURES_MAX - 1), [KEY]) == TEXT


def test_base64_with_stray_bits_is_malformed() -> None:
    encoded = NOTE.rstrip("\n").rpartition(" ")[2]
    assert encoded.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = encoded[:-2] + alphabet[alphabet.index(encoded[-2]) | 1] + "="

    assert base64.b64decode(stray) == base64.b64decode(encoded)
    assert refusal_of(NOTE.replace(encoded, stray)) is NoteRefusalReason.MALFORMED


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\x01b", "\udc80"])
def test_a_name_with_blanks_or_plus_is_no_key_name(name: str) -> None:
    assert not is_key_name(name)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        NAME,
        KEY.vkey.replace(NAME, ""),
        KEY.vkey.replace(NAME, "two words"),
        KEY.vkey.replace(NAME, "paybond/local/tenant-two"),
        KEY.vkey.replace(KEY.key_hash.hex(), "00000000"),
        KEY.vkey.replace(KEY.key_hash.hex(), KEY.key_hash.hex().upper()),
        KEY.vkey + "\n",
        KEY.vkey[:-4],
        f"{NAME}+{KEY.key_hash.hex()}+" + base64.b64encode(b"\x04" + KEY.public_key).decode(),
        f"{NAME}+{KEY.key_hash.hex()}+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
    ],
)
def test_a_verifier_key_that_was_changed_is_a_wrong_configuration(vkey: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_vkey(vkey)


def test_a_text_without_a_newline_at_its_end_is_never_signed() -> None:
    with pytest.raises(AssertionError):
        sign_note("text", name=NAME, seed=SEED)

#!/usr/bin/env python3
"""Check, without Paybond's software, that an entry is in the ledger that a trusted key has signed.

Standard library only: `python3 -I -S verify_inclusion.py PROOF --vkey VKEY --entry ENTRY`. PROOF is the saved
answer of `GET /harbor/ledger/v1/proof/inclusion?seq=N`, as JSON or with `format=tlog-proof`. The key must come
from somewhere else than the proof: a key that arrives beside a signature proves nothing.
"""

import argparse
import base64
import binascii
import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_GOOD, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

FILE_BYTES_MAX = 4 * 1024 * 1024  # a record has at most 2 MiB, a third more in base64
PROOF_HASHES_MAX = 64  # a tree of 10**16 leaves needs 54
SIGNATURES_MAX = 16
HASH_BYTES = 32
TLOG_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
# At most 16 digits: int() of a text without a limit is a way to keep a verifier busy.
DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
HASH_HEX = re.compile(r"[0-9a-f]{64}")


class CheckFailedError(Exception):
    """The proof must not be believed; the text says which check failed."""


class UsageError(Exception):
    """The arguments don't allow a check at all."""


@dataclass(frozen=True)
class VerifierKey:
    """`<name>+<key hash>+<base64(01 ‖ Ed25519 key)>`; the name is the ledger's origin."""

    name: str
    key_hash: bytes
    public_key: bytes


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Claim:
    """What the file says; nothing of it is trusted. A tlog-proof leaves out all that may be None."""

    leaf_index: int
    proof: tuple[bytes, ...]
    note: str
    tenant_id: str | None = None
    tree_size: int | None = None
    root: bytes | None = None
    leaf_hash: bytes | None = None


@dataclass(frozen=True)
class EntryReading:
    """One way to read the entry file: as the record itself, or as base64 of it."""

    what: str
    record: bytes


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser().parse_args(arguments)
    try:
        keys = [parse_vkey(text) for text in options.vkey]
        proof_bytes = read_file(options.proof)
        readings = entry_readings(read_file(options.entry)) if options.entry else []
        claim = parse_claim(proof_bytes)
        for line in checks(claim, keys, readings, options.seq):
            print(f"ok    {line}")
    except UsageError as error:
        print(f"verify_inclusion: {error}", file=sys.stderr)
        return EXIT_USAGE
    except CheckFailedError as error:
        print(f"FAIL  {error}")
        return EXIT_FAILED
    print("GOOD  every check passed")
    return EXIT_GOOD


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Check a Paybond inclusion proof offline. Exit: 0 good, 1 a check failed, 2 usage."
    )
    parser.add_argument("proof", type=Path, help="saved answer: JSON, or tlog-proof text")
    parser.add_argument(
        "--vkey",
        action="append",
        required=True,
        help="verifier key of the ledger that you trust; again for each key of a rotation",
    )
    parser.add_argument(
        "--entry", type=Path, help="the record's exact bytes, raw or as base64 (`value_b64`)"
    )
    parser.add_argument("--seq", type=int, help="the seq you asked for: the proof must be about it")
    return parser


def checks(
    claim: Claim, keys: Sequence[VerifierKey], readings: Sequence[EntryReading], seq: int | None
) -> Iterator[str]:
    """Every check in order, one plain sentence for each. Raises CheckFailedError at the first that fails."""
    if claim.leaf_hash is None and not readings:
        raise UsageError("a tlog-proof does not hold the leaf hash: give the record with --entry")
    # 1. The signature first: before it, the checkpoint is only text.
    text, key = verified_text(claim.note, keys)
    yield f"the checkpoint is signed by the trusted key {key.name}+{key.key_hash.hex()}"
    # 2. Whose tree, which size, which root.
    checkpoint = parse_checkpoint(text)
    yield check_origin(checkpoint, key, claim)
    yield check_tree_head(checkpoint, claim)
    # 3. Which place in it.
    yield check_place(claim, checkpoint, seq)
    # 4. The entry, and the way from it to the root.
    what, leaf_hash = check_entry(claim, checkpoint, readings)
    if what:
        yield f"the entry ({what}) has the leaf hash {leaf_hash.hex()}"
    yield f"{len(claim.proof)} hashes lead from leaf {leaf_hash.hex()} to the signed root"
    if not what:
        yield "no --entry was given: this is about the leaf hash, not a record"


def check_origin(checkpoint: Checkpoint, key: VerifierKey, claim: Claim) -> str:
    if checkpoint.origin != key.name:
        raise CheckFailedError(
            f"the checkpoint is of {checkpoint.origin!r}, the key is that of {key.name!r}"
        )
    tenant_id = checkpoint.origin.rpartition("/")[2]
    if claim.tenant_id is not None and claim.tenant_id != tenant_id:
        raise CheckFailedError(
            f"the answer is about tenant {claim.tenant_id!r}, the checkpoint about {tenant_id!r}"
        )
    return f"it speaks for the ledger {checkpoint.origin}"


def check_tree_head(checkpoint: Checkpoint, claim: Claim) -> str:
    if claim.tree_size is not None and claim.tree_size != checkpoint.size:
        raise CheckFailedError(
            f"the answer says tree size {claim.tree_size}, the checkpoint {checkpoint.size}"
        )
    if claim.root is not None and claim.root != checkpoint.root:
        raise CheckFailedError(
            f"the answer says root {claim.root.hex()}, the checkpoint {checkpoint.root.hex()}"
        )
    return f"it fixes {checkpoint.size} entries with root {checkpoint.root.hex()}"


def check_place(claim: Claim, checkpoint: Checkpoint, seq: int | None) -> str:
    if seq is not None and claim.leaf_index != seq - 1:
        raise CheckFailedError(f"the proof is about seq {claim.leaf_index + 1}, not {seq}")
    if claim.leaf_index >= checkpoint.size:
        raise CheckFailedError(
            f"leaf {claim.leaf_index} is outside a tree of {checkpoint.size} entries"
        )
    return f"the proof is about seq {claim.leaf_index + 1} (leaf {claim.leaf_index})"


def check_entry(
    claim: Claim, checkpoint: Checkpoint, readings: Sequence[EntryReading]
) -> tuple[str, bytes]:
    """Which reading of the entry file is the record that was proved (empty without a file), and its leaf hash."""
    candidates = [(reading.what, leaf_hash_of(reading.record)) for reading in readings]
    if claim.leaf_hash is not None:
        expected = [pair for pair in candidates if pair[1] == claim.leaf_hash]
        if candidates and not expected:
            raise CheckFailedError(
                f"the entry has the leaf hash {candidates[-1][1].hex()}, "
                f"the answer says {claim.leaf_hash.hex()}"
            )
        candidates = expected or [("", claim.leaf_hash)]
    for what, leaf_hash in candidates:
        if root_over(leaf_hash, claim.leaf_index, checkpoint.size, claim.proof) == checkpoint.root:
            return what, leaf_hash
    raise CheckFailedError("the inclusion proof does not lead from this entry to the signed root")


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(f"{path} is longer than {FILE_BYTES_MAX} bytes")
    return content


def entry_readings(content: bytes) -> list[EntryReading]:
    """A hash can't match two different records, so trying both readings gives nothing away."""
    readings = [EntryReading("its raw bytes", content)]
    # What is not base64 is the record itself, or fails as such.
    with contextlib.suppress(CheckFailedError, UnicodeDecodeError):
        decoded = decode_base64(content.strip().decode())
        readings.append(EntryReading("decoded from base64", decoded))
    return readings


def parse_vkey(text: str) -> VerifierKey:
    # Base64 has `+` too, a name has none.
    name, _, rest = text.partition("+")
    hash_hex, _, encoded = rest.partition("+")
    try:
        typed_key = decode_base64(encoded)
    except CheckFailedError as error:
        raise UsageError(f"--vkey {text!r}: {error}") from error
    if not name or typed_key[:1] != b"\x01" or len(typed_key) != 1 + HASH_BYTES:
        raise UsageError(f"--vkey {text!r} is not <name>+<key hash>+<base64 Ed25519 key>")
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:4]
    if hash_hex != key_hash.hex():
        raise UsageError(f"--vkey {text!r}: its key hash should be {key_hash.hex()}")
    return VerifierKey(name, key_hash, typed_key[1:])


def parse_claim(content: bytes) -> Claim:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise CheckFailedError("the proof file is not UTF-8") from error
    if text.startswith(TLOG_PROOF_HEADER + "\n"):
        return parse_tlog_proof(text)
    return parse_json_proof(text)


def parse_tlog_proof(text: str) -> Claim:
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")[1:]
    if lines and lines[0].startswith("extra "):
        # Not authenticated, so not looked at beyond its form.
        decode_base64(lines.pop(0).removeprefix("extra "))
    if not separator or not lines or not lines[0].startswith("index "):
        raise CheckFailedError("the tlog-proof has no index line, or no checkpoint")
    leaf_index = parse_decimal(lines[0].removeprefix("index "), "the index")
    return Claim(leaf_index=leaf_index, proof=decode_hashes(lines[1:]), note=note)


def parse_json_proof(text: str) -> Claim:
    try:
        answer = json.loads(text, object_pairs_hook=unique_members)
    except (ValueError, RecursionError) as error:
        raise CheckFailedError(
            f"the proof is neither JSON nor starts with {TLOG_PROOF_HEADER}"
        ) from error
    if not isinstance(answer, dict):
        raise CheckFailedError("the proof is not a JSON object")
    leaf_index = integer_member(answer, "leaf_index")
    seq = integer_member(answer, "seq")
    if seq != leaf_index + 1:
        raise CheckFailedError(f"the answer says seq {seq} is leaf {leaf_index}")
    encoded = answer.get("proof")
    if not isinstance(encoded, list) or not all(isinstance(node, str) for node in encoded):
        raise CheckFailedError("`proof` is not a list of texts")
    return Claim(
        leaf_index=leaf_index,
        proof=decode_hashes(encoded),
        note=text_member(answer, "checkpoint"),
        tenant_id=text_member(answer, "tenant_id"),
        tree_size=integer_member(answer, "tree_size"),
        root=hash_member(answer, "root_hash_hex"),
        leaf_hash=hash_member(answer, "leaf_hash_hex"),
    )


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CheckFailedError("the JSON has a member twice: two readers would see two proofs")
    return members


def integer_member(answer: dict[str, object], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CheckFailedError(f"`{name}` is not a whole number")
    return value


def text_member(answer: dict[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise CheckFailedError(f"`{name}` is not a text")
    return value


def hash_member(answer: dict[str, object], name: str) -> bytes:
    value = text_member(answer, name)
    if HASH_HEX.fullmatch(value) is None:
        raise CheckFailedError(f"`{name}` is not 64 lower-case hex digits")
    return bytes.fromhex(value)


def decode_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > PROOF_HASHES_MAX:
        raise CheckFailedError(f"the proof has more than {PROOF_HASHES_MAX} hashes")
    hashes = tuple(decode_base64(line) for line in lines)
    if any(len(node) != HASH_BYTES for node in hashes):
        raise CheckFailedError(f"a hash of the proof is not {HASH_BYTES} bytes long")
    return hashes


def parse_decimal(text: str, what: str) -> int:
    if DECIMAL.fullmatch(text) is None:
        raise CheckFailedError(f"{what} is {text[:32]!r}, not a plain decimal number")
    return int(text)


def decode_base64(text: str) -> bytes:
    """Standard base64 in its one spelling; Python's decoder alone lets stray bits through."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckFailedError(f"{text[:48]!r} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise CheckFailedError(f"{text[:48]!r} is not the plain spelling of its base64")
    return raw


def verified_text(note: str, keys: Sequence[VerifierKey]) -> tuple[str, VerifierKey]:
    """c2sp.org/signed-note: the text and a key that signed it. Unknown keys are ignored, wrong signatures not."""
    if not all(character >= " " or character == "\n" for character in note):
        raise CheckFailedError("the checkpoint has control characters")
    try:
        note.encode()
    except UnicodeEncodeError as error:
        raise CheckFailedError("the checkpoint is not valid Unicode") from error
    text, separator, block = note.rpartition("\n\n")
    if not separator or not text or not block.endswith("\n"):
        raise CheckFailedError("the checkpoint is not a signed note")
    text += "\n"
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckFailedError(f"the checkpoint has more than {SIGNATURES_MAX} signatures")
    known = {(key.name, key.key_hash): key for key in keys}
    signer = None
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = decode_base64(encoded)
        if dash != "—" or not name or len(signature) <= 4:
            raise CheckFailedError(f"{line[:80]!r} is not a signature line")
        key = known.get((name, signature[:4]))
        if key is None:
            continue
        if not ed25519_verify(key.public_key, text.encode(), signature[4:]):
            raise CheckFailedError(f"the signature of {name}+{key.key_hash.hex()} is wrong")
        signer = key
    if signer is None:
        raise CheckFailedError("no trusted key has signed the checkpoint")
    return text, signer


def parse_checkpoint(text: str) -> Checkpoint:
    """c2sp.org/tlog-checkpoint, without extension lines: Paybond writes none."""
    lines = text[:-1].split("\n")
    if len(lines) != 3:
        raise CheckFailedError("the checkpoint is not three lines: origin, size, root")
    root = decode_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise CheckFailedError(f"the checkpoint's root is not {HASH_BYTES} bytes long")
    return Checkpoint(lines[0], parse_decimal(lines[1], "the checkpoint's size"), root)


def leaf_hash_of(record: bytes) -> bytes:
    """RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + record).digest()


def root_over(leaf_hash: bytes, leaf_index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """RFC 9162 §2.1.3.2: the root the proof leads to, or None if it is not as long as index and size demand."""
    index, last = leaf_index, size - 1
    node = leaf_hash
    for sibling in proof:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while index & 1 == 0 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


FIELD = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD
SQRT_MINUS_ONE = pow(2, (FIELD - 1) // 4, FIELD)

# Extended homogeneous coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, x·y = T/Z.
Point = tuple[int, int, int, int]
IDENTITY: Point = (0, 1, 1, 0)


def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 §5.1.7, strict: S < L, canonical A and R, neither of small order.

    Without the cofactor, as most libraries do; no secrets here, so no constant time.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key_point, nonce_point = decode_point(public_key), decode_point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key_point is None or nonce_point is None or scalar >= GROUP_ORDER:
        return False
    if has_small_order(key_point) or has_small_order(nonce_point):
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % GROUP_ORDER
    return are_equal(multiply(scalar, BASE_POINT), add(nonce_point, multiply(challenge, key_point)))


def decode_point(encoded: bytes) -> Point | None:
    """RFC 8032 §5.1.3; None for what is no point, or is not the one encoding of it."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= FIELD:
        return None
    x_squared = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD) % FIELD
    x = pow(x_squared, (FIELD + 3) // 8, FIELD)
    if (x * x - x_squared) % FIELD:
        x = x * SQRT_MINUS_ONE % FIELD
    if (x * x - x_squared) % FIELD or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = FIELD - x
    return (x, y, 1, x * y % FIELD)


def add(left: Point, right: Point) -> Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % FIELD
    b = (left[1] + left[0]) * (right[1] + right[0]) % FIELD
    c = 2 * left[3] * right[3] * CURVE_D % FIELD
    d = 2 * left[2] * right[2] % FIELD
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % FIELD, g * h % FIELD, f * g % FIELD, e * h % FIELD)


def multiply(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def are_equal(left: Point, right: Point) -> bool:
    return not (
        (left[0] * right[2] - right[0] * left[2]) % FIELD
        or (left[1] * right[2] - right[1] * left[2]) % FIELD
    )


def has_small_order(point: Point) -> bool:
    return are_equal(multiply(8, point), IDENTITY)


def base_point() -> Point:
    """B of RFC 8032 §5.1: y = 4/5, x even."""
    point = decode_point((4 * pow(5, -1, FIELD) % FIELD).to_bytes(32, "little"))
    assert point is not None
    return point


BASE_POINT = base_point()

if __name__ == "__main__":
    sys.exit(main())

"""One strict rule for signatures: each test forges what a lax verifier accepts."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import ed25519
from tests.unit.schemas.canonical import edwards_curve as curve

_MESSAGE = b"release 20000 usd"
_SECRET = 1234567890123456789012345678901234567890
_NONCE = 9876543210987654321098765432109876543210
_SMALL = curve.small_order_points()
_KEY = curve.encode(curve.multiply(_SECRET, curve.base_point()))
_COMMITMENT = curve.encode(curve.multiply(_NONCE, curve.base_point()))
_SIGN_BIT = 1 << 255

# y = p and y = p + 1 are y = 0 and y = 1 again; x = 0 has no odd twin.
_NOT_CANONICAL = [
    curve.PRIME.to_bytes(32, "little"),
    (curve.PRIME | _SIGN_BIT).to_bytes(32, "little"),
    (curve.PRIME + 1).to_bytes(32, "little"),
    (curve.PRIME + 1 | _SIGN_BIT).to_bytes(32, "little"),
    (1 | _SIGN_BIT).to_bytes(32, "little"),
    (curve.PRIME - 1 | _SIGN_BIT).to_bytes(32, "little"),
]


def _openssl_accepts(key: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _MESSAGE)
    except InvalidSignature:
        return False
    return True


def _forged(
    *, key: bytes = _KEY, commitment: bytes = _COMMITMENT, secret: int, nonce: int
) -> bytes:
    return curve.forge(key=key, commitment=commitment, secret=secret, nonce=nonce, message=_MESSAGE)


def test_a_signature_made_by_hand_is_accepted() -> None:
    signature = _forged(secret=_SECRET, nonce=_NONCE)

    assert ed25519.verify(_KEY, _MESSAGE, signature)


def test_rfc_8032_test_1_has_its_published_signature() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")

    assert ed25519.public_key(seed).hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert ed25519.sign(seed, b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_a_signature_whose_s_is_not_reduced_is_refused() -> None:
    signature = _forged(secret=_SECRET, nonce=_NONCE)
    s = int.from_bytes(signature[32:], "little") + curve.ORDER
    malleated = signature[:32] + s.to_bytes(32, "little")

    assert not ed25519.verify(_KEY, _MESSAGE, malleated)


@pytest.mark.parametrize("order", range(8))
def test_a_key_of_small_order_is_refused(order: int) -> None:
    key = curve.encode(_SMALL[order])
    signature = _forged(key=key, secret=0, nonce=_NONCE)

    assert not ed25519.verify(key, _MESSAGE, signature)


def test_the_neutral_key_would_sign_anything_where_small_order_is_not_checked() -> None:
    key = curve.encode(curve.NEUTRAL)
    signature = _forged(key=key, secret=0, nonce=_NONCE)

    assert _openssl_accepts(key, signature)
    assert not ed25519.verify(key, _MESSAGE, signature)


@pytest.mark.parametrize("order", range(8))
def test_a_commitment_of_small_order_is_refused(order: int) -> None:
    signature = _forged(commitment=curve.encode(_SMALL[order]), secret=_SECRET, nonce=0)

    assert not ed25519.verify(_KEY, _MESSAGE, signature)


def test_the_neutral_commitment_holds_where_small_order_is_not_checked() -> None:
    signature = _forged(commitment=curve.encode(curve.NEUTRAL), secret=_SECRET, nonce=0)

    assert _openssl_accepts(_KEY, signature)
    assert not ed25519.verify(_KEY, _MESSAGE, signature)


@pytest.mark.parametrize("key", _NOT_CANONICAL, ids=bytes.hex)
def test_a_key_in_another_encoding_is_refused(key: bytes) -> None:
    signature = _forged(key=key, secret=0, nonce=_NONCE)

    assert not ed25519.verify(key, _MESSAGE, signature)


@pytest.mark.parametrize("commitment", _NOT_CANONICAL, ids=bytes.hex)
def test_a_commitment_in_another_encoding_is_refused(commitment: bytes) -> None:
    signature = _forged(commitment=commitment, secret=_SECRET, nonce=0)

    assert not ed25519.verify(_KEY, _MESSAGE, signature)


@pytest.mark.parametrize("order", range(1, 8))
def test_a_commitment_with_a_small_order_part_is_refused(order: int) -> None:
    # A verifier that multiplies by the cofactor accepts these; ours and the standard library's do not.
    shifted = curve.add(curve.multiply(_NONCE, curve.base_point()), _SMALL[order])
    signature = _forged(commitment=curve.encode(shifted), secret=_SECRET, nonce=_NONCE)

    assert not ed25519.verify(_KEY, _MESSAGE, signature)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_never_verifies(length: int) -> None:
    signature = _forged(secret=_SECRET, nonce=_NONCE)

    assert not ed25519.verify((_KEY * 2)[:length], _MESSAGE, signature)


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_signature_of_another_length_never_verifies(length: int) -> None:
    signature = _forged(secret=_SECRET, nonce=_NONCE)

    assert not ed25519.verify(_KEY, _MESSAGE, (signature * 2)[:length])


def test_bytes_moved_from_the_message_to_the_signature_do_not_verify() -> None:
    signature = _forged(secret=_SECRET, nonce=_NONCE)

    assert not ed25519.verify(_KEY, _MESSAGE[1:], signature + _MESSAGE[:1])


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_two_libraries_agree_and_every_bit_counts(seed: bytes, message: bytes, bit: int) -> None:
    private_key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = ed25519.sign(seed, message)
    flipped = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")

    assert signature == private_key.sign(message)
    assert ed25519.public_key(seed) == private_key.public_key().public_bytes_raw()
    assert ed25519.verify(ed25519.public_key(seed), message, signature)
    assert not ed25519.verify(ed25519.public_key(seed), message, flipped)
    assert not ed25519.verify(ed25519.public_key(seed), hashlib.sha256(message).digest(), signature)

"""The example's own Ed25519 says what ours says, on true signatures and on every forgery that lax code accepts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.canonical import ed25519
from tests.unit.docs_examples import example
from tests.unit.schemas.canonical import edwards_curve as curve

MESSAGE = b"paybond/local/tenant-vec\n7\n"
SECRET = 1234567890123456789012345678901234567890
NONCE = 9876543210987654321098765432109876543210
SMALL = curve.small_order_points()
KEY = curve.encode(curve.multiply(SECRET, curve.base_point()))
COMMITMENT = curve.encode(curve.multiply(NONCE, curve.base_point()))
SIGN_BIT = 1 << 255

# RFC 8032 §7.1: TEST 1, TEST 2, TEST 3, TEST SHA(abc) as (public key, message, signature).
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
            "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]

# The field's prime and the one above it spell y = 0 and y = 1 again; x = 0 has no odd twin.
NOT_CANONICAL = [
    curve.PRIME.to_bytes(32, "little"),
    (curve.PRIME | SIGN_BIT).to_bytes(32, "little"),
    (curve.PRIME + 1).to_bytes(32, "little"),
    (curve.PRIME + 1 | SIGN_BIT).to_bytes(32, "little"),
    (1 | SIGN_BIT).to_bytes(32, "little"),
    (curve.PRIME - 1 | SIGN_BIT).to_bytes(32, "little"),
]


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    return bool(example.load("verify_inclusion").ed25519_verify(key, message, signature))


def forged(*, key: bytes = KEY, commitment: bytes = COMMITMENT, secret: int, nonce: int) -> bytes:
    return curve.forge(key=key, commitment=commitment, secret=secret, nonce=nonce, message=MESSAGE)


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_verify(key: str, message: str, signature: str) -> None:
    assert verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_a_longer_message_does_not_verify(key: str, message: str, signature: str) -> None:
    assert not verify(bytes.fromhex(key), bytes.fromhex(message) + b"!", bytes.fromhex(signature))


def test_a_signature_whose_s_is_not_reduced_is_refused() -> None:
    signature = forged(secret=SECRET, nonce=NONCE)
    s = int.from_bytes(signature[32:], "little") + curve.ORDER

    assert verify(KEY, MESSAGE, signature)
    assert not verify(KEY, MESSAGE, signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [curve.encode(point) for point in SMALL] + NOT_CANONICAL)
def test_a_key_of_small_order_or_in_another_encoding_is_refused(key: bytes) -> None:
    assert not verify(key, MESSAGE, forged(key=key, secret=0, nonce=NONCE))


@pytest.mark.parametrize("commitment", [curve.encode(point) for point in SMALL] + NOT_CANONICAL)
def test_a_commitment_of_small_order_or_in_another_encoding_is_refused(commitment: bytes) -> None:
    assert not verify(KEY, MESSAGE, forged(commitment=commitment, secret=SECRET, nonce=0))


@pytest.mark.parametrize("order", range(1, 8))
def test_a_commitment_with_a_small_order_part_is_refused(order: int) -> None:
    shifted = curve.add(curve.multiply(NONCE, curve.base_point()), SMALL[order])
    signature = forged(commitment=curve.encode(shifted), secret=SECRET, nonce=NONCE)

    assert not verify(KEY, MESSAGE, signature)


def test_bytes_that_are_no_point_are_refused() -> None:
    no_point = next(y for y in range(2, 64) if curve.from_y(y) is None).to_bytes(32, "little")

    assert not verify(no_point, MESSAGE, forged(secret=SECRET, nonce=NONCE))


@pytest.mark.parametrize(
    ("key_length", "signature_length"), [(31, 64), (33, 64), (32, 63), (32, 65)]
)
def test_another_length_never_verifies(key_length: int, signature_length: int) -> None:
    signature = forged(secret=SECRET, nonce=NONCE)

    assert not verify((KEY * 2)[:key_length], MESSAGE, (signature * 2)[:signature_length])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=80),
    bit=st.integers(0, 511),
)
def test_it_agrees_with_libsodium_and_every_bit_counts(
    seed: bytes, message: bytes, bit: int
) -> None:
    key, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
    flipped = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")

    assert verify(key, message, signature)
    assert not verify(key, message, flipped)
    assert not ed25519.verify(key, message, flipped)


@pytest.mark.parametrize("y", [y for y in range(19) if curve.from_y(y) is not None])
def test_a_point_has_one_encoding(y: int) -> None:
    # Nobody can sign with most of these, so verification alone would not show that they are refused.
    decode = example.load("verify_inclusion").decode_point

    assert decode(y.to_bytes(32, "little")) is not None
    assert decode((curve.PRIME + y).to_bytes(32, "little")) is None


@pytest.mark.parametrize("y", [1, curve.PRIME - 1])
def test_a_zero_x_has_no_sign(y: int) -> None:
    decode = example.load("verify_inclusion").decode_point

    assert decode(y.to_bytes(32, "little")) is not None
    assert decode((y | SIGN_BIT).to_bytes(32, "little")) is None

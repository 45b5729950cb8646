"""Ed25519 with one strict rule everywhere: S < L, canonical A and R, no small order (RFC 8032 §5.1.7, and stricter).

The libsodium that PyNaCl ships checks all of it and compares R byte by byte (cofactorless); the tests forge
one signature per rule, because other builds of libsodium and OpenSSL accept some of them.
"""

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

SEED_LENGTH = 32
PUBLIC_KEY_LENGTH = 32
SIGNATURE_LENGTH = 64


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """False for every signature that does not hold, also for keys and signatures of another length."""
    # libsodium would read a short key's missing bytes from the message, or raise; neither is an answer.
    if len(public_key) != PUBLIC_KEY_LENGTH or len(signature) != SIGNATURE_LENGTH:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def sign(seed: bytes, message: bytes) -> bytes:
    """64 bytes; deterministic (RFC 8032 §5.1.6)."""
    _, secret_key = crypto_sign_seed_keypair(seed)
    return crypto_sign(message, secret_key)[:SIGNATURE_LENGTH]


def public_key(seed: bytes) -> bytes:
    verifier, _ = crypto_sign_seed_keypair(seed)
    return verifier

"""The capability token is the same on every answer, and nobody else's."""

import pytest

from gateway.auth.capability import CapabilityKey, capability_token, is_capability_of

KEY = CapabilityKey(key_id="c1", secret=b"s" * 32)
INTENT = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"
TOKEN = capability_token(KEY, tenant_id="acme", intent_id=INTENT)


def test_a_token_is_deterministic_and_recognized() -> None:
    assert capability_token(KEY, tenant_id="acme", intent_id=INTENT) == TOKEN
    assert is_capability_of(KEY, TOKEN, tenant_id="acme", intent_id=INTENT)


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "A", TOKEN[:-4] + "AAAA"])
def test_a_forged_token_is_not(token: str) -> None:
    assert not is_capability_of(KEY, token, tenant_id="acme", intent_id=INTENT)


def test_a_token_is_bound_to_tenant_intent_and_key() -> None:
    other_key = CapabilityKey(key_id="c1", secret=b"t" * 32)

    assert not is_capability_of(KEY, TOKEN, tenant_id="acme-corp", intent_id=INTENT)
    assert not is_capability_of(KEY, TOKEN, tenant_id="acme", intent_id=INTENT[:-1] + "2")
    assert not is_capability_of(other_key, TOKEN, tenant_id="acme", intent_id=INTENT)

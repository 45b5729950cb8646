"""API keys: only the genuine, live bearer of the stored key opens anything."""

from dataclasses import replace

import pytest

from gateway.auth.api_key import (
    KeyKind,
    Peppers,
    PresentedKey,
    StoredKey,
    bearer_of,
    is_genuine,
    parse_bearer,
)
from schemas.messages.shared import Environment

KEY_ID = "0123456789abcdef" * 2
SECRET = "fedcba9876543210" * 4
PEPPERS = Peppers(active_id="p2", keys={"p1": b"old" * 11, "p2": b"new" * 11})
BEARER = bearer_of(
    kind=KeyKind.STANDARD, environment=Environment.SANDBOX, key_id=KEY_ID, secret=SECRET
)
STORED = StoredKey(
    key_id=KEY_ID,
    tenant_id="acme",
    environment=Environment.SANDBOX,
    kind=KeyKind.STANDARD,
    permissions=frozenset({"harbor.intent:read"}),
    pepper_id="p1",
    digest=PEPPERS.digest(BEARER, pepper_id="p1"),
    is_revoked=False,
)


def _presented() -> PresentedKey:
    presented = parse_bearer(f"Bearer {BEARER}")
    assert presented is not None
    return presented


def test_the_bearer_of_a_stored_key_is_genuine_under_the_pepper_it_was_stored_with() -> None:
    assert is_genuine(_presented(), STORED, PEPPERS)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        replace(STORED, is_revoked=True),
        replace(STORED, environment=Environment.LIVE),
        replace(STORED, kind=KeyKind.RESTRICTED),
        replace(STORED, digest=bytes(32)),
        replace(STORED, pepper_id="p2"),
        replace(STORED, pepper_id="gone"),
    ],
    ids=["unknown", "revoked", "environment", "kind", "digest", "other pepper", "retired pepper"],
)
def test_anything_else_is_not(stored: StoredKey | None) -> None:
    assert not is_genuine(_presented(), stored, PEPPERS)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        BEARER,
        f"Basic {BEARER}",
        f"Bearer {BEARER} ",
        f"Bearer  {BEARER}",
        f"Bearer {BEARER.upper()}",
        f"Bearer {BEARER[:-1]}",
        f"Bearer {BEARER.replace('sandbox', 'test')}",
        f"Bearer {BEARER}\n",
    ],
)
def test_a_header_of_another_form_holds_no_key(header: str) -> None:
    assert parse_bearer(header) is None


def test_the_scheme_is_read_in_any_case() -> None:
    assert parse_bearer(f"bearer {BEARER}") == _presented()


def test_the_environment_and_kind_stand_in_the_key() -> None:
    bearer = bearer_of(
        kind=KeyKind.RESTRICTED, environment=Environment.LIVE, key_id=KEY_ID, secret=SECRET
    )

    presented = parse_bearer(f"Bearer {bearer}")

    assert bearer.startswith("paybond_rk_live_")
    assert presented is not None
    assert (presented.kind, presented.environment) == (KeyKind.RESTRICTED, Environment.LIVE)

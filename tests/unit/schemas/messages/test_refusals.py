"""The one table of error codes: statuses as the contract says, and what is kept for an idempotency key."""

import pytest

from schemas.messages.refusals import REFUSALS, Keeping, rule_of


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_keeping_follows_from_the_status(code: str) -> None:
    rule = rule_of(code)

    if rule.keeping is Keeping.ALWAYS:
        assert rule.http_status in {400, 422}
    elif rule.keeping is Keeping.SAME_NONCE:
        assert rule.http_status in {402, 404, 409}


@pytest.mark.parametrize(
    "code",
    [code for code, rule in REFUSALS.items() if rule.http_status in {401, 413, 429, 500, 503}],
)
def test_what_may_pass_is_never_kept(code: str) -> None:
    assert rule_of(code).keeping is Keeping.NEVER


def test_every_message_is_a_sentence_for_people() -> None:
    assert all(rule.message.endswith(".") and len(rule.message) > 10 for rule in REFUSALS.values())

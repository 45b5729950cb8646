"""Who is answered by which outcome: a refusal is said to the attempt that it was decided for, and to no other."""

from dataclasses import replace

import pytest

from gateway.commands.attempt import Attempt, attempt_of
from schemas.messages.commands import SpentNonce
from schemas.messages.outcomes import Outcome, OutcomeStatus, Refusal
from tests.support.builders import T0, TENANT, a_command_id, an_intent_id

_SPENT = SpentNonce(key_id="agent-1", nonce="n1", expires_at=T0)
_DONE = Outcome(
    command_id=a_command_id(1),
    tenant_id=TENANT,
    intent_id=an_intent_id(),
    command_kind="SubmitEvidence",
    status=OutcomeStatus.DONE,
    input_hash=bytes(32),
    recorded_at=T0,
    decided_at=T0,
    spent=_SPENT,
    request_id="r1",
)
_PROVEN = attempt_of(_DONE)
_UNPROVEN = attempt_of(replace(_DONE, spent=None))
# As an operation id carries it.
_CUT = Attempt(body=_PROVEN.body[:4], sender=(_PROVEN.sender or b"")[:4])


def _refused(code: str, status: OutcomeStatus = OutcomeStatus.REFUSED) -> Outcome:
    return replace(_DONE, status=status, refusal=Refusal(code=code, message="no"))


def _by_another_proof(outcome: Outcome) -> Outcome:
    return replace(outcome, spent=replace(_SPENT, nonce="n2"), request_id="r2")


@pytest.mark.parametrize(
    "outcome",
    [
        _refused("intent_frozen"),
        _refused("recognition_proof_replayed", OutcomeStatus.RETRY),
        _refused("tenant_quarantined", OutcomeStatus.RETRY),
    ],
)
@pytest.mark.parametrize("attempt", [_PROVEN, _CUT])
def test_a_refusal_that_a_fresh_proof_is_spared_is_its_own_attempts_only(
    outcome: Outcome, attempt: Attempt
) -> None:
    assert attempt.is_answered_by(outcome)
    assert not attempt.is_answered_by(_by_another_proof(outcome))
    assert not attempt.is_answered_by(replace(outcome, spent=replace(_SPENT, key_id="agent-2")))


def test_the_same_proof_sent_again_is_the_same_attempt_whatever_its_request_id() -> None:
    assert _PROVEN.is_answered_by(replace(_refused("intent_frozen"), request_id="r2"))


def test_without_a_proof_the_request_id_tells_attempts_apart() -> None:
    refused = replace(_refused("not_disputed"), spent=None)

    assert _UNPROVEN.is_answered_by(refused)
    assert not _UNPROVEN.is_answered_by(replace(refused, request_id="r2"))


@pytest.mark.parametrize(
    "outcome",
    [
        _DONE,
        replace(_DONE, status=OutcomeStatus.ACCEPTED),
        _refused("payload_invalid"),
        _refused("a_code_of_a_later_release"),
    ],
)
def test_what_every_repeat_is_answered_with_answers_another_attempt_too(outcome: Outcome) -> None:
    assert _PROVEN.is_answered_by(_by_another_proof(outcome))
    assert _UNPROVEN.is_answered_by(replace(outcome, spent=None, request_id="r2"))


def test_a_command_that_could_not_be_read_is_answered_whoever_sent_it() -> None:
    unread = replace(_refused("internal_error", OutcomeStatus.RETRY), spent=None, request_id=None)

    assert _PROVEN.is_answered_by(unread)
    assert _UNPROVEN.is_answered_by(unread)


def test_an_outcome_of_another_body_answers_nobody() -> None:
    other = replace(_DONE, input_hash=b"\x01" * 32)

    assert not _PROVEN.is_answered_by(other)
    assert not _CUT.is_answered_by(other)

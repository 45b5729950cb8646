"""Same key, same body, same nonce, or not: what is answered again and what is decided anew."""

from dataclasses import replace

import pytest

from harbor.domain.idempotency import (
    DecideAnew,
    Lookup,
    Mismatch,
    NonceReplayed,
    Replay,
    look_up,
)
from harbor.domain.refusals import refusal
from schemas.messages.commands import Command, ConfirmSettlement, FundIntent
from schemas.messages.outcomes import Outcome, OutcomeStatus
from tests.support.builders import a_command, create_intent, submit_evidence
from tests.support.domain_world import World, funded, opened

COMMAND = a_command(FundIntent(), number=1, nonce="one")


def stored(command: Command, status: OutcomeStatus, code: str | None = None) -> Outcome:
    world = World()
    outcome = world.send(command)
    return replace(
        outcome, status=status, refusal=refusal(code) if code else None, spent=command.spent
    )


def with_nonce(nonce: str | None) -> Command:
    return a_command(FundIntent(), number=1, nonce=nonce)


@pytest.mark.parametrize("status", [OutcomeStatus.DONE, OutcomeStatus.ACCEPTED])
@pytest.mark.parametrize("nonce", ["one", "two", None])
def test_a_success_is_answered_again_whatever_the_proof(
    status: OutcomeStatus, nonce: str | None
) -> None:
    outcome = stored(COMMAND, status)

    assert look_up(outcome, with_nonce(nonce), None) == Replay(outcome)


@pytest.mark.parametrize("code", ["amount_invalid", "rail_unknown", "payload_invalid"])
def test_a_malformed_request_is_refused_again_whatever_the_proof(code: str) -> None:
    outcome = stored(COMMAND, OutcomeStatus.REFUSED, code)

    assert look_up(outcome, with_nonce("two"), None) == Replay(outcome)


@pytest.mark.parametrize(
    ("nonce", "expected"), [("one", Replay), ("two", DecideAnew), (None, DecideAnew)]
)
@pytest.mark.parametrize("code", ["not_funded", "payment_declined", "intent_not_found"])
def test_a_refusal_that_depends_on_state_is_decided_anew_for_a_fresh_proof(
    code: str, nonce: str | None, expected: type[Lookup]
) -> None:
    outcome = stored(COMMAND, OutcomeStatus.REFUSED, code)

    assert isinstance(look_up(outcome, with_nonce(nonce), None), expected)


def test_another_key_with_the_same_nonce_text_is_a_fresh_proof() -> None:
    outcome = stored(COMMAND, OutcomeStatus.REFUSED, "not_funded")
    assert COMMAND.spent is not None
    other = replace(COMMAND, spent=replace(COMMAND.spent, key_id="agent-key-2"))

    assert look_up(outcome, other, None) == DecideAnew()


def test_a_repeat_without_proofs_is_a_new_wish_where_state_had_refused() -> None:
    command = with_nonce(None)
    outcome = stored(command, OutcomeStatus.REFUSED, "not_disputed")

    assert look_up(outcome, command, None) == DecideAnew()


@pytest.mark.parametrize("status", [OutcomeStatus.DONE, OutcomeStatus.REFUSED])
def test_the_same_key_with_another_body_is_a_mismatch(status: OutcomeStatus) -> None:
    outcome = stored(COMMAND, status, "not_funded" if status is OutcomeStatus.REFUSED else None)
    other = replace(COMMAND, input_hash=b"\x07" * 32)

    assert look_up(outcome, other, None) == Mismatch()


def test_an_outcome_of_status_retry_says_nothing_and_spends_nothing() -> None:
    outcome = stored(COMMAND, OutcomeStatus.RETRY, "tenant_quarantined")

    assert look_up(outcome, replace(COMMAND, input_hash=b"\x07" * 32), None) == DecideAnew()


def test_a_nonce_that_another_command_spent_is_a_replay() -> None:
    assert look_up(None, COMMAND, "another-command") == NonceReplayed()
    assert look_up(None, COMMAND, COMMAND.command_id) == DecideAnew()


def test_a_stored_answer_comes_before_the_nonce() -> None:
    outcome = stored(COMMAND, OutcomeStatus.DONE)

    assert look_up(outcome, COMMAND, "another-command") == Replay(outcome)


def test_a_fresh_decision_needs_a_fresh_nonce() -> None:
    outcome = stored(COMMAND, OutcomeStatus.REFUSED, "not_funded")

    assert look_up(outcome, with_nonce("two"), "another-command") == NonceReplayed()


def test_evidence_before_funding_is_accepted_under_its_key_with_a_fresh_proof() -> None:
    world = opened()
    body = submit_evidence(now=world.now)
    command = a_command(body, number=50, nonce="one")
    first, repeated = world.send(command), world.send(command)
    assert first == repeated
    assert first.refusal is not None
    assert first.refusal.code == "not_funded"
    ready = funded()
    ready.outcomes.update(world.outcomes)

    outcome = ready.send(a_command(body, number=50, nonce="two"))

    assert outcome.status is OutcomeStatus.DONE


def test_the_same_command_three_times_is_one_entry() -> None:
    world = funded()
    world.do(submit_evidence(now=world.now))
    command = a_command(ConfirmSettlement(), number=60, nonce="one")

    outcomes = [world.send(command) for _ in range(3)]

    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(world.effects) == 2


def test_one_proof_for_two_keys_is_a_replay_also_after_a_refusal() -> None:
    world = opened()
    world.send(a_command(create_intent(), number=70, nonce="one"))

    outcome = world.send(a_command(FundIntent(), number=71, nonce="one"))

    assert outcome.refusal is not None
    assert outcome.refusal.code == "recognition_proof_replayed"

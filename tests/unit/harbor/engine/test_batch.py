"""What a batch does with repeats, reused keys, spent nonces, quarantined tenants and what does not fit."""

from dataclasses import replace
from datetime import timedelta

import pytest

from harbor.engine.batch_lookup import NONCE, View, nonce_key, nonce_writes_of
from schemas.ids import CommandId, TenantId
from schemas.messages.commands import (
    Command,
    ConfirmSettlement,
    FundIntent,
    OpenDispute,
    ReleaseQuarantine,
    SpentNonce,
    SubmitEvidence,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus, TenantAnswer
from schemas.messages.shared import Environment, SettlementMode
from schemas.topics import mismatch_outcome_key, outcome_key
from tests.support.builders import (
    T0,
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
    rail_answer,
    submit_evidence,
)
from tests.support.harbor_world import HarborWorld, of_tenant, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2, nonce="n-create")
FUND = a_command(FundIntent(), number=3, nonce="n-fund")
OTHER_INPUT = bytes(32)
SAME_PARTITION = [True, False]


def code_of(outcome: Outcome) -> str | None:
    return None if outcome.refusal is None else outcome.refusal.code


def with_nonce(command: Command, nonce: str) -> Command:
    return replace(command, spent=SpentNonce(key_id="agent-key", nonce=nonce, expires_at=T0))


@pytest.mark.parametrize("is_one_batch", SAME_PARTITION)
def test_a_repeat_gets_the_first_answer_again_and_adds_nothing(is_one_batch: bool) -> None:  # noqa: FBT001
    async def scenario() -> None:
        world = HarborWorld()
        if is_one_batch:
            await world.decide(PROVISION, CREATE, CREATE)
        else:
            await world.decide(PROVISION, CREATE)
            await world.decide(CREATE)
        first, again = world.outcomes(CREATE)

        assert first == again
        assert world.events() == ["tenant_provisioned", "intent_created"]

    run(scenario)


@pytest.mark.parametrize("is_one_batch", SAME_PARTITION)
def test_a_reused_key_is_refused_beside_the_first_answer(is_one_batch: bool) -> None:  # noqa: FBT001
    async def scenario() -> None:
        world = HarborWorld()
        reused = replace(with_nonce(CREATE, "n-other"), input_hash=OTHER_INPUT)
        if is_one_batch:
            await world.decide(PROVISION, CREATE, reused, CREATE)
        else:
            await world.decide(PROVISION, CREATE)
            await world.decide(reused)
            await world.decide(CREATE)
        keys = dict(world.outcome_records())
        command_id = CommandId(CREATE.command_id)

        first = keys[outcome_key(TENANT, command_id)]
        assert first.status is OutcomeStatus.DONE
        refused = keys[mismatch_outcome_key(TENANT, command_id, OTHER_INPUT)]
        assert code_of(refused) == "idempotency_key_reused"
        assert world.outcomes(CREATE)[-1] == first

    run(scenario)


def test_a_repeated_reuse_of_a_key_gets_its_own_first_answer() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        reused = replace(with_nonce(CREATE, "n-other"), input_hash=OTHER_INPUT)
        await world.decide(PROVISION, CREATE, reused)
        await world.decide(reused)

        _, refused, again = world.outcomes(CREATE)
        assert refused == again

    run(scenario)


@pytest.mark.parametrize("is_one_batch", SAME_PARTITION)
def test_a_nonce_is_spent_with_its_effect_and_no_other_command_may_use_it(
    is_one_batch: bool,  # noqa: FBT001
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        replay = with_nonce(a_command(FundIntent(), number=9), "n-create")
        if is_one_batch:
            await world.decide(PROVISION, CREATE, replay)
        else:
            await world.decide(PROVISION, CREATE)
            await world.decide(replay)

        (outcome,) = world.outcomes(replay)
        assert code_of(outcome) == "recognition_proof_replayed"
        assert outcome.status is OutcomeStatus.RETRY
        assert world.effects() == []

    run(scenario)


def test_a_refusal_that_depends_on_state_is_decided_anew_with_a_fresh_proof() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        evidence = a_command(submit_evidence(now=world.clock.now()), number=5, nonce="n-1")
        await world.decide(evidence, FUND)
        answer = rail_answer(world.effects()[0], now=world.clock.now())
        await world.decide(a_command(answer, number=4))
        await world.decide(evidence)
        await world.decide(with_nonce(evidence, "n-2"))
        refused, repeated, done = world.outcomes(evidence)

        assert code_of(refused) == "not_funded"
        assert repeated == refused
        assert done.status is OutcomeStatus.DONE

    run(scenario)


def test_a_later_answer_is_decided_later_also_where_the_brokers_clock_stepped_back() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        too_early = a_command(ConfirmSettlement(), number=4, nonce="n-early")
        await world.decide(PROVISION, CREATE, FUND, too_early)
        world.clock.advance(timedelta(hours=-1))
        await world.decide(a_command(rail_answer(world.effects()[0]), number=5))
        await world.decide(with_nonce(too_early, "n-later"))

        for command in (FUND, too_early):
            first, last = world.outcomes(command)
            assert first.decided_at < last.decided_at
        assert world.outcomes(FUND)[-1].status is OutcomeStatus.DONE

    run(scenario)


def test_a_malformed_request_is_answered_alike_to_every_proof() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        unsigned = create_intent(principal_signature=bytes(64))
        malformed = a_command(unsigned, number=2, nonce="n-1")
        await world.decide(PROVISION, malformed)
        await world.decide(with_nonce(malformed, "n-2"))
        first, again = world.outcomes(malformed)

        assert code_of(first) == "principal_signature_invalid"
        assert first == again

    run(scenario)


def test_an_outcome_is_forgotten_after_its_window_warm_as_cold() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        warm = await world.decide(PROVISION, CREATE)
        cold = world.process("cold")
        warm = world.process("warm", slot=1, after=warm)
        world.clock.advance(timedelta(hours=25))
        for number, process in enumerate((warm, cold)):
            await process.loop.start()
            world.send(with_nonce(CREATE, f"n-later-{number}"))
            await world.settle(process)
            await process.loop.stop()

        codes = [code_of(outcome) for outcome in world.outcomes(CREATE)]
        assert codes == [None, "intent_exists", "intent_exists"]

    run(scenario)


def test_the_window_is_judged_by_the_log_in_a_process_that_never_restarted() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        await process.loop.start()
        world.send(PROVISION, CREATE)
        await world.settle(process)
        world.clock.advance(timedelta(hours=23))
        world.send(with_nonce(CREATE, "n-within"))
        await world.settle(process)
        world.clock.advance(timedelta(hours=2))
        world.send(with_nonce(CREATE, "n-after"))
        await world.settle(process)

        codes = [code_of(outcome) for outcome in world.outcomes(CREATE)]
        assert codes == [None, None, "intent_exists"]

    run(scenario)


def test_a_command_that_waited_too_long_is_refused_by_the_clock_of_the_decision() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION)
        late = replace(CREATE, not_after=world.clock.now() + timedelta(minutes=10))
        world.send(late)
        world.clock.advance(timedelta(minutes=11))
        await world.decide()

        assert code_of(world.outcomes(late)[0]) == "command_expired"

    run(scenario)


def test_a_ledger_begins_only_where_its_topic_is() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        without_topic = of_tenant(PROVISION, TenantId("tenant-without-topic"))
        await world.decide(without_topic, PROVISION)
        (refused,) = world.outcomes(without_topic)
        (provisioned,) = world.outcomes(PROVISION)

        assert code_of(refused) == "ledger_topic_missing"
        assert refused.status is OutcomeStatus.RETRY
        assert provisioned.answer == TenantAnswer(
            environment=Environment.SANDBOX, settlement_mode=SettlementMode.SIMULATED
        )

    run(scenario)


def test_one_tenants_command_never_finds_anothers_intent() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        other = TenantId("tenant-two")
        world.kafka.create_ledger_topic(f"paybond.ledger.{other}")
        theirs = of_tenant(a_command(OpenDispute(reason_code="x"), number=8), other)
        await world.decide(PROVISION, CREATE, of_tenant(PROVISION, other), theirs)

        assert code_of(world.outcomes(theirs)[0]) == "intent_not_found"
        assert [entry.tenant_id for entry in world.entries(other)] == [other]
        world.assert_whole()
        world.assert_whole(other)

    run(scenario)


def test_a_tenant_in_doubt_is_answered_retry_and_spends_nothing() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        before = len(world.checkpoints())
        process = world.process("second")
        process.assigner.in_doubt[TENANT] = "ledger and tip differ"
        await process.loop.start()
        world.send(FUND, CREATE)
        await world.settle(process)
        process.assigner.in_doubt.clear()
        world.send(a_command(ReleaseQuarantine(reason="looked at"), number=7), FUND)
        await world.settle(process)
        world.send(with_nonce(FUND, "n-poll"))
        await world.settle(process)
        stopped, decided, again = world.outcomes(FUND)

        assert code_of(stopped) == "tenant_quarantined"
        assert again == decided
        assert stopped.status is OutcomeStatus.RETRY
        assert decided.status is OutcomeStatus.ACCEPTED
        assert len(world.checkpoints()) == before + 1
        # What had been answered stands: a 503 lies beside it, never over it.
        keys = [key for key, outcome in world.outcome_records() if outcome.status == "retry"]
        assert all(key.count(b"/") == 2 for key in keys)

    run(scenario)


def test_what_does_not_fit_into_a_record_is_refused_and_leaves_nothing_half_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION)
        monkeypatch.setattr("harbor.engine.batch_output.record_bytes_max", lambda _topic: 300)
        await world.decide(CREATE)
        monkeypatch.undo()
        await world.decide(FUND, CREATE)
        too_large, done = world.outcomes(CREATE)

        assert code_of(too_large) == "command_too_large"
        assert too_large.status is OutcomeStatus.RETRY
        assert code_of(world.outcomes(FUND)[0]) == "intent_not_found"
        assert done.ledger_seq == 2
        world.assert_whole()

    run(scenario)


def test_a_dead_letter_too_large_for_its_topic_keeps_reference_and_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        monkeypatch.setattr("harbor.engine.batch_output.record_bytes_max", lambda _topic: 300)
        world.send_value(CREATE, b"x" * 1000)
        await world.decide()
        (letter,) = world.dead_letters()

        assert (letter.key, letter.value) == (None, None)
        assert letter.offset == 0
        assert letter.value_digest != bytes(32)

    run(scenario)


def test_commands_of_one_batch_see_each_other() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        other = an_intent_id(2)
        await world.decide(
            PROVISION,
            CREATE,
            FUND,
            with_nonce(a_command(FundIntent(), number=4), "n-poll"),
            a_command(create_intent(intent_id=other), number=5, intent_id=other),
            a_command(ConfirmSettlement(), number=6),
        )
        poll = world.outcomes(a_command(FundIntent(), number=4))[0]

        assert len(world.effects()) == 1
        assert poll.operation_command_id == FUND.command_id
        assert world.events().count("intent_created") == 2
        (confirm,) = world.outcomes(a_command(ConfirmSettlement(), number=6))
        assert confirm.status is OutcomeStatus.REFUSED
        world.assert_whole()

    run(scenario)


def test_a_party_under_another_key_is_refused_within_one_batch_too() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        other = an_intent_id(2)
        impostor = create_intent(intent_id=other, payee_pubkey=b"\x01" * 32)
        await world.decide(PROVISION, CREATE, a_command(impostor, number=5, intent_id=other))

        assert code_of(world.outcomes(a_command(impostor, number=5))[0]) == "key_pinned"

    run(scenario)


def test_evidence_signed_by_another_is_refused() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        answer = rail_answer(world.effects()[0], now=world.clock.now())
        await world.decide(a_command(answer, number=4))
        body: SubmitEvidence = submit_evidence(now=world.clock.now(), payee_signature=b"\x05" * 64)
        await world.decide(a_command(body, number=5))

        assert code_of(world.outcomes(a_command(body, number=5))[0]) == "payee_signature_invalid"

    run(scenario)


def test_a_retry_outcome_adds_nothing_to_the_index_of_nonces() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        outcome = world.outcomes(CREATE)[0]
        assert outcome.spent is not None

        assert nonce_writes_of(outcome) == {
            nonce_key(TENANT, outcome.spent): CREATE.command_id.encode()
        }
        assert nonce_writes_of(replace(outcome, status=OutcomeStatus.RETRY)) == {}
        assert nonce_writes_of(replace(outcome, spent=None)) == {}

    run(scenario)


def test_key_id_and_nonce_are_told_apart_in_the_index() -> None:
    one = SpentNonce(key_id="a/b", nonce="c", expires_at=T0)
    other = SpentNonce(key_id="a", nonce="b/c", expires_at=T0)

    assert nonce_key(TENANT, one) != nonce_key(TENANT, other)


def test_a_view_answers_only_what_was_fetched() -> None:
    view = View()
    view.fetch(0, [(NONCE, b"known")], {})

    assert view.get(bytes, 0, (NONCE, b"known")) is None
    with pytest.raises(AssertionError, match="was not fetched"):
        view.get(bytes, 0, (NONCE, b"unknown"))
    with pytest.raises(AssertionError, match="was not fetched"):
        view.get(bytes, 1, (NONCE, b"known"))

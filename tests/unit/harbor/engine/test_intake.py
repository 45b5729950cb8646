"""Records that are no commands: dead letters, alarms, and an answer only for whoever could not be understood."""

from dataclasses import replace
from datetime import timedelta

from schemas.messages.command_sealing import seal
from schemas.messages.commands import (
    FundIntent,
    Issuer,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import OUTCOMES, OUTCOMES_RESTORED_HOURS
from tests.support.builders import (
    TENANT,
    a_command,
    create_intent,
    provision_tenant,
)
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborWorld, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2, nonce="n-create")
FUND = a_command(FundIntent(), number=3, nonce="n-fund")


def code_of(outcome: Outcome) -> str | None:
    return None if outcome.refusal is None else outcome.refusal.code


def test_an_undecodable_command_is_a_dead_letter_and_still_answered() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION)
        world.send_value(CREATE, b"\x00\x00\x01\x86\xa0garbage")
        await world.decide(FUND)
        (outcome,) = world.outcomes(CREATE)

        assert (outcome.status, code_of(outcome)) == (OutcomeStatus.RETRY, "internal_error")
        assert outcome.input_hash == CREATE.input_hash
        (letter,) = world.dead_letters()
        assert letter.reason.startswith("undecodable")
        assert (letter.tenant_id, letter.command_id) == (TENANT, CREATE.command_id)
        assert letter.value == b"\x00\x00\x01\x86\xa0garbage"
        assert code_of(world.outcomes(FUND)[0]) == "intent_not_found"

    run(scenario)


def test_garbage_that_names_a_tenant_of_another_partition_is_answered_to_nobody() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        elsewhere = (partition_of(TENANT, PARTITIONS) + 1) % PARTITIONS
        world.send_value(CREATE, b"garbage", partition=elsewhere)
        await world.decide()

        assert world.outcomes(CREATE) == []
        assert world.dead_letters()[0].tenant_id is None

    run(scenario)


def test_garbage_under_an_answered_commands_name_does_not_touch_its_answer() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        world.send_value(CREATE, b"garbage")
        await world.decide(CREATE)
        first, retry, again = world.outcomes(CREATE)
        world.clock.advance(timedelta(hours=OUTCOMES_RESTORED_HOURS + 1))
        world.kafka.compact(OUTCOMES)

        assert first == again
        assert retry.status is OutcomeStatus.RETRY
        kept = [outcome.status for outcome in world.outcomes(CREATE)]
        assert kept == [OutcomeStatus.RETRY, OutcomeStatus.DONE]

    run(scenario)


def test_a_forged_command_is_a_dead_letter_an_alarm_and_no_answer() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION)
        world.send_value(CREATE, seal(CREATE, b"not the gateway's key"))
        process = await world.decide()

        assert world.outcomes(CREATE) == []
        assert world.dead_letters()[0].reason.startswith("issuer_mac_wrong")
        (result,) = process.witness.results
        assert dict(result.tally.alarms) == {"issuer_mac_wrong": 1}
        assert world.events() == ["tenant_provisioned"]

    run(scenario)


def test_an_issuer_may_send_only_its_own_command_types() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        as_gateway = replace(PROVISION, issuer=Issuer.GATEWAY)
        process = await world.decide(as_gateway)

        assert world.dead_letters()[0].reason.startswith("issuer_type_not_allowed")
        (result,) = process.witness.results
        assert dict(result.tally.alarms) == {"issuer_type_not_allowed": 1}
        assert world.entries() == []

    run(scenario)


def test_a_command_in_another_partition_than_its_tenants_is_a_dead_letter() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        elsewhere = (partition_of(TENANT, PARTITIONS) + 1) % PARTITIONS
        value = seal(PROVISION, ISSUER_KEYS[PROVISION.issuer][0])
        world.send_value(PROVISION, value, partition=elsewhere)
        await world.decide()

        assert world.dead_letters()[0].reason.startswith("wrong_partition")
        assert world.entries() == []
        assert world.outcomes(PROVISION) == []

    run(scenario)


def test_ids_that_are_none_never_become_part_of_a_key() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, replace(CREATE, intent_id="tenant"))
        await world.decide(replace(FUND, command_id="../x"))

        assert [letter.reason.split(":")[0] for letter in world.dead_letters()] == [
            "ids_malformed",
            "ids_malformed",
        ]

    run(scenario)

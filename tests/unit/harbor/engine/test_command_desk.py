"""The command line waits for its own answer, whatever else is answered in the partition meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.engine.provisioning import CommandDesk
from schemas.errors import BrokerUnavailableError
from schemas.messages.avro_codec import encode
from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.topics import OUTCOMES
from tests.support.builders import T0, a_command, provision_tenant
from tests.support.harbor_world import run

COMMAND = a_command(provision_tenant(), number=1)
ANSWER = Outcome(
    command_id=COMMAND.command_id,
    tenant_id=COMMAND.tenant_id,
    intent_id=None,
    command_kind="ProvisionTenant",
    status=OutcomeStatus.DONE,
    input_hash=COMMAND.input_hash,
    recorded_at=T0,
    decided_at=T0,
)
OTHERS = (
    replace(ANSWER, tenant_id="another"),
    replace(ANSWER, command_id="another"),
    replace(ANSWER, input_hash=bytes(31) + b"!"),
)
WAIT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Answering:
    """A Harbor that answers these, whatever it is asked."""

    kafka: MemoryKafka
    answers: Sequence[Outcome]

    async def send(self, *_commands: Command) -> None:
        for outcome in self.answers:
            self.kafka.append(OUTCOMES, 0, key=b"key", value=encode(outcome))


def desk_with(*answers: Outcome, before: Sequence[Outcome] = ()) -> CommandDesk:
    clock = MemoryClock(T0)
    kafka = MemoryKafka(now=clock.now)
    kafka.create_paybond_topics(partitions=1)
    for outcome in before:
        kafka.append(OUTCOMES, 0, key=b"key", value=encode(outcome))
    return CommandDesk(
        reader=MemoryLogReader(kafka, process="desk"),
        sender=Answering(kafka, answers),
        clock=clock,
        partitions=1,
    )


def test_its_own_answer_is_found_among_others() -> None:
    async def scenario() -> None:
        assert await desk_with(*OTHERS, ANSWER, *OTHERS).decide(COMMAND, wait=WAIT) == ANSWER

    run(scenario)


@pytest.mark.parametrize("other", OTHERS)
def test_another_tenants_another_commands_or_another_inputs_answer_is_not_its_own(
    other: Outcome,
) -> None:
    async def scenario() -> None:
        with pytest.raises(BrokerUnavailableError, match="does paybond-harbor run"):
            await desk_with(other).decide(COMMAND, wait=WAIT)

    run(scenario)


def test_an_answer_from_before_it_asked_is_not_waited_on() -> None:
    async def scenario() -> None:
        with pytest.raises(BrokerUnavailableError):
            await desk_with(before=[ANSWER]).decide(COMMAND, wait=WAIT)

    run(scenario)

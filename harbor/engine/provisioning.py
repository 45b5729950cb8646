"""A tenant begins: its ledger topic first, then entry 1.

    (1) make `paybond.ledger.<tenant>`, idempotently: a topic can't be made inside a transaction
    (2) send `ProvisionTenant`, under an id that follows from tenant and environment
    (3) wait for its outcome

Any part may be repeated. A topic without an entry is no tenant: readers see nothing, and (2) may still come.
"""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from harbor.engine.cluster_layout import Durability, TopicLayout, ledger_layout
from harbor.engine.ports import Clock, LogReader
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.ids import TenantId, command_id_of, is_tenant_id
from schemas.ledger.checkpoint import origin_of
from schemas.messages.avro_codec import decode
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    Issuer,
    PauseRails,
    ProvisionTenant,
    ReleaseQuarantine,
    ResumeRails,
    input_hash_of,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import Actor, ActorKind, Environment, SettlementMode
from schemas.partitioner import partition_of
from schemas.topics import OUTCOMES

_SETTLEMENT_CONFIG_VERSION = 1
_OUTCOME_PAUSE = timedelta(milliseconds=50)


class TopicMaker(Protocol):
    async def create(self, layout: TopicLayout) -> bool:
        """Whether it was made now; False = it is there. Raises BrokerUnavailableError, ConfigurationError."""


class CommandSender(Protocol):
    async def send(self, command: Command) -> None:
        """Returns when it was acknowledged. Raises BrokerUnavailableError."""


class ProvisionResult(StrEnum):
    CREATED = "created"
    EXISTED = "existed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Whoever sends commands by hand: `ref` is an opaque subject, never a name."""

    ref: str

    @property
    def actor(self) -> Actor:
        return Actor(kind=ActorKind.CLI, ref=self.ref)


def provision_command(
    tenant_id: TenantId,
    *,
    environment: Environment,
    mode: SettlementMode,
    deployment: str,
    operator: Operator,
) -> Command:
    """(2). Raises ConfigurationError for an impossible tenant, or a live one on the simulator."""
    if not is_tenant_id(tenant_id):
        raise ConfigurationError(f"{tenant_id!r} is no tenant id ([a-z0-9][a-z0-9-]{{1,62}})")
    if environment is Environment.LIVE and mode is SettlementMode.SIMULATED:
        raise ConfigurationError("the simulator refuses live tenants")
    return Command(
        command_id=command_id_of("provision", tenant_id, environment.value, mode.value),
        tenant_id=tenant_id,
        intent_id=None,
        issuer=Issuer.CLI,
        issuer_mac=EMPTY_MAC,
        actor=operator.actor,
        input_hash=input_hash_of("PROVISION", environment.value, mode.value.encode()),
        body=ProvisionTenant(
            environment=environment,
            settlement_config_version=_SETTLEMENT_CONFIG_VERSION,
            settlement_mode=mode,
            origin=origin_of(deployment, tenant_id),
        ),
    )


def release_command(
    tenant_id: TenantId, *, reason: str, attempt: str, operator: Operator
) -> Command:
    """`attempt` tells one release from the next: a tenant may be stopped, and released, more than once."""
    said = _Said(kind="quarantine-release", method="RELEASE", attempt=attempt, reason=reason)
    return _operators_command(tenant_id, said, ReleaseQuarantine(reason=reason), operator)


def pause_command(tenant_id: TenantId, *, reason: str, attempt: str, operator: Operator) -> Command:
    """`attempt` as of a release."""
    said = _Said(kind="rails-pause", method="PAUSE", attempt=attempt, reason=reason)
    return _operators_command(tenant_id, said, PauseRails(reason=reason), operator)


def resume_command(
    tenant_id: TenantId, *, reason: str, attempt: str, operator: Operator
) -> Command:
    """`attempt` as of a release."""
    said = _Said(kind="rails-resume", method="RESUME", attempt=attempt, reason=reason)
    return _operators_command(tenant_id, said, ResumeRails(reason=reason), operator)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What makes the command's id and input hash."""

    kind: str
    method: str
    attempt: str
    reason: str


def _operators_command(
    tenant_id: TenantId, said: _Said, body: CommandBody, operator: Operator
) -> Command:
    return Command(
        command_id=command_id_of(said.kind, tenant_id, said.attempt),
        tenant_id=tenant_id,
        intent_id=None,
        issuer=Issuer.CLI,
        issuer_mac=EMPTY_MAC,
        actor=operator.actor,
        input_hash=input_hash_of(said.method, said.attempt, said.reason.encode()),
        body=body,
    )


class CommandDesk:
    """Sends a command and waits for its outcome: the command line's way through the same door as everybody's."""

    def __init__(
        self, *, reader: LogReader, sender: CommandSender, clock: Clock, partitions: int
    ) -> None:
        self._reader = reader
        self._sender = sender
        self._clock = clock
        self._partitions = partitions

    async def decide(
        self, command: Command, *, wait: timedelta, again: str = "The same call"
    ) -> Outcome:
        """The outcome that is published from now on. Raises BrokerUnavailableError when none comes in time.

        `again` = what somebody has to repeat to get the same command's outcome, for that error's text.
        """
        partition = partition_of(command.tenant_id, self._partitions)
        start = await self._reader.end_offset(OUTCOMES, partition)
        await self._sender.send(command)
        waited = timedelta()
        while waited < wait:
            end = await self._reader.stable_offset(OUTCOMES, partition)
            # Left open, it would keep the reader's consumer until somebody collects it.
            async with aclosing(
                self._reader.read(OUTCOMES, partition, start=start, end=end)
            ) as records:
                async for record in records:
                    outcome = decode(record.value) if record.value is not None else None
                    if isinstance(outcome, Outcome) and _is_answer_to(command, outcome):
                        return outcome
            start = max(start, end)
            await self._clock.sleep(_OUTCOME_PAUSE)
            waited += _OUTCOME_PAUSE
        raise BrokerUnavailableError(
            f"no outcome of command {command.command_id} in {wait.total_seconds():g} s:"
            f" does paybond-harbor run? {again} finds it later"
        )


def _is_answer_to(command: Command, outcome: Outcome) -> bool:
    """Partitions are shared and ids are the sender's to choose: another tenant's, or another input's, is not ours."""
    asked = command.tenant_id, command.command_id, command.input_hash
    return asked == (outcome.tenant_id, outcome.command_id, outcome.input_hash)


async def provision(
    command: Command,
    *,
    topics: TopicMaker,
    desk: CommandDesk,
    durability: Durability,
    wait: timedelta,
) -> tuple[ProvisionResult, Outcome]:
    """The three steps. A tenant that is there with this environment is a success; with another, refused."""
    tenant_id = TenantId(command.tenant_id)
    await topics.create(ledger_layout(tenant_id, durability=durability))  # (1)
    outcome = await desk.decide(command, wait=wait)  # (2), (3)
    return _result(command, outcome), outcome


def _result(command: Command, outcome: Outcome) -> ProvisionResult:
    if outcome.status is OutcomeStatus.DONE:
        return ProvisionResult.CREATED
    assert isinstance(command.body, ProvisionTenant)
    refusal = outcome.refusal
    wanted = f'"{command.body.environment.value}"'
    if (
        refusal is not None
        and refusal.code == "tenant_exists"
        and wanted in (refusal.details_json or "")
    ):
        return ProvisionResult.EXISTED
    code, message = (refusal.code, refusal.message) if refusal else (outcome.status.value, "")
    raise ConfigurationError(f"{command.tenant_id} was not provisioned ({code}): {message}")

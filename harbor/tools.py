"""What the command line does besides running: commands sent and waited for, positions and tenants looked at."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import Difference
from harbor.bootstrap import reader_of, sender_of, topics_of
from harbor.settings import HarborSettings
from schemas.errors import BrokerUnavailableError, ConfigurationError, PaybondError
from schemas.ids import TenantId, command_id_of, is_tenant_id
from schemas.instants import format_instant
from schemas.intent_fold import TenantState
from schemas.ledger.checkpoint import origin_of
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    Issuer,
    ProvisionTenant,
    ReleaseQuarantine,
    input_hash_of,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import Actor, ActorKind, Environment, SettlementMode
from schemas.messages.tips import Position, Tip
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, INTENTS, OUTCOMES, POSITIONS, TIPS, tip_key
from streams.runtime.clock import SystemClock, SystemPause

__all__ = ["Difference", "PartitionPosition", "create_tenant", "positions", "release", "tenants"]

_WAIT_SECONDS = 60.0
_STEP_SECONDS = 0.2
# A new ledger topic is seen by Harbor after its metadata was refreshed: 2 to 11 s.
_RESEND_SECONDS = 2.0


class CommandRefusedError(PaybondError):
    """Harbor decided, and said no."""

    def __init__(self, outcome: Outcome) -> None:
        assert outcome.refusal is not None
        details = f" {outcome.refusal.details_json}" if outcome.refusal.details_json else ""
        super().__init__(f"{outcome.refusal.code}: {outcome.refusal.message}{details}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPosition:
    partition: int
    position: int | None
    end: int

    @property
    def waiting(self) -> int:
        return self.end - (self.position or 0)


async def create_tenant(settings: HarborSettings, tenant: str, environment: Environment) -> str:
    """Topic, command, outcome. Running it again answers the same. Raises PaybondError."""
    tenant_id = _tenant(tenant)
    await asyncio.to_thread(topics_of(settings).create_ledger, tenant_id)
    mode = (
        SettlementMode.SIMULATED
        if environment is Environment.SANDBOX
        else SettlementMode.STRIPE_CONNECT
    )
    body = ProvisionTenant(
        environment=environment,
        settlement_config_version=1,
        settlement_mode=mode,
        origin=origin_of(settings.deployment, tenant_id),
    )
    outcome = await _decided(settings, _command(tenant_id, body, environment.value))
    if outcome.status is OutcomeStatus.REFUSED and outcome.refusal is not None:
        if outcome.refusal.code != "tenant_exists":
            raise CommandRefusedError(outcome)
        return f"{tenant_id} exists already"
    return f"{tenant_id} created ({environment.value}, {mode.value})"


async def release(settings: HarborSettings, tenant: str, reason: str) -> str:
    """Raises CommandRefusedError while the ledger still does not agree."""
    tenant_id = _tenant(tenant)
    asked_at = format_instant(SystemClock().now())
    command = _command(tenant_id, ReleaseQuarantine(reason=reason), reason, asked_at)
    outcome = await _decided(settings, command)
    if outcome.status is OutcomeStatus.REFUSED:
        raise CommandRefusedError(outcome)
    return f"{tenant_id} released"


async def positions(settings: HarborSettings) -> list[PartitionPosition]:
    async with _reader(settings) as reader:
        found = []
        for partition in range(settings.kafka_partitions):
            record = await reader.last_record(POSITIONS, partition)
            position = None
            if record is not None and record.value is not None:
                position = decode_as(Position, record.value).next_offset
            end = await reader.end_offset(COMMANDS, partition)
            found.append(PartitionPosition(partition=partition, position=position, end=end))
        return found


async def tenants(settings: HarborSettings) -> list[tuple[str, str, str, str, str]]:
    """(tenant, environment, settlement mode, ledger size, quarantine) of every provisioned tenant."""
    states: dict[str, TenantState] = {}
    tips: dict[bytes, Tip] = {}
    async with _reader(settings) as reader:
        for partition in range(settings.kafka_partitions):
            async for _, value in _values(reader, INTENTS, partition):
                message = decode(value)
                if isinstance(message, TenantState):
                    states[message.tenant_id] = message
            async for key, value in _values(reader, TIPS, partition):
                tips[key] = decode_as(Tip, value)
    return [
        (
            state.tenant_id,
            state.environment.value,
            state.settlement_mode.value,
            str(tips[tip_key(TenantId(name))].size),
            state.quarantine.reason if state.quarantine else "",
        )
        for name, state in sorted(states.items())
    ]


async def _values(
    reader: KafkaLogReader, topic: str, partition: int
) -> AsyncIterator[tuple[bytes, bytes]]:
    start = await reader.beginning_offset(topic, partition)
    end = await reader.stable_offset(topic, partition)
    async for record in reader.read(topic, partition, start=start, end=end):
        if record.key is not None and record.value is not None:
            yield record.key, record.value


def _command(tenant_id: TenantId, body: CommandBody, *said: str) -> Command:
    kind = type(body).__name__
    return Command(
        command_id=command_id_of(f"cli/{kind}", tenant_id, *said[1:]),
        tenant_id=tenant_id,
        intent_id=None,
        issuer=Issuer.CLI,
        issuer_mac=EMPTY_MAC,
        actor=Actor(kind=ActorKind.CLI, ref="paybond-harbor"),
        input_hash=input_hash_of("cli", kind, json.dumps(said).encode()),
        body=body,
    )


async def _decided(settings: HarborSettings, command: Command) -> Outcome:
    """Send, and wait for a decision; `retry` outcomes are sent again. Raises BrokerUnavailableError."""
    partition = partition_of(command.tenant_id, settings.kafka_partitions)
    pause = SystemPause()
    sender = sender_of(settings, Issuer.CLI)
    try:
        async with _reader(settings) as reader:
            start = await reader.end_offset(OUTCOMES, partition)
            waited = 0.0
            while waited < _WAIT_SECONDS:
                if waited % _RESEND_SECONDS < _STEP_SECONDS:
                    await sender.send(command)
                await pause.pause(_STEP_SECONDS)
                waited += _STEP_SECONDS
                outcome = await _outcome(reader, partition, start, command)
                if outcome is not None and outcome.status is not OutcomeStatus.RETRY:
                    return outcome
    finally:
        await asyncio.to_thread(sender.close)
    raise BrokerUnavailableError(
        f"Harbor did not decide within {_WAIT_SECONDS:g} s; is it running?"
    )


async def _outcome(
    reader: KafkaLogReader, partition: int, start: int, command: Command
) -> Outcome | None:
    """The newest outcome of this very command since `start`."""
    end = await reader.stable_offset(OUTCOMES, partition)
    newest = None
    wanted = f"{command.tenant_id}/{command.command_id}".encode()
    async for record in reader.read(OUTCOMES, partition, start=start, end=end):
        if record.key is None or record.value is None or not record.key.startswith(wanted):
            continue
        outcome = decode_as(Outcome, record.value)
        if outcome.input_hash == command.input_hash:
            newest = outcome
    return newest


@asynccontextmanager
async def _reader(settings: HarborSettings) -> AsyncIterator[KafkaLogReader]:
    reader = reader_of(settings)
    try:
        yield reader
    finally:
        await reader.close()


def _tenant(text: str) -> TenantId:
    if not is_tenant_id(text):
        raise ConfigurationError(f"{text!r} is no tenant id ([a-z0-9][a-z0-9-]{{1,62}})")
    return TenantId(text)

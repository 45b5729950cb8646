"""The outbox without Kafka or Postgres: order, fencing, what is seen when, and what survives."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.memory.gateway_rows import (
    MemoryDatabase,
    MemoryOutbox,
    MemoryRowHistory,
    MemoryRowLog,
    MemoryRowStore,
    MemoryRowTopic,
)
from gateway.auth.api_key import KeyKind
from gateway.edge.refused import RefusedError
from gateway.outbox.acknowledgements import Acknowledgements, RowWriter
from gateway.outbox.relay import Relay
from gateway.outbox.restore import restore
from gateway.outbox.rows import AgentKeyRow, ApiKeyRow, OwnedRow, message_of, row_json, row_of
from schemas.errors import BrokerUnavailableError, CodecError, OwnershipLostError
from schemas.ids import TenantId
from schemas.instants import from_micros
from schemas.messages.operations import GatewayRow
from schemas.messages.shared import Environment
from tests.support.builders import T0

_INSTANTS = st.integers(0, 2**52).map(from_micros)
API_KEYS = st.builds(
    ApiKeyRow,
    tenant_id=st.just(TenantId("acme")),
    key_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    environment=st.sampled_from(Environment),
    kind=st.sampled_from(KeyKind),
    permissions=st.lists(st.text(max_size=9)).map(tuple),
    pepper_id=st.text(max_size=9),
    digest=st.binary(min_size=32, max_size=32),
    label=st.text(max_size=20),
    created_at=_INSTANTS,
    revoked_at=st.none() | _INSTANTS,
)
AGENT_KEYS = st.builds(
    AgentKeyRow,
    tenant_id=st.just(TenantId("acme")),
    key_id=st.text(min_size=1, max_size=9),
    public_key=st.binary(min_size=32, max_size=32),
    purposes=st.lists(st.text(max_size=9)).map(tuple),
    expires_at=st.none() | _INSTANTS,
    created_at=_INSTANTS,
    revoked_at=st.none() | _INSTANTS,
)
ROW = AgentKeyRow(
    tenant_id=TenantId("acme"),
    key_id="agent-1",
    public_key=bytes(32),
    purposes=("harbor.intent.fund",),
    expires_at=None,
    created_at=T0,
)
OTHER = replace(ROW, tenant_id=TenantId("acme-corp"))


class Pause:
    async def pause(self, seconds: float) -> None:
        assert seconds > 0
        await asyncio.sleep(0)


@dataclass(slots=True)
class FlakyLog(MemoryRowLog):
    """The broker answers, refuses, or takes the rows and loses its answer."""

    topic: MemoryRowTopic
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        MemoryRowLog.__init__(self, self.topic)

    async def publish(self, rows: Any) -> None:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "refused":
            raise BrokerUnavailableError("out")
        await MemoryRowLog.publish(self, rows)
        if failure == "answer lost":
            raise BrokerUnavailableError("out")


async def _with_relay(relay: Relay, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.create_task(relay.run())
    try:
        await scenario()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _writer(database: MemoryDatabase, seconds: float = 2.0) -> RowWriter:
    acknowledgements = Acknowledgements()
    database.listeners.append(acknowledgements.deliver)
    return RowWriter(
        store=MemoryRowStore(database), acknowledgements=acknowledgements, seconds=seconds
    )


@given(API_KEYS | AGENT_KEYS)
def test_a_row_comes_back_from_its_record_as_it_was(row: OwnedRow) -> None:
    assert row_of(message_of(row, 1)) == row


@pytest.mark.parametrize(
    "message",
    [
        replace(message_of(ROW, 1), table="cases"),
        replace(message_of(ROW, 1), table="api_keys"),
        replace(message_of(ROW, 1), primary_key="agent-2"),
        replace(message_of(ROW, 1), tenant_id="acme-corp"),
        replace(message_of(ROW, 1), row_json="[]"),
        replace(message_of(ROW, 1), row_json="{"),
        replace(message_of(ROW, 1), row_json='{"tenant_id":"acme"}'),
    ],
)
def test_a_record_that_is_not_its_row_is_refused(message: GatewayRow) -> None:
    with pytest.raises(CodecError):
        row_of(message)


def test_a_record_without_a_row_is_a_deletion() -> None:
    assert row_of(replace(message_of(ROW, 1), row_json=None)) is None
    assert '"key_id":"agent-1"' in row_json(ROW)


def test_a_row_is_seen_and_answered_for_only_when_kafka_has_it() -> None:
    database, topic = MemoryDatabase(), MemoryRowTopic()
    relay = Relay(outbox=MemoryOutbox(database), log=MemoryRowLog(topic), pause=Pause())

    async def scenario() -> None:
        with pytest.raises(RefusedError) as refused:
            await _writer(database, seconds=0.01).change(ROW.key, lambda _: ROW)
        unseen = database.visible(ROW.key)

        async def with_relay() -> None:
            await _writer(database).change(OTHER.key, lambda _: OTHER)

        await _with_relay(relay, with_relay)

        assert refused.value.code == "unavailable"
        assert unseen is None
        assert database.visible(ROW.key) == ROW
        assert database.visible(OTHER.key) == OTHER
        assert {record.tenant_id for record in topic.records} == {"acme", "acme-corp"}
        assert database.outbox == []

    asyncio.run(scenario())


@pytest.mark.parametrize("failure", ["refused", "answer lost"])
def test_an_outage_of_kafka_loses_no_row_and_no_order(failure: str) -> None:
    database, topic = MemoryDatabase(), MemoryRowTopic()
    log = FlakyLog(topic, [failure, failure])
    relay = Relay(outbox=MemoryOutbox(database), log=log, pause=Pause())
    versions = [replace(ROW, purposes=(f"purpose-{number}",)) for number in range(3)]

    async def scenario() -> None:
        store = MemoryRowStore(database)
        for version in versions:
            await store.change(ROW.key, lambda _, version=version: version)  # type: ignore[misc]

        async def with_relay() -> None:
            await _writer(database).change(OTHER.key, lambda _: OTHER)

        await _with_relay(relay, with_relay)

        newest = {row.tenant_id: row for row in await MemoryRowHistory(topic).newest()}
        assert row_of(newest["acme"]) == versions[-1]
        assert database.visible(ROW.key) == versions[-1]

    asyncio.run(scenario())


def test_a_second_relay_stands_by_until_the_first_loses_its_lock() -> None:
    database, topic = MemoryDatabase(), MemoryRowTopic()
    first_outbox, second_outbox = MemoryOutbox(database), MemoryOutbox(database)
    first_log, second_log = MemoryRowLog(topic), MemoryRowLog(topic)
    second = Relay(outbox=second_outbox, log=second_log, pause=Pause())

    async def scenario() -> None:
        assert await first_outbox.lock()
        await first_log.open()
        is_locked_twice = await second_outbox.lock()

        # The first one stalls; its connection dies, and the second one takes over.
        first_outbox.lose_connection()

        async def with_second() -> None:
            await _writer(database).change(ROW.key, lambda _: ROW)

        await _with_relay(second, with_second)
        with pytest.raises(OwnershipLostError):
            await first_log.publish([message_of(ROW, 1)])

        assert not is_locked_twice
        assert len(topic.records) == 1

    asyncio.run(scenario())


def test_a_fenced_relay_ends() -> None:
    database, topic = MemoryDatabase(), MemoryRowTopic()
    relay = Relay(outbox=MemoryOutbox(database), log=MemoryRowLog(topic), pause=Pause())

    async def scenario() -> None:
        task = asyncio.create_task(relay.run())
        await asyncio.sleep(0.01)
        was_holder = relay.is_holder
        await MemoryRowLog(topic).open()
        await MemoryRowStore(database).change(ROW.key, lambda _: ROW)

        with pytest.raises(OwnershipLostError):
            await task

        assert (was_holder, relay.is_holder) == (True, False)
        assert database.lock_holder is None
        assert database.visible(ROW.key) is None

    asyncio.run(scenario())


def test_an_acknowledgement_of_an_older_version_does_not_show_the_newer_one() -> None:
    database = MemoryDatabase()
    outbox, store = MemoryOutbox(database), MemoryRowStore(database)
    revoked = replace(ROW, revoked_at=T0)

    async def scenario() -> None:
        await outbox.lock()
        first = await store.change(ROW.key, lambda _: ROW)
        assert first is not None
        await store.change(ROW.key, lambda _: revoked)

        await outbox.acknowledge(ROW.tenant_id, [first.outbox_id])

        assert database.visible(ROW.key) is None
        assert [row.outbox_id for row in database.outbox] == [first.outbox_id + 1]

    asyncio.run(scenario())


def test_a_version_that_says_the_same_stays_seen_while_it_waits_for_kafka() -> None:
    database = MemoryDatabase()
    outbox, store = MemoryOutbox(database), MemoryRowStore(database)

    async def scenario() -> None:
        await outbox.lock()
        first = await store.change(ROW.key, lambda _: ROW)
        assert first is not None
        await store.change(ROW.key, lambda _: ROW)
        unseen = database.visible(ROW.key)
        await outbox.acknowledge(ROW.tenant_id, [first.outbox_id, first.outbox_id + 1])

        again = await store.change(ROW.key, lambda present: present)

        assert again is not None
        assert unseen is None
        assert database.visible(ROW.key) == ROW
        assert not await store.is_acknowledged(ROW.tenant_id, again.outbox_id)

        await store.change(ROW.key, lambda _: replace(ROW, revoked_at=T0))

        assert database.visible(ROW.key) is None

    asyncio.run(scenario())


def test_a_change_that_refuses_leaves_nothing_behind() -> None:
    database = MemoryDatabase()

    def refuse(_present: OwnedRow | None) -> OwnedRow | None:
        raise RefusedError("not_found")

    async def scenario() -> None:
        with pytest.raises(RefusedError):
            await _writer(database).change(ROW.key, refuse)
        unchanged = await _writer(database).change(ROW.key, lambda _: None)

        assert unchanged is None
        assert database == MemoryDatabase(listeners=database.listeners)

    asyncio.run(scenario())


def test_a_restore_brings_the_newest_rows_back_and_changes_nothing_when_repeated() -> None:
    topic = MemoryRowTopic(
        [
            message_of(ROW, 1),
            message_of(OTHER, 2),
            message_of(replace(ROW, revoked_at=T0), 3),
            replace(message_of(OTHER, 4), row_json=None),
        ]
    )
    database = MemoryDatabase()

    async def scenario() -> None:
        history, rows = MemoryRowHistory(topic), MemoryRowStore(database)

        first = await restore(history, rows)
        second = await restore(history, rows)

        assert (first.records, first.changed) == (2, 1)
        assert (second.records, second.changed) == (2, 0)
        assert database.visible(ROW.key) == replace(ROW, revoked_at=T0)
        assert database.visible(OTHER.key) is None
        assert database.last_outbox_id == 4

    asyncio.run(scenario())

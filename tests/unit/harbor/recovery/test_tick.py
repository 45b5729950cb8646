"""What time brings is sent once, when it is due, by whoever owns the partition, and never hot."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.ports import MemoryStateStore
from harbor.engine.due_index import DUE, due_key_of
from harbor.recovery.sent_commands import TURNS_FIRST, TURNS_MAX, SentCommands
from harbor.recovery.tick import SLICE_KEYS_MAX, RecoveryTick
from schemas.errors import BrokerUnavailableError
from schemas.ids import CommandId, IntentId, TenantId
from schemas.intent_fold import IntentState, Quarantine, TenantState
from schemas.intent_state import DisputeState, Hold
from schemas.messages.avro_codec import encode
from schemas.messages.commands import (
    Command,
    ExpireIntent,
    Issuer,
    RaiseHoldExpiring,
    ReissueEffect,
)
from schemas.messages.shared import (
    ActorKind,
    HoldStatus,
    IntentStatus,
    RailAction,
    SettlementCause,
)
from schemas.topics import INTENTS, intent_key, tenant_key
from tests.support.builders import T0, TENANT, an_intent_id
from tests.support.ledger_builder import LedgerBuilder

PARTITION = 3
DEADLINE = T0 + timedelta(days=3)
CLOSED_AT = DEADLINE + timedelta(seconds=60)
SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Owner:
    """The loop, as far as the tick sees it."""

    partitions: frozenset[int] = frozenset({PARTITION})
    quarantined: Mapping[TenantId, str] = field(default_factory=dict)


@dataclass(slots=True)
class Outbox:
    """A sender that keeps what it was given; `error` is what it raises instead."""

    commands: list[Command] = field(default_factory=list)
    error: BrokerUnavailableError | None = None

    async def send(self, command: Command) -> None:
        if self.error is not None:
            raise self.error
        self.commands.append(command)


class CountingStore(MemoryStateStore):
    """Counts the rows that a scan gives."""

    scanned = 0

    async def scan(
        self, partition: int, namespace: str, prefix: bytes, *, after: bytes | None = None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        async for row in super().scan(partition, namespace, prefix, after=after):
            self.scanned += 1
            yield row


class World:
    """A store, a clock and a tick on them; what a test does to them is done by hand."""

    def __init__(
        self,
        *,
        now: datetime = T0,
        reissue_first: timedelta | None = None,
        store: MemoryStateStore | None = None,
    ) -> None:
        self.store = store or MemoryStateStore()
        self.clock = MemoryClock(now)
        self.owner = Owner()
        self.outbox = Outbox()
        self.reissue_first = timedelta(seconds=30) if reissue_first is None else reissue_first
        self.tick = self.restarted()
        self.tenant = tenant_state()

    def restarted(self) -> RecoveryTick:
        self.tick = RecoveryTick(
            store=self.store,
            sender=self.outbox,
            clock=self.clock,
            partitions=lambda: self.owner.partitions,
            quarantined=lambda: self.owner.quarantined,
            reissue_first=self.reissue_first,
        )
        return self.tick

    def put(self, *intents: IntentState, partition: int = PARTITION) -> None:
        """States with their keys in the index, as the loop writes them; keys of older states stay."""
        rows: dict[tuple[str, bytes], bytes | None] = {
            (INTENTS, tenant_key(TENANT)): encode(self.tenant)
        }
        for intent in intents:
            rows[INTENTS, intent_key(TENANT, IntentId(intent.intent_id))] = encode(intent)
            due = due_key_of(intent)
            if due is not None:
                rows[due] = b""
        asyncio.run(self.store.write({partition: rows}))

    def turn(self, *, at: datetime | None = None) -> list[Command]:
        """What one turn sends."""
        if at is not None:
            self.clock.instant = at
        self.outbox.commands = []
        count = asyncio.run(self.tick.turn())
        assert count == len(self.outbox.commands)
        return self.outbox.commands

    def keys(self) -> list[bytes]:
        rows = self.store.snapshot().get(PARTITION, {})
        return sorted(key for namespace, key in rows if namespace == DUE)


def tenant_state() -> TenantState:
    ledger = LedgerBuilder()
    ledger.provision()
    assert ledger.tenant is not None
    return ledger.tenant


def an_open_intent(number: int = 1) -> IntentState:
    ledger = LedgerBuilder()
    ledger.provision()
    state = ledger.states[ledger.create(number)]
    return replace(state, intent_id=an_intent_id(number))


def a_pending_intent(*, requested_at: datetime = T0, effect_id: str = "effect-1") -> IntentState:
    """The rail was asked for the hold and has not answered."""
    hold = Hold(
        status=HoldStatus.REQUESTED,
        currency="usd",
        effect_id=effect_id,
        action=RailAction.HOLD,
        attempt=1,
        cause=SettlementCause.FUNDING,
        requested_minor=20_000,
        requested_at=requested_at,
        requests=1,
    )
    return replace(an_open_intent(), hold=hold)


def a_disputed_intent(*, expires_at: datetime, opened_at: datetime = T0) -> IntentState:
    hold = Hold(status=HoldStatus.HELD, currency="usd", rail_object="pi_1", expires_at=expires_at)
    dispute = DisputeState(
        case_id="case-1",
        reason_code="quality",
        status_before=IntentStatus.FUNDED,
        opened_at=opened_at,
    )
    return replace(an_open_intent(), status=IntentStatus.DISPUTED, hold=hold, dispute=dispute)


def a_refunded_intent() -> IntentState:
    return replace(an_open_intent(), status=IntentStatus.REFUNDED, final_at=T0)


def test_what_is_due_is_sent() -> None:
    world = World()
    world.put(an_open_intent())

    (command,) = world.turn(at=CLOSED_AT)

    assert command.body == ExpireIntent(due_at=CLOSED_AT)
    assert (command.tenant_id, command.intent_id) == (TENANT, an_intent_id())
    assert command.issuer is Issuer.RECOVERY
    assert command.actor.kind is ActorKind.SYSTEM


def test_what_is_not_due_yet_is_not_sent() -> None:
    world = World()
    world.put(an_open_intent())

    assert world.turn(at=CLOSED_AT - timedelta(microseconds=1)) == []


def test_a_command_that_was_sent_is_not_sent_hot() -> None:
    world = World()
    world.put(an_open_intent())
    world.turn(at=CLOSED_AT)

    sent = [len(world.turn(at=CLOSED_AT + n * SECOND)) for n in range(1, TURNS_FIRST)]

    assert sum(sent) == 0


def test_a_command_without_effect_is_sent_again_ever_more_rarely_with_the_same_id() -> None:
    world = World()
    world.put(an_open_intent())

    turns, ids = [], set()
    for number in range(TURNS_FIRST * 8):
        for command in world.turn(at=CLOSED_AT + number * SECOND):
            turns.append(number)
            ids.add(command.command_id)

    assert turns == [0, TURNS_FIRST, 3 * TURNS_FIRST, 7 * TURNS_FIRST]
    assert len(ids) == 1


def test_the_wait_for_sending_again_has_an_end() -> None:
    sent, command_id = SentCommands(), CommandId("command-1")

    turns = []
    for turn in range(TURNS_MAX * 6):
        if sent.is_wanted(command_id, turn=turn):
            sent.note(command_id, turn=turn)
            turns.append(turn)
        sent.end_pass()

    gaps = [later - earlier for earlier, later in pairwise(turns)]
    assert gaps[-2:] == [TURNS_MAX, TURNS_MAX]


def test_after_a_restart_the_same_command_is_sent_with_the_same_id_and_input() -> None:
    world = World()
    world.put(an_open_intent())
    (first,) = world.turn(at=CLOSED_AT)
    world.restarted()

    (second,) = world.turn(at=CLOSED_AT + timedelta(minutes=7))

    assert second == first


def test_a_clock_that_steps_back_sends_nothing_and_remembers_what_was_sent() -> None:
    world = World()
    world.put(an_open_intent())
    world.turn(at=CLOSED_AT)

    before = world.turn(at=CLOSED_AT - timedelta(hours=1))
    after = world.turn(at=CLOSED_AT)

    assert before == []
    assert [command.body for command in after] == [ExpireIntent(due_at=CLOSED_AT)]
    assert world.turn(at=CLOSED_AT) == []


def test_a_clock_that_stands_still_does_not_silence_the_tick() -> None:
    world = World()
    world.put(an_open_intent())

    sent = [len(world.turn(at=CLOSED_AT)) for _ in range(TURNS_FIRST + 1)]

    assert (sent[0], sum(sent[1:-1]), sent[-1]) == (1, 0, 1)


def test_a_tenant_found_in_doubt_at_assignment_is_left_alone() -> None:
    world = World()
    world.put(an_open_intent())
    world.owner.quarantined = {TENANT: "the tip is not the ledger's end"}

    assert world.turn(at=CLOSED_AT) == []


def test_a_tenant_that_a_command_stopped_is_left_alone_until_its_release() -> None:
    world = World()
    world.tenant = replace(
        tenant_state(), quarantine=Quarantine(reason="crashed_decide", since=T0, offset=1)
    )
    world.put(an_open_intent())
    stopped = world.turn(at=CLOSED_AT)
    world.tenant = tenant_state()
    world.put()

    released = world.turn(at=CLOSED_AT)

    assert (len(stopped), len(released)) == (0, 1)


def test_partitions_of_others_are_not_looked_at() -> None:
    world = World()
    world.put(an_open_intent(), partition=PARTITION + 1)

    assert world.turn(at=CLOSED_AT) == []


def test_a_partition_that_comes_back_is_looked_at_anew() -> None:
    world = World()
    world.put(an_open_intent())
    world.turn(at=CLOSED_AT)
    world.owner.partitions = frozenset()
    gone = world.turn(at=CLOSED_AT)
    world.owner.partitions = frozenset({PARTITION})

    back = world.turn(at=CLOSED_AT)

    assert (len(gone), len(back)) == (0, 1)


def test_a_key_that_a_newer_state_outdated_says_nothing() -> None:
    world = World()
    world.put(an_open_intent())
    world.put(a_pending_intent(requested_at=CLOSED_AT))

    assert world.turn(at=CLOSED_AT) == []
    # It may come back with a later state of the intent: only keys of finished intents are removed.
    assert len(world.keys()) == 2


def test_keys_of_an_intent_that_time_brings_nothing_to_are_removed() -> None:
    world = World()
    world.put(an_open_intent())
    world.put(a_refunded_intent())

    assert world.turn(at=CLOSED_AT) == []
    assert world.keys() == []


def test_a_key_without_a_state_says_nothing() -> None:
    world = World()
    key = f"{0:020d}/{TENANT}/{an_intent_id()}".encode()
    asyncio.run(world.store.write({PARTITION: {(DUE, key): b""}}))

    assert world.turn(at=CLOSED_AT) == []


def test_an_effect_without_an_answer_is_issued_again_after_30_seconds_doubling_to_15_minutes() -> (
    None
):
    world = World()
    world.put(a_pending_intent())

    issued = []
    for seconds in range(0, 5400, 5):
        for command in world.turn(at=T0 + timedelta(seconds=seconds)):
            assert isinstance(command.body, ReissueEffect)
            assert command.body.effect_id == "effect-1"
            issued.append((seconds, command.body.issue))

    firsts = {issue: seconds for seconds, issue in reversed(issued)}
    assert list(reversed(firsts.items())) == [
        (1, 30),
        (2, 90),
        (3, 210),
        (4, 450),
        (5, 930),
        (6, 1830),
        (7, 2730),
        (8, 3630),
        (9, 4530),
    ]


def test_the_first_re_issue_may_come_sooner() -> None:
    world = World(reissue_first=timedelta(seconds=2))
    world.put(a_pending_intent())

    early = world.turn(at=T0 + timedelta(seconds=1))
    (command,) = world.turn(at=T0 + timedelta(seconds=2))

    assert early == []
    assert command.body == ReissueEffect(effect_id="effect-1", issue=1)


def test_each_issue_of_an_effect_has_an_id_of_its_own_and_keeps_it_over_a_restart() -> None:
    world = World()
    world.put(a_pending_intent())
    (first,) = world.turn(at=T0 + timedelta(seconds=30))
    (second,) = world.turn(at=T0 + timedelta(seconds=90))
    world.restarted()

    (again,) = world.turn(at=T0 + timedelta(seconds=100))

    assert first.command_id != second.command_id
    assert again == second


@pytest.mark.parametrize("hours_left", [72, 24, 6])
def test_a_disputed_intent_is_warned_of_and_never_settled(hours_left: int) -> None:
    world = World()
    expires_at = T0 + timedelta(days=6)
    raised = tuple(hours for hours in (72, 24, 6) if hours > hours_left)
    disputed = replace(a_disputed_intent(expires_at=expires_at), hold_warnings=raised)
    world.put(disputed)
    due_at = expires_at - timedelta(hours=hours_left)
    early = world.turn(at=due_at - SECOND)

    (command,) = world.turn(at=due_at)

    assert early == []
    assert command.body == RaiseHoldExpiring(hours_left=hours_left)


def test_a_disputed_intent_whose_warnings_were_all_raised_is_left_alone() -> None:
    world = World()
    disputed = a_disputed_intent(expires_at=T0 + timedelta(days=6))
    world.put(replace(disputed, hold_warnings=(72, 24, 6)))

    assert world.turn(at=T0 + timedelta(days=30)) == []


def test_many_due_intents_are_sent_in_bounded_slices_until_all_were_sent_once() -> None:
    world = World()
    count = 2 * SLICE_KEYS_MAX + 7
    world.put(*(an_open_intent(number) for number in range(count)))

    slices = [world.turn(at=CLOSED_AT) for _ in range(4)]

    assert [len(commands) for commands in slices] == [SLICE_KEYS_MAX, SLICE_KEYS_MAX, 7, 0]
    assert len({command.command_id for commands in slices for command in commands}) == count


def test_a_pass_over_a_long_index_reads_each_key_once() -> None:
    """A tenant whose rails are paused for hours has as many keys as intents that wait."""
    world = World(store=CountingStore())
    count = 4 * SLICE_KEYS_MAX
    world.put(*(an_open_intent(number) for number in range(count)))

    for _ in range(5):
        world.turn(at=CLOSED_AT)

    assert isinstance(world.store, CountingStore)
    assert world.store.scanned == count


def test_what_is_over_is_not_remembered() -> None:
    world = World()
    world.put(an_open_intent())
    world.turn(at=CLOSED_AT)
    world.put(a_refunded_intent())
    world.turn(at=CLOSED_AT)
    world.turn(at=CLOSED_AT)

    assert len(world.tick._partitions[PARTITION].sent) == 0


def test_an_outage_of_the_broker_ends_the_tick_and_what_was_not_sent_is_sent_next_time() -> None:
    world = World()
    world.put(an_open_intent())
    world.outbox.error = BrokerUnavailableError("gone")
    world.clock.instant = CLOSED_AT

    with pytest.raises(BrokerUnavailableError):
        asyncio.run(world.tick.turn())
    world.outbox.error = None

    assert len(world.turn(at=CLOSED_AT)) == 1


def test_the_tick_runs_until_it_is_cancelled() -> None:
    world = World(now=CLOSED_AT - timedelta(seconds=2))
    world.put(an_open_intent())

    async def scenario() -> None:
        running = asyncio.create_task(world.tick.run())
        for _ in range(100):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())

    assert world.tick.sent == 1

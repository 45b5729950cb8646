"""What goes wrong in a run, and where: all of it drawn from the seed before the run begins."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harbor.engine.ports import AbortableError, RetriableError
from schemas.errors import BrokerUnavailableError, DatabaseUnavailableError


class Fault(StrEnum):
    """Every kind of trouble that a run may have; the test of the seeds asks that each comes up."""

    CRASH_BEFORE = "crash before a call"
    CRASH_AFTER = "crash after a call"
    ABORTABLE = "transaction that can only be aborted"
    RETRIABLE = "commit that has to be asked again"
    OUTAGE = "broker out"
    FREEZE = "process that hangs for a while"
    ZOMBIE = "process that wakes after its successor started"
    HANGING = "process that hangs with its transaction open, and commits when others took over"
    CURSED = "command that crashes the decision"
    MARKERS_LATE = "transaction whose markers come one after the other"
    STOP = "process that is told to stop"
    STORE_LOST_WRITES = "store that lost its last writes"
    STORE_LOST = "store that is gone"
    TRANSACTION_TIMED_OUT = "hanging transaction, ended by the broker"
    REBALANCE = "rebalance in the middle"
    EXCHANGE = "processes of Harbor that exchange their partitions"
    GROUP_MOVED_BACK = "group offsets that somebody moved back"
    GROUP_LOST = "group offsets that expired"
    PUBLISHED_SLOWLY = "publication of a checkpoint that takes seconds"
    COMPACTION = "compaction pass"
    CLOCK_BACK = "clock that steps back"
    CLOCK_FORWARD = "clock that steps forward"
    BROKER_CLOCK_BACK = "broker's clock that steps back"
    TOPIC_LATE = "ledger topic that is missing until late"
    GATEWAY_CRASH = "gateway crash"
    RAIL_CRASH = "rail worker crash"
    INDEXER_CRASH = "indexer crash"
    INDEXER_ZOMBIE = "indexer that wakes after others took its partitions"
    DATABASE_OUT = "database out"
    HINT_LOST = "broker offset of the indexer that is lost"
    HINT_RESET = "broker offsets of the indexer, reset to the beginning"
    CHECKPOINT_LOWERED = "checkpoints of the tables, set back to the beginning"
    INDEXER_REBALANCE = "indexers that exchange their partitions"
    RAIL_ANSWER_LOST = "rail answer that is lost"
    RAIL_ANSWER_TWICE = "rail answer that comes twice"
    RAIL_ANSWER_LATE = "rail answer that comes late"
    RAIL_DECLINES = "rail that declines"
    HOLD_LAPSES = "hold that the rail lets lapse"
    ANSWER_LOST = "answer that its client never gets"
    OTHER_BODY = "key used again with another body"
    NONCE_AGAIN = "nonce used again"
    CROSS_TENANT = "another tenant's intent asked for"
    SAME_IDS = "tenants that choose the same ids, keys and nonces"
    WRONG_SIGNATURE = "signature that does not hold"
    OTHER_KEY = "party under another key"
    FORGED = "command with a forged MAC"
    UNDECODABLE = "record that is no command"
    WRONG_PARTITION = "command in another tenant's partition"


HARBOR_CALLS = (
    "consumer.consume",
    "consumer.start",
    "consumer.seek",
    "store.get_many",
    "store.write",
    "store.scan",
    "signatures.verify_each",
    "transactions.initialize",
    "transactions.begin",
    "transactions.produce",
    "transactions.flush",
    "transactions.send_offsets",
    "transactions.commit",
    "transactions.abort",
    "checkpoints.publish",
    "reader.committed_offset",
    "reader.end_offset",
    "reader.read",
    "reader.last_record",
    "sender.send",
)
RAIL_CALLS = (
    "effects.consume",
    "effects.commit",
    "outstanding.catch_up",
    "rail.execute",
    "sender.send",
)
INDEXER_CALLS = (
    "indexer.read",
    "positions.claim",
    "positions.acknowledge",
    "tables.load",
    "tables.store_entries",
    "tables.store_bodies",
    "tables.store_operations",
    "tables.store_waiting",
    "tables.publish",
)
GATEWAY_CALLS = ("publisher.publish", "timer.wait", "outcomes.read")
# Calls that also have a side after the effect; the others can only be crashed before it.
_HAVE_AFTER = frozenset(
    {
        "consumer.consume",
        "consumer.start",
        "consumer.seek",
        "store.write",
        "transactions.initialize",
        "transactions.begin",
        "transactions.produce",
        "transactions.flush",
        "transactions.send_offsets",
        "transactions.commit",
        "transactions.abort",
        "checkpoints.publish",
        "effects.consume",
        "effects.commit",
        "rail.execute",
        "sender.send",
        "publisher.publish",
        *INDEXER_CALLS[1:],
    }
)
_ABORTABLE_CALLS = ("transactions.produce", "transactions.flush", "transactions.commit")
_OUTAGE_CALLS = ("checkpoints.publish", "reader.end_offset", "sender.send", "consumer.consume")
# Where a process has read and not yet written: what it does after a long sleep is what fences are for.
_AT_A_BATCH = ("signatures.verify_each", "transactions.begin", "transactions.produce") * 6
# A batch makes three writes, and between two of them is where half of one would show.
_OF_THE_STORE = ("store.write",) * 4
_AT_ROWS = ("tables.store_entries", "tables.store_operations", "tables.store_bodies") * 4
_NTH_MAX = 14
_EITHER = ("before", "after")
_SELDOM = (0, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """At the `nth` time that anybody makes this side of this call."""

    fault: Fault
    call: str
    nth: int


def _planned(rng: random.Random, fault: Fault, calls: Sequence[str], side: str) -> Planned:
    call = calls[rng.randrange(len(calls))]
    is_after = side == "after" and call in _HAVE_AFTER
    name = f"{call} {'after' if is_after else 'before'}"
    # Early ones are hit in every run, late ones in long runs.
    nth = 1 + min(rng.randrange(_NTH_MAX), rng.randrange(_NTH_MAX))
    return Planned(fault=fault, call=name, nth=nth)


def _plan(rng: random.Random) -> list[Planned]:
    kinds: tuple[tuple[Fault, tuple[str, ...], tuple[str, ...], tuple[int, ...]], ...] = (
        (Fault.CRASH_BEFORE, HARBOR_CALLS + _OF_THE_STORE, ("before",), (0, 1, 1, 2, 3)),
        (Fault.CRASH_AFTER, HARBOR_CALLS + _OF_THE_STORE, ("after",), (0, 1, 1, 2)),
        (Fault.ABORTABLE, _ABORTABLE_CALLS, ("before",), (0, 0, 1, 2)),
        (Fault.RETRIABLE, ("transactions.commit",), _EITHER, _SELDOM),
        (Fault.OUTAGE, _OUTAGE_CALLS, _EITHER, _SELDOM),
        (Fault.FREEZE, HARBOR_CALLS + _AT_A_BATCH, _EITHER, (0, 1)),
        (Fault.ZOMBIE, HARBOR_CALLS + _AT_A_BATCH, _EITHER, (0, 1)),
        (Fault.HANGING, ("transactions.commit",), ("before",), _SELDOM),
        (Fault.STOP, HARBOR_CALLS, _EITHER, _SELDOM),
        (Fault.RAIL_CRASH, RAIL_CALLS, _EITHER, _SELDOM),
        (Fault.GATEWAY_CRASH, GATEWAY_CALLS, _EITHER, _SELDOM),
        (Fault.INDEXER_CRASH, INDEXER_CALLS, _EITHER, (0, 1, 1)),
        (Fault.INDEXER_ZOMBIE, INDEXER_CALLS + _AT_ROWS, _EITHER, _SELDOM),
        (Fault.DATABASE_OUT, INDEXER_CALLS[1:], _EITHER, _SELDOM),
    )
    planned = [
        _planned(rng, fault, calls, rng.choice(sides))
        for fault, calls, sides, often in kinds
        for _ in range(rng.choice(often))
    ]
    is_retried = any(one.fault is Fault.RETRIABLE for one in planned)
    # Of a transaction that it has committed no broker says that it can only be aborted.
    return [
        one
        for one in planned
        if not (is_retried and one.fault is Fault.ABORTABLE and "commit" in one.call)
    ]


@dataclass(slots=True)
class Faults:
    """The plan of one run, and the count of what happened."""

    rng: random.Random
    is_active: bool = True
    counts: Counter[Fault] = field(default_factory=Counter)
    _planned: dict[tuple[str, int], Planned] = field(default_factory=dict)
    _calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._planned = {(one.call, one.nth): one for one in _plan(self.rng)}

    def due(self, call: str) -> Fault | None:
        """What is planned for this very call."""
        self._calls[call] += 1
        found = self._planned.get((call, self._calls[call]))
        if found is None or not self.is_active:
            return None
        return found.fault

    def happened(self, fault: Fault) -> None:
        self.counts[fault] += 1

    def is_drawn(self, fault: Fault, *, in_percent: int) -> bool:
        """Whether it happens this time; counted if so."""
        if not self.is_active or self.rng.randrange(100) >= in_percent:
            return False
        self.happened(fault)
        return True


def error_of(fault: Fault, call: str) -> Exception | None:
    """What the port raises for it; None where the fault is no error of a port."""
    match fault:
        case Fault.ABORTABLE:
            return AbortableError(f"injected at {call}")
        case Fault.RETRIABLE:
            return RetriableError(f"injected at {call}")
        case Fault.OUTAGE:
            return BrokerUnavailableError(f"injected at {call}")
        case Fault.DATABASE_OUT:
            return DatabaseUnavailableError(f"injected at {call}")
        case _:
            return None

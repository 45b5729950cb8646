"""The auditor: after each step it reads what has become visible, predicts it from the commands, and compares.

One step commits at most one transaction, so what is new on all topics is that transaction, whole.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harbor.adapters.memory.partition_log import (
    PartitionLog,
    StoredRecord,
    TransactionStatus,
)
from harbor.engine.intake import RejectReason
from schemas.errors import CodecError
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command, Issuer
from schemas.messages.operations import DeadLetter
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import Position, SignedCheckpoint, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    DEAD_LETTERS,
    EFFECTS,
    EVIDENCE,
    GROUP_HARBOR,
    INTENTS,
    OUTCOMES,
    POSITIONS,
    TIPS,
    ledger_topic,
)
from tests.simulation.audit import comparison
from tests.simulation.audit.answers_audit import AnswersAudit
from tests.simulation.audit.chain_audit import ChainAudit
from tests.simulation.audit.ledger_model import Expected, ExpectedOutcome, LedgerModel, Stored
from tests.simulation.audit.rail_audit import RailAudit
from tests.simulation.audit.rules import Rule, ViolationError
from tests.simulation.audit.tables_audit import CheckpointsAudit
from tests.simulation.requests import Credentials

if TYPE_CHECKING:
    from tests.simulation.clients import Given
    from tests.simulation.world import World

_SHARED = (OUTCOMES, EFFECTS, INTENTS, EVIDENCE, TIPS, CHECKPOINTS, DEAD_LETTERS)
Place = tuple[str, int]
Outcomes = dict[int, list[tuple[StoredRecord, Outcome]]]


class Auditor:
    """`look` after each step that changed something; `answered` whenever a client got an answer."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.model = LedgerModel(world.badly_signed)
        self.chains: dict[str, ChainAudit] = {
            tenant_id: ChainAudit(tenant_id) for tenant_id in world.tenants
        }
        self.answers = AnswersAudit()
        self.rail = RailAudit(world)
        self.checkpoints = CheckpointsAudit(world)
        self.positions = dict.fromkeys(range(world.partitions), 0)
        self.decided = 0
        self.effects: dict[str, tuple[object, ...]] = {}
        self.letters: set[bytes] = set()
        self.bodies: set[tuple[str, str, str]] = set()
        self._expected_letters: set[bytes] = set()
        self._ledgers: dict[str, str] = {
            tenant_id: ledger_topic(tenant_id) for tenant_id in world.tenants
        }
        self._next: dict[Place, int] = {}
        self._taken: dict[Place, set[int]] = {}
        self._seen_to: dict[Place, int] = {}
        self._logs: dict[Place, PartitionLog] = {}
        self._topics_known = -1

    def look(self) -> None:
        """Raises ViolationError."""
        fresh = self._fresh()
        expected = Expected()
        given_up = self._given_up(fresh)
        outcomes: Outcomes = {
            place[1]: [(record, decode_as(Outcome, record.value or b"")) for record in records]
            for place, records in fresh.items()
            if place[0] == OUTCOMES
        }
        for partition in range(self.world.partitions):
            self._advance(partition, fresh, outcomes, given_up, expected)
        self._check_entries(fresh, expected)
        told = [one for partition in outcomes.values() for one in partition]
        comparison.check_outcomes(self, told, expected)
        comparison.check_effects(self, _all(fresh, EFFECTS), expected)
        comparison.check_states(self, _all(fresh, INTENTS), expected)
        comparison.check_bodies(_all(fresh, EVIDENCE), expected)
        self.bodies.update(expected.bodies)
        self._check_tips(_all(fresh, TIPS), expected)
        self._check_letters(_all(fresh, DEAD_LETTERS))
        for record in _all(fresh, CHECKPOINTS):
            signed = decode_as(SignedCheckpoint, record.value or b"")
            self.chains[signed.tenant_id].check_checkpoint(record, signed)
        for partition in range(self.world.partitions):
            self.rail.committed(fresh.get((EFFECTS, partition), []), partition=partition)
        self.rail.look()

    def answered(self, who: Credentials, given: "Given") -> None:
        self.answers.check(who, given)

    def _fresh(self) -> dict[Place, list[StoredRecord]]:
        """Everything that was committed since the last look, by topic and partition.

        Whose transaction lies beside it does not matter here: the auditor sees past the last stable offset.
        """
        kafka, fresh = self.world.kafka, {}
        if kafka.topics_made != self._topics_known:
            self._topics_known = kafka.topics_made
            self._logs = self._all_logs()
        for place, log in self._logs.items():
            # A transaction that was open at the last look may have been committed without a marker yet.
            if log._open or log.high_watermark != self._seen_to.get(place):
                self._seen_to[place] = log.high_watermark
                records = self._committed(place, log)
                if records:
                    fresh[place] = records
        return fresh

    def _all_logs(self) -> dict[Place, PartitionLog]:
        kafka = self.world.kafka
        places = [
            (topic, partition)
            for topic in (*_SHARED, POSITIONS)
            for partition in range(self.world.partitions)
        ]
        topics = kafka.topics()
        places += [(topic, 0) for topic in self._ledgers.values() if topic in topics]
        return {place: kafka.partition(*place) for place in places}

    def _committed(self, place: Place, log: PartitionLog) -> list[StoredRecord]:
        """What lies behind an open transaction is taken once, and the open one looked at again."""
        start, taken = self._next.get(place, 0), self._taken.setdefault(place, set())
        first_open, found = log.high_watermark, []
        for record in log._records[log._index_of(start) :]:
            transaction = record.transaction
            if transaction is not None and transaction.status is TransactionStatus.OPEN:
                first_open = min(first_open, record.offset)
            elif record.is_visible and record.offset not in taken:
                found.append(record)
                taken.add(record.offset)
        self._next[place] = first_open
        self._taken[place] = {offset for offset in taken if offset >= first_open}
        return found

    def _advance(
        self,
        partition: int,
        fresh: dict[Place, list[StoredRecord]],
        outcomes: Outcomes,
        given_up: set[tuple[int, int]],
        expected: Expected,
    ) -> None:
        """Predict what the commands up to the new position make."""
        before = self.positions[partition]
        for record in fresh.get((POSITIONS, partition), ()):
            position = decode_as(Position, record.value or b"")
            if position.partition != partition or position.next_offset <= before:
                raise ViolationError(
                    Rule.POSITION, f"partition {partition}: {position.next_offset} after {before}"
                )
            before = position.next_offset
            self.world.group_moved.pop(partition, None)
        committed = self.world.kafka.group(GROUP_HARBOR).committed((COMMANDS, partition)) or 0
        if committed != self.world.group_moved.get(partition, before):
            raise ViolationError(
                Rule.POSITION,
                f"partition {partition}: the position is {before}, the group stands at {committed}",
            )
        log = self.world.kafka.partition(COMMANDS, partition)
        codes: dict[str, set[str]] = defaultdict(set)
        for _, outcome in outcomes.get(partition, ()):
            if outcome.refusal is not None:
                codes[outcome.command_id].add(outcome.refusal.code)
        for record in log.committed(start=self.positions[partition], end=before):
            self.decided += 1
            if (partition, record.offset) in given_up:
                self._expect_given_up(partition, record, expected)
            else:
                self._predict(partition, record, expected, codes)
        self.positions[partition] = before

    def _predict(
        self,
        partition: int,
        record: StoredRecord,
        expected: Expected,
        codes: Mapping[str, set[str]],
    ) -> None:
        """`codes` = what this transaction refuses: where a process's own clock or death decides, it may be either."""
        junk = self.world.junk.get((partition, record.offset))
        if junk is not None:
            self._expect_letter(partition, record)
            if junk.is_answered:
                expected.outcomes.append(_undecided(junk.named, record))
            return
        command = self._command(record)
        said = codes.get(command.command_id, set())
        not_after = command.not_after
        may_expire = not_after is not None and self.world.latest_clock > not_after
        self.model.decide(
            command,
            record.timestamp,
            expected,
            is_expired=not_after is not None
            and (record.timestamp > not_after or (may_expire and "command_expired" in said)),
            has_topic=not ("ledger_topic_missing" in said and self.world.may_lack_topic(command)),
        )

    def _given_up(self, fresh: dict[Place, list[StoredRecord]]) -> set[tuple[int, int]]:
        """Which records this transaction gives up: those that their own letter and the process say so of."""
        letters = [
            decode_as(DeadLetter, record.value or b"") for record in _all(fresh, DEAD_LETTERS)
        ]
        places = {
            (letter.partition, letter.offset)
            for letter in letters
            if letter.reason.startswith(RejectReason.CRASHED_DECIDE)
        }
        if not places <= self.world.poisoned:
            raise ViolationError(
                Rule.DEAD_LETTER, f"nobody gave {sorted(places - self.world.poisoned)} up"
            )
        return places

    def _expect_given_up(self, partition: int, record: StoredRecord, expected: Expected) -> None:
        """Nobody looked into it: whom its headers name is answered and stopped, whatever it would have been."""
        self._expect_letter(partition, record)
        junk = self.world.junk.get((partition, record.offset))
        command = self._command(record) if junk is None else junk.named
        if partition_of(command.tenant_id, self.world.partitions) != partition:
            return
        expected.outcomes.append(_undecided(command, record))
        tenant = self.model.tenant(command.tenant_id)
        if tenant.is_provisioned:
            tenant.is_quarantined = True
            expected.tenants[tenant.name] = True

    def _command(self, record: StoredRecord) -> Command:
        command = _command_of(record)
        if command.issuer is Issuer.GATEWAY:
            self.answers.check_command(command)
        return command

    def _check_entries(self, fresh: dict[Place, list[StoredRecord]], expected: Expected) -> None:
        for tenant_id, chain in self.chains.items():
            records = fresh.get((self._ledgers[tenant_id], 0), [])
            entries = [chain.add(record) for record in records]
            comparison.check_entries(tenant_id, entries, expected.entries.get(tenant_id, []))

    def _check_tips(self, records: list[StoredRecord], expected: Expected) -> None:
        tips = [decode_as(Tip, record.value or b"") for record in records]
        told = sorted(tip.tenant_id for tip in tips)
        touched = sorted(expected.entries)
        if told != touched:
            raise ViolationError(Rule.TIP, f"tips of {told}, entries of {touched}")
        for record, tip in zip(records, tips, strict=True):
            if record.key != tip.tenant_id.encode():
                raise ViolationError(Rule.TIP, f"{tip.tenant_id}'s tip under {record.key!r}")
            self.chains[tip.tenant_id].check_tip(tip)

    def _expect_letter(self, partition: int, record: StoredRecord) -> None:
        key = f"{GROUP_HARBOR}/{COMMANDS}/{partition}/{record.offset}".encode()
        self._expected_letters.add(key)

    def _check_letters(self, records: list[StoredRecord]) -> None:
        for record in records:
            key = record.key or b""
            if key not in self._expected_letters or key in self.letters:
                raise ViolationError(Rule.DEAD_LETTER, f"{key.decode()} was no dead letter")
            self.letters.add(key)

    @property
    def missing_letters(self) -> set[bytes]:
        return self._expected_letters - self.letters


def _all(fresh: dict[Place, list[StoredRecord]], topic: str) -> list[StoredRecord]:
    """Partition by partition, in the order of the commands that made them."""
    return [record for place, records in fresh.items() if place[0] == topic for record in records]


def _command_of(record: StoredRecord) -> Command:
    try:
        return decode_as(Command, record.value or b"")
    except CodecError as error:
        raise AssertionError(f"junk that nobody noted at {record.offset}") from error


def _undecided(command: Command, record: StoredRecord) -> ExpectedOutcome:
    stored = Stored(
        command_id=command.command_id,
        input_hash=command.input_hash,
        status="retry",
        code="internal_error",
        nonce=None,
        recorded_at=record.timestamp,
    )
    return ExpectedOutcome(stored=stored, beside=True)

"""A ledger that was read again against what the other topics say of it: states, pins, tenant, tips and checkpoints.

Pure. Each comparison is shown every good entry in order (`see`) and then told where the reading ended (`finish`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial

from harbor.fsck.bodies import StoredBody
from harbor.fsck.findings import Finding, FindingKind, FindingList
from harbor.fsck.implied import Fact, ImpliedFacts
from harbor.fsck.operations import StoredDecision
from harbor.fsck.reread import LedgerReading, Step
from harbor.fsck.tenant_states import StoredTenantState
from schemas.errors import IntegrityError, StateMismatchError
from schemas.ids import IntentId, TenantId
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.ledger.merkle_tree import Frontier
from schemas.messages.avro_codec import decode, encode
from schemas.messages.tips import Tip
from schemas.topics import (
    CHECKPOINTS,
    INTENTS,
    TIPS,
    intent_key,
    ledger_topic,
    party_key,
    tenant_key,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedSize:
    """A checkpoint whose signature a configured key has made. `where` = the topic or table it lies in."""

    size: int
    root: bytes
    where: str = CHECKPOINTS


@dataclass(slots=True, kw_only=True)
class TenantTopics:
    """What the shared topics hold of one tenant at one moment, tips read first.

    `intents` and `bodies`: newest value per key; `decisions`: newest per command. `tips`: every record that is left, in
    order. `signed_offsets`: the first of each signed size. `findings`: what can't be believed whatever the ledger says.
    """

    tenant_id: TenantId
    tips: list[Tip] = field(default_factory=list)
    intents: dict[bytes, bytes] = field(default_factory=dict)
    checkpoints: list[SignedSize] = field(default_factory=list)
    signed_offsets: dict[int, int] = field(default_factory=dict)
    bodies: dict[bytes, StoredBody] = field(default_factory=dict)
    decisions: dict[str, StoredDecision] = field(default_factory=dict)
    tenant_state: StoredTenantState | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def reached(self) -> int:
        """The size that whatever was read after the tips must have reached."""
        return self.tips[-1].size if self.tips else 0


class StateComparison:
    """`paybond.intents`: states, pins and the tenant's row."""

    def __init__(self, topics: TenantTopics) -> None:
        self._tenant_id = topics.tenant_id
        self._facts = ImpliedFacts(
            {key: _fact(key, value) for key, value in topics.intents.items()},
            where=INTENTS,
            reached=topics.reached,
            describe=differing_fields,
        )

    def see(self, step: Step) -> None:
        seq, after = step.entry.seq, step.after
        if seq == 1:
            self._facts.imply(
                tenant_key(self._tenant_id), seq=1, token=partial(encode, step.tenant)
            )
        if after is not None:
            key = intent_key(self._tenant_id, IntentId(after.intent_id))
            self._facts.imply(key, seq=seq, token=partial(encode, after))
        for pin in step.pins:
            key = party_key(self._tenant_id, pin.did)
            self._facts.imply(key, seq=seq, token=partial(encode, pin))

    def finish(self, reading: LedgerReading) -> FindingList:
        self._facts.finish(size=reading.size, is_whole=reading.first_bad is None)
        return self._facts.findings


class TipComparison:
    """`paybond.tips`: each extends the one before it, and is the ledger's end at its size."""

    def __init__(self, topics: TenantTopics) -> None:
        self._topic = ledger_topic(topics.tenant_id)
        self._by_size: dict[int, list[Tip]] = {}
        self._findings: list[Finding] = []
        size = 0
        for tip in topics.tips:
            if tip.size <= size:
                self._tell(tip.size, f"a tip of size {tip.size} follows one of size {size}")
            size = max(size, tip.size)
            self._by_size.setdefault(tip.size, []).append(tip)

    def see(self, step: Step) -> None:
        size = step.entry.seq
        for tip in self._by_size.pop(size, ()):
            frontier = step.appender.frontier()
            is_root, is_leaf = tip.root == frontier.root(), tip.last_leaf_hash == step.leaf_hash
            if not is_root and not is_leaf and _is_consistent(tip):
                # The tip agrees with itself, and speaks of another last entry than the one that lies there.
                self._findings.append(
                    Finding(
                        seq=size,
                        kind=FindingKind.DAMAGED,
                        where=self._topic,
                        detail=f"its bytes do not have the hash that the tip of size {size} gives",
                    )
                )
            elif not is_root or not is_leaf or tip.frontier != frontier.hashes:
                self._tell(size, f"the tip of size {size} is not what the entries add up to")

    def finish(self, reading: LedgerReading, *, newest: Tip | None) -> list[Finding]:
        """`newest` = the tip as it was read after the ledger: it can't be behind it."""
        if reading.first_bad is None:
            for size in sorted(self._by_size):
                self._findings.append(
                    Finding(
                        seq=reading.size + 1,
                        kind=FindingKind.MISSING,
                        where=self._topic,
                        detail=f"a tip says {size} entries, the ledger ends with seq {reading.size}",
                    )
                )
            newest_size = 0 if newest is None else newest.size
            if newest_size < reading.size:
                self._tell(
                    newest_size + 1,
                    f"the ledger has {reading.size} entries, the newest tip says {newest_size}",
                )
        return self._findings

    def _tell(self, seq: int, detail: str) -> None:
        self._findings.append(
            Finding(seq=seq, kind=FindingKind.TIP_DOES_NOT_EXTEND, where=TIPS, detail=detail)
        )


class CheckpointComparison:
    """Signed sizes: one root each, and that of the entries."""

    def __init__(self, signed: Sequence[SignedSize]) -> None:
        self._by_size: dict[int, dict[tuple[str, bytes], SignedSize]] = {}
        for checkpoint in signed:
            known = self._by_size.setdefault(checkpoint.size, {})
            known[checkpoint.where, checkpoint.root] = checkpoint
        self._findings = [
            Finding(
                seq=size,
                kind=FindingKind.EQUIVOCATION,
                where=next(iter(known.values())).where,
                detail=f"{len(roots)} signed checkpoints of size {size} differ",
            )
            for size, known in self._by_size.items()
            if len(roots := {checkpoint.root for checkpoint in known.values()}) > 1
        ]
        self._last_good = 0

    def see(self, step: Step) -> None:
        size = step.entry.seq
        signed = self._by_size.pop(size, None)
        if signed is None:
            return
        root = step.appender.frontier().root()
        for checkpoint in signed.values():
            if checkpoint.root == root:
                self._last_good = size
                continue
            self._tell(
                checkpoint,
                # One changed entry breaks the chain, unless it is the last; so does a changed tail as a whole.
                seq=size,
                detail=f"the signed root of size {size} is not that of the entries;"
                f" up to seq {self._last_good} they agree",
            )

    def finish(self, reading: LedgerReading) -> list[Finding]:
        if reading.first_bad is None:
            for size in sorted(self._by_size):
                for checkpoint in self._by_size[size].values():
                    self._tell(
                        checkpoint,
                        seq=reading.size + 1,
                        detail=f"size {size} was signed, the ledger ends with seq {reading.size}",
                    )
        return self._findings

    def _tell(self, checkpoint: SignedSize, *, seq: int, detail: str) -> None:
        self._findings.append(
            Finding(
                seq=seq,
                kind=FindingKind.CHECKPOINT_MISMATCH,
                where=checkpoint.where,
                detail=detail,
            )
        )


def differing_fields(stored: bytes, implied: bytes) -> str:
    """Names of the fields in which two encoded messages of one class differ."""
    left, right = decode(stored), decode(implied)
    if type(left) is not type(right):
        return f"what it is: {type(left).__name__}, not {type(right).__name__}"
    return ", ".join(
        field.name
        for field in fields(left)
        if getattr(left, field.name) != getattr(right, field.name)
    )


def quarantine_of(intents: Mapping[bytes, bytes], tenant_id: TenantId) -> str | None:
    """Why the tenant's row says that the tenant is stopped; None also where the row can't be read."""
    value = intents.get(tenant_key(tenant_id))
    try:
        message = None if value is None else decode(value)
    except IntegrityError:
        return None
    if not isinstance(message, TenantState) or message.quarantine is None:
        return None
    return message.quarantine.reason


def _fact(key: bytes, value: bytes) -> Fact:
    """Encoded anew, so that a state that an older release wrote compares equal."""
    try:
        message = decode(value)
    except IntegrityError as error:
        return Fact(seq=0, token=b"", problem=str(error))
    match message:
        case IntentState():
            seq = message.last_seq
            own_key = intent_key(TenantId(message.tenant_id), IntentId(message.intent_id))
        case PartyPin():
            seq, own_key = message.since_seq, party_key(TenantId(message.tenant_id), message.did)
        case TenantState():
            # Quarantine and pause are no entry's: an operator's matter, told beside the findings.
            message = replace(message, quarantine=None, rails_pause=None)
            seq, own_key = 1, tenant_key(TenantId(message.tenant_id))
        case _:
            return Fact(seq=0, token=b"", problem=f"it is a {type(message).__name__}")
    if own_key != key:
        return Fact(seq=seq, token=b"", problem=f"its value belongs under {own_key!r}")
    return Fact(seq=seq, token=encode(message))


def _is_consistent(tip: Tip) -> bool:
    try:
        frontier = Frontier.restored(subject=tip.tenant_id, size=tip.size, hashes=tip.frontier)
    except StateMismatchError:
        return False
    return frontier.root() == tip.root

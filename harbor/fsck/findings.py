"""What `fsck` can find wrong: closed kinds, each with the seq it belongs to. Values only; nothing is repaired."""

from dataclasses import dataclass
from enum import StrEnum

# Of one topic or table of one tenant: a table that is gone as a whole must not fill the memory.
FINDINGS_MAX = 1000


class FindingKind(StrEnum):
    """On the ledger topic first; then what claims to follow from it.

    `damaged`: the bytes are not the entry that the chain, the tip or a signature speaks of.
    `not_implied`: a state, pin or row that no entry led to. `stale`: one that a later entry should have changed.
    """

    TOMBSTONE = "tombstone"
    MISSING = "missing"
    DOUBLED = "doubled"
    SWAPPED = "swapped"
    INSERTED = "inserted"
    DAMAGED = "damaged"
    WRONG_TENANT = "wrong_tenant"
    SCHEMA_UNKNOWN = "schema_unknown"
    IMPOSSIBLE = "impossible"
    TIP_DOES_NOT_EXTEND = "tip_does_not_extend"
    CHECKPOINT_UNTRUSTED = "checkpoint_untrusted"
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    EQUIVOCATION = "equivocation"
    NOT_IMPLIED = "not_implied"
    STALE = "stale"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`seq` = the first entry that is bad, or that `where` contradicts. `where` = a topic or a table."""

    seq: int
    kind: FindingKind
    where: str
    detail: str


class FindingList:
    """In the order of the ledger, so that what does not fit any more is what matters least."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self.omitted = 0

    def add(self, finding: Finding) -> None:
        if len(self._kept) < FINDINGS_MAX:
            self._kept.append(finding)
        else:
            self.omitted += 1

    @property
    def kept(self) -> tuple[Finding, ...]:
        return tuple(self._kept)

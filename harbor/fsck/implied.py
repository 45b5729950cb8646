"""What is stored beside a ledger against what its entries imply, fact by fact, while the ledger is read in order.

A fact says itself after which entry it holds, so that a system that goes on working meanwhile is compared exactly:
each fact at its own seq, and none may lie behind an entry that its reader must have known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harbor.fsck.findings import Finding, FindingKind, FindingList


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """`token` = the fact in a form in which equal facts are equal bytes. `problem` = why it could not be read."""

    seq: int
    token: bytes
    problem: str | None = None


Describe = Callable[[bytes, bytes], str]
"""In what a stored token and the implied one differ, in words."""


class ImpliedFacts:
    """Of one topic or table. `reached` = the entry up to which every fact must have been brought."""

    def __init__(
        self, stored: Mapping[bytes, Fact], *, where: str, reached: int, describe: Describe
    ) -> None:
        self._stored = stored
        self._where = where
        self._reached = reached
        self._describe = describe
        # Keys that an entry implied, or of which a finding was told already: one finding per fact is enough.
        self._settled: set[bytes] = set()
        self._told: set[bytes] = set()
        self.findings = FindingList()

    def imply(self, key: bytes, *, seq: int, token: Callable[[], bytes]) -> None:
        """Entry `seq` leads to this fact; `token` is asked only where the stored one claims to be of this seq."""
        if key in self._told:
            return
        fact = self._stored.get(key)
        if fact is None:
            if seq <= self._reached:
                self._tell(key, seq, FindingKind.ABSENT, "it is not there")
        elif fact.problem is not None:
            self._tell(key, seq, FindingKind.DAMAGED, fact.problem)
        elif fact.seq == seq:
            self._settled.add(key)
            implied = token()
            if implied != fact.token:
                differs = self._describe(fact.token, implied)
                self._tell(key, seq, FindingKind.NOT_IMPLIED, f"it differs in {differs}")
        elif fact.seq < seq <= self._reached:
            self._tell(key, seq, FindingKind.STALE, f"it stands at seq {fact.seq}")

    def finish(self, *, size: int, is_whole: bool) -> None:
        """After the last good entry. Behind a break nobody knows what would have been implied."""
        left = self._stored.keys() - self._settled - self._told
        for key in sorted(left, key=lambda key: (self._stored[key].seq, key)):
            fact = self._stored[key]
            if is_whole or fact.seq <= size:
                detail = fact.problem or f"it claims to follow from seq {fact.seq}"
                self._tell(key, fact.seq, FindingKind.NOT_IMPLIED, detail)

    def _tell(self, key: bytes, seq: int, kind: FindingKind, detail: str) -> None:
        self._told.add(key)
        name = key.decode("utf-8", "backslashreplace")
        self.findings.add(
            Finding(seq=seq, kind=kind, where=self._where, detail=f"{name}: {detail}")
        )

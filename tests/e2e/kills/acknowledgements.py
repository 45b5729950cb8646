"""What clients were told, read from their file as it grows."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The command is decided; 202 says only that it is under way.
_DECIDED = frozenset({200, 201, 402})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One answer that the system stands by."""

    tenant_id: str
    command_id: str
    purpose: str
    intent_id: str
    status: int
    sent_at: float
    acknowledged_at: float

    @property
    def is_decided(self) -> bool:
        return self.status in _DECIDED


@dataclass(slots=True)
class Acknowledgements:
    """`read` takes in what was written since; a line that is not whole yet waits."""

    path: Path
    told: list[Told] = field(default_factory=list)
    retried: Counter[str] = field(default_factory=Counter)
    decided: set[str] = field(default_factory=set)
    _offset: int = 0

    def read(self) -> None:
        for document in self._new_lines():
            if "retried" in document:
                self.retried[document["retried"]] += 1
                continue
            told = Told(**{name: document[name] for name in Told.__dataclass_fields__})
            self.told.append(told)
            if told.is_decided:
                self.decided.add(told.command_id)

    def first_sent_after(self, instant: float) -> Told | None:
        """The first answer to something that was sent after this instant."""
        later = (told for told in self.told if told.sent_at > instant)
        return min(later, key=lambda told: told.acknowledged_at, default=None)

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)

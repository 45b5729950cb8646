"""At most 64 commands in flight per tenant and gateway: one tenant's flood must not fill the others' log."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.edge.refused import RefusedError

IN_FLIGHT_MAX = 64
_RETRY_AFTER_SECONDS = 1


class InFlight:
    def __init__(self, *, limit: int = IN_FLIGHT_MAX) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one_more(self, tenant_id: str) -> Iterator[None]:
        """Raises RefusedError (`too_many_in_flight`, with Retry-After)."""
        if self._counts[tenant_id] >= self._limit:
            raise RefusedError("too_many_in_flight", retry_after_seconds=_RETRY_AFTER_SECONDS)
        self._counts[tenant_id] += 1
        try:
            yield
        finally:
            self._counts[tenant_id] -= 1
            if not self._counts[tenant_id]:
                del self._counts[tenant_id]

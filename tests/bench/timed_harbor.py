"""`paybond-harbor`, unchanged but for a log line that says how long each transaction took, from begin to commit.

`python -m tests.bench.timed_harbor run`
"""

import time
from unittest.mock import patch

import structlog

from harbor import bootstrap
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.cli import main

TRANSACTION = "transaction_timed"
_log = structlog.get_logger("bench")


class _Timed(KafkaTransactions):
    _began = 0.0

    async def begin(self) -> None:
        self._began = time.perf_counter()
        await super().begin()

    async def commit(self) -> None:
        called = time.perf_counter()
        await super().commit()
        now = time.perf_counter()
        _log.info(TRANSACTION, seconds=now - self._began, commit_seconds=now - called)


if __name__ == "__main__":
    with patch.object(bootstrap, "KafkaTransactions", _Timed):
        main()

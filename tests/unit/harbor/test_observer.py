"""What the loop says aloud of a command that it gave up: where it broke, and nothing of what was in it."""

import json
from datetime import UTC, datetime

import pytest
import structlog

from harbor import observer
from harbor.engine.batch_lookup import View
from harbor.engine.batch_result import ResultBuilder
from harbor.engine.intake import Rejected, RejectReason
from harbor.engine.ports import InputRecord
from harbor.observer import MetricsObserver
from streams.runtime.logs import set_up_logs
from streams.runtime.metrics import Metrics
from tests.support.log_search import Secret, search

_BODY = b"\xff a body that is no text"
_RECORD = InputRecord(
    partition=3,
    offset=7,
    timestamp=datetime(2030, 1, 2, tzinfo=UTC),
    key=b"acme",
    value=_BODY,
    headers={},
)


def test_a_command_that_was_given_up_is_named_by_place_and_never_quoted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger keeps the stream that it first wrote to: this test's is closed after it.
    monkeypatch.setattr(observer, "_log", structlog.get_logger("harbor"))
    rejected = Rejected(record=_RECORD, reason=RejectReason.CRASHED_DECIDE, detail="…")
    set_up_logs("paybond-test")
    try:
        _BODY.decode()
    except UnicodeDecodeError as error:
        # Its repr quotes all that it was given.
        MetricsObserver(Metrics()).poisoned(rejected, error)
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    text = capsys.readouterr().err
    line = json.loads(text)
    assert (line["event"], line["partition"], line["offset"]) == ("command_given_up", 3, 7)
    assert line["error"] == "UnicodeDecodeError"
    assert line["raised_at"].endswith(
        " test_a_command_that_was_given_up_is_named_by_place_and_never_quoted"
    )
    assert search(text.encode(), [Secret(name="body", value=_BODY)]) == []


def test_a_committed_transaction_shows_how_long_it_took() -> None:
    metrics = Metrics()
    watching = MetricsObserver(metrics)

    for _ in range(2):
        watching.began()
        watching.committed(ResultBuilder().finished(View()))
    watching.began()
    watching.aborted(records=1, reason="a rebalance")

    assert metrics.registry.get_sample_value("paybond_harbor_batch_seconds_count") == 2

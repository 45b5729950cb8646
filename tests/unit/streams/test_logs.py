"""What a log line of a defect says, and what it must never say."""

import json

import pytest
import structlog

from streams.runtime.logs import set_up_logs


def test_a_defects_traceback_names_its_frames_and_none_of_their_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def use(bearer: str) -> None:
        assert bearer
        raise ValueError("it broke")

    set_up_logs("paybond-test")
    try:
        use("paybond_sk_sandbox_of-somebody")
    except ValueError:
        structlog.get_logger().exception("request_failed", token="t-1")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    text = capsys.readouterr().err
    line = json.loads(text)
    assert line["event"] == "request_failed"
    assert line["exception"][0]["exc_value"] == "it broke"
    assert line["exception"][0]["frames"][-1]["name"] == "use"
    assert "of-somebody" not in text
    assert line["token"] == "[withheld]"

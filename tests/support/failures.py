"""What failed is said when it fails: a run that is cut off, or hangs, has named it by then."""

import pytest


class FailuresAtOnce:
    """A plugin beside pytest's own report, which shows the same at the end."""

    def __init__(self, shown: pytest.TerminalReporter) -> None:
        self._shown = shown

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._shown.ensure_newline()
            self._shown.write_line(
                f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)"
            )
            self._shown.write_line(report.longreprtext)

"""What `fsck` says: a progress bar and a table for people on stderr, one JSON document on stdout, an exit code.

Exit 0: every tenant that was asked for is clean, and there was one. 1: findings, or nobody to check. 3: an outage.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from harbor.fsck.audit import TenantReport
from harbor.fsck.findings import Finding
from schemas.ids import TenantId

# On a screen; the JSON document has what was kept.
_SHOWN_MAX = 20
# A bar that moves with every entry would cost more than reading them.
_EVERY_ENTRIES = 500

EXIT_CLEAN = 0
EXIT_FINDINGS = 1


def exit_code(reports: Sequence[TenantReport]) -> int:
    """An empty check proves nothing, and so is not a success."""
    is_clean = bool(reports) and all(report.is_clean for report in reports)
    return EXIT_CLEAN if is_clean else EXIT_FINDINGS


def document(reports: Sequence[TenantReport]) -> dict[str, Any]:
    """For `--json`; hashes in hex. `first_bad` is null for a clean tenant."""
    return {
        "ok": exit_code(reports) == EXIT_CLEAN,
        "tenants": [_tenant(report) for report in reports],
        "checked": {
            "tenants": len(reports),
            "entries": sum(report.size for report in reports),
            "intents": sum(report.intents for report in reports),
        },
    }


def table(reports: Sequence[TenantReport]) -> Table:
    """A line per tenant."""
    shown = Table(title="fsck")
    for heading in ("tenant", "entries", "intents", "checkpoints", "in Postgres", "result"):
        shown.add_column(heading, justify="left" if heading in {"tenant", "result"} else "right")
    for report in reports:
        shown.add_row(
            report.tenant_id,
            str(report.size),
            str(report.intents),
            str(report.checkpoints),
            "not read" if report.table_size is None else str(report.table_size),
            escape(_result(report)),
        )
    return shown


def finding_lines(report: TenantReport) -> list[str]:
    lines = [
        f"{report.tenant_id} seq {finding.seq}: {finding.kind.value} in {finding.where}: {finding.detail}"
        for finding in report.findings[:_SHOWN_MAX]
    ]
    more = len(report.findings) + report.omitted - len(lines)
    return [*lines, f"{report.tenant_id}: {more} more"] if more else lines


class ScreenWatcher:
    """`harbor.fsck.audit.Watcher`: a bar per tenant that is being read."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[TenantId, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def began(self, tenant_id: TenantId, *, records: int) -> None:
        self._tasks[tenant_id] = self._progress.add_task(tenant_id, total=records)

    def read(self, tenant_id: TenantId, *, entries: int) -> None:
        if entries % _EVERY_ENTRIES == 0:
            self._progress.update(self._tasks[tenant_id], completed=entries)

    def ended(self, report: TenantReport) -> None:
        self._progress.remove_task(self._tasks.pop(report.tenant_id))


def _tenant(report: TenantReport) -> dict[str, Any]:
    first = report.first_bad
    return {
        "tenant_id": report.tenant_id,
        "ok": report.is_clean,
        "entries": report.size,
        "root": report.root.hex(),
        "intents": report.intents,
        "checkpoints": report.checkpoints,
        "table_entries": report.table_size,
        "quarantine": report.quarantine,
        "first_bad_seq": None if first is None else first.seq,
        "reason": None if first is None else first.kind.value,
        "findings": [_finding(finding) for finding in report.findings],
        "findings_omitted": report.omitted,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "seq": finding.seq,
        "kind": finding.kind.value,
        "where": finding.where,
        "detail": finding.detail,
    }


def _result(report: TenantReport) -> str:
    first = report.first_bad
    stopped = "" if report.quarantine is None else f" (quarantined: {report.quarantine})"
    if first is None:
        return f"clean{stopped}"
    return f"bad from seq {first.seq}: {first.kind.value}{stopped}"

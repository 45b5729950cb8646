"""What the demo shows: short tables on a terminal, faults in full."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.demo_client import DemoClient
from deploy.local.demo_plan import PlannedIntent
from deploy.local.demo_proof import Entry, LedgerRecord, ProofCheck

_FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One intent's story as it went; `fault` says what did not come out as planned."""

    planned: PlannedIntent
    state: str
    note: str
    declines: int = 0
    fault: str | None = None

    @property
    def intent_id(self) -> str:
        return self.planned.intent_id


async def print_stories(
    console: Console, clients: Sequence[DemoClient], told: Sequence[Told]
) -> None:
    """How many stories ended where, and the ledger's own sums, which must hold every amount once."""
    table = Table("story", "ended", *(client.tenant.tenant_id for client in clients))
    counts = Counter((one.planned.story, one.state, one.planned.tenant) for one in told)
    for story, state in sorted({(story, state) for story, state, _ in counts}):
        cells = (counts[story, state, number] for number in range(len(clients)))
        table.add_row(story.value, state, *(str(cell) for cell in cells))
    console.print(table)
    declines = sum(one.declines for one in told)
    retries = sum(client.retries for client in clients)
    console.print(
        f"   The rail declined {declines} times, and was asked again; "
        f"the client repeated {retries} requests."
    )
    for client in clients:
        summary = await client.get("/harbor/operator/v1/summary")
        console.print(f"   {client.tenant.tenant_id}: {money_line(summary.document['totals'])}")
    for one in [one for one in told if one.fault][:_FAULTS_SHOWN]:
        console.print(
            f"   FAULT {one.intent_id} ({one.planned.story.value}): {one.fault}",
            markup=False,
            style="red",
        )


def money_line(totals: Sequence[Mapping[str, Any]]) -> str:
    """`usd 12.34 placed = 0.00 held + …`, per currency."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in totals:
        for part in ("placed", "held", "released", "refunded", "custody"):
            sums[str(row["currency"])][part] += int(row[f"{part}_cents"])
    lines = []
    for currency, money in sorted(sums.items()):
        parts = " + ".join(
            f"{decimal(money[part])} {part}"
            for part in ("held", "released", "refunded", "custody")
            if money[part]
        )
        lines.append(f"{currency} {decimal(money['placed'])} placed = {parts or '0'}")
    return "; ".join(lines)


def decimal(minor_units: int) -> str:
    """Two decimals: the demo's currencies have two."""
    return f"{minor_units // 100:,}.{minor_units % 100:02d}"


def print_kafka(
    console: Console, entries: Sequence[Entry], records: Mapping[int, LedgerRecord]
) -> bool:
    """Whether every entry is the very same bytes on Kafka."""
    table = Table("seq", "event", "Kafka offset", "bytes", "same as over HTTP")
    is_same = True
    for entry in entries:
        record = records.get(entry.seq)
        same = record is not None and record.value == entry.value
        is_same = is_same and same
        table.add_row(
            str(entry.seq),
            entry.event_type,
            str(record.offset) if record else "–",
            str(len(entry.value)),
            "yes" if same else "NO",
        )
    console.print(table)
    return is_same


def print_proof(console: Console, check: ProofCheck | None) -> None:
    if check is None:
        console.print("   Left out: verify_inclusion.py is in docs/examples of the source only.")
        return
    console.print(f"   $ {check.command}", markup=False, highlight=False, soft_wrap=True)
    for line in check.output.splitlines():
        console.print(f"   {line}", markup=False, highlight=False)
    verdict = "refused" if check.is_forgery_refused else "ACCEPTED, which must never happen"
    console.print(f"   The same entry with one bit changed: {verdict}.")


def print_what_next(console: Console, document: Mapping[str, Any], entry: Entry) -> None:
    base_url = document["base_url"]
    lines = [
        "[bold]What to try next[/]",
        "   paybond-local status; paybond-local logs harbor --follow",
        "   paybond-harbor fsck --all            re-reads every topic and compares it with the tables",
        "   paybond-streams status               how far the read tables are behind",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    console.print(
        '   curl -H "authorization: Bearer $(jq -r .api_key .paybond/local.json)" '
        f"'{base_url}/harbor/ledger/v1/proof/inclusion?seq={entry.seq}'",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print("   paybond-local down                   the data stays", highlight=False)

"""What is read in which order, of whom, and what is said of it in the end."""

import asyncio
from datetime import timedelta

import pytest

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.fsck.audit import Audit, TenantReport
from harbor.fsck.findings import FINDINGS_MAX, FindingKind
from harbor.fsck.memory_tables import MemoryRows
from harbor.fsck.report import document, exit_code, finding_lines, table
from harbor.fsck.shared_topics import LedgerKeys
from schemas.canonical import ed25519
from schemas.errors import BrokerUnavailableError
from schemas.ids import TenantId
from schemas.partitioner import partition_of
from schemas.topics import (
    INTENTS,
    TIPS,
    ledger_key,
    tip_key,
)
from tests.support.builders import T0, TENANT
from tests.support.ledger_builder import DEPLOYMENT, a_ledger
from tests.unit.harbor.fsck.world import (
    PARTITIONS,
    Damage,
    Stored,
    Witness,
    a_whole_ledger,
    audit_of,
    change_entry_row,
    drop_entry_row,
    fsck,
    fsck_one,
    kafka_of,
    ledger_of,
)


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_tables_that_lag_are_no_finding(size: int) -> None:
    ledger = a_whole_ledger()
    stored = Stored.of(ledger, table_size=size)

    report = fsck_one(stored)

    assert report.findings == ()
    assert report.table_size == size


def test_states_and_tips_of_a_ledger_that_grows_while_it_is_read_are_no_finding() -> None:
    """The tips are read first; then a transaction commits; then the states and the ledger are read."""
    ledger = ledger_of(3, intents=6)
    stored = Stored.of(ledger)
    kafka = kafka_of(stored)
    grown = a_ledger(3, intents=6)
    grown.fund(grown.create(99))
    grown.commit()
    where = partition_of(TENANT, PARTITIONS)

    class Growing(MemoryLogReader):
        has_grown = False

        async def beginning_offset(self, topic: str, partition: int) -> int:
            if topic == INTENTS and not self.has_grown:
                self.has_grown = True
                topic_of_ledger = f"paybond.ledger.{TENANT}"
                for record in grown.ledger[len(ledger.ledger) :]:
                    kafka.append(topic_of_ledger, 0, key=record.key, value=record.value)
                for key, value in grown.intents.items():
                    kafka.append(INTENTS, where, key=key, value=value)
                kafka.append(TIPS, where, key=tip_key(TENANT), value=grown.tips[-1].value)
            return await super().beginning_offset(topic, partition)

    audit = audit_of(kafka, [stored])
    audit._reader = reader = Growing(kafka, process="fsck")
    audit._topics._reader = reader
    (report,) = asyncio.run(audit.run(None, Witness()))

    assert reader.has_grown
    assert report.findings == ()
    assert report.size == len(grown.entries) > len(ledger.entries)


def test_a_transaction_that_hangs_is_an_outage_and_not_a_finding() -> None:
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    producer = kafka.init_transactions("hanging")
    kafka.begin(producer)
    topic = f"paybond.ledger.{TENANT}"
    kafka.produce(
        producer,
        topic,
        0,
        key=ledger_key(TENANT, len(a_whole_ledger().entries) + 1),
        value=b"x",
        headers={},
    )

    with pytest.raises(BrokerUnavailableError, match="hangs"):
        asyncio.run(audit_of(kafka, [stored]).run(None, Witness()))


def test_tenants_are_checked_each_by_itself_in_the_order_of_their_names() -> None:
    names = ["tenant-c", "tenant-a", "tenant-b"]
    stored = [Stored.of(a_ledger(7, tenant_id=name)) for name in names]
    change_entry_row(stored[0], a_ledger(7, tenant_id="tenant-c"))

    reports = fsck(*stored)

    assert [(report.tenant_id, report.is_clean) for report in reports] == [
        ("tenant-a", True),
        ("tenant-b", True),
        ("tenant-c", False),
    ]


def test_one_tenant_is_checked_alone() -> None:
    stored = [Stored.of(a_ledger(7, tenant_id=name)) for name in ("tenant-a", "tenant-b")]
    audit, witness = audit_of(kafka_of(*stored), stored), Witness()

    reports = asyncio.run(audit.run(TenantId("tenant-b"), witness))

    assert [report.tenant_id for report in reports] == ["tenant-b"]
    size = reports[0].size
    assert witness.said == [f"tenant-b began {size}", f"tenant-b ended {size}"]


def test_a_tip_without_a_ledger_topic_misses_the_whole_ledger() -> None:
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    kafka.delete_topic(f"paybond.ledger.{TENANT}")

    (report,) = asyncio.run(audit_of(kafka, [stored]).run(None, Witness()))

    assert report.first_bad is not None
    assert (report.first_bad.seq, report.first_bad.kind) == (1, FindingKind.MISSING)


def test_postgres_can_be_left_out() -> None:
    stored = Stored.of(a_whole_ledger())
    change_entry_row(stored, a_whole_ledger())

    report = fsck_one(stored, has_tables=False)

    assert report.is_clean
    assert report.table_size is None


def test_checkpoints_of_an_older_key_are_believed_beside_the_newest() -> None:
    stored = Stored.of(a_whole_ledger())
    old, new = (ed25519.public_key(seed) for seed in (b"\x77" * 32, b"\x78" * 32))
    audit = Audit(
        reader=MemoryLogReader(kafka_of(stored), process="fsck"),
        tables=None,
        clock=MemoryClock(T0),
        keys=LedgerKeys(deployment=DEPLOYMENT, public_keys=(new, old)),
        partitions=PARTITIONS,
    )

    (report,) = asyncio.run(audit.run(None, Witness()))

    assert report.is_clean
    assert report.checkpoints == len(stored.checkpoints)


def test_a_table_that_is_gone_does_not_fill_the_memory() -> None:
    ledger = ledger_of(1, intents=260)
    stored = Stored.of(ledger)
    stored.rows = MemoryRows(tenant_row=stored.rows.tenant_row)

    report = fsck_one(stored)

    entries = [f for f in report.findings if f.where == "views.ledger_entries"]
    assert len(ledger.entries) > FINDINGS_MAX
    assert len(entries) <= FINDINGS_MAX
    assert report.omitted > 0
    assert report.first_bad is not None
    assert report.first_bad.seq == 1


def a_report(damage: Damage | None = None) -> TenantReport:
    stored = Stored.of(a_whole_ledger())
    if damage is not None:
        damage(stored, a_whole_ledger())
    return fsck_one(stored)


def test_the_exit_code_says_clean_only_of_somebody_who_was_checked() -> None:
    assert exit_code([a_report()]) == 0
    assert exit_code([a_report(), a_report(drop_entry_row)]) == 1
    assert exit_code([]) == 1


def test_the_document_names_the_first_bad_seq_and_its_reason() -> None:
    bad = document([a_report(drop_entry_row)])
    good = document([a_report()])

    assert bad["ok"] is False
    assert (bad["tenants"][0]["first_bad_seq"], bad["tenants"][0]["reason"]) == (4, "absent")
    assert bad["tenants"][0]["findings"][0]["where"] == "views.ledger_entries"
    assert good["ok"] is True
    assert good["tenants"][0]["first_bad_seq"] is None
    assert good["checked"] == {
        "tenants": 1,
        "entries": len(a_whole_ledger().entries),
        "intents": len(a_whole_ledger().states),
    }


def test_the_screen_names_every_finding_and_a_line_per_tenant() -> None:
    report = a_report(drop_entry_row)

    assert finding_lines(report) == [
        "tenant-one seq 4: absent in views.ledger_entries: seq 4: it is not there"
    ]
    assert table([report]).row_count == 1


def test_a_clock_is_only_waited_on() -> None:
    """A transaction that ends in time is waited for: the audit goes on with what it committed."""
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    producer = kafka.init_transactions("slow")
    kafka.begin(producer)
    where = partition_of(TENANT, PARTITIONS)
    last = stored.tips.pop()
    kafka.produce(producer, TIPS, where, key=b"tenant-x", value=last.value, headers={})

    class Ending(MemoryClock):
        async def sleep(self, duration: timedelta) -> None:
            kafka.abort(producer)
            await super().sleep(duration)

    audit = audit_of(kafka, [stored])
    audit._topics._clock = Ending(T0)
    (report,) = asyncio.run(audit.run(None, Witness()))

    assert report.is_clean

"""`paybond-harbor` on a real broker: a cluster is made, tenants begin, restarts lose nothing, misfits are refused."""

import shutil
from datetime import UTC, datetime

import pytest

from schemas.ids import TenantId
from schemas.messages.avro_codec import encode
from schemas.messages.tips import Tip
from schemas.partitioner import partition_of
from schemas.topics import TIPS, tip_key
from tests.integration.harbor.programs import PARTITIONS, Site
from tests.support.records import plain_producer

SOME_TIME = datetime(2026, 1, 5, tzinfo=UTC)
pytestmark = pytest.mark.integration

CREATE = ("tenants", "create", "acme", "--environment", "sandbox")


def test_topics_are_made_once_and_then_do_not_differ(bare_site: Site) -> None:
    tried = bare_site.call("topics", "apply", "--dry-run")
    before = bare_site.call("topics", "diff")
    applied = bare_site.call("topics", "apply")
    after = bare_site.call("topics", "diff")

    assert tried.out == applied.out
    assert "create paybond.commands" in applied.out
    assert before.status == 1
    assert "paybond.commands does not exist" in before.out
    assert (applied.status, after.status, after.out) == (0, 0, "")


def test_a_cluster_without_topics_is_refused_and_each_is_named(bare_site: Site) -> None:
    ended = bare_site.call("run")

    assert ended.status == 2
    assert "paybond.commands does not exist" in ended.talk
    assert "paybond.tips does not exist" in ended.talk


def test_another_number_of_partitions_is_refused_and_never_applied(site: Site) -> None:
    more = {"PAYBOND_KAFKA_PARTITIONS": str(PARTITIONS + 1)}

    started = site.call("run", **more)
    applied = site.call("topics", "apply", **more)

    assert started.status == 2
    assert f"paybond.commands: number of partitions is {PARTITIONS}" in started.talk
    assert applied.status == 2
    assert "never changed" in applied.talk


def test_one_copy_of_every_record_is_refused_unless_asked_for(site: Site) -> None:
    started = site.call("run", PAYBOND_HARBOR_SINGLE_NODE="false")

    assert started.status == 2
    assert "paybond.commands: replication is 1, not 3" in started.talk
    assert "--single-node" in started.talk


def test_a_misspelt_setting_is_refused(site: Site) -> None:
    started = site.call("run", PAYBOND_HARBOR_SLOTT="1")

    assert started.status == 2
    assert "PAYBOND_HARBOR_SLOTT" in started.talk


def test_a_tenant_begins_once_however_often_it_is_asked_for(site: Site) -> None:
    with site.harbor() as harbor:
        first = site.call(*CREATE)
        second = site.call(*CREATE)
        other = site.call("tenants", "create", "acme", "--environment", "live")
        status = harbor.stop()
    listed = site.call("tenants", "list", "--json")

    assert first.status == 0, first.talk
    assert first.document["ledger_seq"] == 1
    assert second.document["ledger_seq"] == 1
    assert other.status == 2
    assert "tenant_exists" in other.talk
    assert status == 0
    assert listed.document == [{"tenant_id": "acme", "environment": "sandbox", "entries": 1}]


def test_a_dry_run_makes_no_tenant(site: Site) -> None:
    tried = site.call(*CREATE, "--dry-run")
    listed = site.call("tenants", "list", "--json")

    assert tried.status == 0
    assert listed.document == []


def test_no_outcome_in_time_is_an_outage(site: Site) -> None:
    ended = site.call(*CREATE, "--wait", "1")

    assert ended.status == 3
    assert "does paybond-harbor run?" in ended.talk


def test_a_restart_with_its_folder_is_warm_and_one_without_ends_the_same(site: Site) -> None:
    with site.harbor() as first:
        assert site.call(*CREATE).status == 0
        assert first.stop() == 0
    partition = partition_of("acme", PARTITIONS)
    with site.harbor() as warm:
        restored = warm.wait_for("partition_started", PARTITIONS)
        events = {e["partition"]: e for e in warm.events("partition_restored")}
        assert warm.stop() == 0
    with site.harbor(slot=1) as cold:
        cold.wait_for("partition_started", PARTITIONS)
        cold_events = {e["partition"]: e for e in cold.events("partition_restored")}
        again = site.call(*CREATE)

    assert {e["partition"] for e in restored} == set(range(PARTITIONS))
    assert events[partition]["was_current"] is True
    assert events[partition]["records"] == 0
    assert cold_events[partition]["was_current"] is False
    assert cold_events[partition]["next_offset"] == events[partition]["next_offset"]
    assert again.document["ledger_seq"] == 1


def test_a_slot_whose_own_folder_was_deleted_reads_its_state_again_and_goes_on(site: Site) -> None:
    partition = partition_of("acme", PARTITIONS)
    with site.harbor() as first:
        assert site.call(*CREATE).status == 0
        assert first.stop() == 0
    shutil.rmtree(site.folder / "harbor" / "0")
    with site.harbor() as again:
        again.wait_for("partition_started", PARTITIONS)
        [restored] = [e for e in again.events("partition_restored") if e["partition"] == partition]
        repeated = site.call(*CREATE)
        other = site.call("tenants", "create", "acme", "--environment", "live")
    stopped = site.call("quarantine", "list", "--json")

    assert restored["was_current"] is False
    assert restored["records"] > 0
    assert repeated.document["ledger_seq"] == 1
    assert "tenant_exists" in other.talk
    assert stopped.document == []


def test_a_tenant_that_does_not_agree_is_stopped_and_stays_so_until_it_does(site: Site) -> None:
    with site.harbor() as first:
        assert site.call(*CREATE).status == 0
        assert first.stop() == 0
    _forge_tip(site)
    with site.harbor() as second:
        second.wait_for("partition_started", PARTITIONS)
        found = second.events("tenant_quarantined")
        refused = site.call("tenants", "create", "acme", "--environment", "live", "--wait", "5")
        released = site.call("quarantine", "release", "--tenant", "acme", "--reason", "a test")
        other = site.call("tenants", "create", "zebra", "--environment", "sandbox")
    listed = site.call("quarantine", "list", "--json")

    assert [event["tenant_id"] for event in found] == ["acme"]
    assert "tenant_quarantined" in refused.talk
    assert released.status == 1
    assert released.document["code"] == "quarantine_stands"
    assert other.document["ledger_seq"] == 1
    assert listed.status == 1
    assert [row["tenant_id"] for row in listed.document] == ["acme"]


def a_tenant_of(partition: int) -> str:
    names = (f"tenant-{number}" for number in range(100))
    return next(name for name in names if partition_of(name, PARTITIONS) == partition)


def _forge_tip(site: Site) -> None:
    tip = Tip(
        tenant_id="acme",
        size=2,
        root=b"\x01" * 32,
        last_leaf_hash=b"\x02" * 32,
        frontier=(b"\x01" * 32,),
        recorded_at=SOME_TIME,
    )
    producer = plain_producer(site.bootstrap)
    producer.produce(
        TIPS,
        value=encode(tip),
        key=tip_key(TenantId("acme")),
        partition=partition_of("acme", PARTITIONS),
    )
    assert producer.flush(20) == 0


@pytest.mark.apache_only
def test_a_killed_harbor_is_followed_by_another_and_no_tenant_begins_twice_or_never(
    site: Site,
) -> None:
    with site.harbor() as first:
        first.wait_for("partition_started", PARTITIONS)
        assert site.call(*CREATE).status == 0
        with site.harbor(slot=1) as second:
            second.wait_for("partition_started")
            first.kill()
            # The group waits for the session's end, the partitions for the transaction that may hang.
            moved = {e["partition"] for e in second.wait_for("partition_started", PARTITIONS)}
            answers = [
                site.call("tenants", "create", name, "--environment", "sandbox")
                for name in ("acme", "bravo", "charlie")
            ]

    assert moved == set(range(PARTITIONS))
    assert [answer.document["ledger_seq"] for answer in answers] == [1, 1, 1]
    listed = site.call("tenants", "list", "--json")
    assert [row["entries"] for row in listed.document] == [1, 1, 1]
    assert site.call("quarantine", "list").status == 0


@pytest.mark.apache_only
def test_two_harbors_in_one_slot_are_told_apart(site: Site) -> None:
    with site.harbor() as first:
        first.wait_for("partition_started", PARTITIONS)
        with site.harbor(PAYBOND_HARBOR_DATA=str(site.folder / "elsewhere")) as second:
            second.wait_for("partition_started")
            kept = min({0, 1, 2, 3} - {e["partition"] for e in first.events("partition_revoked")})
            # It learns that it was fenced when it next decides: what it leaves undecided the other one decides.
            answer = site.call("tenants", "create", a_tenant_of(kept), "--environment", "sandbox")
            advice = first.wait_for("fenced")[0]["advice"]
            status = first.process.wait(60)

    assert answer.document["ledger_seq"] == 1, answer.talk

    assert "PAYBOND_HARBOR_SLOT" in advice
    assert status == 1


def test_the_same_folder_is_refused(site: Site) -> None:
    with site.harbor() as first:
        first.wait_for("harbor_started")
        ended = site.call("run")

    assert ended.status == 2
    assert "PAYBOND_HARBOR_SLOT" in ended.talk


def test_a_schema_check_of_this_release_passes(bare_site: Site) -> None:
    assert bare_site.call("schemas", "check").status == 0

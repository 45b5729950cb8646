"""A tenant goes on only if tip, ledger end, states, local store and checkpoints can all be true."""

from dataclasses import replace

import pytest

from harbor.engine.agreement import Standing, StatesSeen, disagreement, is_store_ahead
from harbor.engine.ports import LogRecord
from schemas.messages.avro_codec import encode
from schemas.topics import ledger_key, tenant_key
from tests.support.builders import T0, TENANT
from tests.support.ledger_builder import LedgerBuilder


def a_ledger(intents: int = 2) -> LedgerBuilder:
    ledger = LedgerBuilder()
    ledger.provision()
    for number in range(intents):
        ledger.create(number)
    return ledger


def last_of(ledger: LedgerBuilder, *, key: bytes | None = None) -> LogRecord:
    record = ledger.ledger[-1]
    return LogRecord(offset=9, key=key or record.key, value=record.value, timestamp=T0)


def end_of(ledger: LedgerBuilder, *, last: LogRecord | None = None) -> list[LogRecord]:
    """The last two records, or all there are; `last` instead of the last."""
    before = [
        LogRecord(offset=7, key=record.key, value=record.value, timestamp=T0)
        for record in ledger.ledger[-2:-1]
    ]
    return [*before, last or last_of(ledger)]


def standing_of(ledger: LedgerBuilder) -> Standing:
    tip = ledger.tip()
    return Standing(
        tip=tip,
        end=end_of(ledger),
        has_topic=True,
        stored_tip=tip,
        newest_seq=tip.size,
        served_size=tip.size,
    )


def reason_of(standing: Standing) -> str:
    reason = disagreement(TENANT, standing)
    assert reason is not None
    return reason


@pytest.mark.parametrize("intents", [0, 1, 2, 5])
def test_a_tenant_whose_parts_agree_goes_on(intents: int) -> None:
    assert disagreement(TENANT, standing_of(a_ledger(intents))) is None


def test_a_ledger_topic_without_an_entry_is_no_tenant_yet() -> None:
    assert disagreement(TENANT, Standing(tip=None, end=(), has_topic=True)) is None


def test_followers_that_lag_behind_the_ledger_are_no_disagreement() -> None:
    earlier, ledger = a_ledger(1), a_ledger(4)

    standing = replace(standing_of(ledger), stored_tip=earlier.tip(), newest_seq=1, served_size=1)

    assert disagreement(TENANT, standing) is None


def test_a_tip_without_its_topic_is_quarantined() -> None:
    standing = replace(standing_of(a_ledger()), has_topic=False, end=())

    assert "no topic" in reason_of(standing)


def test_a_ledger_without_a_tip_is_quarantined() -> None:
    assert "no tip" in reason_of(replace(standing_of(a_ledger()), tip=None))


def test_a_tip_of_an_empty_ledger_is_quarantined() -> None:
    assert "the ledger has none" in reason_of(replace(standing_of(a_ledger()), end=()))


def test_a_ledger_that_ends_before_its_tip_is_quarantined() -> None:
    shorter, ledger = a_ledger(1), a_ledger(2)

    standing = replace(standing_of(ledger), end=end_of(shorter))

    assert "the ledger ends with seq 2" in reason_of(standing)


def test_another_last_entry_than_the_tips_is_quarantined() -> None:
    ledger, other = a_ledger(2), a_ledger(1)
    other.create(7)

    standing = replace(standing_of(ledger), end=end_of(other))

    assert "is not the tip's" in reason_of(standing)


def test_a_last_record_under_another_key_is_quarantined() -> None:
    ledger = a_ledger()

    last = last_of(ledger, key=ledger_key(TENANT, 2))
    standing = replace(standing_of(ledger), end=end_of(ledger, last=last))

    assert "the ledger's last record is" in reason_of(standing)


def test_a_tombstone_at_the_end_of_a_ledger_is_quarantined() -> None:
    record = LogRecord(offset=9, key=ledger_key(TENANT, 3), value=None, timestamp=T0)

    assert "a tombstone" in reason_of(replace(standing_of(a_ledger()), end=[record]))


@pytest.mark.parametrize("intents", [0, 2])
def test_a_second_copy_of_the_last_entry_right_behind_the_first_is_quarantined(
    intents: int,
) -> None:
    """It changes neither the end nor the order, so nothing but the record before it tells."""
    ledger = a_ledger(intents)
    first = last_of(ledger)
    copy = replace(first, offset=first.offset + 2)

    reason = reason_of(replace(standing_of(ledger), end=[first, copy]))

    assert reason.endswith("is there twice: offsets 9 and 11")


def test_a_last_entry_that_follows_another_than_it_says_is_quarantined() -> None:
    ledger, other = a_ledger(2), a_ledger(1)
    *_, before = end_of(other)

    tampered = replace(before, value=encode(replace(ledger.tip(), size=1)))

    for record in (tampered, replace(before, value=None)):
        standing = replace(standing_of(ledger), end=[record, last_of(ledger)])
        assert "does not follow what is before it" in reason_of(standing)


def test_a_last_entry_without_the_one_before_it_is_quarantined() -> None:
    ledger = a_ledger()

    standing = replace(standing_of(ledger), end=[last_of(ledger)])

    assert "no entry stands before the ledger's last" in reason_of(standing)


def test_an_entry_that_cannot_be_read_is_quarantined() -> None:
    record = LogRecord(offset=9, key=ledger_key(TENANT, 3), value=b"\x00junk", timestamp=T0)

    assert "the end of the ledger" in reason_of(replace(standing_of(a_ledger()), end=[record]))


def test_an_entry_of_an_unknown_schema_parks_its_tenant() -> None:
    value = b"\x00\x7f\xff\xff\xff"
    record = LogRecord(offset=9, key=ledger_key(TENANT, 3), value=value, timestamp=T0)

    assert "not in this release's registry" in reason_of(
        replace(standing_of(a_ledger()), end=[record])
    )


def test_a_root_that_the_frontier_does_not_give_is_quarantined() -> None:
    standing = standing_of(a_ledger())
    assert standing.tip is not None

    wrong = replace(standing, tip=replace(standing.tip, root=b"\x01" * 32))

    assert "does not give its root" in reason_of(wrong)


def test_a_frontier_of_the_wrong_length_is_quarantined() -> None:
    standing = standing_of(a_ledger())
    assert standing.tip is not None

    wrong = replace(standing, tip=replace(standing.tip, frontier=()))

    assert "can't have 0 hashes" in reason_of(wrong)


def test_a_state_newer_than_the_ledger_is_quarantined() -> None:
    assert "a state stands at seq 4" in reason_of(replace(standing_of(a_ledger()), newest_seq=4))


def test_a_state_without_any_ledger_is_quarantined() -> None:
    standing = Standing(tip=None, end=(), has_topic=True, newest_seq=1)

    assert "tip and ledger are empty" in reason_of(standing)


def test_a_store_ahead_of_the_topics_is_quarantined() -> None:
    standing = replace(standing_of(a_ledger(1)), stored_tip=a_ledger(2).tip())

    assert "the local store stands at seq 3" in reason_of(standing)


def test_a_store_of_a_ledger_that_is_gone_is_quarantined() -> None:
    standing = Standing(tip=None, end=(), has_topic=True, stored_tip=a_ledger().tip())

    assert "the local store has 3 entries" in reason_of(standing)


def test_a_served_checkpoint_ahead_of_the_ledger_is_quarantined() -> None:
    assert "a checkpoint of size 4 was served" in reason_of(
        replace(standing_of(a_ledger()), served_size=4)
    )


def test_a_served_checkpoint_of_an_empty_ledger_is_quarantined() -> None:
    standing = Standing(tip=None, end=(), has_topic=True, served_size=4)

    assert "a checkpoint of size 4 was served" in reason_of(standing)


def test_a_state_that_cannot_be_read_stops_its_tenant_before_anything_else() -> None:
    states = StatesSeen()

    message = states.see(tenant_key(TENANT), b"\x00junk")

    assert message is None
    standing = replace(standing_of(a_ledger()), unreadable=states.unreadable[TENANT])
    assert "tenant-one/tenant" in reason_of(standing)


def test_states_and_pins_tell_the_newest_seq_they_know() -> None:
    ledger = a_ledger(2)
    states = StatesSeen()

    for key, value in ledger.intents.items():
        states.see(key, value)

    assert states.newest_seq == {TENANT: 3}
    assert states.tenants[TENANT] == ledger.tenant


def test_a_store_with_another_entry_at_the_same_size_is_ahead() -> None:
    ledger, other = a_ledger(2), a_ledger(1)
    other.create(7)

    assert is_store_ahead(other.tip(), ledger.tip())
    assert not is_store_ahead(ledger.tip(), ledger.tip())
    assert not is_store_ahead(a_ledger(1).tip(), ledger.tip())
    assert is_store_ahead(ledger.tip(), None)


def test_what_is_no_state_reaches_no_seq() -> None:
    states = StatesSeen()

    states.see(TENANT.encode(), encode(a_ledger().tip()))

    assert states.newest_seq == {}

"""Names, keys and settings of topics: one table, and no two records share a key by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.ids import CommandId, IntentId, TenantId, is_tenant_id
from schemas.topics import LEDGER, TOPICS

TENANTS = st.from_regex(r"[a-z0-9][a-z0-9-]{1,10}", fullmatch=True).map(TenantId)
INTENTS = st.uuids().map(str).map(IntentId)


def test_every_topic_name_is_in_the_table_once() -> None:
    names = [spec.name for spec in topics.TOPICS]

    assert len(names) == len(set(names)) == 11


@given(tenant=TENANTS)
def test_a_ledger_topic_names_its_tenant(tenant: TenantId) -> None:
    topic = topics.ledger_topic(tenant)

    assert topics.tenant_of_ledger_topic(topic) == tenant
    assert topics.spec_of(topic) is topics.LEDGER


@pytest.mark.parametrize(
    "topic", ["paybond.ledger.", "paybond.ledger.A", "paybond.ledger.a.b", "paybond.tips", "other"]
)
def test_a_name_that_no_tenant_can_have_is_no_ledger_topic(topic: str) -> None:
    assert topics.tenant_of_ledger_topic(topic) is None


@given(tenant=TENANTS, intent=INTENTS, seq=st.integers(1, 10**15))
def test_every_key_begins_with_its_tenant(tenant: TenantId, intent: IntentId, seq: int) -> None:
    keys = [
        topics.ledger_key(tenant, seq),
        topics.intent_key(tenant, intent),
        topics.party_key(tenant, "did:web:x"),
        topics.tenant_key(tenant),
        topics.intent_body_key(tenant, intent),
        topics.evidence_body_key(tenant, intent),
        topics.tip_key(tenant),
        topics.checkpoint_key(tenant, seq),
        topics.outcome_key(tenant, CommandId(intent)),
    ]

    assert all(topics.tenant_of_key(key) == tenant for key in keys)
    assert is_tenant_id(tenant)


@given(tenant=TENANTS, one=st.integers(0, 10**15), other=st.integers(0, 10**15))
def test_keys_of_a_ledger_sort_as_their_seq(tenant: TenantId, one: int, other: int) -> None:
    assert (topics.ledger_key(tenant, one) < topics.ledger_key(tenant, other)) == (one < other)


def test_only_harbor_writes_what_harbor_decides() -> None:
    decided = [topics.LEDGER, *(s for s in topics.TOPICS if s.name in topics.CHANGELOGS)]

    assert all(spec.writers == {topics.Program.HARBOR} for spec in decided)


def test_no_segment_can_fill_its_index() -> None:
    """Else a node that was killed twice may never start again. One entry per 4 KB at most, 12 bytes each for times."""
    for spec in (*TOPICS, LEDGER):
        index_bytes = int(spec.config.get("segment.index.bytes", 10 * 1024 * 1024))
        segment_bytes = int(spec.config.get("segment.bytes", 1024 * 1024 * 1024))

        assert segment_bytes // 4096 < index_bytes // 12 - 1, spec.name


def test_no_compacted_changelog_is_ever_deleted_by_time() -> None:
    kept = {topics.INTENTS, topics.EVIDENCE, topics.TIPS, topics.POSITIONS, topics.CHECKPOINTS}

    assert all(
        spec.config["cleanup.policy"] == "compact" for spec in topics.TOPICS if spec.name in kept
    )
    assert topics.LEDGER.config["cleanup.policy"] == "compact"

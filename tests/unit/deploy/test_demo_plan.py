"""The demo's plan follows from its seed, tells every story, and knows how each must end."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.demo_plan import EVIDENCE_SCHEMA, PlannedIntent, Story, plan_of
from harbor.domain.evidence_schema import matches
from harbor.domain.evidence_schema_grammar import EvidenceSchema, check_schema_document
from harbor.domain.predicate_evaluation import evaluate
from harbor.domain.predicate_grammar import Predicate, parse_predicate
from schemas.canonical.literal_json import Json, parse
from schemas.ids import is_canonical_uuid
from schemas.messages.shared import DisputeOutcome


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan_of(seed=7, intents=50) == plan_of(seed=7, intents=50)


def test_another_seed_gives_other_intents() -> None:
    first = {planned.intent_id for planned in plan_of(seed=1, intents=50)}
    second = {planned.intent_id for planned in plan_of(seed=2, intents=50)}

    assert not first & second


@given(seed=st.integers(), intents=st.integers(7, 60))
def test_every_story_is_told_on_two_tenants_with_distinct_intents(seed: int, intents: int) -> None:
    plan = plan_of(seed=seed, intents=intents)

    assert len(plan) == intents
    assert {planned.story for planned in plan} == set(Story)
    assert {planned.tenant for planned in plan} == {0, 1}
    assert len({planned.intent_id for planned in plan}) == intents
    assert all(is_canonical_uuid(planned.intent_id) for planned in plan)


@given(seed=st.integers())
def test_a_split_has_two_parts_that_add_up(seed: int) -> None:
    split = planned_of(seed, Story.DISPUTE_SPLIT)

    assert split.resolution is not None
    parts = split.resolution["split"].values()
    assert min(parts) > 0
    assert sum(parts) == split.amount_cents


def test_all_four_outcomes_of_a_dispute_occur() -> None:
    resolutions = [planned.resolution for planned in plan_of(seed=1, intents=len(Story))]

    outcomes = {resolution["outcome"] for resolution in resolutions if resolution is not None}
    assert outcomes == set(DisputeOutcome)


@pytest.mark.parametrize("story", [Story.DONE, Story.DISPUTE_WITHDRAWN, Story.FAILED])
def test_an_intent_without_a_resolution_is_settled_by_its_evidence(story: Story) -> None:
    planned = planned_of(1, story)

    assert planned.resolution is None
    assert planned.final_state == ("released" if planned.passes else "refunded")


@given(seed=st.integers())
def test_harbor_judges_every_planned_payload_as_the_plan_expects(seed: int) -> None:
    schema = check_schema_document(document_of(EVIDENCE_SCHEMA), document_bytes=1)
    assert isinstance(schema, EvidenceSchema)
    for planned in plan_of(seed=seed, intents=20):
        predicate = parse_predicate(document_of(planned.predicate), document_bytes=1)
        assert isinstance(predicate, Predicate)
        payload = document_of(planned.payload)

        report = evaluate(
            predicate,
            payload=payload,
            amount_minor=planned.amount_cents,
            matches_schema=lambda payload=payload: matches(schema, payload),  # type: ignore[misc]
        )

        assert report.passed is planned.passes


def document_of(document: Mapping[str, Any]) -> Json:
    return parse(json.dumps(document, default=dict).encode())


def planned_of(seed: int, story: Story) -> PlannedIntent:
    plan = plan_of(seed=seed, intents=len(Story))
    return next(planned for planned in plan if planned.story is story)

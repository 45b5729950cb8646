"""Who may issue what is a closed table; ids and hashes follow from their parts and from nothing else."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import (
    TenantId,
    command_id_of,
    command_of_effect,
    effect_id_of,
    is_canonical_uuid,
    is_tenant_id,
    uuid8_of,
)
from schemas.messages.commands import ISSUED_BY, CommandBody, Issuer, input_hash_of
from schemas.messages.events import EVENT_TYPES, RESERVED_EVENTS

PARTS = st.lists(st.binary(max_size=6), max_size=4)


def test_every_command_type_has_an_issuer() -> None:
    issued = {body for bodies in ISSUED_BY.values() for body in bodies}

    assert issued == set(get_args(CommandBody))


def test_only_the_rail_worker_answers_for_a_rail() -> None:
    by_gateway = {body.__name__ for body in ISSUED_BY[Issuer.GATEWAY]}

    assert not by_gateway & {"RecordRailAnswer", "RecordRailObservation", "ExpireIntent"}


@given(one=PARTS, other=PARTS)
def test_different_parts_never_share_an_id(one: list[bytes], other: list[bytes]) -> None:
    assert (uuid8_of(*one) == uuid8_of(*other)) == (one == other)


@given(parts=PARTS)
def test_a_derived_id_is_a_canonical_uuid_of_version_8(parts: list[bytes]) -> None:
    derived = uuid8_of(*parts)

    assert is_canonical_uuid(derived)
    assert derived[14] == "8"
    assert derived[19] in "89ab"


def test_an_effect_names_its_command() -> None:
    command_id = command_id_of("key", TenantId("acme"), "POST", "/x", "k")

    assert command_of_effect(effect_id_of(command_id, 12)) == command_id


@given(
    method=st.text(max_size=4),
    path=st.text(max_size=6),
    body=st.binary(max_size=6),
    shift=st.integers(1, 3),
)
def test_moving_bytes_between_path_and_body_changes_the_input_hash(
    method: str, path: str, body: bytes, shift: int
) -> None:
    moved = body[:shift].decode("latin-1")

    same = input_hash_of(method, path + moved, body[shift:]) == input_hash_of(method, path, body)

    assert same == (moved == "")


def test_tenant_ids_collide_with_no_topic_name() -> None:
    assert is_tenant_id("acme-corp")
    assert not any(map(is_tenant_id, ["a", "A1", "a.b", "a_b", "-a", "a" * 64, "a b", ""]))


def test_event_names_are_the_wire_names() -> None:
    assert set(EVENT_TYPES.values()) == {
        *[
            "tenant_provisioned",
            "intent_created",
            "settlement_rail_requested",
            "settlement_hold_placed",
        ],
        *["settlement_rail_confirmed", "settlement_rail_failed", "rail_status_observed"],
        *[
            "hold_expiring",
            "evidence_submitted",
            "predicate_evaluated",
            "disputed",
            "dispute_withdrawn",
        ],
        *["released", "refunded", "resolved_split", "escalated_external"],
        *["rail_reversal_observed", "external_award_recorded", "party_key_rotated"],
        "evidence_body_erased",
    }
    assert len(RESERVED_EVENTS) == 4

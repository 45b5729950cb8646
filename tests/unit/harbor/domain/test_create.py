"""Creation: every refusal, in the order in which they are found, and what the entry and the body keep."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.instants import parse_instant
from schemas.messages.commands import CreateIntent
from schemas.messages.events import IntentCreated
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import Environment, SettlementMode
from tests.support.builders import (
    ALWAYS,
    DEADLINE,
    PAYEE,
    PRINCIPAL,
    STRANGER,
    T0,
    Party,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
)
from tests.support.domain_world import World, opened, provisioned

# Each makes the creation wrong in one way; in the order in which the ways are found.
WRONGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("body_invalid", {"signing_version": 5}),
    ("amount_invalid", {"amount_minor": 0}),
    ("allowed_tools_empty", {"allowed_tools": ()}),
    ("currency_unsupported", {"currency": "USD"}),
    ("deadline_invalid", {"deadline": "2026-01-08 12:00:00Z"}),
    ("tools_invalid", {"allowed_tools": (" ",)}),
    ("rail_unknown", {"settlement_rail": "simulator"}),
    ("rail_not_enabled", {"settlement_rail": "stripe_mpp"}),
    ("preset_unknown", {"completion_preset_id": "hotel_booking"}),
    ("key_pinned", {"payee_pubkey": STRANGER.pubkey}),
    ("principal_signature_invalid", {"principal_signature": bytes(64)}),
    ("deadline_passed", {"deadline": T0}),
    ("intent.predicate.invalid", {"predicate": b'{"root":{"op":"maybe"},"version":1}'}),
    ("evidence_schema_invalid", {"evidence_schema": b'{"not":{}}'}),
)


def a_creation(*wrongs: dict[str, Any]) -> CreateIntent:
    """With all these wrongs at once, and still signed over what is sent unless the signature is one of them."""
    return create_intent(**{name: value for wrong in wrongs for name, value in wrong.items()})


def code_of(outcome: Outcome) -> str | None:
    return outcome.refusal.code if outcome.refusal else None


def a_world() -> World:
    """Its payee is known under the usual key."""
    world = provisioned()
    other = an_intent_id(2)
    world.do(create_intent(intent_id=other, principal=STRANGER), intent_id=other)
    return world


@pytest.mark.parametrize(("code", "wrong"), WRONGS)
def test_each_wrong_is_refused_by_its_own_code(code: str, wrong: dict[str, Any]) -> None:
    world = a_world()
    before = list(world.entries)

    outcome = world.do(a_creation(wrong))

    assert code_of(outcome) == code
    assert world.entries == before


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (earlier, later)
        for index, earlier in enumerate(WRONGS)
        for later in WRONGS[index + 1 :]
        if not earlier[1].keys() & later[1].keys()
    ],
    ids=lambda wrong: wrong[0],
)
def test_of_two_wrongs_the_earlier_in_the_documented_order_is_named(
    earlier: tuple[str, dict[str, Any]], later: tuple[str, dict[str, Any]]
) -> None:
    outcome = a_world().do(a_creation(later[1], earlier[1]))

    assert code_of(outcome) == earlier[0]


def test_an_id_that_exists_is_named_after_shape_and_before_the_rail() -> None:
    world = opened()

    assert code_of(world.do(create_intent())) == "intent_exists"
    assert code_of(world.do(create_intent(amount_minor=0))) == "amount_invalid"
    assert code_of(world.do(create_intent(settlement_rail="simulator"))) == "intent_exists"


def test_an_amount_that_the_rail_would_round_is_refused() -> None:
    outcome = provisioned().do(create_intent(currency="kwd", amount_minor=1001))

    assert code_of(outcome) == "amount_not_representable"


@pytest.mark.parametrize("amount", [-1, 0, 100_000_000])
def test_an_amount_outside_the_limits_is_refused(amount: int) -> None:
    assert code_of(provisioned().do(create_intent(amount_minor=amount))) == "amount_invalid"


@pytest.mark.parametrize("budget", [b"[]", b"{", b"\xff"])
def test_a_budget_that_is_no_object_is_refused(budget: bytes) -> None:
    assert code_of(provisioned().do(create_intent(budget=budget))) == "body_invalid"


def test_version_7_has_no_published_policy_to_bind_to() -> None:
    body = create_intent(
        signing_version=7, predicate=None, policy_template_id="t", policy_version_seq=1
    )

    assert code_of(provisioned().do(body)) == "policy_unknown"


def test_a_did_without_characters_is_refused() -> None:
    nobody = Party(did="", seed=b"\x44" * 32)

    assert code_of(provisioned().do(create_intent(payee=nobody))) == "body_invalid"


def test_the_same_party_under_two_keys_is_refused() -> None:
    twin = Party(did=PRINCIPAL.did, seed=PAYEE.seed)

    assert code_of(provisioned().do(create_intent(payee=twin))) == "key_pinned"


def test_principal_and_payee_are_pinned_with_the_entry_that_first_shows_them() -> None:
    world = opened()

    assert {did: pin.pubkey for did, pin in world.pins.items()} == {
        PRINCIPAL.did: PRINCIPAL.pubkey,
        PAYEE.did: PAYEE.pubkey,
    }
    assert {pin.since_seq for pin in world.pins.values()} == {2}


def test_a_known_principal_under_another_key_is_refused() -> None:
    world, other = opened(), an_intent_id(2)
    impostor = Party(did=PRINCIPAL.did, seed=STRANGER.seed)

    outcome = world.do(create_intent(intent_id=other, principal=impostor), intent_id=other)

    assert code_of(outcome) == "key_pinned"


@pytest.mark.parametrize("octet", [0xA1, 0xA2, 0xB2])
def test_a_published_key_is_refused_on_a_live_tenant(octet: int) -> None:
    live = provision_tenant(
        environment=Environment.LIVE, settlement_mode=SettlementMode.STRIPE_CONNECT
    )
    published = Party(did="did:web:vectors.example", seed=bytes([octet]) * 32)

    as_principal = provisioned(live).do(create_intent(principal=published))
    as_payee = provisioned(live).do(create_intent(payee=published))
    in_sandbox = provisioned().do(create_intent(principal=published))

    assert (code_of(as_principal), code_of(as_payee)) == ("key_published", "key_published")
    assert in_sandbox.status is OutcomeStatus.DONE


def test_a_live_intent_may_be_created_before_its_rail_is_enabled() -> None:
    live = provision_tenant(
        environment=Environment.LIVE, settlement_mode=SettlementMode.STRIPE_CONNECT
    )

    assert provisioned(live).do(create_intent()).status is OutcomeStatus.DONE


def test_the_rail_is_trimmed_as_it_was_signed() -> None:
    assert opened(settlement_rail=" stripe_connect\n").state().settlement_rail == "stripe_connect"


def test_the_entry_keeps_the_spelling_of_the_deadline_that_verified() -> None:
    sent = "2026-01-08T12:00:00.000+00:00"
    world = provisioned()

    outcome = world.do(
        replace(create_intent(signed_deadline="2026-01-08T12:00:00Z"), deadline=sent)
    )

    created = world.entries[-1].event
    assert outcome.status is OutcomeStatus.DONE
    assert isinstance(created, IntentCreated)
    assert created.deadline_text == "2026-01-08T12:00:00Z"
    assert created.deadline == parse_instant(sent) == DEADLINE


def test_the_body_keeps_documents_and_tools_as_they_were_sent() -> None:
    world = opened(budget=b'{"max":1.50}')

    body = world.intent_bodies[an_intent_id()]
    assert body.budget == '{"max":1.50}'
    assert body.predicate == ALWAYS.decode()
    assert body.allowed_tools == ("Travel.Book_Hotel", "travel.search")


def test_a_command_decided_too_late_is_refused_before_anything_else() -> None:
    world = World()
    command = replace(a_command(a_creation({"amount_minor": 0}), number=1), not_after=T0)
    world.now = T0 + timedelta(seconds=1)

    assert code_of(world.send(command)) == "command_expired"


def test_a_tenant_that_was_never_provisioned_has_no_intents() -> None:
    assert code_of(World().do(create_intent(amount_minor=0))) == "tenant_unknown"


def test_a_tenant_is_provisioned_once_and_not_without_its_topic() -> None:
    world = provisioned()
    bare = World(is_ledger_topic_there=False)

    assert code_of(world.do(provision_tenant(environment=Environment.LIVE))) == "tenant_exists"
    assert code_of(bare.do(provision_tenant())) == "ledger_topic_missing"
    assert not bare.entries


def test_a_live_tenant_is_never_given_the_simulator() -> None:
    world = World()

    outcome = world.do(provision_tenant(environment=Environment.LIVE))

    assert code_of(outcome) == "rail_not_enabled"
    assert not world.entries


@pytest.mark.parametrize(
    "changes", [{"evidence_schema": b"\xff"}, {"predicate": b"{"}, {"budget": b"\xff\xff"}]
)
def test_what_can_not_be_decoded_is_refused_and_never_raised(changes: dict[str, Any]) -> None:
    world = provisioned()

    outcome = world.do(create_intent(**changes))

    assert outcome.status is OutcomeStatus.REFUSED
    assert not world.intents

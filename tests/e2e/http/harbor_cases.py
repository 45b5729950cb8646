"""What Harbor refuses: creations, fundings, evidence, confirmations, disputes, and any command at all."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from harbor.rails.simulator import Faults
from schemas.canonical import base64_strict
from schemas.ids import TenantId
from schemas.messages.shared import Environment, SettlementMode
from tests.e2e.http.asks import INTENT, VECTORS, Ask, Client, members_of, send
from tests.e2e.http.case import Case, after, at_once
from tests.support.builders import PAYEE, PRINCIPAL, STRANGER, T0, Party, an_intent_id
from tests.support.gateway_world import register

Asking = Callable[[Client], Ask]
Before = Callable[[Client], Awaitable[None]]

_OTHER = an_intent_id(2)
_NO_SIGNATURE = base64_strict.encode(bytes(64))


def _case(code: str, variant: str, http_status: int, ask: Asking) -> Case:
    return Case(code=code, variant=variant, http_status=http_status, arrange=at_once(ask))


def _after(code: str, variant: str, http_status: int, before: Before, ask: Asking) -> Case:
    return Case(code=code, variant=variant, http_status=http_status, arrange=after(before, ask))


def _create(code: str, variant: str, http_status: int, **changes: Any) -> Case:
    return _case(code, variant, http_status, lambda client: client.create(**changes))


def _members(code: str, variant: str, http_status: int, **members: Any) -> Case:
    """A creation with members that nobody signed."""
    return _case(
        code,
        variant,
        http_status,
        lambda client: client.create_of(members_of(client.create()) | members),
    )


async def _created(client: Client) -> None:
    await send(client.world, client.create())


async def _funded(client: Client) -> None:
    await client.funded()


async def _evidenced(client: Client) -> None:
    await client.evidenced()


async def _final(client: Client) -> None:
    await client.final()


async def _disputed(client: Client) -> None:
    await client.disputed()


async def _expired(client: Client) -> None:
    await client.funded()
    client.world.clock.advance(timedelta(days=4))


async def _created_too_long_ago(client: Client) -> None:
    await _created(client)
    client.world.clock.advance(timedelta(days=4))


async def _settling(client: Client) -> None:
    """The rail has been asked for the capture, and says nothing."""
    await client.evidenced()
    client.world.is_rail_slow = True
    await send(client.world, client.confirm())


async def _declining(client: Client) -> None:
    await _created(client)
    client.world.set_faults(Faults(decline_bps=10_000))


async def _capture_declining(client: Client) -> None:
    await client.evidenced()
    client.world.set_faults(Faults(decline_bps=10_000))


async def _quarantined(client: Client) -> None:
    await _created(client)
    await client.world.restart_harbor(in_doubt={client.who.tenant_id: "the tip is not the entry's"})


async def _late(client: Client) -> None:
    await _created(client)
    client.world.decision_delay = timedelta(minutes=11)


def _confirm(client: Client) -> Ask:
    return client.confirm()


def _fund(client: Client) -> Ask:
    return client.fund()


def _evidence(client: Client) -> Ask:
    return client.evidence()


def _published_parties(client: Client) -> Ask:
    """Signed by the test vectors' principal, whose seed everybody knows."""
    body = VECTORS["intent_v6"]["body"]
    return client.create_of(body)


async def _pinned_under_another_key(client: Client) -> Ask:
    await _created(client)
    impostor = Party(did=PRINCIPAL.did, seed=STRANGER.seed)
    return client.create(intent_id=_OTHER, principal=impostor)


async def _payee_pinned_under_another_key(client: Client) -> Ask:
    await _created(client)
    impostor = Party(did=PAYEE.did, seed=STRANGER.seed)
    return client.create(intent_id=_OTHER, payee=impostor)


_RAILS_NOT_ENABLED = ("stripe_ach_debit", "stripe_mpp", "adyen_manual_capture", "x402_usdc_base")

_CREATE = (
    _after("intent_exists", "with a new proof", 409, _created, lambda c: c.create()),
    _create("deadline_passed", "now", 409, deadline=T0),
    _create("amount_invalid", "0", 400, amount_minor=0),
    _create("amount_invalid", "100,000,000", 400, amount_minor=100_000_000),
    _create("currency_unsupported", "unknown", 400, currency="xxx"),
    _create("currency_unsupported", "upper case", 400, currency="USD"),
    _create("deadline_invalid", "no time", 400, deadline="tomorrow"),
    _create(
        "intent.predicate.invalid",
        "an unknown operator",
        400,
        predicate=b'{"root":{"op":"maybe"},"version":1}',
    ),
    _create(
        "intent.predicate.invalid",
        "an unknown version",
        400,
        predicate=b'{"root":{"op":"true"},"version":2}',
    ),
    _members("intent.predicate.invalid", "no object", 400, predicate_dsl=None),
    _create(
        "evidence_schema_invalid",
        "outside the subset",
        400,
        evidence_schema=b'{"patternProperties":{}}',
    ),
    _members("evidence_schema_invalid", "no object", 400, evidence_schema=True),
    _members("allowed_tools_empty", "none", 400, allowed_tools=[]),
    _create("tools_invalid", "a blank", 400, allowed_tools=("  ",)),
    _members("tools_invalid", "a number", 400, allowed_tools=[1]),
    _members("tools_invalid", "65 of them", 400, allowed_tools=[f"t{n}" for n in range(65)]),
    Case(
        code="key_pinned",
        variant="a principal's second key",
        http_status=400,
        arrange=_pinned_under_another_key,
    ),
    Case(
        code="key_pinned",
        variant="a payee's second key",
        http_status=400,
        arrange=_payee_pinned_under_another_key,
    ),
    Case(
        code="key_published",
        variant="a live tenant",
        http_status=400,
        arrange=at_once(_published_parties),
        environment=Environment.LIVE,
        settlement_mode=SettlementMode.STRIPE_CONNECT,
    ),
    _members("principal_signature_invalid", "zeros", 400, principal_signature=_NO_SIGNATURE),
    _members("principal_signature_invalid", "another amount", 400, amount_cents=19_999),
    _members("principal_signature_invalid", "too short", 400, principal_signature="AAAA"),
    _create("rail_unknown", "simulator", 422, settlement_rail="simulator"),
    *(
        _create("rail_not_enabled", f"create on {rail}", 422, settlement_rail=rail)
        for rail in _RAILS_NOT_ENABLED
    ),
    _create("amount_not_representable", "fils", 422, currency="kwd", amount_minor=20_001),
    _case(
        "policy_unknown",
        "version 7",
        422,
        lambda c: c.create_of(
            {
                name: value
                for name, value in members_of(c.create()).items()
                if name != "predicate_dsl"
            }
            | {"signing_version": 7, "policy_binding": {"template_id": "t", "version_seq": 1}}
        ),
    ),
    _members("preset_unknown", "any", 422, completion_preset_id="hotel.v1"),
)

_FUND = (
    Case(
        code="rail_not_enabled",
        variant="fund where no rail is configured",
        http_status=422,
        arrange=after(_created, _fund),
        settlement_mode=SettlementMode.STRIPE_CONNECT,
    ),
    _after("deadline_passed", "fund", 409, _created_too_long_ago, _fund),
    _after("intent_final", "fund", 409, _final, _fund),
    _after("intent_frozen", "fund", 409, _disputed, _fund),
    Case(
        code="payment_declined",
        variant="fund",
        http_status=402,
        arrange=after(_declining, _fund),
        appended=("settlement_rail_requested", "settlement_rail_failed"),
    ),
)

_EVIDENCE = (
    _after("not_funded", "evidence first", 409, _created, _evidence),
    _after("evidence_exists", "a second evidence", 409, _evidenced, _evidence),
    _after("deadline_passed", "evidence", 409, _expired, _evidence),
    _after("intent_final", "evidence", 409, _final, _evidence),
    _after("intent_frozen", "evidence", 409, _disputed, _evidence),
    _after("payee_mismatch", "a stranger", 400, _funded, lambda c: c.evidence(payee=STRANGER)),
    _after(
        "key_pinned",
        "the payee's second key",
        400,
        _funded,
        lambda c: c.evidence(payee=Party(did=PAYEE.did, seed=STRANGER.seed)),
    ),
    _after(
        "payee_signature_invalid",
        "another payload",
        400,
        _funded,
        lambda c: c.evidence_of(members_of(c.evidence()) | {"payload": {"status": "better"}}),
    ),
    *(
        _after(
            "payload_invalid",
            variant,
            422,
            _funded,
            lambda c, m=members: c.evidence_of(members_of(c.evidence()) | m),  # type: ignore[misc]
        )
        for variant, members in {
            "no object": {"payload": [1]},
            "an artifact in upper case": {"artifacts": ["AB" * 32]},
            "65 artifacts": {"artifacts": ["ab" * 32] * 65},
        }.items()
    ),
    _after(
        "payload_invalid",
        "too deep",
        422,
        _funded,
        lambda c: c.evidence(payload=b'{"a":' * 33 + b"1" + b"}" * 33),
    ),
    _after(
        "payload_invalid",
        "257 KiB",
        422,
        _funded,
        lambda c: c.evidence(payload=b'{"a":"' + b"x" * 257 * 1024 + b'"}'),
    ),
    *(
        _after(
            "submitted_at_skewed",
            variant,
            422,
            _funded,
            lambda c, text=text: c.evidence(submitted_at=text),  # type: ignore[misc]
        )
        for variant, text in {
            "11 minutes early": "2026-01-05T11:49:00Z",
            "11 minutes late": "2026-01-05T12:12:00Z",
            "no time": "now",
        }.items()
    ),
)

_CONFIRM = (
    Case(
        code="payment_declined",
        variant="confirm",
        http_status=402,
        arrange=after(_capture_declining, _confirm),
        appended=("settlement_rail_requested", "settlement_rail_failed"),
    ),
    _after("no_evidence", "funded", 409, _funded, _confirm),
    _after("no_evidence", "open", 409, _created, _confirm),
    _after("intent_final", "confirm", 409, _final, _confirm),
    _after("intent_frozen", "confirm", 409, _disputed, _confirm),
    _after("settlement_in_progress", "confirm", 409, _settling, _confirm),
)


def _resolve(**members: Any) -> Asking:
    return lambda client: client.dispute("resolve", **members)


def _split(payee: int, principal: int) -> Asking:
    split = {"payee_cents": payee, "principal_cents": principal}
    return _resolve(outcome="resolved_split", split=split)


_DISPUTE = (
    _after("not_disputable", "open", 409, _created, lambda c: c.dispute("open")),
    _after("not_disputable", "final", 409, _final, lambda c: c.dispute("open")),
    _after("not_disputable", "disputed", 409, _disputed, lambda c: c.dispute("open")),
    _after("settlement_in_progress", "dispute", 409, _settling, lambda c: c.dispute("open")),
    _after("not_disputed", "withdraw", 409, _funded, lambda c: c.dispute("withdraw")),
    _after("not_disputed", "resolve", 409, _funded, _resolve(outcome="refund")),
    _after("split_invalid", "too little", 400, _disputed, _split(1, 2)),
    _after("split_invalid", "nothing for one", 400, _disputed, _split(20_000, 0)),
    _after("split_invalid", "none", 400, _disputed, _resolve(outcome="resolved_split")),
    _after("custody_required", "none", 400, _disputed, _resolve(outcome="escalated_external")),
    _after(
        "custody_required",
        "no reference",
        400,
        _disputed,
        _resolve(outcome="escalated_external", custody="capture"),
    ),
    _after(
        "custody_required",
        "unknown",
        400,
        _disputed,
        _resolve(outcome="escalated_external", custody="keep", external_ref="x"),
    ),
)


async def _funded_under_key(client: Client) -> None:
    await _created(client)
    await send(client.world, client.fund(key="key-1"))


async def _nonce_spent(client: Client) -> Ask:
    """The proof of a funding, again, under another key: not a retry."""
    await _created(client)
    fund = client.fund(key="key-1")
    await send(client.world, fund)
    return fund.having("idempotency-key", "key-2")


def _of_nobody(client: Client) -> Ask:
    return Client(client.world, register(client.world, TenantId("tenant-none"))).fund()


_ANY = (
    *(
        _case("intent_not_found", variant, 404, ask)
        for variant, ask in {
            "fund": _fund,
            "evidence": _evidence,
            "confirm": _confirm,
            "dispute open": lambda c: c.dispute("open"),
            "dispute withdraw": lambda c: c.dispute("withdraw"),
            "dispute resolve": _resolve(outcome="refund"),
            "no UUID": lambda c: c.fund("x"),
            "an upper-case UUID": lambda c: c.fund(INTENT.upper()),
        }.items()
    ),
    _after("tenant_quarantined", "a ledger in doubt", 503, _quarantined, _fund),
    _after("command_expired", "decided after 11 minutes", 409, _late, _fund),
    _case("tenant_unknown", "never provisioned", 404, _of_nobody),
    _after(
        "idempotency_key_reused",
        "another body",
        409,
        _funded_under_key,
        lambda c: c.fund(key="key-1", body=b"{ }"),
    ),
    Case(
        code="recognition_proof_replayed",
        variant="under another key",
        http_status=401,
        arrange=_nonce_spent,
    ),
)

HARBOR_CASES = (*_CREATE, *_FUND, *_EVIDENCE, *_CONFIRM, *_DISPUTE, *_ANY)

"""What the gateway refuses by itself: sizes, credentials, JSON, proofs, forms, and parts that are out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.auth.permissions import ALL, Permission
from gateway.auth.recognition import HEADER
from gateway.commands.in_flight import InFlight
from gateway.edge.raw_request import BODY_BYTES_MAX, HEADER_BYTES_MAX
from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.errors import BrokerUnavailableError
from tests.e2e.http.asks import INTENT, INTENTS, Ask, Client, members_of, proof_of
from tests.e2e.http.case import Case, after, at_once
from tests.support.builders import STRANGER
from tests.support.gateway_world import OTHER_TENANT, register

_FUND = "harbor.intent.fund"
_BEARER = "authorization"
_MINUTE = timedelta(minutes=1)

Asking = Callable[[Client], Ask]


def _fund(client: Client) -> Ask:
    return client.fund()


def _body(raw: bytes) -> Asking:
    return lambda client: client.proven(INTENTS, raw, "harbor.intent.create")


def _changed(**members: Any) -> Asking:
    """A creation with these members instead of those that were signed."""
    return lambda client: client.create_of(members_of(client.create()) | members)


def _without(member: str) -> Asking:
    def ask(client: Client) -> Ask:
        whole = members_of(client.create())
        return client.create_of({name: whole[name] for name in whole if name != member})

    return ask


def _proof(purpose: str = _FUND, **changes: Any) -> Asking:
    """A fund whose proof is valid but for `changes`."""

    def ask(client: Client) -> Ask:
        fund = client.fund()
        return fund.having(HEADER, proof_of(client.world, client.who, fund, purpose, **changes))

    return ask


def _times(issued: timedelta, expires: timedelta) -> Asking:
    def ask(client: Client) -> Ask:
        now = client.world.clock.now()
        return _proof(issued_at=now + issued, expires_at=now + expires)(client)

    return ask


def _rewritten(old: str, new: str) -> Asking:
    """A fund whose proof reads otherwise after it was signed."""

    def ask(client: Client) -> Ask:
        fund = client.fund()
        signed = decode_url(dict(fund.headers)[HEADER], what="the header").decode()
        assert old in signed
        return fund.having(HEADER, encode_url(signed.replace(old, new, 1).encode()))

    return ask


def _by_key(**of_key: Any) -> Asking:
    """A fund proven by another agent key of the tenant."""

    def ask(client: Client) -> Ask:
        now = client.world.clock.now()
        if "expires_at" in of_key:
            of_key["expires_at"] = now
        return Client(client.world, register(client.world, number=3, **of_key)).fund()

    return ask


def _headers(name: str, *values: str) -> Asking:
    return lambda client: client.fund().having(name, *values)


def _twice(name: str) -> Asking:
    def ask(client: Client) -> Ask:
        fund = client.fund()
        value = dict(fund.headers)[name]
        return fund.having(name, value, value)

    return ask


def _padded(ask: Ask) -> Ask:
    return replace(ask, body=ask.body + b" " * BODY_BYTES_MAX)


def _forged_secret(client: Client) -> Ask:
    bearer = client.who.bearer
    last = "0" if bearer[-1] != "0" else "1"
    return client.fund().having(_BEARER, f"Bearer {bearer[:-1]}{last}")


def _denied(permission: Permission, ask: Asking) -> Case:
    def asked(client: Client) -> Ask:
        weak = register(client.world, number=2, permissions=ALL - {permission})
        return ask(Client(client.world, weak))

    return _case("permission_denied", permission.value, 403, asked)


def _case(code: str, variant: str, http_status: int, ask: Asking) -> Case:
    return Case(code=code, variant=variant, http_status=http_status, arrange=at_once(ask))


def _unauthorized(code: str, **variants: Asking) -> tuple[Case, ...]:
    return tuple(_case(code, name.replace("_", " "), 401, ask) for name, ask in variants.items())


_SIZES = (
    _case("body_too_large", "512 KiB and a byte", 413, _body(b" " * (BODY_BYTES_MAX + 1))),
    _case("body_too_large", "evidence", 413, lambda c: _padded(c.evidence())),
    _case("headers_too_large", "16 KiB", 431, _headers("x-padding", "x" * HEADER_BYTES_MAX)),
)

_ROUTES = (
    _case("not_found", "no such path", 404, lambda c: replace(c.fund(), path="/harbor/nothing")),
    _case("not_found", "a prefix", 404, lambda c: replace(c.create(), path="/api/harbor/intents")),
    _case("method_not_allowed", "GET", 405, lambda c: replace(c.create(), method="GET")),
    _case("method_not_allowed", "PUT", 405, lambda c: replace(c.fund(), method="PUT")),
)

_CREDENTIALS = (
    *_unauthorized(
        "credential_invalid",
        missing=lambda c: c.fund().without(_BEARER),
        unreadable=_headers(_BEARER, "Bearer x"),
        twice=_twice(_BEARER),
        another_scheme=lambda c: c.fund().having(_BEARER, f"Basic {c.who.bearer}"),
        wrong_secret=_forged_secret,
        live_for_sandbox=lambda c: c.fund().having(
            _BEARER, f"Bearer {c.who.bearer.replace('sandbox', 'live')}"
        ),
        unknown=lambda c: c.fund().having(
            _BEARER, f"Bearer paybond_sk_sandbox_{'0' * 32}_{'1' * 64}"
        ),
    ),
    *_unauthorized(
        "tenant_mismatch",
        another_tenant=_headers("x-tenant-id", OTHER_TENANT),
        upper_case=lambda c: c.fund().having("x-tenant-id", c.who.tenant_id.upper()),
        one_of_two=lambda c: c.fund().having("x-tenant-id", c.who.tenant_id, OTHER_TENANT),
    ),
    _denied(Permission.INTENT_CREATE, lambda c: c.create()),
    _denied(Permission.INTENT_FUND, _fund),
    _denied(Permission.INTENT_EVIDENCE, lambda c: c.evidence()),
    _denied(Permission.INTENT_CONFIRM, lambda c: c.confirm()),
    _denied(Permission.DISPUTE_OPEN, lambda c: c.dispute("open")),
    _denied(Permission.DISPUTE_RESOLVE, lambda c: c.dispute("withdraw")),
)

_JSON = (
    _case("json_invalid", "cut short", 400, _body(b'{"intent_id":')),
    _case("json_invalid", "empty", 400, _body(b"")),
    _case("json_invalid", "no UTF-8", 400, _body(b'{"a":"\xff"}')),
    _case("json_invalid", "too deep", 400, _body(b'{"a":' * 65 + b"1" + b"}" * 65)),
    _case("json_ambiguous", "a member twice", 400, _body(b'{"a":1,"a":2}')),
    _case("json_ambiguous", "NaN", 400, _body(b'{"a":NaN}')),
    _case("json_ambiguous", "Infinity", 400, _body(b'{"a":-Infinity}')),
    _case("json_ambiguous", "a lone surrogate", 400, _body(b'{"a":"\\ud800"}')),
    _case("json_ambiguous", "U+0000", 400, _body(b'{"a":"\\u0000"}')),
    _case("json_ambiguous", "a key outside the BMP", 400, _body('{"😀":1}'.encode())),
    _case("json_ambiguous", "41 digits", 400, _body(b'{"a":' + b"1" * 41 + b"}")),
    _case("json_ambiguous", "a large exponent", 400, _body(b'{"a":1e65}')),
)

_PROOFS = (
    *_unauthorized("recognition_proof_required", no_header=lambda c: c.fund().without(HEADER)),
    *_unauthorized(
        "recognition_proof_malformed",
        no_base64url=_headers(HEADER, "{}"),
        padded=lambda c: c.fund().having(HEADER, dict(c.fund().headers)[HEADER] + "="),
        twice=_twice(HEADER),
        an_unknown_member=_rewritten('"kind"', '"more":1,"kind"'),
        an_upper_case_key_id=_rewritten("agent-key", "Agent-key"),
        another_version=_rewritten('"schema_version":1', '"schema_version":2'),
    ),
    *_unauthorized(
        "unregistered_key",
        nobodys=_proof(key_id="nobodys-key"),
        of_another_tenant=lambda c: Client(
            c.world, replace(c.who, key_id=register(c.world, OTHER_TENANT, number=4).key_id)
        ).fund(),
    ),
    *_unauthorized("revoked_key", revoked=_by_key(is_revoked=True)),
    *_unauthorized(
        "recognition_proof_expired",
        over=_times(-4 * _MINUTE, timedelta(0)),
        not_yet_valid=_times(_MINUTE, 4 * _MINUTE),
        too_long_a_window=_times(-_MINUTE, 9 * _MINUTE + timedelta(seconds=1)),
        the_key_itself=_by_key(expires_at=None),
    ),
    *_unauthorized(
        "recognition_proof_mismatch",
        another_body=lambda c: replace(c.fund(), body=b"{ }"),
        another_path=lambda c: replace(c.fund(), path=c.confirm().path),
        another_spelling_of_the_path=lambda c: replace(c.fund(), path=f"{INTENTS}/{INTENT}/%66und"),
        another_method=_proof(method="PUT"),
        another_purpose=_proof(purpose="harbor.intent.create"),
        another_verifier=_proof(verifier_id="somebody-else"),
        another_tenant=_proof(tenant_id=OTHER_TENANT),
        another_public_key=_proof(seed=STRANGER.seed),
        a_purpose_not_granted=_by_key(purposes=frozenset({"harbor.intent.create"})),
        changed_after_signing=_rewritten("nonce-", "nonce_"),
    ),
)

_FORMS = (
    _case("idempotency_key_invalid", "empty", 400, _headers("idempotency-key", "")),
    _case("idempotency_key_invalid", "257", 400, _headers("idempotency-key", "k" * 257)),
    _case("idempotency_key_invalid", "two", 400, _headers("idempotency-key", "a", "b")),
    _case("body_invalid", "an array", 400, _body(b"[]")),
    *(
        _case("body_invalid", f"create without {member}", 400, _without(member))
        for member in ("intent_id", "signing_version", "principal_did", "payee_pubkey", "budget")
    ),
    _case("body_invalid", "an upper-case id", 400, _changed(intent_id=INTENT.upper())),
    _case("body_invalid", "version 5", 400, _changed(signing_version=5)),
    _case("body_invalid", "a DID too long", 400, _changed(payee_did="d" * 513)),
    _case("body_invalid", "base64 with blanks", 400, _changed(payee_pubkey="AAAA AAAA")),
    _case("body_invalid", "no reason", 400, lambda c: c.dispute("open", reason_code=None)),
    _case("body_invalid", "a sentence", 400, lambda c: c.dispute("open", reason_code="Too late!")),
    _case("body_invalid", "no outcome", 400, lambda c: c.dispute("resolve", outcome="keep")),
    _case("amount_invalid", "a float", 400, _changed(amount_cents=20000.0)),
    _case("amount_invalid", "a string", 400, _changed(amount_cents="20000")),
    _case("amount_invalid", "missing", 400, _without("amount_cents")),
)


async def _full(client: Client) -> None:
    client.world.restart_gateway(in_flight=InFlight(limit=0))


async def _defective(client: Client) -> None:
    client.world.keys.defect = RuntimeError("a bug of ours, with a secret in its text")


async def _no_database(client: Client) -> None:
    client.world.keys.is_out = True


async def _no_broker(client: Client) -> None:
    client.world.publish_error = BrokerUnavailableError("gone")


async def _nobody_answers(client: Client) -> None:
    client.world.is_harbor_silent = True


def _after(
    code: str, variant: str, http_status: int, before: Callable[[Client], Any], ask: Asking = _fund
) -> Case:
    return Case(code=code, variant=variant, http_status=http_status, arrange=after(before, ask))


_OUTAGES = (
    _after("too_many_in_flight", "none is allowed", 429, _full),
    _after("internal_error", "a defect", 500, _defective),
    _after("unavailable", "no database", 503, _no_database),
    _after("unavailable", "no broker", 503, _no_broker),
    _after("unavailable", "no answer, no row", 503, _nobody_answers),
    _after("unavailable", "no answer to create", 503, _nobody_answers, lambda c: c.create()),
)

EDGE_CASES = (*_SIZES, *_ROUTES, *_CREDENTIALS, *_JSON, *_PROOFS, *_FORMS, *_OUTAGES)

"""Requests for every route there is, made from the router: what fills a path, a query and a body, by its name.

A route, parameter or body that these tables do not know fails by name, so none is left out by being new.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from gateway.auth.recognition import HEADER
from schemas.canonical import ed25519
from schemas.ids import IntentId
from tests.e2e.http.asks import Ask, Client, create_members, encoded, evidence_members, proof_of
from tests.integration.gateway.isolation.two_tenants import (
    OWNERS_AGENT_KEY,
    OWNERS_AMOUNT,
    TwoTenants,
)
from tests.support import builders
from tests.support.builders import an_intent_id

_HERE = "tests/integration/gateway/isolation/route_requests.py"
NOBODYS_INTENT = an_intent_id(999)


class UnknownRouteError(AssertionError):
    """The matrix can't ask a route; the message says what to add, and where."""

    def __init__(self, route: str, what: str, table: str) -> None:
        super().__init__(f"{route}: the matrix knows no {what}; add it to `{table}` in {_HERE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteCase:
    """One route about one of the owner's objects. `nobodys` = the same with an id that nobody has."""

    method: str
    template: str
    values: Mapping[str, str]
    nobodys: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    purpose: str | None
    has_body: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def is_about_an_object(self) -> bool:
        return bool(self.values)

    def ask(
        self, client: Client, tenants: TwoTenants, values: Mapping[str, str] | None = None
    ) -> Ask:
        """Fresh, with a proof by `client` where the route wants one."""
        filled = self.values if values is None else values
        path = self.template.replace(":path}", "}").format(
            **{name: quote(value, safe="/") for name, value in filled.items()}
        )
        body = BODIES[self.name](tenants, filled) if self.has_body else b""
        bare = Ask(
            method=self.method,
            path=path,
            body=body,
            headers=(("authorization", f"Bearer {client.who.bearer}"),),
        )
        if self.purpose is not None:
            bare = bare.having(HEADER, proof_of(client.world, client.who, bare, self.purpose))
        if not self.query:
            return bare
        query = "&".join(f"{name}={quote(value)}" for name, value in self.query)
        return Ask(method=bare.method, path=f"{path}?{query}", body=body, headers=bare.headers)


def cases_of(app: FastAPI, tenants: TwoTenants) -> list[RouteCase]:
    """Every route × every object of the owner's × no query, then each query parameter alone where it is optional."""
    return [case for route in routes_of(app) for case in _cases_of_route(route, tenants)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRoute:
    """A route as it is served, prefixes and all."""

    path: str
    methods: frozenset[str]
    parameters: tuple[str, ...]
    extra: Mapping[str, Any]


def routes_of(app: FastAPI) -> list[ServedRoute]:
    """Everything but the static document of the API itself. A route of another sort fails here."""
    served = []
    for context in iter_route_contexts(app.routes):
        route, path = context.original_route, context.path
        assert path is not None, route
        if path == app.openapi_url:
            continue
        assert isinstance(route, APIRoute), f"{path}: the matrix knows no such kind of route"
        served.append(
            ServedRoute(
                path=path,
                methods=frozenset(route.methods or ()),
                parameters=tuple(route.param_convertors),
                extra=route.openapi_extra or {},
            )
        )
    assert served, "the router's routes are not to be seen any more"
    return served


def _cases_of_route(route: ServedRoute, tenants: TwoTenants) -> Iterator[RouteCase]:
    parameters: Sequence[Mapping[str, Any]] = route.extra.get("parameters", ())
    has_body = "requestBody" in route.extra
    for method in sorted(route.methods):
        name = f"{method} {route.path}"
        if has_body and name not in BODIES:
            raise UnknownRouteError(name, "body", "BODIES")
        purpose = None
        if any(parameter["name"] == HEADER for parameter in parameters):
            purpose = PURPOSES.get(name)
            if purpose is None:
                raise UnknownRouteError(name, "purpose of its proof", "PURPOSES")
        for values, nobodys in _objects(name, route, tenants):
            for query in _queries(name, parameters, tenants):
                yield RouteCase(
                    method=method,
                    template=route.path,
                    values=values,
                    nobodys=nobodys,
                    query=query,
                    purpose=purpose,
                    has_body=has_body,
                )


def _objects(
    name: str, route: ServedRoute, tenants: TwoTenants
) -> Iterator[tuple[Mapping[str, str], Mapping[str, str]]]:
    names = route.parameters
    if not names:
        yield {}, {}
        return
    [parameter] = names
    kind = next(
        (key for key in OBJECTS if key[1] == parameter and route.path.startswith(key[0])), None
    )
    if kind is None:
        raise UnknownRouteError(name, f"object for its path parameter {parameter!r}", "OBJECTS")
    objects, nobodys = OBJECTS[kind](tenants)
    assert objects, name
    for value in objects:
        yield {parameter: value}, {parameter: nobodys}


def _queries(
    name: str, parameters: Sequence[Mapping[str, Any]], tenants: TwoTenants
) -> Iterator[tuple[tuple[str, str], ...]]:
    path = name.partition(" ")[2]
    asked = [parameter for parameter in parameters if parameter["in"] == "query"]
    for parameter in asked:
        if parameter["name"] not in QUERIES:
            raise UnknownRouteError(
                name, f"value for its query parameter {parameter['name']!r}", "QUERIES"
            )
    needed = tuple(
        (p["name"], QUERIES[p["name"]](tenants, path)) for p in asked if p.get("required")
    )
    yield needed
    for parameter in asked:
        if not parameter.get("required"):
            yield (*needed, (parameter["name"], QUERIES[parameter["name"]](tenants, path)))


# (how the path begins, its parameter) → the owner's objects, and an id that nobody has.
OBJECTS: dict[tuple[str, str], Callable[[TwoTenants], tuple[Sequence[str], str]]] = {
    ("/harbor/", "intent_id"): lambda t: (list(t.intents.values()), NOBODYS_INTENT),
    # The last key: the first one is what the owner asks with.
    ("/v1/admin/api-keys/", "key_id"): lambda t: (t.key_ids[-1:], "ef" * 16),
    ("/v1/admin/agent-keys/", "key_id"): lambda _: ([OWNERS_AGENT_KEY], "nobodys-agent-key"),
    ("/v1/operations/", "operation_id"): lambda t: (t.operations, "op_" + "A" * 48),
}

QUERIES: dict[str, Callable[[TwoTenants, str], str]] = {
    "limit": lambda _t, _path: "100",
    "cursor": lambda t, path: t.cursors[path],
    "status": lambda _t, _path: "open",
    "operator_did": lambda _t, _path: builders.PAYEE.did,
    "after_seq": lambda _t, _path: "0",
    "from_seq": lambda _t, _path: "1",
    "to_seq": lambda _t, _path: "1",
    "seq": lambda _t, _path: "1",
    "size": lambda _t, _path: "1",
    "format": lambda _t, _path: "tlog-proof",
    "from": lambda _t, _path: "0",
    "to": lambda _t, _path: "1",
}

PURPOSES = {
    "POST /harbor/intents": "harbor.intent.create",
    "POST /harbor/intents/{intent_id}/fund": "harbor.intent.fund",
    "POST /harbor/intents/{intent_id}/evidence": "harbor.intent.evidence.submit",
    "POST /harbor/intents/{intent_id}/settlement/confirm": "harbor.intent.settlement.confirm",
}


def _empty(_tenants: TwoTenants, _values: Mapping[str, str]) -> bytes:
    return b"{}"


def _create(tenants: TwoTenants, _values: Mapping[str, str]) -> bytes:
    """The owner's own signed intent, as somebody who has seen it could send it."""
    intent_id = tenants.intents["open"]
    body = builders.create_intent(intent_id=intent_id, amount_minor=OWNERS_AMOUNT)
    return encoded(create_members(body, intent_id))


def _evidence(tenants: TwoTenants, values: Mapping[str, str]) -> bytes:
    """Signed by the owner's payee, for the owner's intent."""
    now = tenants.world.clock.now()
    body = builders.submit_evidence(now=now, intent_id=IntentId(values["intent_id"]))
    return encoded(evidence_members(body))


def _json(**members: Any) -> Callable[[TwoTenants, Mapping[str, str]], bytes]:
    return lambda _tenants, _values: json.dumps(members).encode()


_DISPUTE = "POST /harbor/operator/v1/intents/{intent_id}/dispute"
BODIES: dict[str, Callable[[TwoTenants, Mapping[str, str]], bytes]] = {
    "POST /harbor/intents": _create,
    "POST /harbor/intents/{intent_id}/fund": _empty,
    "POST /harbor/intents/{intent_id}/evidence": _evidence,
    "POST /harbor/intents/{intent_id}/settlement/confirm": _empty,
    f"{_DISPUTE}/open": _json(reason_code="late"),
    f"{_DISPUTE}/resolve": _json(outcome="refund", reason_code="late", custody="cancel"),
    f"{_DISPUTE}/withdraw": _json(reason_code="late"),
    "POST /v1/admin/api-keys": _json(label="another", role="harbor.read"),
    "POST /v1/admin/agent-keys": _json(
        key_id="another-agent-key",
        public_key_hex=ed25519.public_key(b"\x99" * 31 + b"\x01").hex(),
        purposes=["harbor.intent.fund"],
    ),
}

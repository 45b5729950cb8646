"""Requests drawn from the gateway's own OpenAPI document and a seed: well-formed, nearly so, and not at all.

Our own driver, no schemathesis: a request must carry a bearer and a proof over its final bytes to get past the door,
and 20,000 of them have to fit into a minute or two. The same seed draws the same requests.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote, unquote

from gateway.auth.recognition import HEADER
from schemas.ids import is_canonical_uuid
from tests.e2e.http.asks import Ask, proof_of
from tests.integration.gateway.isolation.route_requests import (
    BODIES,
    NOBODYS_INTENT,
    OBJECTS,
    PURPOSES,
)
from tests.integration.gateway.isolation.two_tenants import OWNER, SHARED_AGENT_KEY, TwoTenants

JUNK_TEXTS = (
    "",
    " ",
    "0",
    "-1",
    "null",
    "..",
    "a/b",
    "%",
    "%00",
    "\x00",
    "\n",
    "é",
    "\U0001f4a9",
    "'; DROP TABLE views.intents --",
    "9" * 40,
    "1e400",
    "NaN",
    "x" * 600,
    "2030-02-30T00:00:00Z",
    "\u202e",
)
JUNK_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    2**64,
    10**400,
    1.5,
    [],
    {},
    [[[]]],
    {"": None},
    *JUNK_TEXTS,
)
_RAW_BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b'{"a":1,"a":2}',
    b'{"a":1e999999}',
    b'{"a":"\\ud800"}',
    b"[" * 5000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b" " * 70_000 + b"{}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the document; `answers` by the status they are declared for."""

    method: str
    path: str
    parameters: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any] | None
    answers: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def has(self, path: str) -> bool:
        """Whether this path as it is sent is one of this operation's: a client resolves `.` and `..` itself."""
        pattern = re.sub(r"\\{\w+\\}", r"(?!\.{1,2}(?:/|$))[^/]+", re.escape(self.path))
        return re.fullmatch(pattern, unquote(path.partition("?")[0])) is not None


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """In the document's order. A repeated parameter is one."""
    return [
        Operation(
            method=method.upper(),
            path=path,
            parameters=operation.get("parameters", ()),
            body=operation.get("requestBody"),
            answers=operation["responses"],
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def draw(random: Random, operation: Operation, tenants: TwoTenants) -> Ask:
    """One request of the owner's; most of them carry a good bearer and a good proof."""
    values = _path_values(random, operation, tenants)
    path = operation.path.format(**{k: quote(v, safe="") for k, v in values.items()})
    body = _body(random, operation, tenants, values)
    ask = Ask(method=operation.method, path=path, body=body)
    # Not the key that generated requests revoke, or soon no proof would hold any more.
    client = tenants.client(tenants.keys["owner"], OWNER, SHARED_AGENT_KEY)
    if random.random() < 0.95:
        ask = ask.having("authorization", f"Bearer {client.who.bearer}")
    purpose = PURPOSES.get(operation.name)
    if purpose is not None:
        chance = random.random()
        if chance < 0.9:
            ask = ask.having(HEADER, proof_of(tenants.world, client.who, ask, purpose))
        elif chance < 0.97:
            ask = ask.having(HEADER, _header_text(random))
    for parameter in operation.parameters:
        if parameter["in"] == "header" and parameter["name"] != HEADER and random.random() < 0.1:
            ask = ask.having(parameter["name"], _header_text(random))
    query = _query(random, operation, tenants)
    return Ask(method=ask.method, path=path + query, body=body, headers=ask.headers)


def _path_values(random: Random, operation: Operation, tenants: TwoTenants) -> dict[str, str]:
    values = {}
    for parameter in operation.parameters:
        if parameter["in"] != "path":
            continue
        name = parameter["name"]
        kind = next(k for k in OBJECTS if k[1] == name and operation.path.startswith(k[0]))
        known, nobodys = OBJECTS[kind](tenants)
        chance = random.random()
        if chance < 0.75:
            values[name] = random.choice(list(known))
        else:
            values[name] = nobodys if chance < 0.85 else random.choice(JUNK_TEXTS)
    return values


def _query(random: Random, operation: Operation, tenants: TwoTenants) -> str:
    pairs = []
    for parameter in operation.parameters:
        if parameter["in"] == "query" and random.random() < (
            0.95 if parameter.get("required") else 0.4
        ):
            value = str(from_schema(random, parameter["schema"]))
            if parameter["name"] == "cursor" and random.random() < 0.6:
                value = tenants.cursors[operation.path]
            pairs.append((parameter["name"], value))
    if random.random() < 0.15:
        pairs.append(
            (random.choice(["limit", "seq", "unknown", "size"]), random.choice(JUNK_TEXTS))
        )
    if not pairs:
        return ""
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def _body(
    random: Random, operation: Operation, tenants: TwoTenants, values: Mapping[str, str]
) -> bytes:
    if operation.body is None:
        return b""
    chance = random.random()
    if chance < 0.1:
        return random.choice(_RAW_BODIES)
    schema = operation.body["content"]["application/json"]["schema"]
    if chance < 0.35:
        return _encoded(from_schema(random, schema))
    # What is signed for an id must be one; under a junk path the body is about nobody's.
    is_signable = is_canonical_uuid(values.get("intent_id", ""))
    signed = values if is_signable else {**values, "intent_id": NOBODYS_INTENT}
    good = BODIES[operation.name](tenants, signed)
    if chance < 0.55:
        return good
    members = json.loads(good)
    names = [*members, *schema.get("properties", ()), "unknown"]
    members[random.choice(names)] = random.choice(JUNK_VALUES)
    if random.random() < 0.1:
        members.pop(random.choice(list(members)))
    return _encoded(members)


def _encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def from_schema(random: Random, schema: Mapping[str, Any]) -> Any:
    """A value of the schema, or at times one that is not."""
    if random.random() < 0.05:
        return random.choice(JUNK_VALUES)
    if "enum" in schema:
        return random.choice(list(schema["enum"]))
    kind = schema.get("type", "object")
    match random.choice(kind) if isinstance(kind, list) else kind:
        case "integer":
            low, high = schema.get("minimum", -3), schema.get("maximum", 60)
            return random.choice([low, low + 1, high, random.randint(low, high)])
        case "string":
            return random.choice([*JUNK_TEXTS, "usd", "ab" * 32, "late", "did:web:payee.test"])
        case "array":
            return [from_schema(random, schema["items"]) for _ in range(random.randrange(4))]
        case "null":
            return None
        case _:
            return {
                name: from_schema(random, member)
                for name, member in schema.get("properties", {}).items()
                if name in schema.get("required", ()) or random.random() < 0.4
            }


def _header_text(random: Random) -> str:
    """What a header may carry at all."""
    return random.choice(["", "1", "2", "x", "-1", "tenant-one", "~" * 300, "a b", "=", "AAAA"])

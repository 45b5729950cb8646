"""What the OpenAPI document says that a request can be refused with."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from gateway.routes.public_app import PublicApp
from tests.e2e.http.asks import Ask

# A path that leads nowhere, and a method it does not take, are no route's.
OF_NO_ROUTE = frozenset({"not_found", "method_not_allowed"})


def codes_declared(ask: Ask) -> Mapping[int, frozenset[str]]:
    """Per status the codes of the route that this request is for; none where it is for no route."""
    path = ask.path.partition("?")[0]
    found = (
        operation["responses"]
        for template, methods in _paths().items()
        for method, operation in methods.items()
        if method.upper() == ask.method and _is_of(template, unquote(path))
    )
    return {int(status): _codes(answer) for status, answer in next(found, {}).items()}


@cache
def _paths() -> Mapping[str, Any]:
    paths: Mapping[str, Any] = PublicApp().openapi()["paths"]
    return paths


def _is_of(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path) is not None


def _codes(answer: Mapping[str, Any]) -> frozenset[str]:
    schema = answer["content"]["application/json"]["schema"]
    error = schema.get("properties", {}).get("error", {})
    return frozenset(error.get("properties", {}).get("code", {}).get("enum", ()))

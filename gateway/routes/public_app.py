"""The public application: every route of the contract, and a document that says no more than they answer."""

from typing import Any

from fastapi import FastAPI

from gateway.routes.all_routes import ROUTERS

VERSION = "0.1.0"
# FastAPI's own answer to a parameter of a wrong type: ours are texts, and the edge turns it into `body_invalid`.
_NEVER_ANSWERED = "422"
_ITS_SCHEMAS = ("HTTPValidationError", "ValidationError")


class PublicApp(FastAPI):
    """Without its middleware; what is around each request is `gateway.edge.envelope`."""

    def __init__(self) -> None:
        super().__init__(
            title="Paybond gateway",
            version=VERSION,
            description="Holds money for work, and proves every step of it.",
            # Interactive pages would load scripts from elsewhere; the document itself is enough.
            docs_url=None,
            redoc_url=None,
            # A slash too many is no path of the contract; a redirect would send the bearer to whatever Host was named.
            redirect_slashes=False,
        )
        for router in ROUTERS:
            self.include_router(router)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            for methods in document["paths"].values():
                for operation in methods.values():
                    _drop_foreign_answer(operation["responses"])
            schemas = document.get("components", {}).get("schemas", {})
            for name in _ITS_SCHEMAS:
                schemas.pop(name, None)
            self.openapi_schema = document
        return self.openapi_schema


def _drop_foreign_answer(responses: dict[str, Any]) -> None:
    """One that we declare ourselves stays."""
    schema = (
        responses.get(_NEVER_ANSWERED, {})
        .get("content", {})
        .get("application/json", {})
        .get("schema", {})
    )
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        del responses[_NEVER_ANSWERED]

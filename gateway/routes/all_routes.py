"""Every public route of the gateway, in the order of the contract; the private listener's are not here."""

from fastapi import APIRouter

from gateway.routes import (
    agent_keys,
    api_keys,
    disputes,
    intents,
    ledger,
    ledger_proofs,
    operations,
    operator_intents,
    principal,
)

LEDGER_PREFIXES = ("/harbor/ledger/v1", "/v1/compliance/ledger")


def _ledger_under(prefix: str) -> APIRouter:
    """The same routes for operators and, under their own address, for customers' auditors."""
    router = APIRouter(prefix=prefix)
    router.include_router(ledger.router)
    router.include_router(ledger_proofs.router)
    return router


ROUTERS: tuple[APIRouter, ...] = (
    principal.router,
    api_keys.router,
    agent_keys.router,
    intents.router,
    operator_intents.router,
    disputes.router,
    operations.router,
    *map(_ledger_under, LEDGER_PREFIXES),
)

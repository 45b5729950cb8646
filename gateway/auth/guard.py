"""Every route that submits no command begins here: who asks, for which tenant, and whether they may.

The order is the contract's: credential, tenant assertion, permission; only then is anything else looked at.
"""

from starlette.requests import Request

from gateway.auth.api_key import Peppers
from gateway.auth.credential import Credential, KeysById, assert_tenant, authenticate, require
from gateway.auth.permissions import Permission


class Guard:
    """What a credential is checked against; built once in `bootstrap`, kept as `app.state.guard`."""

    def __init__(self, *, api_keys: KeysById, peppers: Peppers) -> None:
        self.api_keys = api_keys
        self.peppers = peppers


async def authorized(request: Request, permission: Permission | None) -> Credential:
    """The credential, if it may; `permission` None = any live credential of the asserted tenant.

    Raises RefusedError (`credential_invalid`, `tenant_mismatch`, `permission_denied`), DatabaseUnavailableError.
    """
    guard: Guard = request.app.state.guard
    bearers = request.headers.getlist("authorization")
    credential = await authenticate(bearers, guard.api_keys, guard.peppers)
    assert_tenant(credential, request.headers.getlist("x-tenant-id"))
    if permission is not None:
        require(credential, permission)
    return credential

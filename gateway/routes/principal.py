"""Who a credential is: the first thing a client asks, to fail closed on a wrong tenant."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.guard import authorized
from gateway.auth.permissions import roles_of
from gateway.queries.parameters import Parameters
from gateway.routes.errors import refusals_of_read
from gateway.routes.reading import TENANT, json_response, shows

router = APIRouter(tags=["identity"])

_PRINCIPAL = {
    "tenant_id": "tenant-vec",
    "environment": "sandbox",
    "subject": "api_key:0123456789abcdef0123456789abcdef",
    "roles": ["tenant_admin"],
    "service_account_role": "tenant_admin",
    "key_kind": "standard",
    "mcp_scopes": [],
    "permissions": ["harbor.intent:read"],
}


@router.get(
    "/v1/auth/principal",
    openapi_extra={"parameters": [TENANT]},
    responses={200: shows(_PRINCIPAL), **refusals_of_read()},
)
async def principal(request: Request) -> Response:
    """The credential's tenant, environment and rights. Any live credential may ask."""
    credential = await authorized(request, None)
    Parameters(request.query_params.multi_items(), known=())
    roles = roles_of(credential.permissions)
    return json_response(
        {
            "tenant_id": credential.tenant_id,
            "environment": credential.environment.value,
            "subject": f"api_key:{credential.key_id}",
            "roles": roles,
            "service_account_role": roles[0] if roles else None,
            "key_kind": credential.kind.value,
            "mcp_scopes": [],
            "permissions": sorted(credential.permissions),
        }
    )

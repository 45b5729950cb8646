"""Provisioning: entry 1 of a ledger, once, and the environment fixed for ever."""

from harbor.domain.decision import Decision, Facts, Refused
from harbor.domain.refusals import refuse
from schemas.messages.commands import Command, ProvisionTenant
from schemas.messages.events import TenantProvisioned


def provision(command: Command, body: ProvisionTenant, facts: Facts) -> Decision | Refused:
    if facts.tenant is not None:
        return refuse("tenant_exists", environment=facts.tenant.environment.value)
    if not facts.is_ledger_topic_there:
        return refuse("ledger_topic_missing", tenant_id=command.tenant_id)
    provisioned = TenantProvisioned(
        environment=body.environment,
        settlement_config_version=body.settlement_config_version,
        settlement_mode=body.settlement_mode,
        origin=body.origin,
    )
    return Decision(events=(provisioned,))

"""Provisioning: entry 1 of a ledger, once, and the environment fixed for ever."""

from harbor.domain.decision import Decision, Facts, Refused
from harbor.domain.refusals import refuse
from schemas.messages.commands import Command, ProvisionTenant
from schemas.messages.events import TenantProvisioned
from schemas.messages.shared import Environment, SettlementMode


def provision(command: Command, body: ProvisionTenant, facts: Facts) -> Decision | Refused:
    if facts.tenant is not None:
        return refuse("tenant_exists", environment=facts.tenant.environment.value)
    if not facts.is_ledger_topic_there:
        return refuse("ledger_topic_missing", tenant_id=command.tenant_id)
    is_live = body.environment is Environment.LIVE
    if is_live and body.settlement_mode is SettlementMode.SIMULATED:
        # Fixed here for ever, so refused here: a live tenant's money is never make-believe.
        return refuse("rail_not_enabled", settlement_mode=body.settlement_mode.value)
    provisioned = TenantProvisioned(
        environment=body.environment,
        settlement_config_version=body.settlement_config_version,
        settlement_mode=body.settlement_mode,
        origin=body.origin,
    )
    return Decision(events=(provisioned,))

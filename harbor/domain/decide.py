"""`decide`: what a command would add to the ledger, or why it is refused. Pure, and total over every command.

MAC, quarantine, idempotency and nonce were checked before, by the engine; what is about the tenant's row alone
(quarantine released, rails paused or resumed) is the engine's own business.
"""

from typing import assert_never

from harbor.domain import dispute, expiry, intent, rail_answers, tenant
from harbor.domain.decision import Decision, Facts, Refused
from harbor.domain.refusals import refuse
from schemas.errors import InputError
from schemas.messages.commands import (
    Command,
    ConfirmSettlement,
    CreateIntent,
    ExpireIntent,
    FundIntent,
    OpenDispute,
    PauseRails,
    ProvisionTenant,
    RaiseHoldExpiring,
    RecordRailAnswer,
    RecordRailObservation,
    ReissueEffect,
    ReleaseQuarantine,
    ResolveDispute,
    ResumeRails,
    SubmitEvidence,
    WithdrawDispute,
)


def decide(command: Command, facts: Facts) -> Decision | Refused:
    """Events and effects, or a refusal. Never raises for what a command may hold."""
    if facts.is_expired:
        return refuse("command_expired")
    if facts.tenant is None and not isinstance(command.body, ProvisionTenant):
        return refuse("tenant_unknown", tenant_id=command.tenant_id)
    if not facts.is_ledger_topic_there:
        return refuse("ledger_topic_missing", tenant_id=command.tenant_id)
    try:
        return _decide(command, facts)
    # A gateway checks forms before; what still can't be read is refused, not a crash.
    except InputError as error:
        return refuse("body_invalid", str(error))


def _decide(command: Command, facts: Facts) -> Decision | Refused:
    body = command.body
    match body:
        case ProvisionTenant():
            return tenant.provision(command, body, facts)
        case CreateIntent():
            return intent.create(command, body, facts)
        case FundIntent():
            return intent.fund(command, facts)
        case SubmitEvidence():
            return intent.submit_evidence(command, body, facts)
        case ConfirmSettlement():
            return intent.confirm(command, body, facts)
        case OpenDispute():
            return dispute.open_dispute(command, body, facts)
        case WithdrawDispute():
            return dispute.withdraw_dispute(command, body, facts)
        case ResolveDispute():
            return dispute.resolve_dispute(command, body, facts)
        case RecordRailAnswer():
            return rail_answers.record_answer(command, body, facts)
        case RecordRailObservation():
            return rail_answers.record_observation(command, body, facts)
        case ExpireIntent():
            return expiry.expire(command, facts)
        case ReissueEffect():
            return expiry.reissue(command, body, facts)
        case RaiseHoldExpiring():
            return expiry.warn(command, body, facts)
        case ReleaseQuarantine() | PauseRails() | ResumeRails():
            raise AssertionError("what is about the tenant's row alone is the engine's to decide")
        case _:
            assert_never(body)

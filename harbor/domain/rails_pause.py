"""An operator holds a tenant's rails, or lets them go on. Pure.

No entry tells of it: what was decided stays decided, only its carrying out waits. Either may be said again: the first
pause's reason stands, and resuming what is not paused is done already.
"""

from datetime import datetime

from schemas.intent_fold import RailsPause, TenantState
from schemas.messages.commands import Command, PauseRails, ResumeRails
from schemas.replacing import replace


def paused_or_resumed(
    command: Command, body: PauseRails | ResumeRails, tenant: TenantState, *, now: datetime
) -> TenantState:
    """The tenant's row after the command; `now` = the command record's time."""
    if isinstance(body, ResumeRails):
        return replace(tenant, rails_pause=None)
    if tenant.rails_pause is not None:
        return tenant
    return replace(
        tenant, rails_pause=RailsPause(reason=body.reason, since=now, paused_by=command.actor)
    )

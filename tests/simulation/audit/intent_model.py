"""The auditor's own model of an intent: what each command makes of it. It knows nothing of `decide` and `evolve`.

Simpler than they are, because it stands on what this simulation can send: whole amounts, one rail that says what it
did, no looks at the rail. Words are the wire's.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

GRACE = timedelta(seconds=60)
MARGIN = timedelta(hours=24)
SKEW = timedelta(minutes=10)
FINAL = frozenset({"released", "refunded", "resolved_split", "escalated_external"})
LIVE = frozenset({"funded", "evidence_submitted"})

# An expected entry: the event's type, and those of its members that are worth predicting.
Shape = tuple[str, dict[str, object]]


@dataclass(slots=True, kw_only=True)
class Request:
    """What the rail was asked last; outstanding until `effect_id` is None."""

    effect_id: str | None
    action: str
    amount: int
    cause: str
    attempt: int
    asked_at: datetime


@dataclass(slots=True, kw_only=True)
class Intent:
    tenant_id: str
    intent_id: str
    principal: str
    payee: str
    payee_key: bytes
    amount: int
    currency: str
    deadline: datetime
    predicate: bytes
    status: str = "open"
    placed: int = 0
    held: int = 0
    released: int = 0
    refunded: int = 0
    custody: int = 0
    asked: Request | None = None
    requests: int = 0
    rail_object: str | None = None
    expires_at: datetime | None = None
    verdict: bool | None = None
    has_evidence: bool = False
    status_before: str = ""
    disputed_at: datetime | None = None
    case_id: str = ""
    warned: list[int] = field(default_factory=list)
    done_effects: list[str] = field(default_factory=list)
    sight: tuple[object, ...] | None = None
    last_seq: int = 0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def outstanding(self) -> Request | None:
        return self.asked if self.asked is not None and self.asked.effect_id is not None else None

    @property
    def is_conserved(self) -> bool:
        return self.placed == self.held + self.released + self.refunded + self.custody

    @property
    def shown(self) -> tuple[object, ...]:
        """What every answer shows of it: its status, and where its money is."""
        return self.status, self.held, self.released, self.refunded, self.custody

    @property
    def evidence_until(self) -> datetime:
        if self.expires_at is None:
            return self.deadline
        return min(self.deadline, self.expires_at - MARGIN)

    def ask(
        self,
        command_id: str,
        now: datetime,
        action: str,
        amount: int,
        cause: str,
    ) -> Shape:
        before = self.asked
        attempt = before.attempt + 1 if before is not None and before.action == action else 1
        self.requests += 1
        effect_id = f"{command_id}-{self.requests}"
        self.asked = Request(
            effect_id=effect_id,
            action=action,
            amount=amount,
            cause=cause,
            attempt=attempt,
            asked_at=now,
        )
        return "settlement_rail_requested", {
            "effect_id": effect_id,
            "action": action,
            "amount_minor": amount,
            "cause": cause,
            "attempt": attempt,
        }

    def execute(self, command_id: str, now: datetime) -> Shape:
        """What the stored verdict implies; unknown is not passed."""
        if self.verdict:
            return self.ask(command_id, now, "capture", self.held, "predicate_passed")
        return self.ask(command_id, now, "cancel", self.held, "predicate_failed")

    def end(self) -> Shape:
        """The rail did what was asked: the intent's final entry, or none."""
        asked, held = self.asked, self.held
        assert asked is not None
        self.held = 0
        match asked.cause:
            case "predicate_passed" | "dispute_release":
                self.status, self.released = "released", held
                return "released", {"amount_minor": held}
            case "dispute_split":
                payee = asked.amount
                self.status, self.released, self.refunded = "resolved_split", payee, held - payee
                return "resolved_split", {"payee_minor": payee, "principal_minor": held - payee}
            case "dispute_escalation":
                is_captured = asked.action == "capture"
                self.status = "escalated_external"
                self.custody, self.refunded = (held, 0) if is_captured else (0, held)
                return "escalated_external", {
                    "custody_minor": self.custody,
                    "refunded_minor": self.refunded,
                }
            case cause:
                return self.refund(held, "dispute" if cause == "dispute_refund" else cause)

    def refund(self, amount: int, reason: str) -> Shape:
        self.status, self.refunded, self.held = "refunded", amount, 0
        return "refunded", {"amount_minor": amount, "reason": reason}

    def settles_at(self) -> datetime:
        """When time alone settles it; later after the rail had refused."""
        at = self.evidence_until + GRACE
        asked = self.asked
        if asked is not None and asked.action in {"capture", "cancel"}:
            wait = min(timedelta(minutes=2 ** min(asked.attempt - 1, 10)), timedelta(hours=1))
            return max(at, asked.asked_at + wait)
        return at

    def warning(self) -> tuple[int, datetime] | None:
        """The next warning of a disputed hold: hours, and when it is due."""
        if self.status != "disputed" or self.expires_at is None or self.disputed_at is None:
            return None
        passed = [
            h for h in (72, 24, 6) if self.expires_at - timedelta(hours=h) <= self.disputed_at
        ]
        wanted = passed[-1:] + [h for h in (72, 24, 6) if h not in passed]
        open_hours = [h for h in wanted if h < min(self.warned, default=73)]
        if not open_hours:
            return None
        return open_hours[0], self.expires_at - timedelta(hours=open_hours[0])


def reissue_due(asked_at: datetime, issue: int) -> datetime:
    """Issue 1 after 30 s, each later one after twice the wait before it, at most 15 minutes."""
    at, wait = asked_at, timedelta(seconds=30)
    for _ in range(issue):
        at += wait
        wait = min(wait * 2, timedelta(minutes=15))
    return at

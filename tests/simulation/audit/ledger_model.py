"""What Harbor has to say to each command, predicted: idempotency, nonces, pins and quarantine around the intents.

One `LedgerModel` follows a whole run. It is fed the commands of a partition in the order of their offsets, as far as
the committed position has come, and says what the transaction must have carried.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from schemas.messages.commands import (
    Command,
    ConfirmSettlement,
    CreateIntent,
    ExpireIntent,
    FundIntent,
    OpenDispute,
    ProvisionTenant,
    RaiseHoldExpiring,
    RecordRailAnswer,
    ReissueEffect,
    ReleaseQuarantine,
    ResolveDispute,
    SubmitEvidence,
    WithdrawDispute,
)
from tests.simulation.audit.commands_model import Said, Telling, say, say_by_time, say_of_rail
from tests.simulation.audit.intent_model import Intent, Shape

WINDOW = timedelta(hours=24)
# Kept for the key whatever proof comes; every other refusal depends on state, and these decide nothing at all.
_MALFORMED = frozenset(
    {
        "key_pinned",
        "principal_signature_invalid",
        "payee_signature_invalid",
        "payee_mismatch",
        "submitted_at_skewed",
        "split_invalid",
        "custody_required",
        "rail_not_enabled",
    }
)
NOT_DECIDED = frozenset(
    {
        "tenant_quarantined",
        "internal_error",
        "ledger_topic_missing",
        "recognition_proof_replayed",
    }
)


@dataclass(slots=True, kw_only=True)
class Stored:
    """What is kept for a key."""

    command_id: str
    input_hash: bytes
    status: str
    code: str | None
    nonce: tuple[str, str] | None
    recorded_at: datetime
    ledger_seq: int | None = None
    operation: str | None = None
    # Status and money of the intent that the answer shows.
    shown: tuple[object, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedOutcome:
    """`again` = these very bytes, those of the key's last outcome. `beside` = under the key with the input hash."""

    stored: Stored
    beside: bool = False
    again: bool = False


@dataclass(slots=True, kw_only=True)
class Expected:
    """All that a stretch of a partition's commands must have made, per tenant where that is the order."""

    entries: dict[str, list[tuple[Command, str | None, Shape, datetime]]] = field(
        default_factory=dict
    )
    outcomes: list[ExpectedOutcome] = field(default_factory=list)
    effects: list[tuple[str, int]] = field(default_factory=list)
    intents: dict[tuple[str, str], Intent] = field(default_factory=dict)
    parties: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tenants: dict[str, bool] = field(default_factory=dict)
    bodies: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Tenant:
    name: str
    size: int = 0
    last_at: datetime | None = None
    is_provisioned: bool = False
    is_quarantined: bool = False
    intents: dict[str, Intent] = field(default_factory=dict)
    pins: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    beside: dict[tuple[str, bytes], Stored] = field(default_factory=dict)
    nonces: dict[tuple[str, str], str] = field(default_factory=dict)

    def recorded_at(self, now: datetime) -> datetime:
        return now if self.last_at is None else max(now, self.last_at)


class LedgerModel:
    """`badly_signed` = input hashes of bodies whose signature does not hold."""

    def __init__(self, badly_signed: Collection[bytes]) -> None:
        self.tenants: dict[str, Tenant] = {}
        self._badly_signed = badly_signed

    def tenant(self, name: str) -> Tenant:
        return self.tenants.setdefault(name, Tenant(name))

    def decide(
        self,
        command: Command,
        now: datetime,
        expected: Expected,
        *,
        is_expired: bool,
        has_topic: bool,
    ) -> None:
        """Add to `expected` what this command makes. `now` = its record's time."""
        tenant = self.tenant(command.tenant_id)
        is_release = isinstance(command.body, ReleaseQuarantine)
        if tenant.is_quarantined and not is_release:
            self._refuse(tenant, command, now, expected, "tenant_quarantined")
            return
        if self._is_repeat(tenant, command, now, expected):
            return
        nonce = _nonce_of(command)
        owner = tenant.nonces.get(nonce) if nonce is not None else None
        if owner is not None and owner != command.command_id:
            self._refuse(tenant, command, now, expected, "recognition_proof_replayed")
        elif is_expired:
            self._refuse(tenant, command, now, expected, "command_expired")
        elif isinstance(command.body, ProvisionTenant):
            self._provision(tenant, command, now, expected, has_topic=has_topic)
        elif is_release:
            self._release(tenant, command, now, expected)
        elif not tenant.is_provisioned:
            self._refuse(tenant, command, now, expected, "tenant_unknown")
        else:
            self._apply(tenant, command, now, expected)

    def _is_repeat(
        self, tenant: Tenant, command: Command, now: datetime, expected: Expected
    ) -> bool:
        stored = tenant.stored.get(command.command_id)
        if stored is None or stored.recorded_at <= now - WINDOW:
            return False
        if stored.input_hash != command.input_hash:
            beside = tenant.beside.get((command.command_id, command.input_hash))
            is_kept = beside is not None and beside.recorded_at > now - WINDOW
            if is_kept and beside is not None and not _is_anew(beside, command):
                expected.outcomes.append(ExpectedOutcome(stored=beside, beside=True, again=True))
            else:
                self._refuse(
                    tenant, command, now, expected, "idempotency_key_reused", is_beside=True
                )
            return True
        moved = self._moved(tenant, stored, now)
        if _is_anew(moved or stored, command):
            return False
        if moved is not None:
            tenant.stored[command.command_id] = moved
        expected.outcomes.append(ExpectedOutcome(stored=moved or stored, again=moved is None))
        return True

    def _moved(self, tenant: Tenant, stored: Stored, now: datetime) -> Stored | None:
        """A poll's answer, once the operation that it named has ended."""
        asked = None if stored.operation is None else tenant.stored.get(stored.operation)
        if asked is None or asked.status == "accepted" or asked.recorded_at <= now - WINDOW:
            return None
        return Stored(
            command_id=stored.command_id,
            input_hash=stored.input_hash,
            status=asked.status,
            code=asked.code,
            nonce=stored.nonce,
            recorded_at=stored.recorded_at,
            ledger_seq=asked.ledger_seq,
            shown=asked.shown,
        )

    def _provision(
        self,
        tenant: Tenant,
        command: Command,
        now: datetime,
        expected: Expected,
        *,
        has_topic: bool,
    ) -> None:
        if tenant.is_provisioned:
            self._refuse(tenant, command, now, expected, "tenant_exists")
        elif not has_topic:
            self._refuse(tenant, command, now, expected, "ledger_topic_missing")
        else:
            tenant.is_provisioned = True
            expected.tenants[tenant.name] = True
            said = Said(events=[("tenant_provisioned", {})])
            self._record(tenant, command, now, expected, said, intent=None)

    def _release(self, tenant: Tenant, command: Command, now: datetime, expected: Expected) -> None:
        if tenant.is_quarantined:
            tenant.is_quarantined = False
            expected.tenants[tenant.name] = True
        self._record(tenant, command, now, expected, Said(), intent=None)

    def _apply(self, tenant: Tenant, command: Command, now: datetime, expected: Expected) -> None:
        intent = tenant.intents.get(command.intent_id or "")
        at = tenant.recorded_at(now)
        telling = Telling(command_id=command.command_id, now=now, recorded_at=at)
        is_signed = command.input_hash not in self._badly_signed
        match command.body:
            case CreateIntent() as body:
                said, intent = self._create(tenant, command, body, telling, is_signed=is_signed)
            case _ if intent is None:
                said = Said(code="intent_not_found")
            case SubmitEvidence() as body:
                said = self._evidence(tenant, body, intent, telling, is_signed=is_signed)
            case (
                FundIntent()
                | ConfirmSettlement()
                | OpenDispute()
                | WithdrawDispute()
                | ResolveDispute()
            ) as body:
                said = say(body, intent, telling)
            case RecordRailAnswer() as body:
                said = say_of_rail(body, intent, telling)
            case ExpireIntent() | ReissueEffect() | RaiseHoldExpiring() as body:
                said = say_by_time(body, intent, telling)
            case _:
                raise AssertionError(f"nobody sends {type(command.body).__name__} here")
        if said.code is not None:
            self._refuse(tenant, command, now, expected, said.code)
            return
        self._record(tenant, command, now, expected, said, intent=intent)

    def _create(
        self,
        tenant: Tenant,
        command: Command,
        body: CreateIntent,
        telling: Telling,
        *,
        is_signed: bool,
    ) -> tuple[Said, Intent | None]:
        deadline = datetime.fromisoformat(body.deadline)
        parties = {body.principal_did: body.principal_pubkey, body.payee_did: body.payee_pubkey}
        before = tenant.intents.get(command.intent_id or "")
        if before is not None:
            return Said(code="intent_exists"), before
        if any(tenant.pins.get(did, key) != key for did, key in parties.items()):
            return Said(code="key_pinned"), None
        if not is_signed:
            return Said(code="principal_signature_invalid"), None
        if telling.now >= deadline:
            return Said(code="deadline_passed"), None
        intent = Intent(
            tenant_id=tenant.name,
            intent_id=command.intent_id or "",
            principal=body.principal_did,
            payee=body.payee_did,
            payee_key=body.payee_pubkey,
            amount=body.amount_minor,
            currency=body.currency,
            deadline=deadline,
            predicate=body.predicate or b"",
        )
        tenant.intents[intent.intent_id] = intent
        said = Said(events=[("intent_created", {"amount_minor": body.amount_minor})], body="intent")
        said.pins = {did: key for did, key in parties.items() if did not in tenant.pins}
        tenant.pins.update(said.pins)
        return said, intent

    def _evidence(
        self,
        tenant: Tenant,
        body: SubmitEvidence,
        intent: Intent,
        telling: Telling,
        *,
        is_signed: bool,
    ) -> Said:
        submitted_at = datetime.fromisoformat(body.submitted_at)
        if abs(telling.now - submitted_at) > timedelta(minutes=10):
            return Said(code="submitted_at_skewed")
        if body.payee_did != intent.payee:
            return Said(code="payee_mismatch")
        is_pinned = tenant.pins.get(body.payee_did, body.payee_pubkey) == body.payee_pubkey
        if body.payee_pubkey != intent.payee_key or not is_pinned:
            return Said(code="key_pinned")
        if not is_signed:
            return Said(code="payee_signature_invalid")
        return say(body, intent, telling)

    def _refuse(
        self,
        tenant: Tenant,
        command: Command,
        now: datetime,
        expected: Expected,
        code: str,
        *,
        is_beside: bool = False,
    ) -> None:
        is_undecided = code in NOT_DECIDED
        stored = Stored(
            command_id=command.command_id,
            input_hash=command.input_hash,
            status="retry" if is_undecided else "refused",
            code=code,
            nonce=_nonce_of(command),
            recorded_at=now,
        )
        beside = is_beside or is_undecided
        expected.outcomes.append(ExpectedOutcome(stored=stored, beside=beside))
        if not is_undecided:
            self._keep(tenant, stored, is_beside=is_beside)

    def _keep(self, tenant: Tenant, stored: Stored, *, is_beside: bool = False) -> None:
        if is_beside:
            tenant.beside[stored.command_id, stored.input_hash] = stored
        else:
            tenant.stored[stored.command_id] = stored
        if stored.nonce is not None:
            tenant.nonces[stored.nonce] = stored.command_id

    def _record(
        self,
        tenant: Tenant,
        command: Command,
        now: datetime,
        expected: Expected,
        said: Said,
        *,
        intent: Intent | None,
    ) -> None:
        at = tenant.recorded_at(now)
        for shape in said.events:
            tenant.size += 1
            tenant.last_at = at
            name = None if intent is None else intent.intent_id
            expected.entries.setdefault(tenant.name, []).append((command, name, shape, at))
            if shape[0] == "settlement_rail_requested":
                expected.effects.append((str(shape[1]["effect_id"]), 0))
        expected.effects.extend(said.effects)
        seq = tenant.size if said.events else None
        if intent is not None and said.events:
            intent.last_seq = tenant.size
            expected.intents[tenant.name, intent.intent_id] = intent
        for did, key in said.pins.items():
            expected.parties[tenant.name, did] = key
        if said.body is not None and intent is not None:
            expected.bodies.append((tenant.name, intent.intent_id, said.body))
        stored = Stored(
            command_id=command.command_id,
            input_hash=command.input_hash,
            status=said.status,
            code=None,
            nonce=_nonce_of(command),
            recorded_at=now,
            ledger_seq=seq,
            operation=said.operation,
            shown=None if intent is None else intent.shown,
        )
        expected.outcomes.append(ExpectedOutcome(stored=stored))
        self._keep(tenant, stored)
        self._settle(tenant, said, expected, stored)

    def _settle(self, tenant: Tenant, said: Said, expected: Expected, told: Stored) -> None:
        """The rail's answer is the answer of the command that had asked."""
        if said.settles is None:
            return
        command_id, status, code = said.settles
        asked = tenant.stored.get(command_id)
        if asked is None or asked.status != "accepted":
            return
        settled = Stored(
            command_id=asked.command_id,
            input_hash=asked.input_hash,
            status=status,
            code=code,
            nonce=asked.nonce,
            recorded_at=asked.recorded_at,
            ledger_seq=asked.ledger_seq if told.ledger_seq is None else told.ledger_seq,
            shown=told.shown,
        )
        expected.outcomes.append(ExpectedOutcome(stored=settled))
        self._keep(tenant, settled)


def _is_anew(stored: Stored, command: Command) -> bool:
    """A refusal that depends on state answers the same proof only."""
    if stored.status != "refused" or stored.code in _MALFORMED:
        return False
    nonce = _nonce_of(command)
    return stored.nonce is None or nonce is None or stored.nonce != nonce


def _nonce_of(command: Command) -> tuple[str, str] | None:
    return None if command.spent is None else (command.spent.key_id, command.spent.nonce)

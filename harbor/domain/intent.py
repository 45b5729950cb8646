"""The intent's own commands: create, fund, evidence, confirm. Checks stand in the order in which they refuse.

Shape, then `not_after`, tenant, existence, rail, signatures and pins, state, predicate and schema (contract's order).
"""

from datetime import timedelta
from hashlib import sha256

from harbor.domain.decision import (
    Decision,
    EvidenceConsent,
    Facts,
    IntentConsent,
    NewPin,
    Refused,
)
from harbor.domain.evidence_schema import EvidenceSchema, matches
from harbor.domain.parsed_documents import predicate_of, schema_of
from harbor.domain.predicate_evaluation import evaluate, report_json
from harbor.domain.predicate_grammar import PredicateInvalid
from harbor.domain.refusals import intent_final, intent_frozen, refuse, settlement_in_progress
from harbor.domain.settlement import execute_evaluation, request
from harbor.domain.shape import ASCII_BLANKS, PUBLISHED_KEYS, intent_shape
from schemas.canonical.json_digest import jd_bytes
from schemas.canonical.literal_json import Json, parse
from schemas.errors import InputError
from schemas.ids import CommandId, EffectId, command_of_effect, evidence_id_of
from schemas.instants import parse_instant
from schemas.intent_fold import IntentState
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.commands import Command, ConfirmSettlement, CreateIntent, SubmitEvidence
from schemas.messages.events import EvidenceSubmitted, IntentCreated, PredicateEvaluated
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.shared import (
    Environment,
    IntentStatus,
    RailAction,
    SettlementCause,
)

RAIL = "stripe_connect"
_KNOWN_RAILS = frozenset(
    {RAIL, "stripe_ach_debit", "stripe_mpp", "adyen_manual_capture", "x402_usdc_base"}
)
_SKEW_MAX = timedelta(minutes=10)
_PAYLOAD_BYTES_MAX = 256 * 1024
_PAYLOAD_DEPTH_MAX = 32
_ARTIFACTS_MAX = 64


def create(command: Command, body: CreateIntent, facts: Facts) -> Decision | Refused:
    refused = intent_shape(command, body)
    if refused is None and facts.intent is not None:
        refused = refuse("intent_exists", intent_id=command.intent_id)
    refused = refused or _rail_refusal(body) or _consent_refusal(body, facts)
    if refused is not None:
        return refused
    assert isinstance(facts.consent, IntentConsent)
    deadline = parse_instant(body.deadline)
    if facts.now >= deadline:
        return refuse("deadline_passed", deadline=body.deadline)
    # Signed, but never shown to be JSON: what is stored as text must be.
    parse(body.budget)
    predicate = predicate_of(body.predicate or b"")
    if isinstance(predicate, PredicateInvalid):
        return refuse(
            "intent.predicate.invalid",
            predicate.message,
            clause=predicate.clause,
            path=predicate.path,
        )
    schema = schema_of(body.evidence_schema)
    if not isinstance(schema, EvidenceSchema):
        return refuse("evidence_schema_invalid", schema.message, path=schema.path)
    return _created(command, body, facts, facts.consent)


def _rail_refusal(body: CreateIntent) -> Refused | None:
    rail = body.settlement_rail.strip(ASCII_BLANKS)
    if rail not in _KNOWN_RAILS:
        return refuse("rail_unknown", settlement_rail=rail[:64])
    if rail != RAIL:
        return refuse("rail_not_enabled", settlement_rail=rail)
    return None


def _consent_refusal(body: CreateIntent, facts: Facts) -> Refused | None:
    """Pins first: a known party's other key is told apart from a wrong signature."""
    if body.signing_version == 7:
        return refuse("policy_unknown", template_id=body.policy_template_id)
    if body.completion_preset_id is not None:
        return refuse("preset_unknown", completion_preset_id=body.completion_preset_id)
    refused = _pin_refusal(body.principal_did, body.principal_pubkey, facts) or _pin_refusal(
        body.payee_did, body.payee_pubkey, facts
    )
    if refused is not None:
        return refused
    if body.principal_did == body.payee_did and body.principal_pubkey != body.payee_pubkey:
        return refuse("key_pinned", "One party can't have two keys.")
    if not isinstance(facts.consent, IntentConsent):
        return refuse("principal_signature_invalid")
    return None


def _pin_refusal(did: str, pubkey: bytes, facts: Facts) -> Refused | None:
    assert facts.tenant is not None
    if facts.tenant.environment is Environment.LIVE and pubkey in PUBLISHED_KEYS:
        return refuse("key_published", did=did)
    pin = facts.pins.get(did)
    if pin is not None and pin.pubkey != pubkey:
        return refuse("key_pinned", did=did)
    return None


def _created(
    command: Command, body: CreateIntent, facts: Facts, consent: IntentConsent
) -> Decision:
    assert command.intent_id is not None
    frame = consent.frame
    event = IntentCreated(
        signing_version=frame.version,
        principal_did=frame.principal_did,
        principal_pubkey=body.principal_pubkey,
        principal_signature=body.principal_signature,
        payee_did=frame.payee_did,
        payee_pubkey=body.payee_pubkey,
        amount_minor=frame.amount_cents,
        currency=frame.currency,
        deadline=parse_instant(body.deadline),
        deadline_text=consent.deadline_text,
        budget_digest=frame.budget_digest,
        evidence_schema_digest=frame.evidence_schema_digest,
        predicate_digest=frame.predicate_digest,
        predicate_ref=frame.predicate_ref,
        tools_digest=frame.tools_digest,
        settlement_rail=RAIL,
    )
    documents = IntentBody(
        tenant_id=command.tenant_id,
        intent_id=command.intent_id,
        budget=body.budget.decode(),
        evidence_schema=body.evidence_schema.decode(),
        predicate=(body.predicate or b"").decode(),
        allowed_tools=body.allowed_tools,
    )
    parties = {
        body.principal_did: body.principal_pubkey,
        body.payee_did: body.payee_pubkey,
    }
    new = tuple(
        NewPin(did=did, pubkey=key) for did, key in parties.items() if did not in facts.pins
    )
    return Decision(events=(event,), bodies=(documents,), pins=new)


def fund(command: Command, facts: Facts) -> Decision | Refused:
    """Ask for the hold; on a pending or funded intent, answer the present state (clients poll)."""
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    assert facts.tenant is not None
    if facts.rails.mode_for(facts.tenant) is None:
        return refuse("rail_not_enabled", settlement_rail=intent.settlement_rail)
    if intent.is_final:
        return intent_final(intent)
    if intent.status is IntentStatus.DISPUTED:
        return intent_frozen(intent)
    if intent.status is not IntentStatus.OPEN:
        return Decision()
    if intent.hold.is_outstanding:
        return _pending_fund(intent)
    if facts.now >= intent.deadline:
        return refuse("deadline_passed", intent_id=intent.intent_id)
    requested = request(
        command,
        intent,
        action=RailAction.HOLD,
        amount_minor=intent.amount_minor,
        cause=SettlementCause.FUNDING,
    )
    return Decision(events=(requested,), status=OutcomeStatus.ACCEPTED)


def _pending_fund(intent: IntentState) -> Decision | Refused:
    assert intent.hold.effect_id is not None
    if intent.hold.action is not RailAction.HOLD:
        return settlement_in_progress(intent)
    asked_by = command_of_effect(EffectId(intent.hold.effect_id))
    # Done: this command asks nothing. How it ends is told by the one that asked.
    return Decision(operation_command_id=asked_by)


def submit_evidence(command: Command, body: SubmitEvidence, facts: Facts) -> Decision | Refused:
    payload = _payload(body)
    if isinstance(payload, Refused):
        return payload
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    refused = (
        _skew_refusal(body, facts)
        or _payee_refusal(body, intent, facts)
        or _evidence_state_refusal(intent, facts)
    )
    if refused is not None:
        return refused
    assert isinstance(facts.consent, EvidenceConsent)
    if facts.intent_body is None or command.salt is None:
        # Neither can be missing by anything that a client does: nothing is stored, the command may come again.
        return refuse("internal_error", intent_id=intent.intent_id)
    return _evaluated(command, body, payload=payload, facts=facts, consent=facts.consent)


def _payload(body: SubmitEvidence) -> dict[str, Json] | Refused:
    if len(body.payload) > _PAYLOAD_BYTES_MAX:
        return refuse("payload_invalid", "The payload is too large.", bytes_max=_PAYLOAD_BYTES_MAX)
    if len(body.artifacts) > _ARTIFACTS_MAX:
        return refuse("payload_invalid", "Too many artifacts.", artifacts_max=_ARTIFACTS_MAX)
    try:
        payload = parse(body.payload, depth_max=_PAYLOAD_DEPTH_MAX)
    except InputError as error:
        return refuse("payload_invalid", str(error))
    if not isinstance(payload, dict):
        return refuse("payload_invalid", "The payload must be an object.")
    return payload


def _skew_refusal(body: SubmitEvidence, facts: Facts) -> Refused | None:
    try:
        submitted_at = parse_instant(body.submitted_at)
    except InputError as error:
        return refuse("submitted_at_skewed", str(error))
    if abs(facts.now - submitted_at) > _SKEW_MAX:
        return refuse("submitted_at_skewed")
    return None


def _payee_refusal(body: SubmitEvidence, intent: IntentState, facts: Facts) -> Refused | None:
    if body.payee_did != intent.payee_did:
        return refuse("payee_mismatch", intent_id=intent.intent_id)
    pin = facts.pins.get(body.payee_did)
    if body.payee_pubkey != intent.payee_pubkey or (pin and pin.pubkey != body.payee_pubkey):
        return refuse("key_pinned", did=body.payee_did)
    if not isinstance(facts.consent, EvidenceConsent):
        return refuse("payee_signature_invalid")
    return None


def _evidence_state_refusal(intent: IntentState, facts: Facts) -> Refused | None:
    if intent.is_final:
        return intent_final(intent)
    if intent.status is IntentStatus.DISPUTED:
        return intent_frozen(intent)
    if intent.status is IntentStatus.OPEN:
        return refuse("not_funded", intent_id=intent.intent_id)
    if intent.evidence is not None:
        return refuse("evidence_exists", intent_id=intent.intent_id)
    # A cancel on its way (the deadline has passed) can't be called back.
    if facts.now > intent.evidence_due_at or intent.hold.is_outstanding:
        return refuse("deadline_passed", intent_id=intent.intent_id)
    return None


def _evaluated(
    command: Command,
    body: SubmitEvidence,
    *,
    payload: dict[str, Json],
    facts: Facts,
    consent: EvidenceConsent,
) -> Decision:
    assert facts.intent is not None
    assert facts.intent_body is not None
    assert command.salt is not None
    evidence_id = evidence_id_of(CommandId(command.command_id))
    report, report_text = _report(facts.intent_body, payload, facts.intent.amount_minor)
    commitment = sha256(
        command.salt + consent.payload_digest + consent.artifacts_digest + body.payee_signature
    ).digest()
    submitted = EvidenceSubmitted(
        evidence_id=evidence_id,
        payee_pubkey=body.payee_pubkey,
        commitment=commitment,
        submitted_at=parse_instant(body.submitted_at),
    )
    evaluated = PredicateEvaluated(
        evidence_id=evidence_id,
        evaluator=report[1],
        passed=report[0],
        report_digest=jd_bytes(report_text),
    )
    stored = EvidenceBody(
        tenant_id=command.tenant_id,
        intent_id=facts.intent.intent_id,
        evidence_id=evidence_id,
        payload=body.payload.decode(),
        artifacts=body.artifacts,
        payload_digest=consent.payload_digest,
        artifacts_digest=consent.artifacts_digest,
        payee_did=body.payee_did,
        payee_pubkey=body.payee_pubkey,
        payee_signature=body.payee_signature,
        submitted_at=body.submitted_at,
        salt=command.salt,
        report=report_text.decode(),
    )
    return Decision(events=(submitted, evaluated), bodies=(stored,))


def _report(
    documents: IntentBody, payload: dict[str, Json], amount_minor: int
) -> tuple[tuple[bool | None, str], bytes]:
    """(verdict, evaluator) and the report's text; the documents were checked when the intent was created."""
    predicate = predicate_of(documents.predicate.encode())
    assert not isinstance(predicate, PredicateInvalid)
    schema = schema_of(documents.evidence_schema.encode())
    assert isinstance(schema, EvidenceSchema)
    report = evaluate(
        predicate,
        payload=payload,
        amount_minor=amount_minor,
        matches_schema=lambda: matches(schema, payload),
    )
    return (report.passed, report.evaluator), report_json(report)


def confirm(command: Command, _body: ConfirmSettlement, facts: Facts) -> Decision | Refused:
    """Execute what the stored evaluation implies."""
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    if intent.is_final:
        return intent_final(intent)
    if intent.status is IntentStatus.DISPUTED:
        return intent_frozen(intent)
    # While the hold is being asked for, nothing is being settled.
    if intent.hold.is_outstanding and intent.status is not IntentStatus.OPEN:
        return settlement_in_progress(intent)
    if intent.status is not IntentStatus.EVIDENCE_SUBMITTED:
        return refuse("no_evidence", intent_id=intent.intent_id, state=intent.status.value)
    return Decision(events=(execute_evaluation(command, intent),), status=OutcomeStatus.ACCEPTED)

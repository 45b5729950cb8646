"""Harbor's decisions without Kafka: look-up, `decide`, `evolve`, outcomes and effects of one tenant, in memory.

It keeps what the engine keeps, and holds the domain's invariants after every command.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from harbor.domain.answers import intent_answer
from harbor.domain.consent import consent_of, signature_wanted
from harbor.domain.decide import decide
from harbor.domain.decision import Consent, Decision, Facts, RailPolicy, Refused
from harbor.domain.idempotency import DecideAnew, Mismatch, NonceReplayed, Replay, look_up
from harbor.domain.refusals import refusal
from harbor.domain.settlement import effect_of
from schemas.canonical import ed25519
from schemas.ids import CommandId, IntentId
from schemas.intent_fold import IntentState, PartyPin, TenantState, evolve, provision
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.commands import (
    Command,
    CommandBody,
    ConfirmSettlement,
    CreateIntent,
    FundIntent,
    OpenDispute,
    ProvisionTenant,
    SubmitEvidence,
)
from schemas.messages.effects import Effect
from schemas.messages.events import (
    Event,
    LedgerEntry,
    SettlementRailRequested,
    TenantProvisioned,
    event_type_of,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus, Refusal
from schemas.messages.shared import IntentStatus
from tests.support.builders import (
    T0,
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
    rail_answer,
    submit_evidence,
)


def verified_consent(command: Command) -> Consent:
    """What the signature pool would find."""
    wanted = signature_wanted(command)
    if wanted is None:
        return None
    for index, message in enumerate(wanted.candidates):
        if ed25519.verify(wanted.public_key, message, wanted.signature):
            return consent_of(command, index)
    return None


@dataclass(slots=True, kw_only=True)
class World:
    """One tenant's ledger, states and outcomes. `now` is the log's time; tests move it."""

    now: datetime = T0
    rails: RailPolicy = field(default_factory=RailPolicy)
    is_ledger_topic_there: bool = True
    tenant: TenantState | None = None
    entries: list[LedgerEntry] = field(default_factory=list)
    intents: dict[str, IntentState] = field(default_factory=dict)
    intent_bodies: dict[str, IntentBody] = field(default_factory=dict)
    evidence_bodies: dict[str, EvidenceBody] = field(default_factory=dict)
    pins: dict[str, PartyPin] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    nonces: dict[tuple[str, str], str] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    settlements: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    commands: int = 0

    def facts(self, command: Command) -> Facts:
        body, intent_id = command.body, command.intent_id or ""
        dids: tuple[str, ...] = ()
        if isinstance(body, CreateIntent):
            dids = body.principal_did, body.payee_did
        elif isinstance(body, SubmitEvidence):
            dids = (body.payee_did,)
        return Facts(
            now=self.now,
            is_expired=command.not_after is not None and self.now > command.not_after,
            tenant=self.tenant,
            intent=self.intents.get(intent_id),
            intent_body=self.intent_bodies.get(intent_id),
            evidence_body=self.evidence_bodies.get(intent_id),
            pins={did: self.pins[did] for did in dids if did in self.pins},
            consent=verified_consent(command),
            rails=self.rails,
            is_ledger_topic_there=self.is_ledger_topic_there,
        )

    def do(
        self,
        body: CommandBody,
        *,
        intent_id: IntentId | None = None,
        command_id: CommandId | None = None,
        nonce: str | None = None,
    ) -> Outcome:
        """Send a new command with this body."""
        self.commands += 1
        return self.send(
            a_command(
                body,
                number=self.commands,
                intent_id=intent_id,
                command_id=command_id,
                nonce=nonce,
            )
        )

    def send(self, command: Command) -> Outcome:
        """One turn of the loop's step 2–4 for one command."""
        spent = command.spent and (command.spent.key_id, command.spent.nonce)
        owner = self.nonces.get(spent) if spent else None
        match look_up(self.outcomes.get(command.command_id), command, owner):
            case Replay(outcome=outcome):
                return outcome
            case Mismatch():
                return self._outcome(command, refused=refusal("idempotency_key_reused"))
            case NonceReplayed():
                return self._outcome(command, refused=refusal("recognition_proof_replayed"))
            case DecideAnew():
                pass
        decided = decide(command, self.facts(command))
        if isinstance(decided, Refused):
            outcome = self._outcome(command, refused=decided.refusal)
        else:
            outcome = self._commit(command, decided)
        self.outcomes[command.command_id] = outcome
        if spent:
            self.nonces[spent] = command.command_id
        return outcome

    def _outcome(
        self,
        command: Command,
        *,
        refused: Refusal | None = None,
        status: OutcomeStatus = OutcomeStatus.REFUSED,
        operation_command_id: str | None = None,
    ) -> Outcome:
        return Outcome(
            command_id=command.command_id,
            tenant_id=command.tenant_id,
            intent_id=command.intent_id,
            command_kind=type(command.body).__name__,
            status=status,
            input_hash=command.input_hash,
            recorded_at=self.now,
            decided_at=self.now,
            spent=command.spent,
            operation_command_id=operation_command_id,
            refusal=refused,
        )

    def _commit(self, command: Command, decision: Decision) -> Outcome:
        for event in decision.events:
            self._append(command, event)
        for pin in decision.pins:
            assert pin.did not in self.pins
            self.pins[pin.did] = PartyPin(
                tenant_id=TENANT, did=pin.did, pubkey=pin.pubkey, since_seq=len(self.entries)
            )
        for body in decision.bodies:
            if isinstance(body, IntentBody):
                self.intent_bodies[body.intent_id] = body
            else:
                self.evidence_bodies[body.intent_id] = body
        if decision.reissued is not None:
            self.effects.append(decision.reissued)
        if decision.settled is not None:
            self._settle(command, decision)
        outcome = self._outcome(
            command,
            status=decision.status,
            operation_command_id=decision.operation_command_id,
        )
        if decision.status is OutcomeStatus.ACCEPTED:
            self.accepted[command.command_id] += 1
        state = self.intents.get(command.intent_id or "")
        if state is None:
            return outcome
        answer = intent_answer(
            state,
            self.intent_bodies.get(state.intent_id),
            self.evidence_bodies.get(state.intent_id),
            now=self.now,
        )
        return replace(outcome, answer=answer, ledger_seq=len(self.entries))

    def _append(self, command: Command, event: Event) -> None:
        entry = LedgerEntry(
            tenant_id=TENANT,
            seq=len(self.entries) + 1,
            prev_hash=bytes(32),
            recorded_at=self.now,
            command_id=command.command_id,
            actor=command.actor,
            intent_id=None if isinstance(event, TenantProvisioned) else command.intent_id,
            event=event,
        )
        self.entries.append(entry)
        if entry.intent_id is None:
            self.tenant = provision(entry)
            return
        before = self.intents.get(entry.intent_id)
        after = evolve(before, entry)
        assert after.is_conserved
        assert before is None or not before.is_final or after.status is before.status
        self.intents[entry.intent_id] = after
        if isinstance(event, SettlementRailRequested):
            assert before is not None
            assert not before.hold.is_outstanding
            assert self.tenant is not None
            assert all(effect.effect_id != event.effect_id for effect in self.effects)
            self.effects.append(effect_of(after, self.tenant, issue=0))

    def _settle(self, command: Command, decision: Decision) -> None:
        settled = decision.settled
        assert settled is not None
        stored = self.outcomes[settled.command_id]
        assert stored.status is OutcomeStatus.ACCEPTED, "only an accepted command is settled"
        self.settlements[settled.command_id] += 1
        state = self.intents[command.intent_id or ""]
        self.outcomes[settled.command_id] = replace(
            stored,
            status=settled.status,
            refusal=settled.refusal,
            decided_at=self.now,
            answer=intent_answer(
                state, self.intent_bodies.get(state.intent_id), None, now=self.now
            ),
        )

    def state(self, intent_id: IntentId | None = None) -> IntentState:
        return self.intents[intent_id or an_intent_id()]

    @property
    def effect(self) -> Effect:
        """The effect that was asked last."""
        return self.effects[-1]

    @property
    def event_types(self) -> list[str]:
        return [event_type_of(entry.event) for entry in self.entries]

    def last_events(self, count: int) -> list[Event]:
        return [entry.event for entry in self.entries[-count:]]


def provisioned(tenant: ProvisionTenant | None = None) -> World:
    world = World()
    assert world.do(tenant or provision_tenant()).status is OutcomeStatus.DONE
    return world


def opened(**created: Any) -> World:
    """`created` as for `builders.create_intent`."""
    world = provisioned()
    outcome = world.do(create_intent(**created))
    assert outcome.status is OutcomeStatus.DONE, outcome.refusal
    return world


def funded(**created: Any) -> World:
    world = opened(**created)
    assert world.do(FundIntent()).status is OutcomeStatus.ACCEPTED
    world.do(rail_answer(world.effect, now=world.now))
    assert world.state().status is IntentStatus.FUNDED
    return world


def evidenced(**created: Any) -> World:
    world = funded(**created)
    assert world.do(submit_evidence(now=world.now)).status is OutcomeStatus.DONE
    return world


def settling(**created: Any) -> World:
    """Evidence was confirmed; the rail has not answered."""
    world = evidenced(**created)
    assert world.do(ConfirmSettlement()).status is OutcomeStatus.ACCEPTED
    return world


def settled(**created: Any) -> World:
    world = settling(**created)
    world.do(rail_answer(world.effect))
    assert world.state().is_final
    return world


def disputed(**created: Any) -> World:
    world = evidenced(**created)
    assert world.do(OpenDispute(reason_code="not_delivered")).status is OutcomeStatus.DONE
    return world

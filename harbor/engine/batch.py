"""Steps 2 to 4 of the loop, pure: commands and stored values in; entries, states, outcomes and store writes out.

Nothing here suspends, reads a clock or touches a store: the same batch gives the same result. What is decided lies in
an overlay (`View`), so that a later command of the batch sees it; it is worth nothing until the transaction committed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from harbor.domain.decide import decide
from harbor.domain.decision import Consent, Facts, RailPolicy, Refused, Settled
from harbor.domain.idempotency import DecideAnew, Mismatch, NonceReplayed
from harbor.domain.rails_pause import paused_or_resumed
from harbor.domain.refusals import refuse
from harbor.engine.batch_draft import Draft, draft_of, outcome_of, tenant_answer
from harbor.engine.batch_lookup import View, dids_of, nonce_writes_of
from harbor.engine.batch_output import (
    Chain,
    body_key,
    dead_letter_record,
    is_too_large,
    outcome_record,
)
from harbor.engine.batch_result import BatchResult, ResultBuilder
from harbor.engine.forgetting import recorded_row_of
from harbor.engine.intake import Place, Received, Rejected, RejectReason, addressee_of, place_of
from harbor.engine.ports import OutputRecord
from harbor.engine.quarantine import check_release, reason_of
from harbor.engine.repeats import FirstAnswer, decided_after, find_repeat
from schemas.ids import CommandId, IntentId, TenantId
from schemas.intent_fold import IntentState, Quarantine, TenantState
from schemas.messages.commands import PauseRails, ReleaseQuarantine, ResumeRails
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.refusals import Keeping, rule_of
from schemas.replacing import replace
from schemas.topics import (
    EVIDENCE,
    INTENTS,
    OUTCOMES,
    intent_key,
    ledger_topic,
    party_key,
    tenant_key,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRules:
    """What does not change while the process runs. `partitions` = P of the cluster."""

    partitions: int
    rails: RailPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Input records in the order of their partitions' offsets, with all that deciding them may look at.

    `now` = the wall clock, for `not_after` alone. `rechecks` = what the re-check of each release found.
    `quarantined` = tenants found at assignment; `view` holds what both rounds of keys brought.
    """

    intake: tuple[Received | Rejected, ...]
    view: View
    now: datetime
    consents: Mapping[Place, Consent]
    ledger_topics: frozenset[str]
    rechecks: Mapping[Place, str | None]
    quarantined: Mapping[TenantId, str]


def decide_batch(batch: Batch, rules: BatchRules) -> BatchResult:
    """Every record of the batch, one after the other. Raises what a defect raises: see `harbor.engine.suspects`."""
    deciding = _Deciding(batch, rules)
    for item in batch.intake:
        if isinstance(item, Rejected):
            deciding.bury(item)
        else:
            deciding.command(item)
        deciding.result.advance(item.record)
    return deciding.finished()


class _Deciding:
    """One batch in the making. Each method takes one record as far as it goes; nothing is undone."""

    def __init__(self, batch: Batch, rules: BatchRules) -> None:
        self._batch = batch
        self._rules = rules
        self._view = batch.view
        self._chains: dict[TenantId, Chain] = {}
        self._found = dict(batch.quarantined)
        self.result = ResultBuilder()

    def bury(self, rejected: Rejected) -> None:
        """A dead letter; an answer only for whoever could not be understood; quarantine only for a poison."""
        record, partitions = rejected.record, self._rules.partitions
        self.result.reject(rejected, dead_letter_record(rejected, partitions=partitions))
        if rejected.reason.is_alarm:
            return
        named = addressee_of(record, partitions=partitions)
        if named is not None:
            outcome = Outcome(
                command_id=named.command_id,
                tenant_id=named.tenant_id,
                intent_id=None,
                command_kind="",
                status=OutcomeStatus.RETRY,
                input_hash=named.input_hash,
                recorded_at=record.timestamp,
                decided_at=record.timestamp,
                refusal=refuse("internal_error").refusal,
            )
            self._publish(record.partition, outcome)
        if rejected.reason is RejectReason.CRASHED_DECIDE and rejected.tenant_id is not None:
            self._quarantine(rejected, rejected.tenant_id)

    def command(self, received: Received) -> None:
        """Harbor's part of a command's checks: quarantine, idempotency, nonce; all that follows is `decide`'s."""
        partition, tenant_id = received.record.partition, received.tenant_id
        tenant = self._view.tenant(partition, tenant_id)
        body = received.command.body
        # A pause only ever stops something: a tenant in doubt is the first to need it.
        may_pass = isinstance(body, ReleaseQuarantine | PauseRails)
        if reason_of(tenant_id, tenant, self._found) is not None and not may_pass:
            self._refuse(received, refuse("tenant_quarantined"))
            return
        match find_repeat(received, self._view):
            case FirstAnswer() as first:
                # Published again, not only found: its waiter may be new.
                record = self._emit(first.outcome, is_mismatch=first.is_mismatch)
                if first.has_moved_on:
                    key = OUTCOMES, record.key
                    self._view.put(partition, key, first.outcome, encoded=record.value)
                self.result.republished += 1
            case Mismatch():
                self._refuse(received, refuse("idempotency_key_reused"), is_mismatch=True)
            case NonceReplayed():
                self._refuse(received, refuse("recognition_proof_replayed"))
            case DecideAnew() if isinstance(body, ReleaseQuarantine):
                self._release(received, tenant)
            case DecideAnew() if isinstance(body, PauseRails | ResumeRails):
                self._pause_or_resume(received, body, tenant)
            case DecideAnew():
                self._decide(received, tenant)

    def finished(self) -> BatchResult:
        for chain in self._chains.values():
            if chain.is_touched:
                self.result.extend_ledger(chain.partition, chain.tip(), self._view)
        return self.result.finished(self._view)

    def _decide(self, received: Received, tenant: TenantState | None) -> None:
        facts = self._facts(received, tenant)
        decided = decide(received.command, facts)
        if isinstance(decided, Refused):
            self._refuse(received, decided)
            return
        chain = self._chain(received)
        draft = draft_of(
            received,
            facts,
            decided,
            entries=chain.draft(received.command, decided.events, facts.now),
            asking=self._asking_outcome(received, decided.settled),
            partitions=self._rules.partitions,
        )
        if any(is_too_large(record) for record in draft.records):
            self._refuse(received, refuse("command_too_large"))
            return
        chain.append(draft.entries)
        self._keep(received, draft)

    def _facts(self, received: Received, tenant: TenantState | None) -> Facts:
        place = received.record.partition, received.tenant_id
        command, now = received.command, received.record.timestamp
        intent_id = received.intent_id
        return Facts(
            now=now,
            is_expired=self._is_expired(received),
            tenant=tenant,
            intent=None if intent_id is None else self._view.intent(*place, intent_id),
            intent_body=None if intent_id is None else self._view.intent_body(*place, intent_id),
            evidence_body=None
            if intent_id is None
            else self._view.evidence_body(*place, intent_id),
            pins={
                did: pin
                for did in dids_of(command)
                if (pin := self._view.pin(*place, did)) is not None
            },
            consent=self._batch.consents.get(place_of(received)),
            rails=self._rules.rails,
            # Asked of the cluster for a provisioning only: a provisioned tenant's topic holds entry 1.
            is_ledger_topic_there=tenant is not None
            or ledger_topic(received.tenant_id) in self._batch.ledger_topics,
        )

    def _is_expired(self, received: Received) -> bool:
        not_after = received.command.not_after
        return not_after is not None and max(received.record.timestamp, self._batch.now) > not_after

    def _keep(self, received: Received, draft: Draft) -> None:
        """The draft becomes the batch's: what a later command of it will see."""
        partition, tenant_id = received.record.partition, received.tenant_id
        self.result.output.extend(draft.records)
        self.result.entries += len(draft.entries)
        if draft.tenant is not None:
            self._view.put(partition, (INTENTS, tenant_key(tenant_id)), draft.tenant)
        if draft.intent is not None:
            key = intent_key(tenant_id, IntentId(draft.intent.intent_id))
            self.result.index_due(
                partition, self._view.get(IntentState, partition, (INTENTS, key)), draft.intent
            )
            self._view.put(partition, (INTENTS, key), draft.intent)
        for body in draft.bodies:
            self._view.put(partition, (EVIDENCE, body_key(body)), body)
        for pin in draft.pins:
            self._view.put(partition, (INTENTS, party_key(tenant_id, pin.did)), pin)
        self._publish(partition, draft.outcome)
        if draft.settled is not None:
            self._publish(partition, draft.settled)

    def _refuse(self, received: Received, refused: Refused, *, is_mismatch: bool = False) -> None:
        keeping = rule_of(refused.refusal.code).keeping
        status = OutcomeStatus.RETRY if keeping is Keeping.NEVER else OutcomeStatus.REFUSED
        outcome = outcome_of(received, status=status, refusal=refused.refusal)
        self._publish(received.record.partition, outcome, is_mismatch=is_mismatch)

    def _publish(self, partition: int, outcome: Outcome, *, is_mismatch: bool = False) -> None:
        """What decided something is kept for look-ups, with the nonce it spent; `retry` leaves no trace."""
        refusal_code = None if outcome.refusal is None else outcome.refusal.code
        self.result.count(outcome.status, refusal_code)
        if outcome.status is not OutcomeStatus.RETRY and not is_mismatch:
            tenant_id, command_id = TenantId(outcome.tenant_id), CommandId(outcome.command_id)
            stored = self._view.outcome(partition, tenant_id, command_id)
            decided_at = decided_after(stored, outcome.decided_at)
            outcome = replace(outcome, decided_at=decided_at)
        record = self._emit(outcome, is_mismatch=is_mismatch)
        if outcome.status is OutcomeStatus.RETRY:
            return
        self._view.put(partition, (OUTCOMES, record.key), outcome, encoded=record.value)
        self._view.put(partition, *recorded_row_of(outcome, record.key))
        for key, spender in nonce_writes_of(outcome).items():
            self._view.put(partition, key, spender)

    def _emit(self, outcome: Outcome, *, is_mismatch: bool) -> OutputRecord:
        record = outcome_record(outcome, is_mismatch=is_mismatch, partitions=self._rules.partitions)
        self.result.output.append(record)
        return record

    def _asking_outcome(self, received: Received, settled: Settled | None) -> Outcome | None:
        """The outcome that a rail's answer rewrites; none if it is older than what is kept."""
        if settled is None:
            return None
        asking = self._view.outcome(
            received.record.partition, received.tenant_id, settled.command_id
        )
        return asking if asking and asking.status is OutcomeStatus.ACCEPTED else None

    def _chain(self, received: Received) -> Chain:
        tenant_id, partition = received.tenant_id, received.record.partition
        chain = self._chains.get(tenant_id)
        if chain is None:
            tip = self._view.tip(partition, tenant_id)
            chain = self._chains[tenant_id] = Chain.from_tip(tenant_id, partition, tip)
        return chain

    def _quarantine(self, rejected: Rejected, tenant_id: TenantId) -> None:
        """In the dead letter's own transaction. A tenant that was never provisioned has nothing to protect."""
        record = rejected.record
        tenant = self._view.tenant(record.partition, tenant_id)
        if tenant is None:
            return
        quarantine = Quarantine(
            reason=f"{rejected.reason.value}: {rejected.detail}",
            since=record.timestamp,
            offset=record.offset,
        )
        stopped = replace(tenant, quarantine=quarantine)
        self._view.put(record.partition, (INTENTS, tenant_key(tenant_id)), stopped)
        self.result.quarantined.add(tenant_id)

    def _pause_or_resume(
        self, received: Received, body: PauseRails | ResumeRails, tenant: TenantState | None
    ) -> None:
        """It touches the tenant's row and no chain, so that it works for a tenant whose chain is in doubt."""
        if self._is_expired(received):
            self._refuse(received, refuse("command_expired"))
            return
        if tenant is None:
            self._refuse(received, refuse("tenant_unknown", tenant_id=received.tenant_id))
            return
        partition, now = received.record.partition, received.record.timestamp
        after = paused_or_resumed(received.command, body, tenant, now=now)
        if after != tenant:
            self._view.put(partition, (INTENTS, tenant_key(received.tenant_id)), after)
        self._publish(
            partition,
            outcome_of(received, status=OutcomeStatus.DONE, answer=tenant_answer(after)),
        )

    def _release(self, received: Received, tenant: TenantState | None) -> None:
        refused = check_release(self._batch.rechecks[place_of(received)])
        if refused is not None:
            self._refuse(received, refused)
            return
        partition, tenant_id = received.record.partition, received.tenant_id
        self._found.pop(tenant_id, None)
        self.result.released.add(tenant_id)
        if tenant is not None and tenant.quarantine is not None:
            released = replace(tenant, quarantine=None)
            self._view.put(partition, (INTENTS, tenant_key(tenant_id)), released)
        self._publish(
            partition,
            outcome_of(received, status=OutcomeStatus.DONE, answer=tenant_answer(tenant)),
        )

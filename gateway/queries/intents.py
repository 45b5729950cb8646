"""Intents from the read tables: the fold's state as bytes, rendered by pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from gateway.adapters.coalesced import Coalesced
from gateway.adapters.postgres_reads import Query, Row, TenantReads
from schemas.ids import IntentId, TenantId
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import IntentAnswer, NextAction
from schemas.messages.shared import IntentStatus
from schemas.next_action import next_action_under
from streams.runtime.postgres import sql_blocks

_SQL = sql_blocks("gateway.queries", "intents.sql")
# An intent has about ten entries; one whose rail drifts for weeks has more, and the newest tell most.
TIMELINE_MAX = 500
# A statement for so many still takes a few milliseconds.
_READ_TOGETHER_MAX = 32
_TENANTS_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIntent:
    """`allowed_tools` None: the body is not there yet, or was erased. `tenant` None: its row is not there yet."""

    state: IntentState
    tenant: TenantState | None
    allowed_tools: tuple[str, ...] | None
    evidence: Row | None
    timeline: Sequence[Row]

    @property
    def is_whole(self) -> bool:
        """Whether the bodies are there; those of a final intent may be gone for good."""
        has_evidence = self.state.evidence is None or self.evidence is not None
        return self.state.is_final or (self.allowed_tools is not None and has_evidence)

    def next_action(self, *, now: datetime | None = None) -> NextAction | None:
        """As Harbor says it with an answer."""
        return next_action_under(self.tenant, self.state, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Of one intent, not decoded: what one of them can't be read for must not fail the others."""

    intent: Row
    evidence: Row | None
    timeline: Sequence[Row]


class IntentReads:
    """Single intents, those of one tenant that are asked for side by side in one round trip."""

    def __init__(self, reads: TenantReads) -> None:
        self._reads = reads
        self._rows = Coalesced(self._rows_of, most=_READ_TOGETHER_MAX)

    async def find(self, tenant_id: TenantId, intent_id: IntentId) -> StoredIntent | None:
        """State, bodies and timeline of one snapshot. Raises DatabaseUnavailableError."""
        rows = await self._rows.find(tenant_id, intent_id)
        if rows is None:
            return None
        tools = rows.intent["allowed_tools"]
        return StoredIntent(
            state=decode_as(IntentState, bytes(rows.intent["state"])),
            tenant=_tenant_state(rows.intent["tenant_state"]),
            allowed_tools=None if tools is None else tuple(tools),
            evidence=rows.evidence,
            timeline=rows.timeline,
        )

    async def answer(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        """The present state in the shape of an outcome, or None where the tables don't have all of it yet.

        Raises DatabaseUnavailableError.
        """
        stored = await self.find(tenant_id, intent_id)
        return None if stored is None or not stored.is_whole else answer_of_stored(stored)

    async def _rows_of(
        self, tenant_id: TenantId, intent_ids: Sequence[IntentId]
    ) -> Mapping[IntentId, _Rows]:
        values = {"intent_ids": list(intent_ids)}
        intents, evidence, entries = await self._reads.fetch_all(
            tenant_id,
            [
                Query(text=_SQL["intents_by_id"], values=values),
                Query(text=_SQL["evidence"], values=values),
                Query(text=_SQL["timeline"], values={**values, "limit": TIMELINE_MAX}),
            ],
        )
        submitted = {row["intent_id"]: row for row in evidence}
        timelines: dict[str, list[Row]] = {row["intent_id"]: [] for row in intents}
        for row in entries:
            timelines[row["intent_id"]].append(row)
        return {
            row["intent_id"]: _Rows(
                intent=row,
                evidence=submitted.get(row["intent_id"]),
                timeline=timelines[row["intent_id"]],
            )
            for row in intents
        }


async def page_of_intents(
    reads: TenantReads,
    tenant_id: TenantId,
    *,
    before_seq: int,
    status: str | None,
    operator_did: str | None,
    limit: int,
) -> list[Row]:
    """Newest first. Raises DatabaseUnavailableError."""
    return await reads.fetch(
        tenant_id,
        _SQL["intents"],
        before_seq=before_seq,
        status=status,
        operator_did=operator_did,
        limit=limit,
    )


async def totals(reads: TenantReads, tenant_id: TenantId) -> tuple[list[Row], Row | None]:
    """Totals per state and currency, and where the tables stand. Raises DatabaseUnavailableError."""
    rows, tenants = await reads.fetch_all(
        tenant_id, [Query(text=_SQL["totals"]), Query(text=_SQL["tenant"])]
    )
    return rows, tenants[0] if tenants else None


def answer_of_stored(stored: StoredIntent) -> IntentAnswer:
    state, evidence = stored.state, stored.evidence
    return IntentAnswer(
        intent_id=state.intent_id,
        status=state.status,
        settlement_rail=state.settlement_rail,
        currency=state.currency,
        amount_minor=state.amount_minor,
        funded=state.status is not IntentStatus.OPEN and state.placed_minor > 0,
        hold_status=state.hold.status,
        rail_object=state.hold.rail_object,
        settlement_mode=state.settlement_mode,
        hold_expires_at=state.hold.expires_at,
        evidence_due_at=state.evidence_due_at,
        reason=state.reason,
        held_minor=state.held_minor,
        released_minor=state.released_minor,
        refunded_minor=state.refunded_minor,
        custody_minor=state.custody_minor,
        custody=state.custody,
        case_id=None if state.dispute is None else state.dispute.case_id,
        evidence_id=None if state.evidence is None else state.evidence.evidence_id,
        payload_digest=None if evidence is None else bytes(evidence["payload_digest"]),
        artifacts_digest=None if evidence is None else bytes(evidence["artifacts_digest"]),
        # Unknown is not passed.
        predicate_passed=None if state.evidence is None else state.evidence.passed is True,
        report_json=None if evidence is None else evidence["report"],
        payee_did=state.payee_did,
        principal_did=state.principal_did,
        allowed_tools=stored.allowed_tools or (),
        next_action=stored.next_action(),
    )


def _tenant_state(value: bytes | None) -> TenantState | None:
    return None if value is None else _decoded_tenant(bytes(value))


@lru_cache(maxsize=_TENANTS_KEPT_MAX)
def _decoded_tenant(value: bytes) -> TenantState:
    """The same bytes with every read of one of its intents."""
    return decode_as(TenantState, value)

"""A mutating request from its bytes to its answer, in the contract's order of refusals.

    1. credential  2. tenant assertion  3. permission  4. in flight  5. JSON  6. proof  7. shape
    8. register the waiter, then produce (acks=all; no acknowledgement in time = 503), then wait
    9. answer: a pure function of the outcome; not known in time = 202 where the tables know the intent, else 503

After 7 nothing is refused here any more: what follows is Harbor's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.auth.api_key import Peppers
from gateway.auth.credential import Credential, assert_tenant, authenticate, require
from gateway.auth.permissions import Permission
from gateway.auth.recognition import HEADER as PROOF_HEADER
from gateway.auth.recognition import ProvenRequest, recognize
from gateway.commands.answers import Answer, Secrets, answer_of
from gateway.commands.attempt import attempt_of
from gateway.commands.identity import (
    RANDOM_BYTES,
    IdentifiedBy,
    RequestIdentity,
    idempotency_key_of,
    identity_of,
)
from gateway.commands.in_flight import InFlight
from gateway.commands.members import body_object, json_of
from gateway.commands.outcome_waiter import OutcomeWaiters
from gateway.commands.ports import (
    AgentKeys,
    ApiKeys,
    Clock,
    CommandPublisher,
    CommandRecord,
    PresentIntents,
    Timer,
)
from gateway.edge.refused import RefusedError
from schemas.canonical.literal_json import Json
from schemas.canonical.recognition_proof import RecognitionProof
from schemas.errors import OutageError
from schemas.ids import IntentId, is_canonical_uuid
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    Issuer,
    SpentNonce,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import Actor, ActorKind

_RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingRequest:
    """A request as it came: `path` raw, without query; header names lower case, every value kept."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    body: bytes
    request_id: str

    def all(self, name: str) -> tuple[str, ...]:
        return self.headers.get(name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """What tells one mutating route from another. `purpose` None = an operator route, without proof."""

    permission: Permission
    purpose: str | None
    body_of: Callable[[Mapping[str, Json]], CommandBody]
    # Older than this when decided = `command_expired`; None = never.
    valid_for: timedelta | None
    is_salted: bool = False
    # Where the id stands in the body (create) and not in the path.
    intent_id_of: Callable[[Mapping[str, Json]], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPath:
    """Everything that the path from request to answer needs; built once in `bootstrap`."""

    api_keys: ApiKeys
    agent_keys: AgentKeys
    peppers: Peppers
    issuer_key: bytes
    publisher: CommandPublisher
    waiters: OutcomeWaiters
    in_flight: InFlight
    intents: PresentIntents
    secrets: Secrets
    timer: Timer
    clock: Clock
    random: Callable[[int], bytes]
    decision_seconds: float
    rail_seconds: float
    # How long a command's outcome was waited for, in seconds; not called where none came.
    on_answered: Callable[[float], None] = lambda _: None

    async def submit(
        self, request: IncomingRequest, mutation: Mutation, *, intent_id: str | None = None
    ) -> Answer:
        """Steps 1–9. Raises RefusedError."""
        credential = await authenticate(request.all("authorization"), self.api_keys, self.peppers)
        assert_tenant(credential, request.all("x-tenant-id"))
        require(credential, mutation.permission)
        with self.in_flight.one_more(credential.tenant_id):
            body = json_of(request.body)
            proof = await self._proof(request, mutation, credential)
            command = self._command(
                request,
                mutation,
                credential=credential,
                proof=proof,
                document=body,
                intent_id=intent_id,
            )
            began = self.clock.now()
            outcome = await self._decided(command, began=began)
            if outcome is None:
                return await self._not_known(command, request, began=began)
            return answer_of(outcome, self.secrets, request_id=request.request_id)

    async def _proof(
        self, request: IncomingRequest, mutation: Mutation, credential: Credential
    ) -> RecognitionProof | None:
        if mutation.purpose is None:
            return None
        proven = ProvenRequest(
            tenant_id=credential.tenant_id,
            method=request.method,
            path=request.path,
            purpose=mutation.purpose,
            body=request.body,
            now=self.clock.now(),
        )
        return await recognize(
            request.all(PROOF_HEADER),
            proven,
            lambda key_id: self.agent_keys.find(credential.tenant_id, key_id),
        )

    def _command(
        self,
        request: IncomingRequest,
        mutation: Mutation,
        *,
        credential: Credential,
        proof: RecognitionProof | None,
        document: Json,
        intent_id: str | None,
    ) -> Command:
        body = body_object(document)
        if mutation.intent_id_of is not None:
            intent_id = mutation.intent_id_of(body)
        if intent_id is None or not is_canonical_uuid(intent_id):
            raise RefusedError("intent_not_found")
        identity = self._identity(request, credential, proof)
        return Command(
            command_id=identity.command_id,
            tenant_id=credential.tenant_id,
            intent_id=intent_id,
            issuer=Issuer.GATEWAY,
            issuer_mac=EMPTY_MAC,
            actor=_actor(credential, proof),
            input_hash=identity.input_hash,
            body=mutation.body_of(body),
            not_after=(
                None if mutation.valid_for is None else self.clock.now() + mutation.valid_for
            ),
            spent=None if proof is None else _spent(proof),
            salt=self.random(RANDOM_BYTES) if mutation.is_salted else None,
            request_id=request.request_id,
        )

    def _identity(
        self, request: IncomingRequest, credential: Credential, proof: RecognitionProof | None
    ) -> RequestIdentity:
        return identity_of(
            credential.tenant_id,
            method=request.method,
            path=request.path,
            raw_body=request.body,
            by=IdentifiedBy(
                idempotency_key=idempotency_key_of(request.all("idempotency-key")),
                proof=proof,
                random=self.random(RANDOM_BYTES),
            ),
        )

    async def _decided(self, command: Command, *, began: datetime) -> Outcome | None:
        record = CommandRecord(
            tenant_id=command.tenant_id,  # type: ignore[arg-type]  # a credential's tenant
            value=seal(command, self.issuer_key),
            headers=command_headers(command),
        )
        with self.waiters.waiting(
            tenant_id=command.tenant_id,
            command_id=command.command_id,
            attempt=attempt_of(command),
        ) as waiter:
            await self.publisher.publish(record)
            outcome = await waiter.outcome(
                self.timer, decision_seconds=self.decision_seconds, rail_seconds=self.rail_seconds
            )
        if outcome is not None:
            # A clock that stepped back makes no wait negative.
            self.on_answered(max(timedelta(), self.clock.now() - began).total_seconds())
        return outcome

    async def _not_known(
        self, command: Command, request: IncomingRequest, *, began: datetime
    ) -> Answer:
        """202 with the members that the route's 200 must have, from the read tables; else 503.

        `began` = before the command was sent: what is decided of commands that come after it was decided after it.
        """
        answer = None
        kind = type(command.body).__name__
        if command.intent_id is not None and kind != "CreateIntent":
            try:
                answer = await self.intents.answer(
                    command.tenant_id,  # type: ignore[arg-type]  # a credential's tenant
                    IntentId(command.intent_id),
                )
            except OutageError:
                answer = None
        if answer is None:
            raise RefusedError("unavailable", retry_after_seconds=_RETRY_AFTER_SECONDS)
        pending = Outcome(
            command_id=command.command_id,
            tenant_id=command.tenant_id,
            intent_id=command.intent_id,
            command_kind=kind,
            status=OutcomeStatus.ACCEPTED,
            input_hash=command.input_hash,
            recorded_at=began,
            decided_at=began,
            spent=command.spent,
            request_id=command.request_id,
            answer=answer,
        )
        return answer_of(pending, self.secrets, request_id=request.request_id)


def _actor(credential: Credential, proof: RecognitionProof | None) -> Actor:
    if proof is not None:
        return Actor(kind=ActorKind.AGENT_KEY, ref=proof.statement.key_id)
    return Actor(kind=ActorKind.API_KEY, ref=credential.key_id)


def _spent(proof: RecognitionProof) -> SpentNonce:
    statement = proof.statement
    return SpentNonce(
        key_id=statement.key_id, nonce=statement.nonce, expires_at=statement.expires_instant
    )

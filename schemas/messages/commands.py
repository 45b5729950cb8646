"""Every command Harbor decides, who may issue it, and the MAC that says who did.

Kafka's ACLs can't tell command types apart on one topic, so the closed table `ISSUED_BY` does: a command whose MAC
or type does not fit its issuer is a dead letter and an alarm, never a refusal.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.messages.shared import (
    Actor,
    Custody,
    DisputeOutcome,
    Environment,
    Hash32,
    Key32,
    RailAction,
    RailAnswerKind,
    SettlementMode,
    Signature64,
)


class Issuer(StrEnum):
    GATEWAY = "gateway"
    RECONCILIATION = "reconciliation"
    RAILS = "rails"
    RECOVERY = "recovery"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentNonce:
    """The recognition proof's nonce: spent in the transaction that commits the effect, never before."""

    key_id: str
    nonce: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionTenant:
    environment: Environment
    settlement_config_version: int
    settlement_mode: SettlementMode
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIntent:
    """Documents travel as the canonical bytes of what was sent, number literals as received (signing.md §1)."""

    signing_version: int
    principal_did: str
    principal_pubkey: Key32
    principal_signature: Signature64
    payee_did: str
    payee_pubkey: Key32
    budget: bytes
    evidence_schema: bytes
    predicate: bytes | None
    amount_minor: int
    currency: str
    deadline: str
    settlement_rail: str
    allowed_tools: tuple[str, ...]
    predicate_ref: str
    policy_template_id: str | None = None
    policy_version_seq: int | None = None
    completion_preset_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundIntent:
    """Asks the rail for the hold; on a pending or funded intent it answers the present state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitEvidence:
    """`payload` as the canonical bytes of what was sent; artifacts are SHA-256 digests. The salt is the command's."""

    payload: bytes
    artifacts: tuple[Hash32, ...]
    payee_did: str
    payee_pubkey: Key32
    payee_signature: Signature64
    submitted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmSettlement:
    """Executes what the stored evaluation implies; the caller never chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDispute:
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawDispute:
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveDispute:
    outcome: DisputeOutcome
    reason_code: str
    payee_minor: int | None = None
    principal_minor: int | None = None
    custody: Custody | None = None
    external_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRailAnswer:
    """What a rail said of one effect. Amounts are what the rail says it did, to be compared with what was asked."""

    effect_id: str
    action: RailAction
    kind: RailAnswerKind
    rail_object: str | None
    amount_minor: int
    currency: str
    rail_status: str
    settlement_config_version: int
    settlement_mode: SettlementMode
    hold_expires_at: datetime | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRailObservation:
    """What a look at the rail showed; `is_gone` = the hold can no longer be captured there."""

    rail_object: str
    rail_status: str
    amount_minor: int
    currency: str
    is_gone: bool
    checked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireIntent:
    """`due_at` makes the command's id: one per intent and due time."""

    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReissueEffect:
    """Ask the rail again, with the same effect id; `issue` counts from 1."""

    effect_id: str
    issue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseHoldExpiring:
    hours_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseQuarantine:
    """An operator says that the tenant may go on; Harbor re-checks chain, tip and states first."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRails:
    """An operator says that nothing of this tenant's which moves money is asked of a rail for now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRails:
    """What was held back is asked now."""

    reason: str


CommandBody = (
    ProvisionTenant
    | CreateIntent
    | FundIntent
    | SubmitEvidence
    | ConfirmSettlement
    | OpenDispute
    | WithdrawDispute
    | ResolveDispute
    | RecordRailAnswer
    | RecordRailObservation
    | ExpireIntent
    | ReissueEffect
    | RaiseHoldExpiring
    | ReleaseQuarantine
    | PauseRails
    | ResumeRails
)

ISSUED_BY: Mapping[Issuer, frozenset[type]] = {
    Issuer.GATEWAY: frozenset(
        {
            CreateIntent,
            FundIntent,
            SubmitEvidence,
            ConfirmSettlement,
            OpenDispute,
            WithdrawDispute,
            ResolveDispute,
        }
    ),
    Issuer.RAILS: frozenset({RecordRailAnswer, RecordRailObservation}),
    Issuer.RECOVERY: frozenset(
        {ExpireIntent, ReissueEffect, RaiseHoldExpiring, RecordRailObservation}
    ),
    Issuer.RECONCILIATION: frozenset(),
    Issuer.CLI: frozenset({ProvisionTenant, ReleaseQuarantine, PauseRails, ResumeRails}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`input_hash` = SHA-256(method, full path, raw body), never over salt, MAC, proof or request id.

    `now` of a command is its record's timestamp (LogAppendTime), not a field. `not_after` = refused
    `command_expired` if decided later. `salt` = 32 random bytes, evidence only.
    """

    command_id: str
    tenant_id: str
    intent_id: str | None
    issuer: Issuer
    issuer_mac: Hash32
    actor: Actor
    input_hash: Hash32
    body: CommandBody
    not_after: datetime | None = None
    spent: SpentNonce | None = None
    salt: Hash32 | None = None
    request_id: str | None = None


EMPTY_MAC = bytes(32)


def input_hash_of(method: str, path: str, raw_body: bytes) -> bytes:
    """SHA-256 over the three parts, each length-prefixed; tick and rails hash their own canonical fields as body."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode(), raw_body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def issuer_mac_of(key: bytes, bytes_with_empty_mac: bytes) -> bytes:
    """HMAC-SHA-256 over the command's Avro record whose `issuer_mac` is 32 zero bytes."""
    return hmac.digest(key, bytes_with_empty_mac, "sha256")


# Tenant, command id and input hash are record headers too, so that an undecodable command still gets an outcome.
HEADER_TENANT_ID = "paybond-tenant-id"
HEADER_COMMAND_ID = "paybond-command-id"
HEADER_INPUT_HASH = "paybond-input-hash"

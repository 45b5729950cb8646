"""Bodies on `paybond.evidence` and in `views.evidence` against the digests that the ledger holds.

A body is written once, in its entry's transaction, and may be erased when its intent is final: that one is gone is a
finding only before. Texts are hashed as they are read and let go.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from harbor.engine.ports import LogRecord
from harbor.fsck.findings import Finding, FindingKind, FindingList
from harbor.fsck.reread import LedgerReading, Step
from schemas.canonical.evidence_bytes import artifacts_digest
from schemas.canonical.intent_bytes import tools_digest
from schemas.canonical.json_digest import jd_bytes, jd_normal
from schemas.errors import PaybondError
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import decode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import EvidenceSubmitted, IntentCreated, PredicateEvaluated
from schemas.tables.rows import BodyRow, body_row, record_key_of_body
from schemas.topics import EVIDENCE, evidence_body_key, intent_body_key

ROWS = "views.evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """Of one body, recomputed: each document as received and in normal form, since either may have been signed."""

    documents: tuple[tuple[bytes, bytes], ...]
    others: tuple[bytes | str, ...]
    report: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBody:
    """The newest record of a key. `digests` null: erased, or `problem` says why it could not be read."""

    offset: int
    token: bytes = b""
    digests: Digests | None = None
    problem: str | None = None

    @property
    def is_erased(self) -> bool:
        return self.digests is None and self.problem is None


def stored_body(record: LogRecord) -> StoredBody:
    """What a record of `paybond.evidence` holds."""
    if record.value is None:
        return StoredBody(offset=record.offset)
    try:
        body = decode(record.value)
        if not isinstance(body, IntentBody | EvidenceBody):
            return StoredBody(offset=record.offset, problem=f"it is a {type(body).__name__}")
        row = body_row(body)
        if record_key_of_body(row) != record.key:
            return StoredBody(offset=record.offset, problem="its key is not that of its body")
        return StoredBody(offset=record.offset, token=row_token(row), digests=_digests_of(body))
    # Texts that are no JSON, names that are none, bytes that are no record: each is a family of ours.
    except PaybondError as error:
        return StoredBody(offset=record.offset, problem=str(error))


def row_token(row: BodyRow) -> bytes:
    """Equal rows have equal ones."""
    return hashlib.sha256(repr(astuple(row)).encode()).digest()


def _digests_of(body: IntentBody | EvidenceBody) -> Digests:
    if isinstance(body, IntentBody):
        texts = (body.budget, body.evidence_schema, body.predicate)
        return Digests(
            documents=tuple(map(_both, texts)), others=(tools_digest(body.allowed_tools),)
        )
    commitment = hashlib.sha256(
        body.salt + body.payload_digest + body.artifacts_digest + body.payee_signature
    ).digest()
    # What the commitment is over must be what the texts give.
    is_true = body.payload_digest in _both(
        body.payload
    ) and body.artifacts_digest == artifacts_digest(body.artifacts)
    return Digests(
        documents=(),
        others=(
            body.evidence_id,
            body.payee_pubkey,
            commitment if is_true else b"its digests are not those of its texts",
        ),
        report=jd_bytes(body.report.encode()),
    )


def _both(text: str) -> tuple[bytes, bytes]:
    raw = text.encode()
    return jd_bytes(raw), jd_normal(raw)


@dataclass(slots=True, kw_only=True)
class _Implied:
    """What the ledger says of one body; of evidence's report another entry says it, `report_seq`."""

    seq: int
    intent_id: str
    documents: tuple[bytes, ...] = ()
    others: tuple[bytes | str, ...] = ()
    report: bytes | None = None
    report_seq: int = 0


class BodyComparison:
    """`see` each step, then `finish`. `reached` = the entry up to which every body must be on the topic."""

    def __init__(
        self, tenant_id: TenantId, bodies: Mapping[bytes, StoredBody], *, reached: int
    ) -> None:
        self._tenant_id = tenant_id
        self._bodies = bodies
        self._reached = reached
        self._implied: dict[bytes, _Implied] = {}

    def see(self, step: Step) -> None:
        event, intent_id = step.entry.event, step.entry.intent_id
        if intent_id is None:
            return
        seq = step.entry.seq
        key = evidence_body_key(self._tenant_id, IntentId(intent_id))
        match event:
            case IntentCreated():
                self._implied[intent_body_key(self._tenant_id, IntentId(intent_id))] = _Implied(
                    seq=seq,
                    intent_id=intent_id,
                    documents=(
                        event.budget_digest,
                        event.evidence_schema_digest,
                        event.predicate_digest,
                    ),
                    others=(event.tools_digest,),
                )
            case EvidenceSubmitted():
                self._implied[key] = _Implied(
                    seq=seq,
                    intent_id=intent_id,
                    others=(event.evidence_id, event.payee_pubkey, event.commitment),
                )
            case PredicateEvaluated() if key in self._implied:
                self._implied[key].report = event.report_digest
                self._implied[key].report_seq = seq
            case _:
                pass

    def finish(
        self, reading: LedgerReading, *, rows: Mapping[bytes, bytes] | None, rows_reached: int
    ) -> FindingList:
        """`rows` = tokens by key, null where no tables are compared; they hold the topic below `rows_reached`."""
        found: list[Finding] = []
        for key, implied in self._implied.items():
            found += self._on_topic(key, implied, reading)
        is_whole = reading.first_bad is None
        for key in self._bodies.keys() - self._implied.keys() if is_whole else ():
            if not self._bodies[key].is_erased:
                detail = f"{_name(key)}: no entry speaks of it"
                found.append(_finding(reading.size + 1, FindingKind.NOT_IMPLIED, EVIDENCE, detail))
        if rows is not None:
            found += self._in_table(rows, rows_reached, reading)
        kept = FindingList()
        for finding in sorted(found, key=lambda one: (one.seq, one.where, one.detail)):
            kept.add(finding)
        return kept

    def _on_topic(self, key: bytes, implied: _Implied, reading: LedgerReading) -> list[Finding]:
        body, seq, name = self._bodies.get(key), implied.seq, _name(key)
        if body is not None and body.problem is not None:
            return [_finding(seq, FindingKind.DAMAGED, EVIDENCE, f"{name}: {body.problem}")]
        if body is None or body.digests is None:
            is_final = reading.states[implied.intent_id].is_final
            if is_final or (body is None and seq > self._reached):
                return []
            detail = f"{name}: it is not there, and its intent is not final"
            return [_finding(seq, FindingKind.ABSENT, EVIDENCE, detail)]
        digests = body.digests
        if not _agrees(implied, digests):
            detail = f"{name}: its digests are not those of the entry"
            return [_finding(seq, FindingKind.NOT_IMPLIED, EVIDENCE, detail)]
        # Without its evaluation (the end of what was read) nothing is said of the report.
        if implied.report is not None and digests.report != implied.report:
            detail = f"{name}: its report is not the one that was recorded"
            return [_finding(implied.report_seq, FindingKind.NOT_IMPLIED, EVIDENCE, detail)]
        return []

    def _in_table(
        self, rows: Mapping[bytes, bytes], rows_reached: int, reading: LedgerReading
    ) -> list[Finding]:
        found = []
        for key in rows.keys() | self._bodies.keys():
            body, row = self._bodies.get(key), rows.get(key)
            seq = self._implied[key].seq if key in self._implied else reading.size + 1
            is_in = body is not None and body.offset < rows_reached
            if row is not None and (body is None or (body.is_erased and is_in)):
                detail = f"{_name(key)}: no body on the topic leads to it"
                found.append(_finding(seq, FindingKind.NOT_IMPLIED, ROWS, detail))
            elif row is not None and body is not None and body.token and row != body.token:
                detail = f"{_name(key)}: it is not the body on the topic"
                found.append(_finding(seq, FindingKind.NOT_IMPLIED, ROWS, detail))
            elif row is None and body is not None and body.digests is not None and is_in:
                found.append(
                    _finding(seq, FindingKind.ABSENT, ROWS, f"{_name(key)}: it is not there")
                )
        return found


def _agrees(implied: _Implied, digests: Digests) -> bool:
    is_each_signed = all(
        said in both for said, both in zip(implied.documents, digests.documents, strict=True)
    )
    return is_each_signed and digests.others == implied.others


def _finding(seq: int, kind: FindingKind, where: str, detail: str) -> Finding:
    return Finding(seq=seq, kind=kind, where=where, detail=detail)


def _name(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")

"""The error tree: every error that crosses a function's border, with its HTTP status and exit code.

Expected refusals of commands are values, not members of this tree (`harbor.domain.refusals`).

    PaybondError                          500  exit 1
    ├─ InputError                         400  exit 1   what somebody sent can't be read
    │  ├─ JsonInvalidError                     json_invalid: no JSON, no UTF-8, too deep
    │  ├─ JsonAmbiguousError                   json_ambiguous: two parsers may differ on it
    │  ├─ BodyInvalidError                     body_invalid: a member missing or of another type
    │  ├─ InstantError                         deadline_invalid: no RFC 3339 instant of the contract
    │  ├─ MoneyError                           amount_invalid: no amount of minor units
    │  │  ├─ CurrencyUnsupportedError          currency_unsupported
    │  │  ├─ SplitInvalidError                 split_invalid: parts that do not add up
    │  │  └─ AmountNotRepresentableError  422  amount_not_representable: too fine for the rail
    │  ├─ ToolsInvalidError                    tools_invalid: a blank or non-ASCII name
    │  ├─ PayloadInvalidError            422  payload_invalid: the envelope of evidence
    │  ├─ SignatureFormatError                 a key, signature or digest of a wrong form
    │  └─ RecognitionProofError           401  one of the seven codes of a recognition proof
    ├─ OutageError                        503  exit 3   passing: the same request may succeed later
    │  ├─ BrokerUnavailableError
    │  └─ DatabaseUnavailableError
    ├─ IntegrityError                     500  exit 1   stored truth disagrees: never repaired
    │  ├─ ChainBreakError                      seq, prev_hash or key of an entry
    │  ├─ CheckpointMismatchError              a signed checkpoint and the entries disagree
    │  ├─ CodecError                           a value is not what its schema says
    │  ├─ UnknownSchemaError                   a schema id not in the registry: parks
    │  ├─ FoldError                            an entry that its state can't have led to
    │  ├─ StateMismatchError                   store, changelog and ledger disagree
    │  ├─ DataRefusedError                     the database can't hold a value (SQLSTATE 22, 23)
    │  └─ OwnershipLostError                   another process took over: stop, never retry
    └─ ConfigurationError                 500  exit 2   settings, flags, the cluster
"""

from enum import StrEnum
from typing import ClassVar


class PaybondError(Exception):
    """Root of the tree; `code` is the wire name."""

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    # Not a ClassVar: RecognitionProofError carries one of several codes.
    code: str = "internal_error"


class InputError(PaybondError):
    """What somebody sent can't be read; sending the same bytes again never helps."""

    http_status: ClassVar[int] = 400
    code: str = "body_invalid"


class JsonInvalidError(InputError):
    code: str = "json_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body is not JSON that is accepted here: {reason}.")


class JsonAmbiguousError(InputError):
    """Two correct parsers may read these bytes differently: signing them proves nothing."""

    code: str = "json_ambiguous"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The JSON can be read in more than one way: {reason}.")


class BodyInvalidError(InputError):
    def __init__(self, *, member: str, reason: str) -> None:
        super().__init__(f"`{member}` {reason}.")
        self.member = member


class InstantError(InputError):
    code: str = "deadline_invalid"

    def __init__(self, *, text: str, reason: str) -> None:
        super().__init__(f"{text[:64]!r} is not an accepted RFC 3339 time: {reason}.")


class MoneyError(InputError):
    code: str = "amount_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The amount is not valid: {reason}.")


class CurrencyUnsupportedError(MoneyError):
    code: str = "currency_unsupported"

    def __init__(self, currency: str) -> None:
        super().__init__(
            f"{currency[:16]!r} is not a supported currency (three lower-case letters)"
        )
        self.currency = currency


class AmountNotRepresentableError(MoneyError):
    http_status: ClassVar[int] = 422
    code: str = "amount_not_representable"

    def __init__(self, *, minor_units: int, currency: str, granularity: int) -> None:
        super().__init__(
            f"{minor_units} minor units of {currency} are finer than the rail holds; "
            f"use a multiple of {granularity}"
        )
        self.granularity = granularity


class SplitInvalidError(MoneyError):
    code: str = "split_invalid"


class ToolsInvalidError(InputError):
    code: str = "tools_invalid"

    def __init__(self, *, position: int, reason: str) -> None:
        super().__init__(f"`allowed_tools[{position}]` {reason}.")
        self.position = position


class PayloadInvalidError(InputError):
    """The envelope of evidence; that a payload breaks its schema is a verdict, not an error."""

    http_status: ClassVar[int] = 422
    code: str = "payload_invalid"

    def __init__(self, *, member: str, reason: str) -> None:
        super().__init__(f"`{member}` {reason}.")
        self.member = member


class SignatureFormatError(InputError):
    """Says nothing about the signature's truth: it could not even be tried."""

    def __init__(self, *, what: str, reason: str) -> None:
        super().__init__(f"{what} {reason}.")
        self.what = what


class RecognitionProofCode(StrEnum):
    """The seven ways a recognition proof fails, all 401 (gateway.md §1)."""

    REQUIRED = "recognition_proof_required"
    MALFORMED = "recognition_proof_malformed"
    UNREGISTERED_KEY = "unregistered_key"
    REVOKED_KEY = "revoked_key"
    EXPIRED = "recognition_proof_expired"
    REPLAYED = "recognition_proof_replayed"
    MISMATCH = "recognition_proof_mismatch"


class RecognitionProofError(InputError):
    http_status: ClassVar[int] = 401

    def __init__(self, code: RecognitionProofCode, reason: str) -> None:
        super().__init__(f"The recognition proof was refused: {reason}.")
        self.code: str = code.value


class OutageError(PaybondError):
    """Something we depend on is out. Passing: the caller may try again with the same key."""

    http_status: ClassVar[int] = 503
    exit_code: ClassVar[int] = 3
    code: str = "unavailable"


class BrokerUnavailableError(OutageError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"Kafka can't be reached or did not answer in time: {reason}.")


class DatabaseUnavailableError(OutageError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"Postgres can't be reached or did not answer in time: {reason}.")


class IntegrityError(PaybondError):
    """Stored truth contradicts itself. The tenant is quarantined or the process stops."""


class ChainBreakError(IntegrityError):
    def __init__(self, *, tenant_id: str, seq: int, reason: str) -> None:
        super().__init__(f"The ledger of {tenant_id} breaks at seq {seq}: {reason}.")
        self.tenant_id = tenant_id
        self.seq = seq
        self.reason = reason


class CheckpointMismatchError(IntegrityError):
    def __init__(self, *, tenant_id: str, size: int, reason: str) -> None:
        super().__init__(f"The checkpoint of {tenant_id} at size {size} does not hold: {reason}.")
        self.tenant_id = tenant_id
        self.size = size
        self.reason = reason


class CodecError(IntegrityError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"The bytes are not a value of their schema: {reason}.")


class UnknownSchemaError(IntegrityError):
    """Not a break: the tenant is parked until a release comes whose registry has the id."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(
            f"Schema id {schema_id} is not in this release's registry; deploy the readers first."
        )
        self.schema_id = schema_id


class FoldError(IntegrityError):
    def __init__(self, *, subject: str, reason: str) -> None:
        super().__init__(f"An entry can't follow the state of {subject}: {reason}.")
        self.subject = subject


class StateMismatchError(IntegrityError):
    def __init__(self, *, subject: str, reason: str) -> None:
        super().__init__(f"The stored state of {subject} disagrees with its ledger: {reason}.")
        self.subject = subject
        self.reason = reason


class DataRefusedError(IntegrityError):
    """The same rows would be refused by any server: bisected to the tenant or record they come from."""

    def __init__(self, *, sqlstate: str, reason: str) -> None:
        super().__init__(f"The database refuses these rows (SQLSTATE {sqlstate}): {reason}.")
        self.sqlstate = sqlstate


class OwnershipLostError(IntegrityError):
    """A fenced producer, a checkpoint row of a newer epoch: only stopping is safe."""

    def __init__(self, *, resource: str, reason: str) -> None:
        super().__init__(f"Another process owns {resource} now: {reason}. This one stops.")
        self.resource = resource


class ConfigurationError(PaybondError):
    """The operator has to change a setting, a flag or the cluster before this can start."""

    exit_code: ClassVar[int] = 2
    code: str = "configuration_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The configuration is refused: {reason}.")

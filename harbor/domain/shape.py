"""Whether a creation can be meant at all: amount, currency, deadline, tools. Harbor checks again, trusting nobody."""

from harbor.domain.decision import Refused
from harbor.domain.refusals import refuse
from schemas.canonical.ed25519 import public_key
from schemas.canonical.intent_bytes import normal_tools
from schemas.canonical.literal_json import parse
from schemas.errors import (
    AmountNotRepresentableError,
    CurrencyUnsupportedError,
    InputError,
    InstantError,
    ToolsInvalidError,
)
from schemas.ids import DID_LENGTH_MAX, is_canonical_uuid
from schemas.instants import parse_instant
from schemas.messages.commands import Command, CreateIntent
from schemas.money import Money, check_representable

AMOUNT_MAX = 99_999_999
# The seeds of the published test vectors: whoever signs with one of these proves nothing.
PUBLISHED_KEYS = frozenset(
    public_key(bytes([octet]) * 32) for octet in (*range(0xA1, 0xA8), 0xB1, 0xB2)
)
# What signing.md §2 trims from the rail.
ASCII_BLANKS = " \t\n\v\f\r"


def intent_shape(command: Command, body: CreateIntent) -> Refused | None:
    if command.intent_id is None or not is_canonical_uuid(command.intent_id):
        return refuse("body_invalid", "`intent_id` must be a lower-case UUID.")
    if not all(0 < len(did) <= DID_LENGTH_MAX for did in (body.principal_did, body.payee_did)):
        return refuse("body_invalid", "A DID has 1 to 512 characters.", length_max=DID_LENGTH_MAX)
    if (body.signing_version, body.predicate is None) not in {(6, False), (7, True)}:
        return refuse("body_invalid", "Version 6 has a predicate, version 7 a policy.")
    if not 1 <= body.amount_minor <= AMOUNT_MAX:
        return refuse("amount_invalid", amount_max=AMOUNT_MAX)
    if not body.allowed_tools:
        return refuse("allowed_tools_empty")
    try:
        check_representable(Money(minor_units=body.amount_minor, currency=body.currency))
        parse_instant(body.deadline)
        normal_tools(body.allowed_tools)
        if not isinstance(parse(body.budget), dict):
            return refuse("body_invalid", "`budget` must be an object.")
    except CurrencyUnsupportedError as error:
        return refuse("currency_unsupported", str(error))
    except AmountNotRepresentableError as error:
        return refuse("amount_not_representable", str(error), granularity=error.granularity)
    except InstantError as error:
        return refuse("deadline_invalid", str(error))
    except ToolsInvalidError as error:
        return refuse("tools_invalid", str(error))
    except InputError as error:
        return refuse("body_invalid", str(error))
    return None

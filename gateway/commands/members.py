"""Reading members of a JSON body into types: each says which member is wrong, and how."""

from collections.abc import Callable, Collection, Mapping

from gateway.edge.refused import RefusedError
from schemas.canonical import base64_strict
from schemas.canonical.literal_json import Json, NumberLiteral, parse
from schemas.errors import JsonAmbiguousError, JsonInvalidError, SignatureFormatError
from schemas.ids import DID_LENGTH_MAX

_INTEGER_MAX = 2**63 - 1
REASON_CODE_LENGTH_MAX = 128


def json_of(raw_body: bytes) -> Json:
    """The body as JSON with its literals. Raises RefusedError (`json_invalid`, `json_ambiguous`)."""
    try:
        return parse(raw_body)
    except (JsonInvalidError, JsonAmbiguousError) as error:
        raise RefusedError(error.code, str(error)) from error


def body_object(document: Json) -> Mapping[str, Json]:
    if not isinstance(document, dict):
        raise RefusedError("body_invalid", "The body must be a JSON object.")
    return document


def wrong(member: str, reason: str, *, code: str = "body_invalid") -> RefusedError:
    return RefusedError(code, f"`{member}` {reason}.", details={"member": member})


def text(
    body: Mapping[str, Json],
    member: str,
    *,
    code: str = "body_invalid",
    length_max: int = DID_LENGTH_MAX,
    length_min: int = 1,
) -> str:
    value = body.get(member)
    if not isinstance(value, str):
        raise wrong(member, "must be a string", code=code)
    if not length_min <= len(value) <= length_max:
        raise wrong(member, f"must have {length_min} to {length_max} characters", code=code)
    return value


def optional_text(body: Mapping[str, Json], member: str, *, length_max: int) -> str | None:
    if body.get(member) is None:
        return None
    return text(body, member, length_max=length_max, length_min=0)


def integer(body: Mapping[str, Json], member: str, *, code: str = "body_invalid") -> int:
    """A JSON integer literal; `1.0`, `1e2` and strings are none."""
    value = body.get(member)
    if not isinstance(value, NumberLiteral) or not value.is_integer_literal:
        raise wrong(member, "must be an integer", code=code)
    number = int(value.value)
    if not -_INTEGER_MAX <= number <= _INTEGER_MAX:
        raise wrong(member, "is out of range", code=code)
    return number


def optional_integer(body: Mapping[str, Json], member: str) -> int | None:
    return None if body.get(member) is None else integer(body, member)


def document(
    body: Mapping[str, Json], member: str, *, code: str = "body_invalid"
) -> dict[str, Json]:
    value = body.get(member)
    if not isinstance(value, dict):
        raise wrong(member, "must be an object", code=code)
    return value


def base64_bytes(
    body: Mapping[str, Json], member: str, length: int, *, code: str = "body_invalid"
) -> bytes:
    value = text(body, member, code=code, length_max=256)
    try:
        return base64_strict.decode(value, what=member, length=length)
    except SignatureFormatError as error:
        raise RefusedError(code, str(error), details={"member": member}) from error


def texts(
    body: Mapping[str, Json], member: str, *, refuse: Callable[[str], RefusedError]
) -> tuple[str, ...]:
    value = body.get(member)
    if not isinstance(value, list):
        raise refuse("must be an array of strings")
    found = tuple(item for item in value if isinstance(item, str))
    if len(found) != len(value):
        raise refuse("must be an array of strings")
    return found


def only(body: Mapping[str, Json], allowed: Collection[str]) -> None:
    """For bodies that grant something: a misspelt member must not mean its default."""
    unknown = next((member for member in body if member not in allowed), None)
    if unknown is not None:
        raise wrong(unknown, "is not a member of this body")

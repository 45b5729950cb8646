"""Whether every schema of a subject reads what each older one wrote (BACKWARD_TRANSITIVE).

The rules are Apache Avro's own (`avro.compatibility`); this module only asks them for each pair.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from schemas.errors import CodecError
from schemas.messages.avro_codec import MESSAGES, RegisteredSchema, derived_schema_text

FIRST_ID = 100_000


def incompatibilities(schemas: Iterable[RegisteredSchema]) -> list[str]:
    """One sentence for each (newer, older) pair of a subject where the newer can't read the older's data."""
    found: list[str] = []
    for subject, versions in groupby(sorted(schemas, key=_order), key=attrgetter("subject")):
        older: list[RegisteredSchema] = []
        for newer in versions:
            found += [
                f"{subject}: version {newer.version} can't read version {old.version}: {why}"
                for old in older
                for why in _why_not(reader=newer.text, writer=old.text)
            ]
            older.append(newer)
    return found


def registry_faults(schemas: Sequence[RegisteredSchema]) -> list[str]:
    """What is wrong with a registry: ids reused or too low, versions not dense, classes without a schema of theirs."""
    found: list[str] = []
    ids = [schema.id for schema in schemas]
    found += [f"schema id {id_} is used twice" for id_ in sorted(set(ids)) if ids.count(id_) > 1]
    found += [f"schema id {id_} is below {FIRST_ID}" for id_ in ids if id_ < FIRST_ID]
    for subject, versions in groupby(sorted(schemas, key=_order), key=attrgetter("subject")):
        numbers = [schema.version for schema in versions]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{subject}: versions are {numbers}, not dense from 1")
    newest = {schema.record: schema.text for schema in sorted(schemas, key=_order)}
    for name, message in MESSAGES.items():
        if newest.get(name) != derived_schema_text(message):
            found.append(f"{name}: the newest registered schema is not the class's; add a version")
    return found + incompatibilities(schemas)


def _order(schema: RegisteredSchema) -> tuple[str, int]:
    return schema.subject, schema.version


def _why_not(*, reader: str, writer: str) -> list[str]:
    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(parse(reader), parse(writer))
    # avro raises a family of its own for a schema that is none.
    except Exception as error:
        raise CodecError(f"not an Avro schema: {error}") from error
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [
        f"{message} at {location}"
        for message, location in zip(
            sorted(result.messages), sorted(result.locations), strict=False
        )
    ] or ["incompatible"]

"""A schema that could not read yesterday's records is refused; so is a registry that forgot something."""

import json
from dataclasses import replace

from schemas.messages.avro_codec import RegisteredSchema, registry
from schemas.messages.avro_compatibility import incompatibilities, registry_faults


def _position(version: int, **changes: object) -> RegisteredSchema:
    row = next(schema for schema in registry() if schema.record == "Position")
    schema = json.loads(row.text)
    schema["fields"] += changes.get("added", [])
    return replace(row, id=row.id + 1000 * version, version=version, text=json.dumps(schema))


def test_the_registry_has_no_faults() -> None:
    assert registry_faults(registry()) == []


def test_a_field_added_with_a_default_is_compatible() -> None:
    added = [{"name": "epoch", "type": "long", "default": 0}]

    assert incompatibilities([_position(1), _position(2, added=added)]) == []


def test_a_field_added_without_a_default_is_named() -> None:
    added = [{"name": "epoch", "type": "long"}]

    faults = incompatibilities([_position(1), _position(2, added=added)])

    assert len(faults) == 1
    assert "version 2 can't read version 1" in faults[0]
    assert "epoch" in faults[0]


def test_every_older_version_is_checked_not_only_the_last() -> None:
    first = _position(1)
    second = _position(2, added=[{"name": "epoch", "type": "long", "default": 0}])
    third = _position(3, added=[{"name": "epoch", "type": "long"}])

    faults = incompatibilities([first, second, third])

    assert [fault.split(":")[1].strip() for fault in faults] == ["version 3 can't read version 1"]


def test_an_id_used_twice_is_a_fault() -> None:
    first, second, *rest = registry()

    faults = registry_faults([first, replace(second, id=first.id), *rest])

    assert any("used twice" in fault for fault in faults)


def test_a_class_that_changed_without_a_new_version_is_a_fault() -> None:
    first, *between, newest = registry()

    faults = registry_faults([first, *between, replace(newest, text=first.text)])

    assert any(fault.startswith(f"{newest.record}: the newest") for fault in faults)


def test_a_hole_in_the_versions_is_a_fault() -> None:
    faults = registry_faults([*registry(), _position(3)])

    assert any("not dense" in fault for fault in faults)

"""Secrets of one machine are made once, are nobody else's to read, and are never replaced in silence."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.generated_keys import KEY_BYTES, Secret, ensure_keys, write_secret
from schemas.errors import ConfigurationError


def counted(label: str) -> Callable[[int], bytes]:
    calls = iter(range(1000))
    return lambda length: hashlib.sha256(f"{label}{next(calls)}".encode()).digest()[:length]


def test_every_secret_has_a_file_of_mode_0600(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path / "keys", counted("a"))

    modes = {stat.S_IMODE(keys.file(secret).stat().st_mode) for secret in Secret}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_no_two_secrets_are_equal(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path, counted("a"))

    assert len(set(keys.values.values())) == len(Secret)


def test_a_second_run_keeps_what_the_first_made(tmp_path: Path) -> None:
    first = ensure_keys(tmp_path, counted("a"))

    second = ensure_keys(tmp_path, counted("b"))

    assert second.values == first.values


def test_a_missing_secret_is_made_beside_those_that_are_there(tmp_path: Path) -> None:
    first = ensure_keys(tmp_path, counted("a"))
    first.file(Secret.CAPABILITY_KEY).unlink()

    second = ensure_keys(tmp_path, counted("b"))

    changed = {secret for secret in Secret if first.hex(secret) != second.hex(secret)}
    assert changed == {Secret.CAPABILITY_KEY}


def test_a_key_is_32_bytes(tmp_path: Path) -> None:
    keys = ensure_keys(tmp_path, counted("a"))

    assert len(keys.raw(Secret.LEDGER_SIGNING_SEED)) == KEY_BYTES
    assert len(keys.ledger_public_key) == KEY_BYTES


@pytest.mark.parametrize("content", ["", "no hex", "00ff"])
def test_a_damaged_secret_is_refused_and_stays_as_it_is(tmp_path: Path, content: str) -> None:
    keys = ensure_keys(tmp_path, counted("a"))
    keys.file(Secret.API_KEY_PEPPER).write_text(content)

    with pytest.raises(ConfigurationError):
        ensure_keys(tmp_path, counted("b"))

    assert keys.file(Secret.API_KEY_PEPPER).read_text() == content


def test_a_replaced_secret_keeps_its_mode_and_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, "old")

    write_secret(path, "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]

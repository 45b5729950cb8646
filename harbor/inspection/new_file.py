"""A file that is there whole or not at all, and never in the place of another."""

import os
import secrets
from pathlib import Path

from schemas.errors import ConfigurationError


def check_is_new(path: Path) -> None:
    """Before anything is read that the file would hold. Raises ConfigurationError."""
    try:
        # A link that leads nowhere does not exist, but its name is taken.
        is_taken = path.exists() or path.is_symlink()
        is_folder_there = path.parent.is_dir()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if is_taken:
        raise ConfigurationError(f"{path} exists; a dossier is never written over another")
    if not is_folder_there:
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")


def write_new(path: Path, text: str) -> None:
    """Beside its place first, then under its name in one step, which fails where another was faster.

    Raises ConfigurationError.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.draft")
    try:
        try:
            with draft.open("x", encoding="utf-8") as file:
                file.write(text)
            # Not a rename: that would take another file's place.
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error

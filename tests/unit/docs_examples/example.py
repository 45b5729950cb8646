"""Loads a script of `docs/examples`, which is no package on purpose: a stranger copies the one file."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[3] / "docs" / "examples"


@cache
def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its own module up while it is being made.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

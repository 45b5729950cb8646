"""A mutant: one function of the product with one piece of its text replaced, for as long as a run lasts.

The piece must stand in the function's source exactly once, so a mutant breaks loudly when the code moves on, and never
by quietly changing nothing.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from tests.simulation.audit.rules import Rule

_PACKAGES = ("harbor", "streams", "gateway", "schemas")


class MutantOutdatedError(Exception):
    """The code that a mutant changes is no longer there: look at it, and write the mutant anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """`target` = `module:function` or `module:Class.method`; each of `texts` is (what stands there, what is put)."""

    target: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`breaks` = the semantics that is gone; `rules` = those that may find it; `seed` = where it was found."""

    name: str
    breaks: str
    replacements: tuple[Replacement, ...]
    rules: frozenset[Rule]
    seed: int

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Raises MutantOutdatedError."""
        undo: list[tuple[Any, str, Any]] = []
        try:
            for replacement in self.replacements:
                undo += _apply(self.name, replacement)
            yield
        finally:
            for owner, attribute, original in reversed(undo):
                setattr(owner, attribute, original)


def _apply(name: str, replacement: Replacement) -> list[tuple[Any, str, Any]]:
    """Set the changed function wherever the original is known; what to put back."""
    module_name, _, path = replacement.target.partition(":")
    module = importlib.import_module(module_name)
    *outer, attribute = path.split(".")
    owner: Any = module
    for part in outer:
        owner = getattr(owner, part)
    original = owner.__dict__[attribute]
    changed = _changed(name, replacement, module, original)
    places = [(owner, attribute)]
    if owner is module:
        # Others have imported it by name.
        places = [
            (other, known)
            for other_name, other in list(sys.modules.items())
            if other_name.split(".")[0] in _PACKAGES
            for known, value in list(vars(other).items())
            if value is original
        ]
    for place, known in places:
        setattr(place, known, changed)
    return [(place, known, original) for place, known in places]


def _changed(name: str, replacement: Replacement, module: Any, original: Any) -> Any:
    function = original.fget if isinstance(original, property) else original
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        raise MutantOutdatedError(f"mutant {name}: {replacement.target} is no function")
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in replacement.texts:
        found = source.count(old)
        if found != 1:
            raise MutantOutdatedError(
                f"mutant {name}: {old!r} stands {found} times in {replacement.target}, not once"
            )
        source = source.replace(old, new)
    scope: dict[str, Any] = {}
    exec(compile(source, f"<mutant {name}>", "exec"), vars(module), scope)  # noqa: S102
    # A decorator of the source (property, classmethod) is compiled with it.
    return scope[function.__name__]

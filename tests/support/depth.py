"""How much a test does: what fits into every run, what ten minutes are for, or what `make test-deep` has hours for."""

import os
from enum import StrEnum

VARIABLE = "PAYBOND_TEST_DEPTH"


class Depth(StrEnum):
    USUAL = "usual"
    LONG = "long"
    DEEP = "deep"


def chosen_depth() -> Depth:
    """The choice of the environment. Raises ValueError for a word that is none."""
    return Depth(os.environ.get(VARIABLE) or Depth.USUAL)


def by_depth(*, usual: int, deep: int, long: int | None = None) -> int:
    """A number of seeds, kills or requests at the chosen depth; without `long` the usual one is long enough."""
    match chosen_depth():
        case Depth.DEEP:
            return deep
        case Depth.LONG if long is not None:
            return long
        case _:
            return usual

"""How much a test does: what fits into every run, or what `make test-deep` has hours for."""

import os
from enum import StrEnum

VARIABLE = "PAYBOND_TEST_DEPTH"


class Depth(StrEnum):
    USUAL = "usual"
    DEEP = "deep"


def chosen_depth() -> Depth:
    """The choice of the environment. Raises ValueError for a word that is none."""
    return Depth(os.environ.get(VARIABLE) or Depth.USUAL)


def by_depth(*, usual: int, deep: int) -> int:
    """A number of seeds, kills or requests at the chosen depth."""
    return deep if chosen_depth() is Depth.DEEP else usual

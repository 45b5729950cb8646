"""Python's cyclic garbage collector in a program that runs for months."""

import gc

# Allocations before a collection of the youngest. Python's 700 suits a script: a request or a batch makes thousands
# of objects, nearly all of which end by their count.
_YOUNGEST = 20_000


def spare_what_stands() -> None:
    """Leave the modules, routes and models that stand now out of every later collection; call it once, after start.

    Measured: a full collection of the gateway's heap stopped it for 60 ms each 1,000 reads (`docs/benchmarks.md`).
    See `gc.freeze` in Python's library reference.
    """
    gc.collect()
    gc.freeze()
    _, middle, oldest = gc.get_threshold()
    gc.set_threshold(_YOUNGEST, middle, oldest)

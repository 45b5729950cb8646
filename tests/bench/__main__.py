"""`python -m tests.bench [NAME …] [--share N]`: run benchmarks, print their figures, write `.paybond/bench.json`.

Exit 1 if a benchmark could not be run; a goal that was missed is a figure, not a failure. `--share 0.01` runs the same
code with a hundredth of the work, for those who only want to know that it runs.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from rich.console import Console

from schemas.instants import format_instant
from streams.runtime.clock import SystemClock
from tests.bench import (
    gateway,
    harbor_grown,
    harbor_kafka,
    harbor_memory,
    harbor_scale,
    indexer,
    many_tenants,
    proofs,
    transaction_flush,
)
from tests.bench.figures import Figure, Measured, note, show

Benchmark = Callable[[float], Iterator[Figure]]

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        "harbor-memory": harbor_memory.run,
        "harbor-kafka": harbor_kafka.run,
        "harbor-scale": harbor_scale.run,
        "harbor-grown": harbor_grown.run,
        "indexer": indexer.run,
        "gateway": gateway.run,
        "proofs": proofs.run,
        "many-tenants": many_tenants.run,
        "transaction-flush": transaction_flush.run,
    }
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--share", type=float, default=1.0, help="of the usual work")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    console, runs = Console(), list[Measured]()
    for name in asked.names or BENCHMARKS:
        console.print(f"\n{name}", style="bold")
        run = _measured(name, asked.share, console)
        # At once: a run that is broken off keeps what it has.
        note(run)
        runs.append(run)
    show([figure for run in runs for figure in run.figures], console)
    failed = [run.benchmark for run in runs if run.error is not None]
    if failed:
        console.print(f"could not be run: {', '.join(failed)}", style="bold red")
    return 1 if failed else 0


def _measured(name: str, share: float, console: Console) -> Measured:
    figures, error = list[Figure](), None
    measured_at, load = format_instant(SystemClock().now()), os.getloadavg()[0]
    try:
        for figure in BENCHMARKS[name](share):
            console.print(f"  {figure.name}: {figure.value:,.4g} {figure.unit}")
            figures.append(figure)
    # A benchmark's own top: the others still have something to say.
    except Exception as raised:  # noqa: BLE001
        traceback.print_exc()
        error = repr(raised)
    return Measured(
        benchmark=name,
        share=share,
        measured_at=measured_at,
        load=load,
        figures=figures,
        error=error,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

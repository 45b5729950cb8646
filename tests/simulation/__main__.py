"""`python -m tests.simulation --seed N [--mutant NAME]`: one run again, with its history."""

import argparse
import sys

from tests.simulation.mutants import document
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.run import Run, be_quiet, run_many, run_whole


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="which run")
    parser.add_argument(
        "--mutant", choices=sorted(CATALOGUE), help="with this piece of code changed"
    )
    parser.add_argument("--seeds", type=int, default=1, help="so many runs from --seed on")
    parser.add_argument("--processes", type=int, help="on so many cores; else on all")
    parser.add_argument("--histories", action="store_true", help="the history of each of --seeds")
    parser.add_argument("--document", action="store_true", help="write docs/testing.md's table")
    arguments = parser.parse_args()
    if arguments.document:
        document.write()
        return 0
    if arguments.seeds > 1 and not arguments.histories:
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        return _search(seeds, arguments.mutant, processes=arguments.processes)
    be_quiet()
    mutant = None if arguments.mutant is None else CATALOGUE[arguments.mutant]
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    return max(_show(run_whole(seed, mutant)) for seed in seeds)


def _show(run: Run) -> int:
    say = sys.stdout.write
    say("".join(f"{line}\n" for line in run.history))
    say(f"{run.steps} steps, {run.committed} commands decided, digest {run.digest}\n")
    if run.finding is None:
        say("nothing found\n")
        return 0
    say(run.finding.report() + "\n")
    return 1


def _search(seeds: range, mutant: str | None, *, processes: int | None) -> int:
    found = 0
    for run in run_many(seeds, mutant=mutant, processes=processes):
        if run.finding is not None:
            found += 1
            sys.stdout.write(
                f"{run.seed}: {run.finding.rule.name} after {run.finding.committed} commands:"
                f" {run.finding.detail[:200]}\n"
            )
    sys.stdout.write(f"{found} of {len(seeds)} runs found something\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

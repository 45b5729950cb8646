"""`run_seed`: one seed's run, whole, perhaps with a mutant; and many of them on all cores."""

import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context

import structlog

from tests.simulation.audit.rules import Finding
from tests.simulation.faults import Fault
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.mutants.mutation import Mutant
from tests.simulation.world import World

_CHUNK = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is known of a run when it is over. `digest` is that of every step it took."""

    seed: int
    finding: Finding | None
    digest: str
    steps: int
    committed: int
    faults: Counter[Fault]
    history: tuple[str, ...]


def run_whole(seed: int, mutant: Mutant | None = None) -> Run:
    world = World(seed)
    with nullcontext() if mutant is None else mutant.applied():
        finding = world.run(None if mutant is None else mutant.name)
    return Run(
        seed=seed,
        finding=finding,
        digest=world.scheduler.digest,
        steps=world.scheduler.steps,
        committed=world.auditor.decided,
        faults=world.faults.counts,
        history=tuple(world.history),
    )


def run_seed(seed: int, mutant: Mutant | None = None) -> Finding | None:
    """What the auditor found in this seed's run, if anything; with the mutant it should be something."""
    return run_whole(seed, mutant).finding


def run_many(
    seeds: Iterable[int], *, mutant: str | None = None, processes: int | None = None
) -> Iterator[Run]:
    """In the order of `seeds`, on all cores or so many; each process runs whole seeds.

    `mutant` = a name of the catalogue.
    """
    jobs = [(seed, mutant) for seed in seeds]
    with ProcessPoolExecutor(
        max_workers=processes or os.cpu_count(),
        mp_context=get_context("spawn"),
        initializer=be_quiet,
    ) as pool:
        yield from pool.map(_run_job, jobs, chunksize=_CHUNK)


def be_quiet() -> None:
    """A run's outages and fences are its business; nobody reads their log lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    # A run's tasks and errors are cycles, but few: looking for them all the time costs a fifth.
    gc.set_threshold(100_000, 20, 20)


def _run_job(job: tuple[int, str | None]) -> Run:
    """Without the history: what a finding needs of it, it has."""
    seed, mutant = job
    run = run_whole(seed, None if mutant is None else CATALOGUE[mutant])
    return replace(run, history=())

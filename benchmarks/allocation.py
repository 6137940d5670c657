"""Max-min allocation: water-filling beside HiGHS' sequence of linear programs, in turns, on the same rows, with the same answer.

A low voltage network for each size: feeders of some 40 homes, which branch, below one transformer. Homes export and import; rows are
the transformer, every piece of cable, and the voltage at every home, which each home lifts by the impedance that they share.
Ratings and failsafe envelopes differ from home to home. The rows are made integer and exactly reduced as for any network.

The sequence of linear programs is the textbook's, made fast: one program per level, which lifts the least of those still rising;
who has a price on its lift (a dual above zero) cannot have more and is frozen, all of them at once; without fixing them one
by one, which needs a program for each. It starts from the reduced rows, as sparse as they are. HiGHS comes with scipy.

Both are checked: the answers differ by at most `difference`, as a share; `gap` is the water's own proof (`envelopes.optimality`). Exits
with 1 where the water is less than five times as fast, or the answers differ by more than 1e-9.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.optimize import linprog

from benchmarks.measure import load_average, machine
from envelopes.allocate import allocate
from envelopes.optimality import max_min_gap
from envelopes.water import water_fill
from riskcheck.polytope import Polytope, RowLabel

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
SIZES = (50, 100, 200, 500, 1_000, 2_000)
HOMES_PER_FEEDER = 40
TARGET = 5.0
PATIENCE_S = 5.0  # a size whose programs took so long already does not run them again
PRICED = 1e-9  # duals sum to one over those that rise: a dual above this is one


class AllocationFigures(msgspec.Struct, frozen=True):
    """One size. Seconds are the least of the rounds; `whole_s` is `envelopes.allocate.allocate`, from integer rows to whole watts."""

    customers: int
    rows: int
    levels: int
    water_s: float
    whole_s: float
    programs: int
    programs_s: float
    difference: float
    gap: float

    @property
    def times_faster(self) -> float:
        return self.programs_s / self.water_s


class Area(NamedTuple):
    """Rows, and by right what everybody has in any case and may have at most."""

    rows: Polytope
    floors_w: npt.NDArray[np.int64]
    caps_w: npt.NDArray[np.int64]

    @property
    def share(self) -> Floats:
        return np.asarray(self.rows.columns / self.rows.slack)


def area(customers: int, seed: int = 1) -> Area:
    random = np.random.default_rng(seed)
    feeders = np.array_split(np.arange(customers), max(1, round(customers / HOMES_PER_FEEDER)))
    rows, slack, labels = [np.ones(customers)], [2_800.0 * customers], [RowLabel("thermal", "transformer", "abc")]
    for homes in feeders:
        below, lift = _tree(len(homes), random)
        for kind, taken, watts in (("thermal", below, 2_200.0), ("voltage_max", lift, 2_600.0)):
            for place, home in enumerate(homes):
                row = np.zeros(customers)
                row[homes] = taken[place]
                rows.append(row)
                slack.append(float(random.uniform(1.0, 2.5) * watts * taken[place].sum()))
                labels.append(RowLabel(kind, f"home {home}", "abc"))
    nobody = np.zeros((len(rows), customers))
    both = np.vstack([np.hstack([rows, nobody]), np.hstack([nobody, rows])])
    caps = random.choice([5_000, 7_500, 10_000, 15_000], 2 * customers)
    floors = random.choice([0, 500, 1_500], 2 * customers)
    return Area(Polytope.from_rows(both, slack + slack, labels + labels, caps), floors, caps)


def _tree(homes: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """A feeder, each home connected to one of the three before it: who is below whom, and by how much each lifts the voltage of each."""
    above = np.eye(homes, dtype=bool)
    for home in range(1, homes):
        above[home] |= above[int(random.integers(max(0, home - 3), home))]
    impedance = random.uniform(0.5, 1.5, homes)
    return above.T.astype(float), (above * impedance) @ above.T.astype(float)


def by_programs(share: Floats, floors: Floats, caps: Floats) -> tuple[Floats, int]:
    """Lexicographic max-min by linear programs, and how many it took. In units of the largest cap."""
    unit, rights = float(caps.max()), len(floors)
    rows = sparse.csr_matrix(unit * share.T)
    low, high = floors / unit, caps / unit
    rising, programs = np.ones(rights, dtype=bool), 0
    while rising.any():
        free = np.flatnonzero(rising)
        lifts = sparse.csr_matrix((-np.ones(len(free)), (np.arange(len(free)), free)), shape=(len(free), rights))
        a = sparse.vstack([sparse.hstack([rows, sparse.csr_matrix((rows.shape[0], 1))]), sparse.hstack([lifts, np.ones((len(free), 1))])])
        b = np.concatenate([np.ones(rows.shape[0]), np.zeros(len(free))])
        bounds = np.vstack([np.column_stack([low, high]), [[0.0, 1.0]]])
        solved = linprog(np.append(np.zeros(rights), -1.0), A_ub=a.tocsr(), b_ub=b, bounds=bounds, method="highs")
        programs += 1
        frozen = free[-solved.ineqlin.marginals[rows.shape[0] :] > PRICED]
        if not len(frozen):  # the level has reached the largest cap: nobody is held back by it any more
            frozen = free
        low[frozen] = high[frozen] = np.clip(solved.x[-1], low[frozen], high[frozen])
        rising[frozen] = False
    return low * unit, programs


def measure(customers: int, rounds: int) -> AllocationFigures:
    """Water and programs in turns; whoever has a quiet moment, both have it."""
    made = area(customers)
    share, floors, caps = made.share, made.floors_w.astype(float), made.caps_w.astype(float)
    water_s, whole_s, programs_s = list[float](), list[float](), list[float]()
    for _ in range(rounds):
        taken, (limit, stopping) = _timed(lambda: water_fill(share, floors, caps))
        water_s.append(taken)
        whole_s.append(_timed(lambda: allocate(made.rows, made.caps_w, made.floors_w))[0])
        if sum(programs_s) < PATIENCE_S:
            taken, (found, programs) = _timed(lambda: by_programs(share, floors, caps))
            programs_s.append(taken)
    difference = float((np.abs(limit - found) / np.maximum(limit, 1.0)).max())
    gap = max_min_gap(limit, stopping, share, floors, caps, np.ones(len(floors)))
    levels = len(np.unique(np.round(limit, 6)))
    return AllocationFigures(
        customers, made.rows.n_rows, levels, min(water_s), min(whole_s), programs, min(programs_s), difference, gap
    )  # fmt: skip


def _timed(act: Callable[[], T]) -> tuple[float, T]:
    gc.collect()
    start = time.perf_counter()
    found = act()
    return time.perf_counter() - start, found


def table(figures: Sequence[AllocationFigures]) -> Table:
    shown = Table(title="Max-min allocation: water-filling beside HiGHS' sequence of linear programs")
    for heading in (
        "customers",
        "rows",
        "levels",
        "water ms",
        "to whole W ms",
        "programs",
        "HiGHS ms",
        "times faster",
        "difference",
        "gap",
    ):
        shown.add_column(heading, justify="right")
    for one in figures:
        shown.add_row(
            str(one.customers), str(one.rows), str(one.levels), f"{one.water_s * 1e3:.1f}", f"{one.whole_s * 1e3:.1f}", str(one.programs),
            f"{one.programs_s * 1e3:.0f}", f"{one.times_faster:.0f}", f"{one.difference:.0e}", f"{one.gap:.0e}",
        )  # fmt: skip
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.allocation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="CUSTOMERS", help=f"default: {' '.join(map(str, SIZES))}")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args(argv)
    figures = []
    for customers in arguments.sizes:
        print(f"{customers} customers", file=sys.stderr, flush=True)
        figures.append(measure(customers, arguments.rounds))
    if arguments.json:
        found = {"machine": machine(), "load": load_average(), "allocation": figures}
        print(msgspec.json.encode(found).decode())
    else:
        Console(width=130, highlight=False).print(table(figures))
    return 0 if all(one.times_faster >= TARGET and one.difference < 1e-9 for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())

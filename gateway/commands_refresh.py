"""`limex refresh`: the periodic job from the command line. Reads areas and forecasts, solves what is due, keeps it, and waits.

Every round reads both files again, and the networks that the areas name. A round that cannot read them says so and leaves the last
results as they are; the next one tries again. Whatever came back before an interrupt is kept, so the same command goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway import arguments as given
from gateway.arguments import NO, OK, UsageError, heed_sigterm

if TYPE_CHECKING:
    from envelopes.forecasts import AreaSource, Forecast, Key
    from envelopes.job import Outcome, Store
    from envelopes.pools import Pool

MINUTE_MS = 60_000
DAY_MS = 86_400_000


class Round(NamedTuple):
    """What one round came to. `outcomes` are those that were due; the others were made before, from the same inputs."""

    from_ms: int
    areas: tuple[str, ...]
    intervals: int
    outcomes: list[Outcome]

    @property
    def has_failed(self) -> bool:
        return any(outcome.problem for outcome in self.outcomes)

    def summary(self) -> dict[str, object]:
        solved = len(self.outcomes)
        unchanged = len(self.areas) * self.intervals - solved
        areas = [_area_summary(area, [one for one in self.outcomes if one.area == area]) for area in self.areas]
        return {"from_ms": self.from_ms, "intervals": self.intervals, "solved": solved, "unchanged": unchanged, "areas": areas}


def _area_summary(area: str, outcomes: Sequence[Outcome]) -> dict[str, object]:
    counts = {keeps: sum(one.keeps == keeps for one in outcomes) for keeps in ("new", "last", "failsafe")}
    smallest_w = min((one.smallest_w for one in outcomes if one.keeps == "new"), default=None)
    problems = list(dict.fromkeys(one.problem for one in outcomes if one.problem))
    return {"area": area, **counts, "smallest_w": smallest_w, "problems": problems}


def run_refresh(arguments: argparse.Namespace) -> int:
    from envelopes.job import Store

    heed_sigterm()
    store = Store(arguments.out)
    with _pool(arguments) as pool:
        while True:
            due_s = time.monotonic() + arguments.every * 60
            code = _attempt(arguments, store, pool)
            if arguments.once:
                return code
            time.sleep(max(due_s - time.monotonic(), 0.0))


def _attempt(arguments: argparse.Namespace, store: Store, pool: Pool) -> int:
    """One round; with others to follow, files that cannot be used are said and not the end."""
    try:
        done = one_round(arguments, store, pool)
    except UsageError as error:
        if arguments.once:
            raise
        print(f"limex: {error}", file=sys.stderr, flush=True)
        return NO
    _tell(done, is_json=arguments.json)
    return NO if done.has_failed else OK


def one_round(arguments: argparse.Namespace, store: Store, pool: Pool) -> Round:
    """Raises UsageError where areas or forecasts cannot be used."""
    from envelopes.job import pieces, run
    from gateway.show import working
    from replay.tape import interval_name

    areas, forecasts = _inputs(arguments.areas, arguments.forecasts)
    length_ms = arguments.interval * MINUTE_MS
    misplaced = sorted({key.interval_ms for key in forecasts if key.interval_ms % length_ms})
    if misplaced:
        told = f"{interval_name(misplaced[0])} UTC begins no interval of {arguments.interval} minutes (--interval)"
        raise UsageError(f"{arguments.forecasts}: {told}")
    from_ms = (int(time.time() * 1000) if arguments.since is None else arguments.since) // length_ms * length_ms
    starts_ms = [from_ms + number * length_ms for number in range(arguments.horizon)]
    with working(quiet=arguments.json) as progress:
        outcomes = run(pieces(areas, forecasts, starts_ms, store, length_ms), pool, store, progress)
    for area in areas:
        store.forget(area.name, from_ms - DAY_MS)
    return Round(from_ms, tuple(area.name for area in areas), len(starts_ms), outcomes)


def _inputs(areas_path: Path, forecasts_path: Path | None) -> tuple[list[AreaSource], dict[Key, tuple[Forecast, ...]]]:
    from envelopes.forecasts import BadInputsError, read_areas, read_forecasts

    try:
        areas = read_areas(areas_path)
        return areas, {} if forecasts_path is None else read_forecasts(forecasts_path, [area.name for area in areas])
    except BadInputsError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


@contextmanager
def _pool(arguments: argparse.Namespace) -> Iterator[Pool]:
    from envelopes.pools import NoClusterError, cluster, processes

    if arguments.cluster is None:
        yield processes(arguments.workers)
        return
    try:
        with cluster(arguments.cluster) as pool:
            yield pool
    except NoClusterError as error:
        raise UsageError(str(error)) from error


def _tell(done: Round, *, is_json: bool) -> None:
    """Problems on stderr; the rest, or all of it as one JSON object, on stdout."""
    summary = done.summary()
    print(json.dumps(summary) if is_json else "\n".join(_lines(done)), flush=True)
    for outcome in _first_of_each(done.outcomes):
        print(f"limex: {outcome.area}: {outcome.problem}; its customers keep the {_kept(outcome)} envelopes", file=sys.stderr, flush=True)


def _lines(done: Round) -> Iterator[str]:
    from replay.tape import interval_name

    yield f"{done.intervals} intervals from {interval_name(done.from_ms)} UTC, {len(done.areas)} area(s)"
    for area in done.areas:
        outcomes = [outcome for outcome in done.outcomes if outcome.area == area]
        new = [outcome for outcome in outcomes if outcome.keeps == "new"]
        told = [f"{len(new)} new", f"{len(outcomes) - len(new)} failed", f"{done.intervals - len(outcomes)} unchanged"]
        told += [f"smallest envelope {min(one.smallest_w for one in new)} W"] if new else []
        yield f"  {area}: {', '.join(told)}"


def _kept(outcome: Outcome) -> str:
    return "last" if outcome.keeps == "last" else "failsafe"


def _first_of_each(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One of those with the same problem."""
    firsts = {(one.area, one.problem, one.keeps): one for one in outcomes if one.problem}
    return list(firsts.values())


def refresh_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("areas", type=Path, metavar="AREAS", help="TOML: an [[area]] with name and network for each, and its rule")
    parser.add_argument("--forecasts", type=Path, metavar="CSV", help="area,interval,passive,low_w,high_w; without it the networks' own")
    parser.add_argument(
        "--out", type=given.folder_out, required=True, metavar="DIR", help="where outcomes are kept, for `limex serve --refreshed`"
    )
    parser.add_argument("--horizon", type=given.positive(int), default=8, metavar="N", help="intervals ahead (default: %(default)s)")
    parser.add_argument(
        "--interval", type=int, choices=(5, 15, 30), default=15, metavar="MINUTES", help="their length (default: %(default)s)"
    )
    parser.add_argument("--from", dest="since", type=given.interval, metavar="TIME", help="of the first (default: the present one)")
    parser.add_argument(
        "--every", type=given.positive(float), default=15, metavar="MINUTES", help="between two rounds (default: %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="one round; exits with 1 if an area failed")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=given.positive(int), default=os.cpu_count() or 1, metavar="N", help="processes (default: one per core)"
    )
    where.add_argument("--cluster", metavar="WHERE", help="a Dask scheduler's address, or local:N to try it (pip install 'limex[cluster]')")
    parser.add_argument("--json", action="store_true", help="no progress; each round as one JSON object on a line")


REFRESH_TEXT = """Computes the envelopes of all areas for every interval ahead, from new forecasts, again and again.

Areas are solved in parallel. What is there from the same inputs is not solved again, so an interrupted job goes on where it was.
One area's failure does not stop the others: its customers keep their last secure envelopes, or the failsafe, and it says why."""

"""limex's two power flows against pandapower and OpenDSS, tabled in docs/validation.md.

    python -m benchmarks.validation                    # all networks, writes docs/validation.md
    python -m benchmarks.validation --networks street  # some networks, prints the page

The first two tables compare like with like: the net is changed to what limex models (`specimens.same_model`), and pandapower and
OpenDSS are told to compute just that. The third takes back each of these changes, one at a time, and shows what it is worth.
Exits with 1 where the first table has a figure above 1e-5 pu: then somebody is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.measure import machine
from benchmarks.opinions import Dense, GridModel, OpenDSS, Opinion, Pandapower
from benchmarks.specimens import SPECIMENS, points, same_model
from gateway.show import working
from riskcheck.network import Network, load

if TYPE_CHECKING:
    from benchmarks.specimens import Point

PAGE = Path(__file__).parent.parent / "docs" / "validation.md"
TOLERANCE_PU = 1e-5
PACKAGES = ("power-grid-model", "pandapower", "dss-python", "simbench", "numpy", "scipy")
OPINIONS: dict[str, Callable[[Any, Network], Opinion]] = {
    "grid": lambda _net, network: GridModel(network),
    "dense": lambda _net, network: Dense(network),
    "pandapower": Pandapower,
    "OpenDSS": OpenDSS,
}


class Difference(NamedTuple):
    """The largest over all points, buses or branches, and phases. A figure that one side lacks is infinite."""

    voltage_pu: float
    current_percent: float


class Comparison(NamedTuple):
    """One network, and all pairs of opinions on it."""

    name: str
    network: Network
    n_points: int
    pairs: dict[tuple[str, str], Difference]

    @property
    def worst_pu(self) -> float:
        return max(difference.voltage_pu for difference in self.pairs.values())


class Departure(NamedTuple):
    """One way in which another tool's model, as it comes, is not limex's; `but` is the adaptation that is not made."""

    name: str
    what: str
    why: str
    opinion: Callable[[Any, Network], Opinion]
    but: str = ""


THREE_PHASE_ENDS = (
    "its outer loop ends at 0.03 VA per bus, whatever `tolerance_mva` says; with 1e-10 MVA in its source it agrees (first table)"
)
T_MODEL = "half the leakage on either side of the magnetising branch, instead of half that branch at either end"
DEPARTURES = (
    Departure("ieee-european-lv", "runpp_3ph's end of iteration", THREE_PHASE_ENDS, lambda n, w: Pandapower(n, w, as_shipped=True)),
    Departure(
        "ieee-european-lv", "ext_grid.s_sc_max_mva as given (runpp_3ph)",
        "pandapower takes it as the source's impedance in negative and zero sequence, not in positive; limex's interface is ideal",
        OPINIONS["pandapower"], "source",
    ),
    Departure(
        "ieee-european-lv", "trafo.mag0_percent = 100 as given (runpp_3ph)",
        "a zero-sequence magnetising impedance equal to the leakage, in parallel to it; the feeder's source (IEEE) states none",
        OPINIONS["pandapower"], "magnetising path",
    ),
    Departure("simbench:1-LV-rural3--0-sw", "pandapower's default trafo_model, T", T_MODEL, lambda n, w: Pandapower(n, w, trafo_model="t")),
    Departure("simbench:1-MV-rural--0-sw", "pandapower's default trafo_model, T", T_MODEL, lambda n, w: Pandapower(n, w, trafo_model="t")),
    Departure(
        "simbench:1-LV-rural3--0-sw", "OpenDSS's own %imag and %noloadloss",
        "the whole magnetising branch stands at the last winding", lambda n, w: OpenDSS(n, w, magnetising="low side"),
    ),
)  # fmt: skip


def compare(name: str, wanted_points: int | None = None) -> Comparison:
    """All opinions on one network, at its first `wanted_points` operating points (all of them by default)."""
    net = same_model(SPECIMENS[name]())
    network = load(net)
    asked = points(net, network)[:wanted_points]
    answers = {who: _ask(opinion(net, network), asked) for who, opinion in OPINIONS.items()}
    pairs = {(one, other): _difference(answers[one], answers[other]) for one, other in combinations(answers, 2)}
    return Comparison(name, network, len(asked), pairs)


def depart(departure: Departure) -> Difference:
    """power-grid-model, as limex runs it, against a model that departs from limex's."""
    net = same_model(SPECIMENS[departure.name](), departure.but)
    network = load(net)
    asked = points(net, network)
    return _difference(_ask(GridModel(network), asked), _ask(departure.opinion(net, network), asked))


Answers = list[tuple[Any, Any]]


def _ask(opinion: Opinion, asked: list[Point]) -> Answers:
    answers = (opinion.answer(point.power_w, point.interface_pu) for point in asked)
    return [(answer.voltage_pu, answer.loading) for answer in answers]


def _difference(some: Answers, others: Answers) -> Difference:
    voltage_pu, loading = (max(_largest(one[i] - other[i]) for one, other in zip(some, others, strict=True)) for i in (0, 1))
    return Difference(voltage_pu, 100 * loading)


def _largest(gap: Any) -> float:
    return float(np.nan_to_num(np.abs(gap), nan=np.inf).max())


def page(comparisons: list[Comparison], departures: dict[Departure, Difference]) -> str:
    """docs/validation.md."""
    return "\n".join([
        *_head(comparisons),
        "## Voltages: largest difference in pu of nominal", "", *_table(comparisons, lambda d: d.voltage_pu),
        "## Branch currents: largest difference in % of the branch's rating", "", *_table(comparisons, lambda d: d.current_percent),
        *_departures(departures),
    ])  # fmt: skip


def _head(comparisons: list[Comparison]) -> Iterator[str]:
    made_of = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    worst = max(comparisons, key=lambda c: c.worst_pu)
    above = [c.name for c in comparisons if c.worst_pu > TOLERANCE_PU]
    verdict = f"above the goal: {', '.join(above)}" if above else "the goal is met everywhere"
    yield from (
        "# Validation", "",
        "limex computes AC power flow twice: with power-grid-model on the whole network (*grid*, the evidence of certificates) and with",
        "its own model reduced to the customers (*dense*, where rows and searches come from). Here both stand against pandapower",
        "(`runpp`, `runpp_3ph`) and OpenDSS. OpenDSS and pandapower read pandapower's tables themselves, so what limex's reader",
        "makes of them is tested too. Differences are the largest over all points, buses or branches, and phases.", "",
        f"**Largest difference between any two: {worst.worst_pu:.1e} pu** ({worst.name}); goal {TOLERANCE_PU:g} pu: {verdict}.", "",
        f"Made by `python -m benchmarks.validation` on {datetime.now(UTC):%Y-%m-%d} (UTC) with",
        f"{made_of}; Python {machine()['python']}, {machine()['processor']}.", "",
        "Operating points of each network: the powers as given at rated voltage; then, each scaled until it meets the first limit, all",
        "export, all import, two random mixtures, and opposition (phase a exports, b and c import; balanced: one half exports, the",
        "other imports), at the ends and the middle of the interface range. *street* (three-phase, meshed, Dyn5, taps, z0 > z1) and",
        "*town* (balanced, meshed, taps on either side, shifts of 150, 30 and 7.5 degrees) are drawn in `benchmarks/specimens.py`.", "",
    )  # fmt: skip


def _table(comparisons: list[Comparison], figure: Callable[[Difference], float]) -> Iterator[str]:
    pairs = list(combinations(OPINIONS, 2))
    yield "| network | buses | phases | points | " + " | ".join(f"{one} - {other}" for one, other in pairs) + " |"
    yield "|---|" + "---:|" * (3 + len(pairs))
    for c in comparisons:
        figures = " | ".join(f"{figure(c.pairs[pair]):.0e}" for pair in pairs)
        yield f"| {c.name} | {c.network.n_buses} | {c.network.phases} | {c.n_points} | {figures} |"
    yield ""


def _departures(departures: dict[Departure, Difference]) -> Iterator[str]:
    yield from (
        "## What was made equal first, and what each is worth", "",
        "Above, the models are the same. That needs settings which are not the tools' defaults. Each line takes back one of them; the",
        "figures are the largest differences from *grid*.", "",
        "| network | the other model | pu | % of rating | cause |", "|---|---|---:|---:|---|",
    )  # fmt: skip
    for departure, (voltage_pu, percent) in departures.items():
        yield f"| {departure.name} | {departure.what} | {voltage_pu:.0e} | {percent:.0e} | {departure.why} |"
    yield from (
        "",
        "What remains in *street* is how the magnetising current of its transformer is modelled in three phases; *street, no",
        "magnetising* is the same network without it. OpenDSS has half of it in zero sequence too (with that half, *dense* is 2e-10",
        "pu from it), *dense* and pandapower have none there, and runpp_3ph knows only the T model. power-grid-model has some; its",
        "4e-7 from OpenDSS is not traced further.",
        "",
    )


def main() -> int:
    """Exit code 0 when all opinions agree within 1e-5 pu, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", choices=SPECIMENS, help="only these, printed and not written (default: all)")
    wanted = parser.parse_args().networks
    departures = [departure for departure in DEPARTURES if departure.name in (wanted or SPECIMENS)]
    work = [*(wanted or SPECIMENS), *departures]
    done: dict[Any, Any] = {}
    with working() as tell:
        for i, item in enumerate(work):
            tell(item if isinstance(item, str) else f"{item.name}: {item.what}", i / len(work))
            done[item] = compare(item) if isinstance(item, str) else depart(item)
    comparisons = [done[item] for item in work if isinstance(item, str)]
    text = page(comparisons, {departure: done[departure] for departure in departures})
    if wanted:
        print(text)
    else:
        PAGE.write_text(text)
        print(f"wrote {PAGE}")
    return int(any(comparison.worst_pu > TOLERANCE_PU for comparison in comparisons))


if __name__ == "__main__":
    sys.exit(main())

"""The closed form against OSQP: how much of each random trade is secure, asked both ways, to the watt.

    python -m benchmarks.reference --network ieee-european-lv --trades 100000

Trades are random pairs of rights and quantities over holdings that earlier trades have moved, from four starts in turn: max-min
envelopes, failsafe, saturated ones (raised in random order until no right can rise), and saturated ones scaled up by 2 %, whose
rows are broken, as after a change of topology. Every trade is committed before the next is asked; half-way through each start
all headroom is sold.

`Headroom.secure_w` divides; `Reference.secure_w` solves a quadratic program and searches from there in integers without
dividing. Exit status 1 if they ever differ. OSQP's own answer, before the integers, is shown beside it: how far it was off.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import arguments, feeder
from benchmarks.measure import machine, no_collector, spread
from riskcheck.headroom import Headroom, warm
from riskcheck.network import DEFAULT_NETWORK, load
from riskcheck.polytope import Polytope, Watts
from riskcheck.reference import Checked, Reference

STARTS = ("max-min", "failsafe", "saturated", "broken")
PER_START = 200
WANTED_W_MAX = 20_000


@dataclass
class Tally:
    """What was found. `raw_w` is how far OSQP's own answer lay from the exact one, NaN where it gave none."""

    trades: int = 0
    differing: int = 0
    difference_w_max: int = 0
    limited: int = 0
    nothing: int = 0
    broken: int = 0
    raw_w: list[float] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    reference_ns: list[int] = field(default_factory=list)
    closed_form_ns: list[int] = field(default_factory=list)

    def note(self, exact_w: int, checked: Checked, wanted_w: int, *, broken: bool) -> None:
        off_w = abs(exact_w - checked.quantity_w)
        self.trades += 1
        self.differing += off_w > 0
        self.difference_w_max = max(self.difference_w_max, off_w)
        self.limited += exact_w < wanted_w
        self.nothing += exact_w == 0
        self.broken += broken
        self.raw_w.append(checked.raw_w - exact_w)
        self.probes.append(checked.probes)


class Holdings:
    """Limits of all rights on their way from a start, and the residuals that go with them."""

    def __init__(self, rows: Polytope, limits_w: Watts, caps_w: Watts, rng: np.random.Generator) -> None:
        self.limits_w, self._caps_w, self._rng = limits_w.copy(), caps_w, rng
        self.headroom = Headroom(rows, limits_w)

    def candidates(self, count: int) -> Iterator[tuple[int, int, int]]:
        """(buyer, seller, wanted watts): nobody sells what it does not hold or buys beyond its rating."""
        rights = len(self._caps_w)
        wanted = np.exp(self._rng.uniform(0, np.log(WANTED_W_MAX), count)).astype(np.int64)
        for buyer, seller, watts in zip(*self._rng.integers(0, rights, (2, count)).tolist(), wanted.tolist(), strict=True):
            most_w = min(watts, int(self.limits_w[seller]), int(self._caps_w[buyer] - self.limits_w[buyer]))
            if buyer != seller and most_w > 0:
                yield buyer, seller, most_w

    def commit(self, buyer: int, seller: int, quantity_w: int) -> None:
        for right, change_w in ((buyer, quantity_w), (seller, -quantity_w)):
            self.headroom.change(right, change_w)
            self.limits_w[right] += change_w

    def saturate(self) -> None:
        """All headroom is sold, to rights in random order."""
        for right in self._rng.permutation(len(self._caps_w)).tolist():
            rise_w = min(self.headroom.room_w(right), int(self._caps_w[right] - self.limits_w[right]))
            if rise_w > 0:
                self.headroom.change(right, rise_w)
                self.limits_w[right] += rise_w


def run(rows: Polytope, caps_w: Watts, first_w: dict[str, Watts], trades: int, seed: int, tell: Callable[[int], None]) -> Tally:
    """`first_w` gives the holdings of the starts max-min and failsafe. tell(trades so far) after each start."""
    rng, reference, tally = np.random.default_rng(seed), Reference(rows), Tally()
    warm()
    for number in range(sys.maxsize):
        held = _started(STARTS[number % len(STARTS)], rows, caps_w, first_w, rng)
        for half in (0, 1):
            for buyer, seller, wanted_w in held.candidates(PER_START // 2):
                _compare(held, reference, tally, buyer, seller, wanted_w)
                if tally.trades == trades:
                    tell(trades)
                    return tally
            if not half:
                held.saturate()
        held.headroom.check(held.limits_w)
        tell(tally.trades)
    raise AssertionError("unreachable")


def _started(start: str, rows: Polytope, caps_w: Watts, first_w: dict[str, Watts], rng: np.random.Generator) -> Holdings:
    if start in first_w:
        return Holdings(rows, first_w[start], caps_w, rng)
    held = Holdings(rows, np.zeros(len(caps_w), dtype=np.int64), caps_w, rng)
    held.saturate()
    if start == "broken":
        return Holdings(rows, np.minimum(held.limits_w + held.limits_w // 50, caps_w), caps_w, rng)
    return held


def _compare(held: Holdings, reference: Reference, tally: Tally, buyer: int, seller: int, wanted_w: int) -> None:
    began = time.perf_counter_ns()
    exact_w = held.headroom.secure_w(buyer, seller, wanted_w)
    between = time.perf_counter_ns()
    checked = reference.secure_w(held.headroom.residual, buyer, seller, wanted_w)
    ended = time.perf_counter_ns()
    tally.closed_form_ns.append(between - began)
    tally.reference_ns.append(ended - between)
    tally.note(exact_w, checked, wanted_w, broken=bool((held.headroom.residual < 0).any()))
    held.commit(buyer, seller, exact_w)


def figures(tally: Tally) -> dict[str, Any]:
    raw = np.array(tally.raw_w)
    given = raw[~np.isnan(raw)]
    return {
        "trades": tally.trades,
        "limited_by_the_network": tally.limited,
        "nothing_secure": tally.nothing,
        "asked_with_broken_rows": tally.broken,
        "differing": tally.differing,
        "difference_w_max": tally.difference_w_max,
        "osqp_no_number": int(np.isnan(raw).sum()),
        "osqp_within_a_watt": int((np.abs(given) < 1).sum()),
        "osqp_too_much": int((given >= 1).sum()),
        "osqp_too_little": int((given <= -1).sum()),
        "osqp_above_w_max": round(float(given.max(initial=0.0)), 3),
        "osqp_below_w_max": round(float(-given.min(initial=0.0)), 3),
        "probes_mean": round(float(np.mean(tally.probes)), 2),
        "probes_max": max(tally.probes),
        "reference_us": _times(tally.reference_ns),
        "closed_form_us": _times(tally.closed_form_ns),
    }


def _times(times_ns: npt.ArrayLike) -> dict[str, float]:
    times = spread(times_ns)
    return {"p50": times.p50_us, "p99": times.p99_us, "max": times.max_us}


def main(given: list[str] | None = None) -> int:
    parser = arguments.parser("reference", __doc__)
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="whatever `riskcheck.network.load` reads")
    parser.add_argument("--trades", type=int, default=100_000, help="random trades to ask (default 100000)")
    args = parser.parse_args(given)
    if args.trades < 1:
        parser.error("--trades: at least 1")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    network = load(args.network)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, no_collector():
        task = progress.add_task("building rows", total=args.trades)
        area = feeder.load(network, lambda phrase, _: progress.update(task, description=phrase))
        first_w = {"max-min": np.array(area.export_w + area.import_w), "failsafe": network.floors_w()}
        progress.update(task, description="trades")
        tally = run(area.polytope, network.caps_w(), first_w, args.trades, args.seed, lambda done: progress.update(task, completed=done))
    found = {"feeder": area.size, **figures(tally), "machine": machine()["processor"], "command": arguments.command("reference", given)}
    print(json.dumps(found) if args.json else _text(found))
    return 1 if tally.differing else 0


def _text(found: dict[str, Any]) -> str:
    trades, osqp, closed = found["trades"], found["reference_us"], found["closed_form_us"]
    limited, nothing, broken = (f"{found[name]:,}" for name in ("limited_by_the_network", "nothing_secure", "asked_with_broken_rows"))
    exact, much, little = (f"{found[f'osqp_{name}'] / trades:.2%}" for name in ("within_a_watt", "too_much", "too_little"))
    above_w, below_w = found["osqp_above_w_max"], found["osqp_below_w_max"]
    lines = (
        found["feeder"],
        f"{trades:,} trades; limited by the network: {limited}, of them to nothing: {nothing}; asked while a row was broken: {broken}",
        f"verified answers that differ: {found['differing']:,}, by at most {found['difference_w_max']} W",
        f"OSQP alone: within a watt in {exact}, too much in {much} (by up to {above_w} W),",
        f"            too little in {little} (by up to {below_w} W), no number in {found['osqp_no_number']:,}",
        f"integer questions after it: {found['probes_mean']} on average, at most {found['probes_max']}",
        f"OSQP and verification: p50 {osqp['p50']:.0f} us, p99 {osqp['p99']:.0f} us",
        f"closed form, per call: p50 {closed['p50']:.2f} us, p99 {closed['p99']:.2f} us",
        f"{found['machine']}; $ {found['command']}",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""Do the limits of all operators hold when all homes of all levels use their envelopes at once? The cascade's proof, in AC.

    python -m benchmarks.cascade                                     every case, 2,000 samples each
    python -m benchmarks.cascade --case multivoltage --samples 100000
    python -m benchmarks.cascade --json

Each operator computes on its own network, with nothing of its neighbours but their messages. Then the whole network is one again and is
solved in AC at random corners of all envelopes (`benchmarks/whole_network.py`). Beside it stands the method that checks only joint
corners: the largest share of all connections with which "all export" and "all import" hold in AC on the whole network, which no
operator has; its envelopes face the same samples.

`transmission` is case118 with N-1: the TSO alone, areas below it being the loads of its buses (`benchmarks/transmission_case.py`);
`pegase` times the rows of case1354pegase (`benchmarks/cascade_rows.py`).
Exit codes: 0 no limit of the cascade's envelopes is broken, 1 some are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID

from benchmarks import arguments
from benchmarks.cascade_networks import NETWORKS
from benchmarks.cascade_rows import pegase
from benchmarks.measure import load_average, machine, peak_mb
from benchmarks.transmission_case import transmission
from benchmarks.whole_network import Tally, WholeNetwork
from envelopes.cascade import cascade

if TYPE_CHECKING:
    from collections.abc import Callable

    from envelopes.operator_messages import Grant

    Tell = Callable[[str, float], None]
    Envelopes = dict[str, tuple[int, int]]

BISECTIONS = 20


def proven(name: str, samples: int, seed: int, tell: Tell) -> dict[str, Any]:
    """One network: agreement and grants, then samples of them and of what joint corners alone would have allowed."""
    make, by = NETWORKS[name]
    net, began = make(), time.perf_counter()
    operators = cascade(net, by)
    outcomes = operators.run(lambda phrase, done: tell(phrase, 0.2 * done))
    operators.check()
    seconds = time.perf_counter() - began
    whole = WholeNetwork(operators, net)
    grants = {child: grant for operator in operators.operators.values() for child, grant in operator.grants.items()}
    envelopes = operators.envelopes_w()
    joint_level = _joint_level(whole)
    return {
        "case": name,
        "operators": {area: len(operator.base.customers) for area, operator in operators.operators.items()},
        "levels": {top: round(outcome.agreement.level, 4) for top, outcome in outcomes.items()},
        "reports_secure": all(outcome.report.secure for outcome in outcomes.values()),
        "problems": [problem for outcome in outcomes.values() for problem in outcome.report.problems],
        "seconds_operators": round(seconds, 1),
        "cascade": asdict(_sampled(whole, envelopes, grants, samples, seed, lambda done: tell("cascade in AC", 0.2 + 0.4 * done))),
        "joint_corners_level": round(joint_level, 4),
        "joint_corners": asdict(
            _sampled(whole, _level(whole, joint_level), None, samples, seed, lambda done: tell("joint corners in AC", 0.6 + 0.4 * done))
        ),
        "smallest_w": {"cascade": min(min(pair) for pair in envelopes.values())},
        "total_w": {"cascade": [int(x) for x in np.sum(list(envelopes.values()), axis=0)],
                    "joint_corners": [int(x) for x in np.sum(list(_level(whole, joint_level).values()), axis=0)]},
    }  # fmt: skip


def _sampled(
    whole: WholeNetwork, envelopes: Envelopes, grants: dict[str, Grant] | None, samples: int, seed: int, tell: Callable[[float], None]
) -> Tally:
    tally = Tally()
    for power_w, interface_pu in whole.corners(envelopes, samples, seed):
        tally.note(whole.check(power_w, interface_pu, grants))
        tell(tally.samples / samples)
    return tally


def _level(whole: WholeNetwork, level: float) -> Envelopes:
    return {c.id: (int(c.rating_export_w * level), int(c.rating_import_w * level)) for c in whole.network.customers}


def _joint_level(whole: WholeNetwork) -> float:
    """The largest share of all connections at which both joint corners hold, at both ends of the range above."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _joint_holds(whole, middle) else (low, middle)
    return low


def _joint_holds(whole: WholeNetwork, level: float) -> bool:
    envelopes, network = _level(whole, level), whole.network
    ends = np.array([envelopes[c.id] for c in network.customers], dtype=float)
    points = np.hstack(
        [np.array([ends[:, 0], -ends[:, 1]]), np.array([[p.high_w for p in network.passives], [p.low_w for p in network.passives]])]
    )
    tally = Tally()
    for pu in (network.interface_min_pu, network.interface_max_pu):
        tally.note(whole.check(points, pu, None))
    return tally.broken == 0


def _arguments() -> argparse.Namespace:
    parser = arguments.parser("cascade", __doc__)
    parser.add_argument("--case", action="append", choices=list(CASES), help="one case; may be given again")
    parser.add_argument("--samples", type=int, default=2_000, help="whole-network power flows of each case and method")
    return parser.parse_args()


CASES: dict[str, Callable[[str, int, int, Tell], dict[str, Any]]] = {
    **dict.fromkeys(NETWORKS, proven),
    "transmission": transmission,
    "pegase": pegase,
}


def main() -> int:
    """Runs the cases and prints what was found."""
    asked = _arguments()
    console, found = Console(stderr=True), []
    for name in asked.case or CASES:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(name, total=1.0)

            def tell(text: str, done: float, bar: Progress = bar, task: TaskID = task, name: str = name) -> None:
                bar.update(task, completed=done, description=f"{name}: {text}")

            found.append(CASES[name](name, asked.samples, asked.seed, tell))
        if not asked.json:
            _show(Console(), found[-1])
    if asked.json:
        print(
            json.dumps(
                {"machine": machine(), "load": load_average(), "peak_mb": peak_mb(), "command": " ".join(sys.argv), "cases": found},
                indent=1,
            )
        )
    return int(any(case["cascade"]["broken"] for case in found if "cascade" in case))


def _show(console: Console, case: dict[str, Any]) -> None:
    alone = f", joint corners alone {case['joint_corners_level']}" if "cascade" in case else ""
    console.print(f"[bold]{case['case']}[/bold] levels agreed on {case['levels']}{alone}")
    for run in case.get("runs", ()):
        rows = f"{run['considered']} rows, {run['binding']} can bind, {run['kept']} kept at a loss of {run['lost']}"
        cost = f"{run['seconds']} s ({run['processor_seconds']} of processor), {run['peak_mb']} MB"
        console.print(f"  caps {run['caps']}: {rows}; {cost}; fullest of all rows {run['fullest_of_all_rows']}")
    for problem in case["problems"]:
        console.print(f"  reported: {problem}")
    for method in [method for method in ("cascade", "joint_corners") if method in case]:
        tally = case[method]
        margins = ", ".join(f"{kind} {margin:.5f}" for kind, margin in tally["margin"].items() if margin < np.inf)
        console.print(f"  {method}: {tally['broken']} of {tally['samples']} samples break a limit; smallest margins {margins}")


if __name__ == "__main__":
    sys.exit(main())

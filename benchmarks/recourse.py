"""How often settings of the operator's devices make a blocked trade possible, how fast that is known, and how much of it is true.

    python -m benchmarks.recourse --network kerber-vorstadt --inverters 60

Inverters of random customers may be asked for reactive power, up to 44 % of their export rating (power factor 0.9, EN 50549-1),
and with `--taps` the first transformer for two steps of 1.25 % either way. From max-min envelopes random trades are made until
enough have been blocked, each of which is asked for recourse. A linear program (HiGHS) says beside it whether the linear model
has any setting at all. Some of the proposals, evenly chosen, are verified: AC certificate, new rows, integers.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import arguments
from benchmarks.feeder import load as feeder_of
from benchmarks.measure import machine, spread
from riskcheck.headroom import Headroom
from riskcheck.network import DEFAULT_NETWORK, Network, load
from riskcheck.polytope import Polytope
from riskcheck.recourse import NoRecourse, Proposal, Recourse, Refused, verify

Watts = npt.NDArray[np.int64]
SHARE_OF_RATING = 0.44
TAP_STEP, TAP_REACH = 0.0125, 2
WANTED_W = (200, 3_000)
ATTEMPTS_MAX = 200_000


def with_devices(network: Network, inverters: int, *, taps: bool, seed: int) -> Network:
    """The network with this many inverters that the operator may set, and the tap of its first transformer."""
    chosen = set(np.random.default_rng(seed).permutation(len(network.customers))[:inverters].tolist())
    customers = tuple(
        dataclasses.replace(c, reactive_var_max=int(SHARE_OF_RATING * c.rating_export_w)) if i in chosen else c
        for i, c in enumerate(network.customers)
    )
    branches = list(network.branches)
    transformers = [i for i, branch in enumerate(branches) if branch.kind == "transformer"]
    if taps and transformers:
        first = transformers[0]
        branches[first] = dataclasses.replace(branches[first], tap_step=TAP_STEP, tap_low=-TAP_REACH, tap_high=TAP_REACH)
    return dataclasses.replace(network, customers=customers, branches=tuple(branches))


def blocked_trades(rows: Polytope, limits_w: Watts, caps_w: Watts, count: int, seed: int) -> list[tuple[Watts, int]]:
    """(Holdings after the trade, its watts) of trades that the rows do not allow, while those that they do allow are made."""
    rng, held, state = np.random.default_rng(seed), limits_w.copy(), Headroom(rows, limits_w)
    found: list[tuple[Watts, int]] = []
    for _ in range(ATTEMPTS_MAX):
        buyer, seller = map(int, rng.choice(len(held), 2, replace=False))
        wanted_w = int(min(rng.integers(*WANTED_W), held[seller], caps_w[buyer] - held[buyer]))
        if wanted_w <= 0:
            continue
        after = held.copy()
        after[buyer] += wanted_w
        after[seller] -= wanted_w
        if state.secure_w(buyer, seller, wanted_w) == wanted_w:
            state.trade(buyer, seller, wanted_w)
            held = after
        elif len(found) < count:
            found.append((after, wanted_w))
        else:
            break
    return found


def is_possible(recourse: Recourse, after_w: Watts) -> bool:
    """Whether the linear model has any setting for this: a linear program."""
    from scipy.optimize import linprog

    room, sensitivity, ends = recourse.room(after_w), recourse.sensitivity, recourse.ends
    bounds = np.column_stack([np.zeros(len(ends)), ends])
    return bool(linprog(np.zeros(len(ends)), A_ub=sensitivity, b_ub=room, bounds=bounds, method="highs").status == 0)


def measure(network: Network, rows: Polytope, limits_w: Watts, trades: int, verified: int, seed: int, tell: Callable[[str], None]) -> Any:
    tell("sensitivities")
    began = time.perf_counter()
    recourse = Recourse(network, rows)
    setup_s = time.perf_counter() - began
    tell("blocked trades")
    blocked = blocked_trades(rows, limits_w, network.caps_w(), trades, seed)
    answers, times_ns = [], []
    for after_w, quantity_w in blocked:
        start = time.perf_counter_ns()
        answers.append(recourse.propose(after_w, quantity_w))
        times_ns.append(time.perf_counter_ns() - start)
    proposals = [(answer, after) for answer, (after, _) in zip(answers, blocked, strict=True) if isinstance(answer, Proposal)]
    alone = sum(isinstance(answer, NoRecourse) and answer.alone for answer in answers)
    possible = sum(is_possible(recourse, after) for after, _ in blocked)
    chosen = np.unique(np.linspace(0, len(proposals) - 1, min(verified, len(proposals))).astype(int)) if proposals else ()
    refusals, verify_s = [], []
    for number, position in enumerate(chosen):
        tell(f"verification {number + 1} of {len(chosen)}")
        proposal, after_w = proposals[position]
        start_s = time.perf_counter()
        verdict = verify(network, proposal, after_w)
        verify_s.append(time.perf_counter() - start_s)
        if isinstance(verdict, Refused):
            refusals.append(verdict.reason)
    return {
        "rows": rows.n_rows,
        "levers": len(recourse.levers),
        "setup_s": round(setup_s, 3),
        "blocked": len(blocked),
        "proposals": len(proposals),
        "possible_by_linear_program": possible,
        "no_setting_relieves_one_row": alone,
        "propose": dataclasses.asdict(_Times.of(times_ns)) if times_ns else None,
        "verified": len(chosen) - len(refusals),
        "verifications": len(chosen),
        "verify_s_mean": round(float(np.mean(verify_s)), 2) if verify_s else None,
        "refusals": sorted(set(refusals)),
    }


@dataclasses.dataclass(frozen=True)
class _Times:
    p50_us: float
    p99_us: float
    max_us: float

    @classmethod
    def of(cls, times_ns: list[int]) -> _Times:
        times = spread(times_ns)
        return cls(times.p50_us, times.p99_us, times.max_us)


def main(given: list[str] | None = None) -> int:
    parser = arguments.parser("recourse", __doc__)
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="whatever `riskcheck.network.load` reads")
    parser.add_argument("--inverters", type=int, default=20, help="customers whose reactive power the operator may set (default 20)")
    parser.add_argument("--taps", action="store_true", help="the first transformer's tap may be moved, too")
    parser.add_argument("--trades", type=int, default=200, help="blocked trades to ask about (default 200)")
    parser.add_argument("--verify", type=int, default=10, help="proposals to verify in AC and by new rows (default 10)")
    args = parser.parse_args(given)
    from rich.console import Console

    with Console(stderr=True).status("building rows") as status:
        network = with_devices(load(args.network), args.inverters, taps=args.taps, seed=args.seed)
        area = feeder_of(network, lambda phrase, _: status.update(phrase))
        limits_w = np.array(area.export_w + area.import_w)
        found = measure(network, area.polytope, limits_w, args.trades, args.verify, args.seed, status.update)
    found = {"network": area.size, **found, "machine": machine()["processor"], "command": arguments.command("recourse", given)}
    print(json.dumps(found) if args.json else _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    times = found["propose"] or {"p50_us": 0.0, "p99_us": 0.0, "max_us": 0.0}
    possible, alone = found["possible_by_linear_program"], found["no_setting_relieves_one_row"]
    lines = [
        f"{found['network']}; {found['levers']} devices",
        f"set up in {found['setup_s']} s; per trade p50 {times['p50_us']:,.0f} us, p99 {times['p99_us']:,.0f} us",
        f"{found['blocked']} blocked trades: settings proposed for {found['proposals']}; by a linear program there are some for {possible}",
        f"  one row alone is beyond all settings in {alone}",
        f"verified in AC and by new rows: {found['verified']} of {found['verifications']} tried, {found['verify_s_mean']} s each",
    ]
    lines += [f"  refused: {reason}" for reason in found["refusals"]]
    return "\n".join([*lines, f"{found['machine']}; $ {found['command']}"])


if __name__ == "__main__":
    sys.exit(main())

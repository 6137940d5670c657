"""How long the rows of case1354pegase take, with 100 areas and every outage, at caps of 20 to 100 % of the areas' loads. DC only.

Its own ratings are broken in thousands of outages before anybody moves, so branches are rated at `HEADROOM` times the largest flow that
they have in DC with any one branch out, at least `LEAST_MW`. Nothing is sampled: what is given out is held against every row
before screening, at the worst corner of each.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import peak_mb
from envelopes.allocate import allocate
from envelopes.transmission import Flows, Grid, read_dc, secured

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    Tell = Callable[[str, float], None]

AREAS = 100
HEADROOM, LEAST_MW = 1.3, 100.0
CAPS = (0.2, 0.3, 0.5, 1.0)  # of the areas' loads


def pegase(name: str, _samples: int, _seed: int, tell: Tell) -> dict[str, Any]:
    """All caps in turn, in the shape of `benchmarks.cascade`."""
    import pandapower.networks

    net = pandapower.networks.case1354pegase()
    loads = net.load.sort_values("p_mw", ascending=False).drop_duplicates("bus").head(AREAS)
    grid, at = read_dc(net, at_buses=loads.bus.to_numpy())
    worst = np.max([np.abs(loading * grid.rating_mw[:, None]).max(axis=1) for _, loading in Flows(grid).loading()], axis=0)
    rated = replace(grid, rating_mw=np.maximum(HEADROOM * worst, LEAST_MW))
    load_w = (loads.p_mw.to_numpy() * 1e6).astype(np.int64)
    runs = [_rows_within(share, rated, at, np.tile((share * load_w).astype(np.int64), 2), tell) for share in CAPS]
    return {
        "case": name, "operators": {"tso": len(at)}, "problems": [], "levels": {run["caps"]: run["smallest_share"] for run in runs},
        "violated_at_own_ratings": len(Flows(grid).violated()), "runs": runs,
    }  # fmt: skip


def _rows_within(share: float, grid: Grid, at: Indices, caps_w: npt.NDArray[np.int64], tell: Tell) -> dict[str, Any]:
    began = time.perf_counter(), time.process_time()
    found = secured(grid, at, caps_w, tell=lambda phrase, done: tell(f"caps of {share:.0%}: {phrase}", done))
    limits = allocate(found.polytope(), caps_w, weights=caps_w).limits_w
    seconds, own = time.perf_counter() - began[0], time.process_time() - began[1]
    return {
        "caps": f"{share:.0%}", "considered": found.considered, "binding": found.binding, "kept": len(found.rows.slack),
        "lost": round(found.lost, 6), "parting_outages": len(found.parting),
        "smallest_share": round(float((limits / caps_w).min()), 4), "total_mw": round(float(limits.sum() / 1e6), 1),
        "fullest_of_all_rows": round(_fullest(grid, at, limits / 1e6), 9),
        "seconds": round(seconds, 1), "processor_seconds": round(own, 1), "peak_mb": peak_mb(),
    }  # fmt: skip


def _fullest(grid: Grid, at: Indices, limits_mw: Floats) -> float:
    """The largest share of a rating that any corner of these envelopes comes to, over every branch in every outage: nothing screened."""
    flows, (exports, imports) = Flows(grid), np.split(limits_mw, 2)
    of_area, fullest = flows.to_balance[:, at], 0.0
    for branch, rating in enumerate(grid.rating_mw):
        outage, factor = flows.rows_of(branch)
        moved = of_area[branch] + factor[:, None] * of_area[outage]
        flow = flows.base_mw[branch] + factor * flows.base_mw[outage]
        up, down = np.maximum(moved, 0.0), np.maximum(-moved, 0.0)
        most = np.maximum(flow + up @ exports + down @ imports, -flow + up @ imports + down @ exports)
        fullest = max(fullest, float(most.max() / rating))
    return fullest

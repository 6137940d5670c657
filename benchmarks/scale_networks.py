"""Real networks of 46 to 1,506 customers: the transformer areas of lv_schutterwald, the smallest first, the meshed one last.

The grid of Schutterwald in Germany is 14 low voltage areas that meet only at their transformers' medium voltage side. A part of it is
the first so many of them, as a pandapower file of its own, so each part contains the one before. Thirteen are radial and get proven
rows; one, of 169 customers, is meshed and has to be searched, which takes longer than all others together: it comes last.

The source has no passives, so one is added at every tenth home: a neighbour without an envelope, whose load is what is forecast.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envelopes.forecasts import Forecast

if TYPE_CHECKING:
    from riskcheck.network import Network

NETWORK = "lv-schutterwald"
PASSIVE_EVERY = 10
LEAST_W, SPREAD_W = 250, 550


def write_parts(folder: Path, wanted: list[int]) -> dict[int, Path]:
    """A file for each wanted number of customers, by the number that the part nearest to it has."""
    from riskcheck import catalogue

    net: Any = catalogue.make(NETWORK)
    _add_passives(net)
    areas = _areas(net)
    sizes = list(accumulate(int((net.load.bus.isin(area) & ~net.load.passive).sum()) for area in areas))
    nearest = sorted({min(sizes, key=lambda size: abs(size - one)) for one in wanted})
    return {size: _written(net, set().union(*areas[: sizes.index(size) + 1]), folder / f"{size}.json") for size in nearest}


def _add_passives(net: Any) -> None:
    import pandapower

    net.load["passive"] = False
    for bus in net.load.bus.iloc[::PASSIVE_EVERY].tolist():
        index = pandapower.create_load(net, bus, p_mw=0.0)
        net.load.loc[index, ["passive", "forecast_min_w", "forecast_max_w"]] = True, -LEAST_W, 0
    net.load["passive"] = net.load.passive.astype(bool)


def _areas(net: Any) -> list[set[int]]:
    """Buses of each transformer area, in the order of the parts."""
    from pandapower import topology

    found = topology.connected_components(topology.create_nxgraph(net))
    return sorted(found, key=lambda area: (_is_meshed(net, area), len(area)))


def _is_meshed(net: Any, area: set[int]) -> bool:
    from pandapower import topology

    graph = topology.create_nxgraph(net).subgraph(area)
    return int(graph.number_of_edges()) >= len(area)


def _written(net: Any, buses: set[int], path: Path) -> Path:
    import pandapower
    from pandapower.toolbox import select_subnet

    path.parent.mkdir(parents=True, exist_ok=True)
    pandapower.to_json(select_subnet(net, buses), str(path))
    return path


def forecast(network: Network, number: int, of: int) -> tuple[Forecast, ...]:
    """One of so many forecasts for the passives: each expects some watts more than the one before."""
    low_w = -(LEAST_W + SPREAD_W * number // of)
    return tuple(Forecast(name, low_w, 0) for name in sorted(passive.id for passive in network.passives))

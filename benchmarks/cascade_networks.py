"""Multi-voltage networks for `benchmarks.cascade`, each with an operator for every voltage level.

*multivoltage* is pandapower's example: 380 and 110 kV meshed, 20 and 10 kV behind a three-winding transformer, 0.4 kV. What limex does
not model is put in its place: the gas turbine, which holds a voltage there, is passive power of 0 to 100 MW here; the two extended wards
are passive loads of their constant powers; the impedance between two 110 kV buses is a line of the same ohms, rated as its 100 MVA.

*oberrhein* is MV Oberrhein (two islands of 20 kV, each behind its own transformer from 110 kV, in neutral tap position) with
three low voltage networks of Kerber and one of CIGRE in place of one of its loads each, with transformers of their own.

Customers are the loads, generators beside a load are behind its meter. In *multivoltage* everybody may import the load's power and
export as much or what its generators can; where the pictures of pandapower have no rating, limex' defaults hold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FEEDERS = ("kerber-landnetz", "kerber-dorfnetz", "kerber-landnetz", "cigre-lv")


def multivoltage() -> Any:
    import pandapower
    import pandapower.networks

    net = pandapower.networks.example_multivoltage()
    for _, gen in net.gen.iterrows():
        index = pandapower.create_sgen(net, gen.bus, gen.p_mw, name=gen["name"])
        net.sgen.loc[index, "passive"] = True
    for _, ward in net.xward.iterrows():
        index = pandapower.create_load(net, ward.bus, ward.ps_mw + ward.pz_mw, name=ward["name"])
        net.load.loc[index, "passive"] = True
    for _, link in net.impedance.iterrows():
        _as_line(net, link)
    for table in ("gen", "xward", "impedance"):
        net[table] = net[table].iloc[:0]
    beside = net.sgen.groupby("bus").sn_mva.sum().reindex(net.load.bus).fillna(0.0).to_numpy()
    net.load["rating_import_w"] = np.ceil(net.load.p_mw * 1e6)
    net.load["rating_export_w"] = np.ceil(np.maximum(net.load.p_mw, beside) * 1e6)
    for way in ("export", "import"):
        net.load[f"failsafe_{way}_w"] = net.load[f"rating_{way}_w"] // 50
    return net


def _as_line(net: Any, link: Any) -> None:
    import pandapower

    kv = float(net.bus.vn_kv[link.from_bus])
    ohm = kv**2 / link.sn_mva
    pandapower.create_line_from_parameters(
        net, link.from_bus, link.to_bus, length_km=1.0, r_ohm_per_km=link.rft_pu * ohm, x_ohm_per_km=link.xft_pu * ohm,
        c_nf_per_km=0.0, max_i_ka=link.sn_mva / kv / math.sqrt(3), name=link["name"],
    )  # fmt: skip


def oberrhein() -> Any:
    """Zones: the 110 kV buses belong to the 20 kV operator, who runs the transformers; every feeder is a zone."""
    from riskcheck import catalogue

    net = catalogue.make("mv-oberrhein")
    assert net is not None
    net.bus["zone"] = "mv"
    net.trafo["tap_pos"] = 0  # as it stands, it takes the medium voltage up to 1.06 pu when nobody draws anything
    # A generator at the bus of a feeder's transformer stays with the 20 kV operator: only the load makes room for the feeder.
    chosen = net.load.index[:: max(1, len(net.load) // len(FEEDERS))][: len(FEEDERS)]
    for number, (load, name) in enumerate(zip(chosen, FEEDERS, strict=True), start=1):
        at = int(net.load.bus[load])
        net.load = net.load.drop(load)
        _attach(net, at, catalogue.make(name), f"lv{number}")
    return net


def _attach(net: Any, at: int, feeder: Any, zone: str) -> None:
    """Adds the elements of a feeder behind `at`; its own transformers from 20 kV begin there, its ext_grid goes."""
    import pandapower

    top = int(feeder.ext_grid.bus.iloc[0])
    offset = int(net.bus.index.max()) + 1 - int(feeder.bus.index.min())
    feeder.bus["zone"] = zone
    feeder.bus.loc[top, ["zone", "vn_kv"]] = "mv", net.bus.vn_kv[at]
    feeder.trafo["vn_hv_kv"] = net.bus.vn_kv[at]  # some come with a transformer from 10 kV
    elements = {table: len(net[table]) and int(net[table].index.max()) + 1 for table in ("line", "trafo", "load", "sgen", "switch")}
    _shift(net, feeder, "bus", (), offset, offset)
    for table, first in elements.items():
        columns = ("bus", "from_bus", "to_bus", "hv_bus", "lv_bus")
        _shift(net, feeder, table, columns, offset, first)
    for index in net.load.index[net.load.index >= elements["load"]]:
        net.load.loc[index, "name"] = f"{zone}-home{index}"
    pandapower.create_switch(net, at, top + offset, et="b", closed=True)


def _shift(net: Any, feeder: Any, table: str, columns: tuple[str, ...], offset: int, first: int) -> None:
    import pandas as pd

    frame = feeder[table].copy()
    if not len(frame):
        return
    for column in columns:
        if column in frame and table != "switch":
            frame[column] = frame[column] + offset
    if table == "switch":
        kinds = frame.et.map({"l": "line", "t": "trafo"})
        shift = np.where(kinds.isna(), offset, 0) + np.where(kinds == "line", _first(net, feeder, "line"), 0)
        frame["bus"], frame["element"] = (
            frame.bus + offset,
            frame.element + shift + np.where(kinds == "trafo", _first(net, feeder, "trafo"), 0),
        )
    frame.index = frame.index + first
    net[table] = pd.concat([net[table], frame])


def _first(net: Any, feeder: Any, table: str) -> int:
    """By how much the numbers of an element that is already added have moved."""
    return int(net[table].index.max()) - int(feeder[table].index.max()) if len(feeder[table]) else 0


NETWORKS = {"multivoltage": (multivoltage, "level"), "oberrhein": (oberrhein, "zone")}

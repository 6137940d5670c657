"""Reads a pandapower net into a `Network`, or says everything that is wrong with it.

What is read from which table and column, with units, defaults and valid ranges, and what is refused, is in docs/networks.md.
This file puts the parts together: buses joined by switches, sources and their interface, shunts, islands, voltage limits.
"""

from __future__ import annotations

import cmath
import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from riskcheck.branches import hanging_lines, lines, transformers
from riskcheck.columns import bus_at, check_spelling, flag, number, rows_in_service
from riskcheck.customers import TABLES, read_customers
from riskcheck.network import BadNetwork, Branch, Finding, Network
from riskcheck.trafo3w import Star, stars

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Findings = list[Finding]

VOLTAGE_PU = (0.90, 1.10)  # EN 50160, of the nominal voltage
INTERFACE_HALF_RANGE_PU = 0.02
INTERFACE_COLUMNS = ("interface_min_pu", "interface_max_pu", "interface_export_w_max", "interface_import_w_max")
NOMINAL_LV_V = 230.0
READ_TABLES = {"bus", "line", "trafo", "trafo3w", "switch", "shunt", "ext_grid", *TABLES}
PLACES = {"bus", "from_bus", "hv_bus", "bus_dc", "from_bus_dc"}  # a table with one of these columns is a part of the network


def read_json(path: Path) -> Any:
    """A pandapower net from its JSON file; ValueError, not pandapower's own errors, for a file that is none."""
    import pandapower

    try:
        net = pandapower.from_json(str(path))
    except Exception as error:
        raise ValueError(f"{path} is not a network that pandapower can read ({type(error).__name__}: {error})") from error
    if not hasattr(net, "bus"):
        raise ValueError(f"{path} is not a pandapower JSON file")
    return net


def from_pandapower(net: Any, *, name: str) -> Network:
    """The network, or BadNetwork with all findings. `net` is only read."""
    findings: list[Finding] = []
    _refuse_unmodelled(net, findings)
    phases = 3 if len(net.get("asymmetric_load", ())) or len(net.get("asymmetric_sgen", ())) else 1
    check_spelling(net, ("line",), ("max_i_n_ka",), findings)
    check_spelling(net, ("trafo",), ("tap_operator",), findings)
    check_spelling(net, ("ext_grid",), INTERFACE_COLUMNS, findings)
    bus_of = _fuse_buses(net, findings)
    three_winding = stars(net, phases, bus_of, findings)
    branches = [*lines(net, phases, bus_of, findings), *transformers(net, phases, bus_of, findings)]
    branches += [branch for star in three_winding for branch in star.branches]
    rows = _bus_rows(net, bus_of, findings)
    rows |= {star.bus: _star_row(star, rows[bus_of[star.level_of]]) for star in three_winding}
    interface = _Interface(net, bus_of, findings)
    interface.check_islands(_islands(rows, branches), findings)
    customers, passives = read_customers(net, phases, bus_of, interface.buses, findings)
    limits = _bus_limits(rows, findings)
    _check_levels(rows, branches, findings)
    if not customers and not any(f.element.startswith(TABLES) for f in findings):
        findings.append(Finding("network", "has no customers", "add rows to load or asymmetric_load"))
    shunts = _shunts(net, bus_of, findings)
    for bus, siemens in hanging_lines(net, bus_of, findings) if phases == 1 else ():
        shunts[bus] = shunts.get(bus, 0j) + siemens
    if findings:
        raise BadNetwork(tuple(findings))

    compact = {bus: i for i, bus in enumerate(rows)}
    base_v, nominal_v, min_v, max_v = limits
    return Network(
        name=name,
        phases=phases,
        bus_names=tuple(row.get("star") or str(bus) for bus, row in rows.items()),
        bus_xy=_coordinates(rows, branches, interface.buses),
        bus_base_v=base_v,
        bus_nominal_v=nominal_v,
        bus_min_v=min_v,
        bus_max_v=max_v,
        branches=tuple(dataclasses.replace(b, from_bus=compact[b.from_bus], to_bus=compact[b.to_bus]) for b in branches),
        sources=tuple(sorted({compact[bus] for bus in interface.buses})),
        customers=tuple(dataclasses.replace(c, bus=compact[c.bus]) for c in customers),
        voltage_min_pu=VOLTAGE_PU[0],
        voltage_max_pu=VOLTAGE_PU[1],
        interface_min_pu=min(interface.low_pu),
        interface_max_pu=max(interface.high_pu),
        interface_export_w_max=interface.export_w_max,
        interface_import_w_max=interface.import_w_max,
        passives=tuple(dataclasses.replace(p, bus=compact[p.bus]) for p in passives),
        bus_shunt_siemens=tuple((compact[bus], siemens) for bus, siemens in sorted(shunts.items()) if siemens),
    )


def _star_row(star: Star, level: Any) -> dict[str, Any]:
    """The star bus of a transformer is no place at which a voltage limit holds; these only keep it apart from collapse."""
    return {**level, "star": star.name, "min_vm_pu": 0.51, "max_vm_pu": 1.49}


def _refuse_unmodelled(net: Any, findings: Findings) -> None:
    for table in net:
        columns = getattr(net[table], "columns", ())
        if table.startswith(("_", "res_")) or table in READ_TABLES or not PLACES & set(columns):
            continue
        for index, _ in rows_in_service(net, table):
            findings.append(Finding(f"{table} {index}", "is not modelled by limex", "take it out of service or model it as load"))
    for index, row in rows_in_service(net, "load"):
        if any(number(row, column, 0.0) for column in row if column.startswith("const_") and column.endswith("_percent")):
            findings.append(Finding(f"load {index}", "depends on the voltage", "set its const_z and const_i shares to 0"))
    for index, row in rows_in_service(net, "switch"):
        if row["closed"] and number(row, "z_ohm", 0.0):
            findings.append(Finding(f"switch {index}", "has an impedance", "set z_ohm to 0, or make it a line"))


def _fuse_buses(net: Any, findings: Findings) -> dict[int, int]:
    """Every bus in service -> the bus that stands for it; closed bus-bus switches make one bus of two."""
    parent = {index: index for index, _ in rows_in_service(net, "bus")}

    def root(bus: int) -> int:
        while parent[bus] != bus:
            parent[bus] = parent[parent[bus]]
            bus = parent[bus]
        return bus

    for index, row in rows_in_service(net, "switch"):
        if row["et"] != "b" or not row["closed"]:
            continue
        ends = int(row["bus"]), int(row["element"])
        if any(end not in parent for end in ends):
            findings.append(Finding(f"switch {index}", "names a bus that does not exist", "correct its bus or element"))
            continue
        low, high = sorted((root(ends[0]), root(ends[1])))
        parent[high] = low
    return {bus: root(bus) for bus in parent}


def _bus_rows(net: Any, bus_of: dict[int, int], findings: Findings) -> dict[int, Any]:
    """One row for each bus that stands for itself and others, with the tightest of their voltage limits."""
    rows: dict[int, Any] = {}
    for bus, row in sorted(rows_in_service(net, "bus"), key=lambda pair: pair[0]):
        joined = rows.setdefault(bus_of[bus], row)
        if number(joined, "vn_kv") != number(row, "vn_kv"):
            findings.append(
                Finding(f"bus {bus}", f"is joined with bus {bus_of[bus]} of another vn_kv", "open the switch, or correct vn_kv")
            )
        low, high = (
            max(number(r, "min_vm_pu", -math.inf) for r in (joined, row)),
            min(number(r, "max_vm_pu", math.inf) for r in (joined, row)),
        )
        rows[bus_of[bus]] = {**joined, "min_vm_pu": low if low > -math.inf else None, "max_vm_pu": high if high < math.inf else None}
    return rows


def _check_levels(rows: dict[int, Any], branches: list[Branch], findings: Findings) -> None:
    """A line between two voltage levels, or a transformer the wrong way round, would pass for a branch with strange flows."""
    for branch in branches:
        from_kv, to_kv = (number(rows[bus], "vn_kv") for bus in (branch.from_bus, branch.to_bus))
        if from_kv > 0 and to_kv > 0 and not 0.7 < branch.ratio * to_kv / from_kv < 1.4:
            problem = f"joins buses of {from_kv:g} and {to_kv:g} kV at a ratio of {branch.ratio:g}"
            findings.append(Finding(branch.name, problem, "correct its buses, their vn_kv, or its rated voltages"))


class _Interface:
    """The sources: at which buses, the voltage range kept there, and what power may pass all of them together."""

    def __init__(self, net: Any, bus_of: dict[int, int], findings: Findings) -> None:
        self.buses: list[int] = []
        self.low_pu: list[float] = []
        self.high_pu: list[float] = []
        self._states: list[tuple[str, float, float, float]] = []
        for index, row in rows_in_service(net, "ext_grid"):
            self._add(f"ext_grid {index}", row, bus_of, findings)
        if not self.buses:
            findings.append(Finding("network", "has no ext_grid in service", "add one at the interface to the higher network"))
        self.export_w_max, self.import_w_max = (self._power_w(net, f"interface_{way}_w_max", findings) for way in ("export", "import"))

    def _add(self, element: str, row: Any, bus_of: dict[int, int], findings: Findings) -> None:
        bus, vm = bus_at(element, row, "bus", bus_of, findings), number(row, "vm_pu", 1.0)
        low = number(row, "interface_min_pu", vm - INTERFACE_HALF_RANGE_PU)
        high = number(row, "interface_max_pu", vm + INTERFACE_HALF_RANGE_PU)
        if not 0.5 < low <= high < 1.5:
            findings.append(
                Finding(element, f"has the interface range {low:g} to {high:g} pu", "set interface_min_pu <= interface_max_pu near 1")
            )
        if bus is not None:
            self.buses.append(bus)
            self.low_pu.append(low)
            self.high_pu.append(high)
            self._states.append((element, low, high, number(row, "va_degree", 0.0)))

    def _power_w(self, net: Any, column: str, findings: Findings) -> float:
        stated = {index: number(row, column, math.inf) for index, row in rows_in_service(net, "ext_grid")}
        known = {watts for watts in stated.values() if watts != math.inf}
        if any(not watts > 0 for watts in known) or len(known) > 1:
            shown = ", ".join(f"{watts:g}" for watts in stated.values())
            remedy = "give one figure above 0 in watts, for all ext_grids together"
            findings.append(Finding(f"ext_grid {min(stated)}", f"has {column} {shown}", remedy))
        return min(known, default=math.inf)

    def check_islands(self, islands: list[set[int]], findings: Findings) -> None:
        """Every island needs a source, and where it has several they must move together: limex knows one interface voltage."""
        lone = sorted(bus for island in islands if not island & set(self.buses) for bus in island)
        if lone and self.buses:
            shown = ", ".join(str(bus) for bus in lone[:8]) + (", ..." if len(lone) > 8 else "")
            remedy = "close a switch, add the branch, or take them out of service"
            findings.append(Finding(f"bus {shown}", f"{len(lone)} bus(es) without a path to the interface", remedy))
        for island in islands:
            states = [state for bus, state in zip(self.buses, self._states, strict=True) if bus in island]
            for element, *state in states[1:]:
                if state != [*states[0][1:]]:
                    problem = f"is in one island with {states[0][0]} at another voltage range or angle"
                    findings.append(Finding(element, problem, "give both the same vm_pu, interface range and va_degree, or open a switch"))


def _islands(rows: dict[int, Any], branches: list[Branch]) -> list[set[int]]:
    around = _neighbours(rows, branches)
    left, islands = set(rows), []
    while left:
        ahead = [min(left)]
        island = set(ahead)
        while ahead:
            onward = around[ahead.pop()] - island
            island |= onward
            ahead.extend(onward)
        islands.append(island)
        left -= island
    return islands


def _neighbours(rows: dict[int, Any], branches: list[Branch]) -> dict[int, set[int]]:
    around: dict[int, set[int]] = {bus: set() for bus in rows}
    for branch in branches:
        around[branch.from_bus].add(branch.to_bus)
        around[branch.to_bus].add(branch.from_bus)
    return around


def _shunts(net: Any, bus_of: dict[int, int], findings: Findings) -> dict[int, complex]:
    """Admittance to ground by bus: p and q are drawn at vn_kv, by each of `step` steps."""
    found: dict[int, complex] = {}
    for index, row in rows_in_service(net, "shunt"):
        element = f"shunt {index}"
        bus = bus_at(element, row, "bus", bus_of, findings)
        level_kv = number(row, "vn_kv", number(net.bus.loc[bus].to_dict(), "vn_kv") if bus is not None else 1.0)
        siemens = (
            complex(number(row, "p_mw"), -number(row, "q_mvar")) * number(row, "step", 1.0) / level_kv**2 if level_kv > 0 else cmath.nan
        )
        if flag(element, row, "step_dependency_table", findings):
            findings.append(Finding(element, "takes its power from a table", "set step_dependency_table to False"))
        elif not cmath.isfinite(siemens) or siemens.real < 0:
            findings.append(Finding(element, "has no usable admittance", "set p_mw (0 or more), q_mvar, vn_kv and step"))
        elif bus is not None:
            found[bus] = found.get(bus, 0j) + siemens
    return found


def _bus_limits(rows: dict[int, Any], findings: Findings) -> tuple[NDArray[np.float64], ...]:
    base, nominal, low, high = (np.empty(len(rows)) for _ in range(4))
    for i, (bus, row) in enumerate(rows.items()):
        kv = number(row, "vn_kv")
        if not kv > 0:
            findings.append(Finding(f"bus {bus}", f"has the rated voltage {kv:g} kV", "set vn_kv"))
            kv = 0.4
        base[i] = kv * 1e3 / math.sqrt(3)
        # 400 V and 416 V systems have the declared voltage of 230 V between phase and neutral (EN 50160 clause 4.2)
        nominal[i] = NOMINAL_LV_V if 0.38 <= kv <= 0.42 else base[i]
        low[i] = number(row, "min_vm_pu", VOLTAGE_PU[0] * nominal[i] / base[i]) * base[i]
        high[i] = number(row, "max_vm_pu", VOLTAGE_PU[1] * nominal[i] / base[i]) * base[i]
        if not 0.5 * base[i] < low[i] < high[i] < 1.5 * base[i]:
            findings.append(
                Finding(f"bus {bus}", f"has voltage limits {low[i]:.1f} to {high[i]:.1f} V", "set min_vm_pu < max_vm_pu near 1")
            )
    return base, nominal, low, high


def _coordinates(rows: dict[int, Any], branches: list[Branch], sources: list[int]) -> NDArray[np.float64]:
    """Positions for pictures: the source's own where every bus has one, else a tree drawn from the interface."""
    geo = [row.get("geo") for row in rows.values()]
    if all(isinstance(text, str) and "coordinates" in text for text in geo):
        return np.array([json.loads(text)["coordinates"][:2] for text in geo], dtype=np.float64)
    around: dict[int, list[int]] = {bus: [] for bus in rows}
    for branch in branches:
        around[branch.from_bus].append(branch.to_bus)
        around[branch.to_bus].append(branch.from_bus)
    xy: dict[int, tuple[float, float]] = {}
    lane = 0
    stack = [(source, 0) for source in reversed(sources)]
    while stack:
        bus, depth = stack.pop()
        if bus in xy:
            continue
        xy[bus] = (float(depth), float(-lane))
        onward = [b for b in around[bus] if b not in xy]
        lane += not onward
        stack.extend((b, depth + 1) for b in onward)
    return np.array([xy[bus] for bus in rows])

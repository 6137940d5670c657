"""Splits a pandapower network into areas, one operator each, that only meet at their interfaces.

Buses belong to a zone: their voltage level, or what their column `zone` says. A connected piece of a zone is an area. Areas
stand in trees: the one with the ext_grid on top, below it those that it feeds. Two areas meet at transformers, lines, or closed
bus-bus switches; such a cut element, and the switches at it, belong to the area *below*, whose network therefore begins at a bus
of the area above: the *interface*. So every element belongs to exactly one operator, who guards its limits, and a zone that is
fed at several places is one operator with several areas, each with an interface of its own. A line that is open at one end
belongs to the area from which it charges. A bus that only carries the ext_grid is no area: it belongs to the zone that it feeds.

What cannot be cut is a finding: an area that is fed in parallel at two different buses (`envelopes/opening.py` says why; the finding
names what to open, and `opened` opens it in a copy); areas side by side that a line joins; a three-winding transformer between
three areas; two ext_grids of which one stands below the other.
"""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from envelopes.opening import Edge, open_points
from riskcheck.branches import open_branches
from riskcheck.columns import rows_in_service
from riskcheck.network import BadNetwork, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS_KV = {"hv": 60.0, "mv": 1.0, "lv": 0.0}  # from this many kV on; what lies above 60 kV is run as one
ENDS = {
    "line": ("from_bus", "to_bus"), "trafo": ("hv_bus", "lv_bus"), "trafo3w": ("hv_bus", "mv_bus", "lv_bus"),
    "impedance": ("from_bus", "to_bus"), "dcline": ("from_bus", "to_bus"), "tcsc": ("from_bus", "to_bus"),
}  # fmt: skip
COUPLER_OHM = 1e-6  # of what is no line: enough that a feed on either side of a coupler keeps its side
SWITCHED = {"line": "l", "trafo": "t", "trafo3w": "t3"}


@dataclass(frozen=True, eq=False)
class Area:
    """What one operator runs behind one interface. `net` has its own elements and an ext_grid at the interface, nothing else.

    `interfaces` are the areas below by name, with the bus of this area where each begins (by the numbers of the whole net).
    """

    name: str
    operator: str
    parent: str | None
    interface_bus: int | None
    buses: tuple[int, ...]
    net: Any
    interfaces: dict[str, int]
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Joint:
    """An element that joins buses while it is in service and closed."""

    table: str
    index: int
    buses: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.table} {self.index}"


def split(net: Any, by: str = "level") -> dict[str, Area]:
    """Areas by name, every one after the one above it. `by` is "level" (60 kV and 1 kV part the levels) or "zone" (the bus column).

    Raises BadNetwork with all findings. `net` is only read.
    """
    findings: list[Finding] = []
    cutter = _Cutter(net, _zones(net, by, findings), findings)
    if findings:
        raise BadNetwork(tuple(findings))
    return {name: cutter.area(name) for name in cutter.above}


def opened(net: Any, by: str = "level") -> tuple[Any, tuple[str, ...]]:
    """A copy in which every area hangs on one bus, and what was opened for it: the operator has to do the same. `net` is only read."""
    findings: list[Finding] = []
    cutter = _Cutter(net, _zones(net, by, findings), findings)
    copied, points = copy.deepcopy(net), [edge for edges in cutter.to_open.values() for edge in edges]
    for edge in points:
        copied[edge.table].loc[edge.number, "closed" if edge.table == "switch" else "in_service"] = False
    return copied, tuple(edge.name for edge in points)


def _zones(net: Any, by: str, findings: list[Finding]) -> dict[int, str]:
    if by not in ("level", "zone"):
        raise ValueError(f"split by 'level' or 'zone', not {by!r}")
    zones: dict[int, str] = {}
    for bus, row in rows_in_service(net, "bus"):
        if by == "level":
            zones[bus] = next(level for level, from_kv in LEVELS_KV.items() if row["vn_kv"] >= from_kv)
        elif row.get("zone") is None or row["zone"] != row["zone"]:
            findings.append(Finding(f"bus {bus}", "has no zone", "set its zone to the name of its operator"))
        else:
            zones[bus] = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(row["zone"]))
    return zones


class _Cutter:
    """Who owns what: pieces of zones, the tree of them, and the elements between."""

    def __init__(self, net: Any, zones: dict[int, str], findings: list[Finding]) -> None:
        self._net, self._findings = net, findings
        self._joints = [joint for joint in _joints(net) if all(bus in zones for bus in joint.buses)]
        zones = self._with_lone_tops(zones)
        self._fused = _merged(zones, (j.buses for j in self._joints if j.table == "switch"))
        inside = [j.buses for j in self._joints if len({zones[bus] for bus in j.buses}) == 1]
        piece = _merged(zones, [*inside, *_twin_windings(self._joints, zones)])
        self._zone = zones
        self.home = _named(piece, zones)
        self.above = self._tree()
        self._between: dict[str, list[_Joint]] = defaultdict(list)
        for joint in self._joints:
            self._cut(joint)
        self.to_open: dict[str, list[Edge]] = {}
        self._check_feeds()

    def _with_lone_tops(self, zones: dict[int, str]) -> dict[int, str]:
        """A bus of an ext_grid that is alone in its zone has nothing to operate: it belongs to the zone that it feeds."""
        found = dict(zones)
        for top in {int(row["bus"]) for _, row in rows_in_service(self._net, "ext_grid")} & set(zones):
            around = sorted({zones[bus] for joint in self._joints if top in joint.buses for bus in joint.buses if bus != top})
            if len(around) == 1:
                found[top] = around[0]
            elif around and zones[top] not in around:
                self._note(f"bus {top}", f"feeds {' and '.join(around)} and is alone in its zone", "give it the zone of one of them")
        return found

    def _tree(self) -> dict[str, str | None]:
        """Every area -> the one above it, tops first."""
        around: dict[str, set[str]] = {name: set() for name in sorted(set(self.home.values()))}
        for joint in self._joints:
            ends = {self.home[bus] for bus in joint.buses}
            for end in ends:
                around[end] |= ends - {end}
        tops = sorted({self.home[int(r["bus"])] for _, r in rows_in_service(self._net, "ext_grid") if int(r["bus"]) in self.home})
        above: dict[str, str | None] = dict.fromkeys(tops)
        ahead = list(tops)
        for area in ahead:
            for other in sorted(around[area] - set(above)):
                above[other] = area
                ahead.append(other)
        for lone in sorted(set(around) - set(above)):
            self._note(f"area {lone}", "has no path to an ext_grid", "close a switch, or take its buses out of service")
        return above

    def _cut(self, joint: _Joint) -> None:
        """Gives a joint between areas to the one below, or says why it cannot be cut there."""
        ends = sorted({self.home[bus] for bus in joint.buses})
        if len(ends) == 1 or not set(ends) <= set(self.above):
            return
        below = [end for end in ends if self.above[end] in ends]
        if len(ends) == 2 and len(below) == 1:
            self._between[below[0]].append(joint)
        elif len(ends) > 2:
            self._note(joint.name, f"joins three areas: {', '.join(ends)}", "give two of its buses the same zone")
        elif all(self.above[end] is None for end in ends):
            self._note(joint.name, f"joins {ends[0]} and {ends[1]}, which both have an ext_grid", "give them one zone, or open it")
        else:
            remedy = "open it, or give both areas the same zone"
            self._note(joint.name, f"joins {ends[0]} and {ends[1]}, neither of which is above the other", remedy)

    def _check_feeds(self) -> None:
        for area, joints in self._between.items():
            feeds = {self._fused[bus] for bus in self._feeds(area, joints)}
            if len(feeds) > 1:
                shown, names = ", ".join(map(str, sorted(feeds))), ", ".join(joint.name for joint in joints)
                points = self.to_open[area] = self._open_points(area, joints)
                remedy = f"open {', '.join(edge.name for edge in points)}: each part then has one interface; `opened` does so in a copy"
                self._note(f"area {area}", f"is fed in parallel at buses {shown} of {self.above[area]} by {names}", remedy)

    def _open_points(self, area: str, joints: list[_Joint]) -> list[Edge]:
        own = {bus for bus, home in self.home.items() if home == area}
        inside = [joint for joint in self._joints if own.issuperset(joint.buses)]
        feeding = [Edge(j.table, j.index, tuple(own.intersection(j.buses)), feed=self._feed(area, j)) for j in joints]
        return open_points([Edge(j.table, j.index, j.buses, self._ohm(j)) for j in inside], feeding)

    def _feed(self, area: str, joint: _Joint) -> int:
        return self._fused[self._feeds(area, [joint])[0]]

    def _ohm(self, joint: _Joint) -> float:
        if joint.table != "line":
            return COUPLER_OHM
        line = self._net.line.loc[joint.index]
        return float(np.hypot(line.r_ohm_per_km, line.x_ohm_per_km) * line.length_km / line.parallel)

    def _hanging(self, own: set[int]) -> set[tuple[str, int]]:
        """Lines to another area, open at its end only: they charge from this one."""
        rows = dict(rows_in_service(self._net, "line"))
        switches = [row for _, row in rows_in_service(self._net, "switch") if row["et"] == "l" and not row["closed"]]
        apart = {(int(row["element"]), int(row["bus"])) for row in switches}
        ends = {(index, bus) for index in {line for line, _ in apart} & set(rows) for bus in (int(rows[index][c]) for c in ENDS["line"])}
        near = {(index, bus) for index, bus in ends - apart if bus in own}
        return {("line", index) for index, _ in near if any(line == index and bus not in own for line, bus in ends)}

    def _feeds(self, area: str, joints: list[_Joint]) -> list[int]:
        return sorted({bus for joint in joints for bus in joint.buses if self.home[bus] != area})

    def _note(self, element: str, problem: str, remedy: str) -> None:
        self._findings.append(Finding(element, problem, remedy))

    # ------------------------------------------------------------------------------------------ one area's own network

    def area(self, name: str) -> Area:
        own = {bus for bus, home in self.home.items() if home == name}
        joints = self._between.get(name, [])
        feeds = self._feeds(name, joints)
        net = _only(self._net, own, {(j.table, j.index) for j in joints} | self._hanging(own), feeds)
        interface = self._fused[feeds[0]] if feeds else None
        if feeds:
            _begin_at(net, feeds)
        below = {child: self._fused[self._feeds(child, js)[0]] for child, js in self._between.items() if self.above[child] == name}
        operator = self._zone[min(own)]
        return Area(name, operator, self.above[name], interface, tuple(sorted(own)), net, below, tuple(j.name for j in joints))


def _joints(net: Any) -> Iterator[_Joint]:
    """Whatever carries current between buses now. A line open at one end carries none through."""
    for table, columns in ENDS.items():
        opened = open_branches(net, SWITCHED[table]) if table in SWITCHED else set()
        for index, row in rows_in_service(net, table):
            if index not in opened:
                yield _Joint(table, index, tuple(int(row[column]) for column in columns))
    for index, row in rows_in_service(net, "switch"):
        if row["et"] == "b" and row["closed"]:
            yield _Joint("switch", index, (int(row["bus"]), int(row["element"])))


def _twin_windings(joints: list[_Joint], zones: dict[int, str]) -> Iterator[tuple[int, ...]]:
    """Two windings of a three-winding transformer in one zone are one piece: the transformer itself joins them."""
    for joint in joints:
        if joint.table == "trafo3w":
            for zone in {zones[bus] for bus in joint.buses}:
                yield tuple(bus for bus in joint.buses if zones[bus] == zone)


def _merged(buses: Any, groups: Any) -> dict[int, int]:
    """Every bus -> the lowest bus that it is joined with."""
    parent = {bus: bus for bus in buses}

    def root(bus: int) -> int:
        while parent[bus] != bus:
            parent[bus] = parent[parent[bus]]
            bus = parent[bus]
        return bus

    for group in groups:
        for other in group[1:]:
            low, high = sorted((root(group[0]), root(other)))
            parent[high] = low
    return {bus: root(bus) for bus in parent}


def _named(piece: dict[int, int], zones: dict[int, str]) -> dict[int, str]:
    """Every bus -> the name of its area: the zone's, numbered where the zone has several pieces."""
    of_zone: dict[str, list[int]] = defaultdict(list)
    for root in sorted(set(piece.values())):
        of_zone[zones[root]].append(root)
    names = {root: zone if len(roots) == 1 else f"{zone}-{i}" for zone, roots in of_zone.items() for i, root in enumerate(roots, start=1)}
    return {bus: names[root] for bus, root in piece.items()}


def _only(net: Any, own: set[int], cut: set[tuple[str, int]], feeds: list[int]) -> Any:
    """A copy with the elements between own buses, the cut ones, and the buses at which these begin."""
    part = copy.deepcopy(net)
    part.bus = part.bus.loc[sorted(own | set(feeds))]
    for table in [table for table in part if not table.startswith(("_", "res_")) and table not in ("bus", "switch")]:
        columns = [c for c in ("bus", *sum(ENDS.values(), ())) if c in getattr(part[table], "columns", ())]
        if columns and len(part[table]):
            inside = np.logical_and.reduce([part[table][column].isin(own) for column in columns])
            named = np.array([(table, index) in cut for index in part[table].index])
            part[table] = part[table][inside | named]
    kept = [_keeps(part, row, own, (("switch", index) in cut)) for index, row in part.switch.iterrows()]
    part.switch = part.switch[np.array(kept, dtype=bool)]
    for table in [table for table in part if table.startswith("res_") and hasattr(part[table], "columns")]:
        part[table] = part[table].iloc[:0]
    return part


def _keeps(part: Any, row: Any, own: set[int], is_cut: bool) -> bool:
    table = {"l": "line", "t": "trafo", "t3": "trafo3w"}.get(row["et"])
    if table is None:
        return is_cut or (row["bus"] in own and row["element"] in own)
    return row["element"] in part[table].index


def _begin_at(net: Any, feeds: list[int]) -> None:
    import pandapower

    pandapower.create_ext_grid(net, feeds[0], vm_pu=1.0, name="interface")
    for other in feeds[1:]:  # one bus for the operator above
        pandapower.create_switch(net, feeds[0], other, et="b", closed=True)

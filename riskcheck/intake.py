"""Reads a pandapower net into a `Network`, or says everything that is wrong with it.

Fields beyond pandapower's own, all optional. Where a column is missing or empty the default holds.

| table, column | unit | default |
|---|---|---|
| load / sgen / asymmetric_load / asymmetric_sgen `.phase` | a, b, c, abc | the phase whose power is not zero; `abc` for balanced tables |
| ... `.rating_export_w`, `.rating_import_w` | W | single-phase 10,000 and 14,000 (60 A); three-phase 30,000 and 42,000, or twice sn or p |
| ... `.failsafe_export_w`, `.failsafe_import_w` | W | 500 and 800 (single-phase); a twentieth of the rating (three-phase) |
| ... `.power_factor` | 0.8-1 | 0.95 lagging on imports |
| bus `.min_vm_pu`, `.max_vm_pu` | pu of vn_kv | 0.90 and 1.10 of the nominal voltage (EN 50160) |
| ext_grid `.interface_min_pu`, `.interface_max_pu` | pu of vn_kv | vm_pu - 0.02 and vm_pu + 0.02 |

A generator at the bus and phase of a load belongs to that customer (its envelope covers everything behind the meter);
elsewhere it is a customer of its own. Present loads are not used: the envelopes are for the whole power of a customer.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from riskcheck.branches import lines, number, rows_in_service, transformers
from riskcheck.network import BadNetwork, Branch, Customer, Finding, Network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Findings = list[Finding]

SINGLE_PHASE_RATING_W = (10_000, 14_000)
SINGLE_PHASE_FAILSAFE_W = (500, 800)
THREE_PHASE_RATING_W = (30_000, 42_000)
POWER_FACTOR = 0.95
VOLTAGE_PU = (0.90, 1.10)  # EN 50160, of the nominal voltage
INTERFACE_HALF_RANGE_PU = 0.02
NOMINAL_LV_V = 230.0
REFUSED_TABLES = ("trafo3w", "gen", "shunt", "ward", "xward", "impedance", "dcline", "storage", "motor", "svc", "tcsc", "ssc", "vsc")


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
    bus_of = _fuse_buses(net, findings)
    branches = [*lines(net, phases, bus_of, findings), *transformers(net, phases, bus_of, findings)]
    sources, interface = _sources(net, bus_of, findings)
    customers = _customers(net, phases, bus_of, findings)
    numbers = sorted(set(bus_of.values()))
    _find_islands(numbers, branches, sources, findings)
    limits = _bus_limits(net, numbers, findings)
    if not customers and not any(f.element.startswith(("load", "asymmetric", "sgen")) for f in findings):
        findings.append(Finding("network", "has no customers", "add rows to load or asymmetric_load"))
    if findings:
        raise BadNetwork(tuple(findings))

    compact = {bus: i for i, bus in enumerate(numbers)}
    base_v, nominal_v, min_v, max_v = limits
    return Network(
        name=name,
        phases=phases,
        bus_names=tuple(str(bus) for bus in numbers),
        bus_xy=_coordinates(net, numbers, branches, sources),
        bus_base_v=base_v,
        bus_nominal_v=nominal_v,
        bus_min_v=min_v,
        bus_max_v=max_v,
        branches=tuple(_moved(b, compact) for b in branches),
        sources=tuple(sorted({compact[s] for s in sources})),
        customers=tuple(_moved(c, compact) for c in customers),
        voltage_min_pu=VOLTAGE_PU[0],
        voltage_max_pu=VOLTAGE_PU[1],
        interface_min_pu=interface[0],
        interface_max_pu=interface[1],
    )


def _moved(item: Any, compact: dict[int, int]) -> Any:
    import dataclasses

    fields = ("bus",) if isinstance(item, Customer) else ("from_bus", "to_bus")
    return dataclasses.replace(item, **{field: compact[getattr(item, field)] for field in fields})


def _refuse_unmodelled(net: Any, findings: Findings) -> None:
    for table in REFUSED_TABLES:
        for index, _ in rows_in_service(net, table):
            findings.append(Finding(f"{table} {index}", "is not modelled by limex", "take it out of service or model it as load"))
    for index, row in rows_in_service(net, "load"):
        if any(number(row, column, 0.0) for column in row if column.startswith("const_") and column.endswith("_percent")):
            findings.append(Finding(f"load {index}", "depends on the voltage", "set its const_z and const_i shares to 0"))


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


def _sources(net: Any, bus_of: dict[int, int], findings: Findings) -> tuple[list[int], tuple[float, float]]:
    sources, lows, highs = [], [], []
    for index, row in rows_in_service(net, "ext_grid"):
        element, bus = f"ext_grid {index}", int(row["bus"])
        if bus not in bus_of:
            findings.append(Finding(element, f"is at bus {bus}, which does not exist", "correct its bus"))
            continue
        vm = number(row, "vm_pu", 1.0)
        low, high = (
            number(row, "interface_min_pu", vm - INTERFACE_HALF_RANGE_PU),
            number(row, "interface_max_pu", vm + INTERFACE_HALF_RANGE_PU),
        )
        if not 0.5 < low <= high < 1.5:
            findings.append(
                Finding(element, f"has the interface range {low:g} to {high:g} pu", "set interface_min_pu <= interface_max_pu near 1")
            )
        sources.append(bus_of[bus])
        lows.append(low)
        highs.append(high)
    if not sources:
        findings.append(Finding("network", "has no ext_grid in service", "add one at the interface to the higher network"))
        return [], (1.0, 1.0)
    return sources, (min(lows), max(highs))


def _customers(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> list[Customer]:
    customers: list[Customer] = []
    elements: dict[str, str] = {}
    taken: set[tuple[int, str]] = set()
    for table in ("asymmetric_load", "load", "asymmetric_sgen", "sgen"):
        for index, row in rows_in_service(net, table):
            element, bus = f"{table} {index}", int(number(row, "bus", -1))
            if bus not in bus_of:
                findings.append(Finding(element, f"is at bus {bus}, which does not exist or is out of service", "correct its bus"))
                continue
            phase = _phase(element, row, table.startswith("asymmetric"), findings)
            if phase is None or (table.endswith("sgen") and (bus_of[bus], phase) in taken):
                continue
            customer = _customer(element, row, bus_of[bus], phase if phases == 3 else "abc", findings)
            if customer.id in elements:
                findings.append(
                    Finding(element, f"has the same name as {elements[customer.id]}: {customer.id}", "give every customer its own name")
                )
            elements.setdefault(customer.id, element)
            taken.add((bus_of[bus], phase))
            customers.append(customer)
    return customers


def _phase(element: str, row: Any, asymmetric: bool, findings: Findings) -> str | None:
    powers = {p: number(row, f"p_{p}_mw") for p in "abc"} if asymmetric else {"abc": number(row, "p_mw")}
    if any(math.isnan(power) for power in powers.values()):
        findings.append(Finding(element, "has a power that is not a number", "set its p columns"))
        return None
    given = row.get("phase")
    if isinstance(given, str) and given:
        if given in ("a", "b", "c", "abc"):
            return given
        findings.append(Finding(element, f"has the phase {given!r}", "set phase to a, b, c or abc"))
        return None
    if not asymmetric:
        return "abc"
    live = [p for p, power in powers.items() if power]
    if len(live) == 1:
        return live[0]
    if len(live) == 3 and max(powers.values()) - min(powers.values()) < 1e-9:
        return "abc"
    problem = "is on no phase" if not live else f"draws unequal powers on phases {', '.join(live)}"
    findings.append(Finding(element, problem, "set the column phase to a, b, c or abc, or split it by phase"))
    return None


def _customer(element: str, row: Any, bus: int, phase: str, findings: Findings) -> Customer:
    name = row.get("name")
    table, index = element.split()
    # ids are parts of MQTT topics, so nothing but letters, digits and ._- may stay
    identity = (
        re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip())
        if isinstance(name, str) and name.strip()
        else f"{table.replace('asymmetric_', '')}{index}"
    )
    nominal_w = sum(abs(number(row, column, 0.0)) for column in ("p_mw", "p_a_mw", "p_b_mw", "p_c_mw")) * 1e6
    least = 1_000 * math.ceil(2 * max(nominal_w, number(row, "sn_mva", 0.0) * 1e6) / 1_000)
    rating = SINGLE_PHASE_RATING_W if len(phase) == 1 else tuple(max(least, w) for w in THREE_PHASE_RATING_W)
    failsafe = SINGLE_PHASE_FAILSAFE_W if len(phase) == 1 else tuple(w // 20 for w in rating)
    columns = ("rating_export_w", "rating_import_w", "failsafe_export_w", "failsafe_import_w")
    values = {column: number(row, column, default) for column, default in zip(columns, (*rating, *failsafe), strict=True)}
    for direction in ("export", "import"):
        high, low = values[f"rating_{direction}_w"], values[f"failsafe_{direction}_w"]
        if not (0 <= low <= high < 2**31 and high == int(high) and low == int(low)):
            findings.append(
                Finding(element, f"has {direction} rating {high:g} W and failsafe {low:g} W", "give whole watts, 0 <= failsafe <= rating")
            )
    power_factor = number(row, "power_factor", POWER_FACTOR)
    if not 0.8 <= power_factor <= 1:
        findings.append(Finding(element, f"has power factor {power_factor:g}", "give one between 0.8 and 1"))
    return Customer(identity, bus, phase, **{column: int(value) for column, value in values.items()}, power_factor=power_factor)


def _find_islands(numbers: list[int], branches: list[Branch], sources: list[int], findings: Findings) -> None:
    around: dict[int, list[int]] = {bus: [] for bus in numbers}
    for branch in branches:
        around[branch.from_bus].append(branch.to_bus)
        around[branch.to_bus].append(branch.from_bus)
    reached, ahead = set(sources), list(sources)
    while ahead:
        for bus in around[ahead.pop()]:
            if bus not in reached:
                reached.add(bus)
                ahead.append(bus)
    island = [bus for bus in numbers if bus not in reached]
    if island and sources:
        shown = ", ".join(str(bus) for bus in island[:8]) + (", ..." if len(island) > 8 else "")
        findings.append(
            Finding(
                f"bus {shown}",
                f"{len(island)} bus(es) without a path to the interface",
                "close a switch, add the branch, or take them out of service",
            )
        )


def _bus_limits(net: Any, numbers: list[int], findings: Findings) -> tuple[NDArray[np.float64], ...]:
    base, nominal, low, high = (np.empty(len(numbers)) for _ in range(4))
    rows = dict(rows_in_service(net, "bus"))
    for i, bus in enumerate(numbers):
        row = rows[bus]
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


def _coordinates(net: Any, numbers: list[int], branches: list[Branch], sources: list[int]) -> NDArray[np.float64]:
    """Positions for pictures: the source's own where every bus has one, else a tree drawn from the interface."""
    rows = dict(rows_in_service(net, "bus"))
    geo = [rows[bus].get("geo") for bus in numbers]
    if all(isinstance(text, str) and "coordinates" in text for text in geo):
        return np.array([json.loads(text)["coordinates"][:2] for text in geo], dtype=np.float64)
    around: dict[int, list[int]] = {bus: [] for bus in numbers}
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
    return np.array([xy[bus] for bus in numbers])

"""Reads a pandapower net into a `Network`, or says everything that is wrong with it.

Fields beyond pandapower's own, all optional. Where a column is missing or empty the default holds.

| table, column | unit | default |
|---|---|---|
| load / sgen / asymmetric_load / asymmetric_sgen `.phase` | a, b, c, abc | the phase whose power is not zero; `abc` for balanced tables |
| ... `.rating_export_w`, `.rating_import_w` | W | 10,000 and 14,000 (60 A service) per phase; three-phase: 30,000 and 42,000; never under twice the nominal power |
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

from riskcheck.network import BadNetwork, Branch, Customer, Finding, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
RATING_IS_A_PLACEHOLDER_KA = 10.0  # no low- or medium-voltage line carries this; 1e5 is how tools write "unknown"
ZERO_PATHS = {"Dyn": "to_ground", "Yzn": "to_ground", "YNyn": "through"}
REFUSED_TABLES = ("trafo3w", "gen", "shunt", "ward", "xward", "impedance", "dcline", "storage", "motor", "svc", "tcsc", "ssc", "vsc")

# The IEEE European LV feeder carries 421 A for each of its ten cable types, from 4.5 to 225 mm2: a placeholder. These are
# ours, in ampere, rounded from what makers state for cables of that cross-section laid direct in the ground.
IEEE_CABLE_RATING_A = {
    "2c_007": 45, "2c_0225": 90, "2c_16": 110, "35_SAC_XSC": 130, "4c_06": 150, "4c_1": 205, "4c_70": 190,
    "4c_95_SAC_XC": 235, "4c_185": 335, "4c_35": 420,
}  # fmt: skip


def _ieee_european_lv() -> Any:
    import pandapower.networks as networks

    net = networks.ieee_european_lv_asymmetric()
    net.line["max_i_ka"] = net.line.std_type.map(IEEE_CABLE_RATING_A) / 1e3
    net.asymmetric_load["name"] = [f"home{i + 1:02d}" for i in range(len(net.asymmetric_load))]
    # Its transformer (11/0.416 kV) leaves 1.5 % to the upper limit at rated voltage. One step of its off-load tap and a
    # medium voltage kept within 1 % give room on both sides, as an operator with much solar power would set it.
    net.trafo["tap_pos"] = 1
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 0.99, 1.01
    return net


def _pandapower(function: str) -> Callable[[], Any]:
    def make() -> Any:
        import pandapower.networks as networks

        return getattr(networks, function)()

    return make


BUILTINS: dict[str, Callable[[], Any]] = {
    "ieee-european-lv": _ieee_european_lv,
    "cigre-lv": _pandapower("create_cigre_network_lv"),
    "kerber-landnetz": _pandapower("create_kerber_landnetz_kabel_1"),
    "kerber-dorfnetz": _pandapower("create_kerber_dorfnetz"),
    "kerber-vorstadt": _pandapower("create_kerber_vorstadtnetz_kabel_1"),
}


def read_json(path: Path) -> Any:
    """A pandapower net from its JSON file; ValueError, not pandapower's own errors, for a file that is none."""
    import pandapower

    try:
        net = pandapower.from_json(str(path))
    except Exception as error:  # noqa: BLE001 - whatever pandapower raises on a foreign file, the user needs one clear answer
        raise ValueError(f"{path} is not a pandapower JSON file: {error}") from error
    if not hasattr(net, "bus"):
        raise ValueError(f"{path} is not a pandapower JSON file")
    return net


def from_pandapower(net: Any, *, name: str) -> Network:
    """The network, or BadNetwork with all findings. `net` is only read."""
    findings: list[Finding] = []
    _refuse_unmodelled(net, findings)
    phases = 3 if len(net.get("asymmetric_load", ())) or len(net.get("asymmetric_sgen", ())) else 1
    bus_of = _fuse_buses(net, findings)
    branches = [*_lines(net, phases, bus_of, findings), *_transformers(net, phases, bus_of, findings)]
    sources, interface = _sources(net, bus_of, findings)
    customers = _customers(net, phases, bus_of, findings)
    numbers = sorted(set(bus_of.values()))
    _find_islands(net, numbers, branches, sources, findings)
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


def _number(row: Any, column: str, default: float = math.nan) -> float:
    value = row.get(column, default)
    try:
        value = float(value)
    except (TypeError, ValueError):
        return default
    return default if math.isnan(value) else value


def _rows(net: Any, table: str) -> Iterator[tuple[int, Any]]:
    """Rows in service of a table, as (index, mapping)."""
    frame = net.get(table)
    if frame is None or not len(frame):
        return
    for index, row in zip(frame.index, frame.to_dict("records"), strict=True):
        if bool(row.get("in_service", True)):
            yield int(index), row


def _refuse_unmodelled(net: Any, findings: Findings) -> None:
    for table in REFUSED_TABLES:
        for index, _ in _rows(net, table):
            findings.append(Finding(f"{table} {index}", "is not modelled by limex", "take it out of service or model it as load"))
    for index, row in _rows(net, "load"):
        if any(_number(row, column, 0.0) for column in row if column.startswith("const_") and column.endswith("_percent")):
            findings.append(Finding(f"load {index}", "depends on the voltage", "set its const_z and const_i shares to 0"))


def _fuse_buses(net: Any, findings: Findings) -> dict[int, int]:
    """Every bus in service -> the bus that stands for it; closed bus-bus switches make one bus of two."""
    parent = {index: index for index, _ in _rows(net, "bus")}

    def root(bus: int) -> int:
        while parent[bus] != bus:
            parent[bus] = parent[parent[bus]]
            bus = parent[bus]
        return bus

    for index, row in _rows(net, "switch"):
        if row["et"] != "b" or not row["closed"]:
            continue
        ends = int(row["bus"]), int(row["element"])
        if any(end not in parent for end in ends):
            findings.append(Finding(f"switch {index}", "names a bus that does not exist", "correct its bus or element"))
            continue
        low, high = sorted((root(ends[0]), root(ends[1])))
        parent[high] = low
    return {bus: root(bus) for bus in parent}


def _open_branches(net: Any, kind: str) -> set[int]:
    return {int(row["element"]) for _, row in _rows(net, "switch") if row["et"] == kind and not row["closed"]}


def _ends(element: str, row: Any, columns: tuple[str, str], bus_of: dict[int, int], findings: Findings) -> tuple[int, int] | None:
    ends = tuple(int(_number(row, column, -1)) for column in columns)
    missing = [end for end in ends if end not in bus_of]
    if missing:
        findings.append(Finding(element, f"ends at bus {missing[0]}, which does not exist or is out of service", "connect it or take it out of service"))
        return None
    return bus_of[ends[0]], bus_of[ends[1]]


def _lines(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    frequency = 2 * math.pi * float(net.get("f_hz", 50.0))
    opened = _open_branches(net, "l")
    for index, row in _rows(net, "line"):
        if index in opened:
            continue
        element = f"line {index}"
        ends = _ends(element, row, ("from_bus", "to_bus"), bus_of, findings)
        if ends is None or ends[0] == ends[1]:
            continue
        length, parallel = _number(row, "length_km"), _number(row, "parallel", 1.0)
        z1 = complex(_number(row, "r_ohm_per_km"), _number(row, "x_ohm_per_km")) * length / parallel
        z0 = complex(_number(row, "r0_ohm_per_km"), _number(row, "x0_ohm_per_km")) * length / parallel if phases == 3 else z1
        shunt = length * parallel
        y1 = complex(_number(row, "g_us_per_km", 0.0) * 1e-6, frequency * _number(row, "c_nf_per_km", 0.0) * 1e-9) * shunt
        y0 = complex(0.0, frequency * _number(row, "c0_nf_per_km", 0.0) * 1e-9) * shunt
        rating_ka = _number(row, "max_i_ka")
        _check_impedance(element, z1, "r_ohm_per_km, x_ohm_per_km and length_km", findings)
        if phases == 3 and not math.isnan(abs(z1)):
            _check_impedance(element, z0, "r0_ohm_per_km and x0_ohm_per_km (zero sequence)", findings)
        if not 0 < rating_ka < RATING_IS_A_PLACEHOLDER_KA:
            findings.append(Finding(element, f"has no usable thermal rating (max_i_ka = {rating_ka:g})", "set max_i_ka from its cable type"))
        rating_a = rating_ka * 1e3 * _number(row, "df", 1.0) * parallel
        yield Branch("line", index, *ends, z1, z0, y1, y0, rating_a)


def _check_impedance(element: str, z: complex, columns: str, findings: Findings) -> None:
    if math.isnan(abs(z)):
        findings.append(Finding(element, "has an impedance that is not a number", f"set {columns}"))
    elif abs(z) < 1e-9:
        findings.append(Finding(element, "has zero impedance", f"set {columns}, or use a closed bus-bus switch"))


def _transformers(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    opened = _open_branches(net, "t")
    for index, row in _rows(net, "trafo"):
        element = f"transformer {index}"
        ends = _ends(element, row, ("hv_bus", "lv_bus"), bus_of, findings)
        if index in opened or ends is None:
            continue
        parallel = _number(row, "parallel", 1.0)
        sn_va, v_low = _number(row, "sn_mva") * 1e6 * parallel, _number(row, "vn_lv_kv") * 1e3
        if not (sn_va > 0 and v_low > 0 and _number(row, "vn_hv_kv") > 0):
            findings.append(Finding(element, "has no usable rating", "set sn_mva, vn_hv_kv and vn_lv_kv"))
            continue
        base = v_low**2 / sn_va
        z1 = _leakage(row, "vk_percent", "vkr_percent") * base
        z0 = _leakage(row, "vk0_percent", "vkr0_percent") * base if phases == 3 else z1
        _check_impedance(element, z1, "vk_percent and vkr_percent", findings)
        group = re.sub(r"\d+$", "", str(row.get("vector_group", "")))
        if phases == 3:
            _check_impedance(element, z0, "vk0_percent and vkr0_percent", findings)
            if group not in ZERO_PATHS:
                findings.append(Finding(element, f"has vector group {group or 'none'!r}", f"set vector_group to one of {', '.join(ZERO_PATHS)}"))
        hours = _number(row, "shift_degree", 0.0) / 30.0
        if abs(hours - round(hours)) > 1e-9 or _number(row, "tap_step_degree", 0.0):
            findings.append(Finding(element, "shifts the phase by other than whole clock hours", "use an ordinary vector group"))
        magnetising = complex(_number(row, "pfe_kw", 0.0) * 1e3 * parallel, 0.0)
        apparent = _number(row, "i0_percent", 0.0) / 100 * sn_va
        magnetising -= 1j * math.sqrt(max(apparent**2 - magnetising.real**2, 0.0))
        yield Branch(
            "transformer", index, *ends, z1, z0, magnetising / v_low**2, 0j,
            rating_a=sn_va * _number(row, "df", 1.0) / (math.sqrt(3) * v_low), rating_va=sn_va,
            ratio=_ratio(row), clock=round(hours) % 12, zero_path=ZERO_PATHS.get(group, "through"),
        )  # fmt: skip


def _leakage(row: Any, whole: str, real: str) -> complex:
    z, r = _number(row, whole) / 100, _number(row, real) / 100
    return complex(r, math.sqrt(max(z**2 - r**2, 0.0))) if not math.isnan(z) else complex(math.nan, math.nan)


def _ratio(row: Any) -> float:
    high, low = _number(row, "vn_hv_kv"), _number(row, "vn_lv_kv")
    steps = _number(row, "tap_pos", 0.0) - _number(row, "tap_neutral", 0.0)
    change = 1 + steps * _number(row, "tap_step_percent", 0.0) / 100
    side = row.get("tap_side")
    return high * (change if side == "hv" else 1.0) / (low * (change if side == "lv" else 1.0))


def _sources(net: Any, bus_of: dict[int, int], findings: Findings) -> tuple[list[int], tuple[float, float]]:
    sources, lows, highs = [], [], []
    for index, row in _rows(net, "ext_grid"):
        element, bus = f"ext_grid {index}", int(row["bus"])
        if bus not in bus_of:
            findings.append(Finding(element, f"is at bus {bus}, which does not exist", "correct its bus"))
            continue
        vm = _number(row, "vm_pu", 1.0)
        low, high = _number(row, "interface_min_pu", vm - INTERFACE_HALF_RANGE_PU), _number(row, "interface_max_pu", vm + INTERFACE_HALF_RANGE_PU)
        if not 0.5 < low <= high < 1.5:
            findings.append(Finding(element, f"has the interface range {low:g} to {high:g} pu", "set interface_min_pu <= interface_max_pu near 1"))
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
        for index, row in _rows(net, table):
            element, bus = f"{table} {index}", int(_number(row, "bus", -1))
            if bus not in bus_of:
                findings.append(Finding(element, f"is at bus {bus}, which does not exist or is out of service", "correct its bus"))
                continue
            phase = _phase(element, row, table.startswith("asymmetric"), findings)
            if phase is None or (table.endswith("sgen") and (bus_of[bus], phase) in taken):
                continue
            customer = _customer(element, row, bus_of[bus], phase if phases == 3 else "abc", findings)
            if customer.id in elements:
                findings.append(Finding(element, f"has the same name as {elements[customer.id]}: {customer.id}", "give every customer its own name"))
            elements.setdefault(customer.id, element)
            taken.add((bus_of[bus], phase))
            customers.append(customer)
    return customers


def _phase(element: str, row: Any, asymmetric: bool, findings: Findings) -> str | None:
    powers = {p: _number(row, f"p_{p}_mw") for p in "abc"} if asymmetric else {"abc": _number(row, "p_mw")}
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
    identity = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip()) if isinstance(name, str) and name.strip() else f"{table.replace('asymmetric_', '')}{index}"
    nominal_w = sum(abs(_number(row, column, 0.0)) for column in ("p_mw", "p_a_mw", "p_b_mw", "p_c_mw")) * 1e6
    least = 0 if phase in "abc" and len(phase) == 1 else 1_000 * math.ceil(2 * max(nominal_w, _number(row, "sn_mva", 0.0) * 1e6) / 1_000)
    rating = SINGLE_PHASE_RATING_W if len(phase) == 1 else tuple(max(least, w) for w in THREE_PHASE_RATING_W)
    failsafe = SINGLE_PHASE_FAILSAFE_W if len(phase) == 1 else tuple(w // 20 for w in rating)
    values = {}
    for column, default in (
        ("rating_export_w", rating[0]), ("rating_import_w", rating[1]), ("failsafe_export_w", failsafe[0]), ("failsafe_import_w", failsafe[1])
    ):  # fmt: skip
        values[column] = _number(row, column, default)
    for direction in ("export", "import"):
        high, low = values[f"rating_{direction}_w"], values[f"failsafe_{direction}_w"]
        if not (0 <= low <= high < 2**31 and high == int(high) and low == int(low)):
            findings.append(Finding(element, f"has {direction} rating {high:g} W and failsafe {low:g} W", "give whole watts, 0 <= failsafe <= rating"))
    power_factor = _number(row, "power_factor", POWER_FACTOR)
    if not 0.8 <= power_factor <= 1:
        findings.append(Finding(element, f"has power factor {power_factor:g}", "give one between 0.8 and 1"))
    return Customer(identity, bus, phase, **{column: int(value) for column, value in values.items()}, power_factor=power_factor)


def _find_islands(net: Any, numbers: list[int], branches: list[Branch], sources: list[int], findings: Findings) -> None:
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
        findings.append(Finding(f"bus {shown}", f"{len(island)} bus(es) without a path to the interface", "close a switch, add the branch, or take them out of service"))


def _bus_limits(net: Any, numbers: list[int], findings: Findings) -> tuple[NDArray[np.float64], ...]:
    base, nominal, low, high = (np.empty(len(numbers)) for _ in range(4))
    rows = dict(_rows(net, "bus"))
    for i, bus in enumerate(numbers):
        row = rows[bus]
        kv = _number(row, "vn_kv")
        if not kv > 0:
            findings.append(Finding(f"bus {bus}", f"has the rated voltage {kv:g} kV", "set vn_kv"))
            kv = 0.4
        base[i] = kv * 1e3 / math.sqrt(3)
        # 400 V and 416 V systems have the declared voltage of 230 V between phase and neutral (EN 50160 clause 4.2)
        nominal[i] = NOMINAL_LV_V if 0.38 <= kv <= 0.42 else base[i]
        low[i] = _number(row, "min_vm_pu", VOLTAGE_PU[0] * nominal[i] / base[i]) * base[i]
        high[i] = _number(row, "max_vm_pu", VOLTAGE_PU[1] * nominal[i] / base[i]) * base[i]
        if not 0.5 * base[i] < low[i] < high[i] < 1.5 * base[i]:
            findings.append(Finding(f"bus {bus}", f"has voltage limits {low[i]:.1f} to {high[i]:.1f} V", "set min_vm_pu < max_vm_pu near 1"))
    return base, nominal, low, high


def _coordinates(net: Any, numbers: list[int], branches: list[Branch], sources: list[int]) -> NDArray[np.float64]:
    """Positions for pictures: the source's own where every bus has one, else a tree drawn from the interface."""
    rows = dict(_rows(net, "bus"))
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

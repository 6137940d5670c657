"""Who is connected: rows of load, asymmetric_load, storage, asymmetric_sgen and sgen as `Customer` or `Passive` records.

A generator or storage at the bus and phase of an earlier customer belongs to that customer, whose envelope covers everything
behind the meter; elsewhere it is a customer of its own. Present powers are not used but for default ratings and forecasts.
The columns are listed in docs/networks.md; each mistake in one is a finding.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from riskcheck.columns import bus_at, check_spelling, flag, is_empty, number, rows_in_service
from riskcheck.network import Customer, Finding, Passive, VoltVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    Findings = list[Finding]

TABLES = ("asymmetric_load", "load", "storage", "asymmetric_sgen", "sgen")
BEHIND_THE_METER = ("storage", "asymmetric_sgen", "sgen")
SINGLE_PHASE_RATING_W = (10_000, 14_000)
SINGLE_PHASE_FAILSAFE_W = (500, 800)
THREE_PHASE_RATING_W = (30_000, 42_000)
POWER_FACTOR = 0.95
WATTS = ("rating_export_w", "rating_import_w", "failsafe_export_w", "failsafe_import_w")
OF_A_CUSTOMER = (*WATTS, "power_factor", "export_power_factor", "reactive_var_max", "volt_var")
VOLT_VAR_REMEDY = "write voltage_pu:share pairs @ var, such as '0.92:1, 0.98:0, 1.02:0, 1.08:-1 @ 3000'"


@dataclass
class _Meter:
    """One customer before its defaults are known: what stands behind its meter counts for them."""

    element: str
    row: Any
    bus: int
    phase: str
    behind_w: float = 0.0


def read_customers(
    net: Any, phases: int, bus_of: dict[int, int], sources: list[int], findings: Findings
) -> tuple[list[Customer], list[Passive]]:
    check_spelling(net, TABLES, (*OF_A_CUSTOMER, "phase", "passive", "forecast_min_w", "forecast_max_w"), findings)
    meters: list[_Meter] = []
    passives: list[Passive] = []
    at: dict[tuple[int, str], _Meter] = {}
    names: dict[str, str] = {}
    for table, element, row, bus, phase in _connected(net, phases, bus_of, findings):
        if bus in sources:
            remedy = "connect it behind a line or transformer, or take it out of service"
            findings.append(Finding(element, "is at the interface itself, where there is no network to guard", remedy))
        meter = at.get((bus, phase))
        is_passive = flag(element, row, "passive", findings)
        if table in BEHIND_THE_METER and meter is not None and not is_passive:
            meter.behind_w += _nominal_w(row)
            _check_behind(element, row, meter, findings)
            continue
        _check_name(element, row, names, findings)
        if is_passive:
            passives.append(_passive(table, element, row, bus, phase, findings))
            continue
        if not (is_empty(row, "forecast_min_w") and is_empty(row, "forecast_max_w")):
            findings.append(Finding(element, "has a forecast and is not passive", "set passive to True, or leave the forecast empty"))
        meters.append(_Meter(element, row, bus, phase))
        at.setdefault((bus, phase), meters[-1])
    return [_customer(meter, findings) for meter in meters], passives


def _connected(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[tuple[str, str, Any, int, str]]:
    """(table, element, row, bus, phase) of every row whose place in the network is known."""
    for table in TABLES:
        for index, row in rows_in_service(net, table):
            element = f"{table} {index}"
            bus = bus_at(element, row, "bus", bus_of, findings)
            phase = _phase(element, row, table.startswith("asymmetric"), findings)
            if bus is not None and phase is not None:
                yield table, element, row, bus, phase if phases == 3 else "abc"


def _phase(element: str, row: Any, asymmetric: bool, findings: Findings) -> str | None:
    powers = {p: number(row, f"p_{p}_mw") for p in "abc"} if asymmetric else {"abc": number(row, "p_mw")}
    if not all(math.isfinite(power) for power in powers.values()):
        findings.append(Finding(element, "has a power that is not a number", "set its p columns"))
        return None
    if asymmetric and row.get("type") == "delta":
        findings.append(Finding(element, "is connected in delta, which is not modelled", "set type to wye"))
        return None
    if not is_empty(row, "phase"):
        if row["phase"] in ("a", "b", "c", "abc"):
            return str(row["phase"])
        findings.append(Finding(element, f"has the phase {row['phase']!r}", "set phase to a, b, c or abc"))
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


def _identity(element: str, row: Any) -> str:
    # ids are parts of MQTT topics, so nothing but letters, digits and ._- may stay
    name = row.get("name")
    if isinstance(name, str) and name.strip():
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip())
    table, index = element.split()
    return f"{table.replace('asymmetric_', '')}{index}"


def _check_name(element: str, row: Any, names: dict[str, str], findings: Findings) -> None:
    name = _identity(element, row)
    if name in names:
        findings.append(
            Finding(
                element,
                f"has the same name as {names[name]}: {name}",
                "give every customer its own name; other signs than A-Za-z0-9._- become -",
            )
        )
    names.setdefault(name, element)


def _check_behind(element: str, row: Any, meter: _Meter, findings: Findings) -> None:
    given = [column for column in OF_A_CUSTOMER if not is_empty(row, column)]
    if given:
        problem = f"has {', '.join(given)}, but belongs to the customer of {meter.element} at the same bus and phase"
        findings.append(Finding(element, problem, f"set them on {meter.element}"))


def _nominal_w(row: Any) -> float:
    powers = sum(abs(number(row, column, 0.0)) for column in ("p_mw", "p_a_mw", "p_b_mw", "p_c_mw"))
    return max(powers, number(row, "sn_mva", 0.0)) * 1e6


def _customer(meter: _Meter, findings: Findings) -> Customer:
    element, row, phase = meter.element, meter.row, meter.phase
    least = 1_000 * math.ceil(2 * max(_nominal_w(row), meter.behind_w) / 1_000)
    rating = SINGLE_PHASE_RATING_W if len(phase) == 1 else tuple(max(least, w) for w in THREE_PHASE_RATING_W)
    failsafe = SINGLE_PHASE_FAILSAFE_W if len(phase) == 1 else tuple(w // 20 for w in rating)
    values = {column: number(row, column, default) for column, default in zip(WATTS, (*rating, *failsafe), strict=True)}
    for direction in ("export", "import"):
        high, low = values[f"rating_{direction}_w"], values[f"failsafe_{direction}_w"]
        if not (0 <= low <= high < 2**31 and high == int(high) and low == int(low)):
            findings.append(
                Finding(element, f"has {direction} rating {high:g} W and failsafe {low:g} W", "give whole watts, 0 <= failsafe <= rating")
            )
    reactive = number(row, "reactive_var_max", 0.0)
    if not (0 <= reactive < 2**31 and reactive == int(reactive)):
        findings.append(Finding(element, f"has reactive_var_max {reactive:g}", "give whole var, 0 or more"))
    return Customer(
        _identity(element, row), meter.bus, phase, **{column: _whole(value) for column, value in values.items()},
        power_factor=_power_factor(element, row, "power_factor", POWER_FACTOR, findings),
        export_power_factor=_power_factor(element, row, "export_power_factor", 1.0, findings),
        volt_var=_volt_var(element, row, findings), reactive_var_max=_whole(reactive),
    )  # fmt: skip


def _whole(value: float) -> int:
    return int(value) if math.isfinite(value) else 0  # the finding is there already


def _power_factor(element: str, row: Any, column: str, default: float, findings: Findings) -> float:
    factor = number(row, column, default)
    if 0.8 <= factor <= 1:
        return factor
    findings.append(Finding(element, f"has {column.replace('_', ' ')} {factor:g}", "give one between 0.8 and 1"))
    return 1.0


def _volt_var(element: str, row: Any, findings: Findings) -> VoltVar | None:
    if is_empty(row, "volt_var"):
        return None
    try:
        pairs, _, var_max = str(row["volt_var"]).partition("@")
        points = [tuple(float(part) for part in pair.split(":")) for pair in pairs.split(",")]
        voltage, share = zip(*points, strict=True)
        curve = VoltVar(voltage, share, float(var_max))
    except ValueError:
        findings.append(Finding(element, f"has a volt_var that cannot be read: {row['volt_var']!r}", VOLT_VAR_REMEDY))
        return None
    rising = len(voltage) >= 2 and all(0.5 <= a < b <= 1.5 for a, b in pairwise(voltage))
    falling = all(1 >= a >= b >= -1 for a, b in pairwise(share))
    if rising and falling and 0 < curve.var_max < 2**31:
        return curve
    problem = f"has a volt_var that is no curve: {row['volt_var']!r}"
    remedy = "let two or more voltages rise between 0.5 and 1.5, shares fall between 1 and -1, and give var above 0"
    findings.append(Finding(element, problem, remedy))
    return None


def _passive(table: str, element: str, row: Any, bus: int, phase: str, findings: Findings) -> Passive:
    now_w = sum(number(row, column, 0.0) for column in ("p_mw", "p_a_mw", "p_b_mw", "p_c_mw")) * number(row, "scaling", 1.0) * 1e6
    exported = now_w if table.endswith("sgen") else -now_w
    expected = (-abs(now_w), abs(now_w)) if table == "storage" else (min(exported, 0.0), max(exported, 0.0))
    low, high = number(row, "forecast_min_w", expected[0]), number(row, "forecast_max_w", expected[1])
    if not -(2**31) < low <= high < 2**31:
        problem = f"has the forecast {low:g} to {high:g} W"
        findings.append(Finding(element, problem, "give forecast_min_w <= forecast_max_w in watts, export positive"))
        low = high = 0.0
    return Passive(
        _identity(element, row), bus, phase, math.floor(low), math.ceil(high),
        _power_factor(element, row, "power_factor", POWER_FACTOR, findings),
    )  # fmt: skip

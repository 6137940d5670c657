"""Lines and transformers of a pandapower net as `Branch` records, in ohms, siemens and amperes.

Pandapower's pi model of lines (r, x, c, g by km, length, parallel, df) and its two-winding transformer (vk, vkr, i0, pfe, tap,
vector group) are kept; the magnetising branch is split over both ends as power-grid-model does it. Zero sequence is read in
three-phase networks only, without the magnetising path of transformers (mag0). Out-of-service branches and those behind an
open switch are left out: charging currents of a line that hangs on one end are not modelled.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from riskcheck.network import Branch, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    Findings = list[Finding]

RATING_IS_A_PLACEHOLDER_KA = 10.0  # no low- or medium-voltage line carries this; 1e5 is how tools write "unknown"
ZERO_PATHS = {"Dyn": "to_ground", "Yzn": "to_ground", "YNyn": "through"}


def number(row: Any, column: str, default: float = math.nan) -> float:
    """A cell as float; the default where it is missing, empty or no number."""
    value = row.get(column, default)
    try:
        value = float(value)
    except (TypeError, ValueError):
        return default
    return default if math.isnan(value) else value


def rows_in_service(net: Any, table: str) -> Iterator[tuple[int, Any]]:
    """Rows in service of a table, as (index, mapping)."""
    frame = net.get(table)
    if frame is None or not len(frame):
        return
    for index, row in zip(frame.index, frame.to_dict("records"), strict=True):
        if bool(row.get("in_service", True)):
            yield int(index), row


def lines(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    frequency = 2 * math.pi * float(net.get("f_hz", 50.0))
    opened = _open_branches(net, "l")
    for index, row in rows_in_service(net, "line"):
        if index in opened:
            continue
        element = f"line {index}"
        ends = _ends(element, row, ("from_bus", "to_bus"), bus_of, findings)
        if ends is None or ends[0] == ends[1]:
            continue
        length, parallel = number(row, "length_km"), number(row, "parallel", 1.0)
        z1 = complex(number(row, "r_ohm_per_km"), number(row, "x_ohm_per_km")) * length / parallel
        z0 = complex(number(row, "r0_ohm_per_km"), number(row, "x0_ohm_per_km")) * length / parallel if phases == 3 else z1
        shunt = length * parallel
        y1 = complex(number(row, "g_us_per_km", 0.0) * 1e-6, frequency * number(row, "c_nf_per_km", 0.0) * 1e-9) * shunt
        y0 = complex(0.0, frequency * number(row, "c0_nf_per_km", 0.0) * 1e-9) * shunt
        rating_ka = number(row, "max_i_ka")
        _check_impedance(element, z1, "r_ohm_per_km, x_ohm_per_km and length_km", findings)
        if phases == 3 and not math.isnan(abs(z1)):
            _check_impedance(element, z0, "r0_ohm_per_km and x0_ohm_per_km (zero sequence)", findings)
        if not 0 < rating_ka < RATING_IS_A_PLACEHOLDER_KA:
            findings.append(
                Finding(element, f"has no usable thermal rating (max_i_ka = {rating_ka:g})", "set max_i_ka from its cable type")
            )
        rating_a = rating_ka * 1e3 * number(row, "df", 1.0) * parallel
        yield Branch("line", index, *ends, z1, z0, y1, y0, rating_a)


def transformers(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    opened = _open_branches(net, "t")
    for index, row in rows_in_service(net, "trafo"):
        element = f"transformer {index}"
        ends = _ends(element, row, ("hv_bus", "lv_bus"), bus_of, findings)
        if index in opened or ends is None:
            continue
        parallel = number(row, "parallel", 1.0)
        sn_va, v_low = number(row, "sn_mva") * 1e6 * parallel, number(row, "vn_lv_kv") * 1e3
        if not (sn_va > 0 and v_low > 0 and number(row, "vn_hv_kv") > 0):
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
                findings.append(
                    Finding(element, f"has vector group {group or 'none'!r}", f"set vector_group to one of {', '.join(ZERO_PATHS)}")
                )
        hours = number(row, "shift_degree", 0.0) / 30.0
        if abs(hours - round(hours)) > 1e-9 or number(row, "tap_step_degree", 0.0):
            findings.append(Finding(element, "shifts the phase by other than whole clock hours", "use an ordinary vector group"))
        magnetising = complex(number(row, "pfe_kw", 0.0) * 1e3 * parallel, 0.0)
        apparent = number(row, "i0_percent", 0.0) / 100 * sn_va
        magnetising -= 1j * math.sqrt(max(apparent**2 - magnetising.real**2, 0.0))
        yield Branch(
            "transformer", index, *ends, z1, z0, magnetising / v_low**2, 0j,
            rating_a=sn_va * number(row, "df", 1.0) / (math.sqrt(3) * v_low), rating_va=sn_va,
            ratio=_ratio(row), shift_degree=30.0 * round(hours), zero_path=ZERO_PATHS.get(group, "through"),
        )  # fmt: skip


def _open_branches(net: Any, kind: str) -> set[int]:
    return {int(row["element"]) for _, row in rows_in_service(net, "switch") if row["et"] == kind and not row["closed"]}


def _ends(element: str, row: Any, columns: tuple[str, str], bus_of: dict[int, int], findings: Findings) -> tuple[int, int] | None:
    ends = tuple(int(number(row, column, -1)) for column in columns)
    missing = [end for end in ends if end not in bus_of]
    if missing:
        findings.append(
            Finding(element, f"ends at bus {missing[0]}, which does not exist or is out of service", "connect it or take it out of service")
        )
        return None
    return bus_of[ends[0]], bus_of[ends[1]]


def _check_impedance(element: str, z: complex, columns: str, findings: Findings) -> None:
    if math.isnan(abs(z)):
        findings.append(Finding(element, "has an impedance that is not a number", f"set {columns}"))
    elif abs(z) < 1e-9:
        findings.append(Finding(element, "has zero impedance", f"set {columns}, or use a closed bus-bus switch"))


def _leakage(row: Any, whole: str, real: str) -> complex:
    z, r = number(row, whole) / 100, number(row, real) / 100
    return complex(r, math.sqrt(max(z**2 - r**2, 0.0))) if not math.isnan(z) else complex(math.nan, math.nan)


def _ratio(row: Any) -> float:
    high, low = number(row, "vn_hv_kv"), number(row, "vn_lv_kv")
    steps = number(row, "tap_pos", 0.0) - number(row, "tap_neutral", 0.0)
    change = 1 + steps * number(row, "tap_step_percent", 0.0) / 100
    side = row.get("tap_side")
    return high * (change if side == "hv" else 1.0) / (low * (change if side == "lv" else 1.0))

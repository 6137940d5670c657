"""Lines and two-winding transformers of a pandapower net as `Branch` records, in ohms, siemens and amperes.

Pandapower's pi model of lines (r, x, c, g by km, length, parallel, df) and its two-winding transformer (vk, vkr, i0, pfe, tap,
vector group) are kept; the magnetising branch is split over both ends as power-grid-model does it. Zero sequence is read in
three-phase networks only, without the magnetising path of transformers (mag0). Branches out of service or behind an open switch
are left out. A line that is open at one end only still charges: in balanced networks it is an admittance to ground at its other
end (up to 0.001 pu in medium voltage), in three-phase ones it is left out.
"""

from __future__ import annotations

import cmath
import math
import re
from typing import TYPE_CHECKING, Any

from riskcheck.columns import bus_at, is_empty, number, rows_in_service
from riskcheck.network import Branch, Finding
from riskcheck.taps import operator_range, tap_factors

if TYPE_CHECKING:
    from collections.abc import Iterator

    Findings = list[Finding]

RATING_IS_A_PLACEHOLDER_KA = 10.0  # no low- or medium-voltage line carries this; 1e5 is how tools write "unknown"
# Where zero sequence goes, and whether the clock hour of the vector group is odd.
ZERO_PATHS = {"Dyn": ("to_ground", 1), "Yzn": ("to_ground", 1), "YNyn": ("through", 0)}


def lines(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    opened = open_branches(net, "l")
    for index, row in rows_in_service(net, "line"):
        if index in opened:
            continue
        ends = _ends(f"line {index}", row, ("from_bus", "to_bus"), bus_of, findings)
        if ends is not None and ends[0] != ends[1]:
            yield _line(index, row, ends, phases, 2 * math.pi * float(net.get("f_hz", 50.0)), findings)


def hanging_lines(net: Any, bus_of: dict[int, int], findings: Findings) -> Iterator[tuple[int, complex]]:
    """(bus, admittance to ground) of each line of a balanced network that an open switch parts from just one of its buses."""
    apart = {(int(r["element"]), int(r["bus"])) for _, r in rows_in_service(net, "switch") if r["et"] == "l" and not r["closed"]}
    rows = dict(rows_in_service(net, "line"))
    for index in sorted({line for line, _ in apart} & set(rows)):
        row = rows[index]
        near = [bus_of[bus] for bus in (row["from_bus"], row["to_bus"]) if (index, bus) not in apart and bus in bus_of]
        if len(near) == 1:
            line = _line(index, row, (near[0], near[0]), 1, 2 * math.pi * float(net.get("f_hz", 50.0)), findings)
            half = line.y1_siemens / 2
            yield near[0], half + half / (1 + line.z1_ohm * half)


def _line(index: int, row: Any, ends: tuple[int, int], phases: int, omega: float, findings: Findings) -> Branch:
    element = f"line {index}"
    length, parallel = number(row, "length_km"), _parallel(element, row, findings)
    if not length >= 0:
        findings.append(Finding(element, f"has the length {length:g} km", "set length_km"))
        length = 1.0
    z1 = complex(number(row, "r_ohm_per_km"), number(row, "x_ohm_per_km")) * length / parallel
    z0 = complex(number(row, "r0_ohm_per_km"), number(row, "x0_ohm_per_km")) * length / parallel if phases == 3 else z1
    check_impedance(element, z1, "r_ohm_per_km, x_ohm_per_km and length_km", findings)
    if phases == 3 and cmath.isfinite(z1):
        check_impedance(element, z0, "r0_ohm_per_km and x0_ohm_per_km (zero sequence)", findings)
    y1 = complex(number(row, "g_us_per_km", 0.0) * 1e-6, omega * number(row, "c_nf_per_km", 0.0) * 1e-9) * length * parallel
    y0 = complex(0.0, omega * number(row, "c0_nf_per_km", 0.0) * 1e-9) * length * parallel
    _check_shunt(element, (y1, y0), "g_us_per_km, c_nf_per_km and c0_nf_per_km", findings)
    rating, neutral = (_line_rating_a(element, row, column, findings) for column in ("max_i_ka", "max_i_n_ka"))
    return Branch("line", index, *ends, z1, z0, y1, y0, rating * parallel, neutral_rating_a=neutral * parallel)


def _line_rating_a(element: str, row: Any, column: str, findings: Findings) -> float:
    """Rating of one system; without a neutral rating there is no limit. max_loading_percent is a limit, so it counts."""
    if column == "max_i_n_ka" and is_empty(row, column):
        return math.inf
    rating_ka = number(row, column)
    share = _share(element, row, findings)
    if not 0 < rating_ka < RATING_IS_A_PLACEHOLDER_KA:
        findings.append(
            Finding(element, f"has no usable thermal rating ({column} = {rating_ka:g})", f"set {column} in kA from its cable type")
        )
    return rating_ka * 1e3 * share


def _share(element: str, row: Any, findings: Findings) -> float:
    """What of the rating may be used: derating and the operator's own limit."""
    share = number(row, "df", 1.0) * number(row, "max_loading_percent", 100.0) / 100
    if not 0 < share <= 10:
        findings.append(Finding(element, f"may use {share:g} of its rating", "correct df and max_loading_percent"))
    return share


def transformers(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> Iterator[Branch]:
    opened = open_branches(net, "t")
    for index, row in rows_in_service(net, "trafo"):
        element = f"transformer {index}"
        if index in opened:
            continue
        ends = _ends(element, row, ("hv_bus", "lv_bus"), bus_of, findings)
        if ends is None:
            continue
        parallel = _parallel(element, row, findings)
        sn_va, high_v, low_v = (number(row, column) * 1e6 * parallel if column == "sn_mva" else number(row, column) * 1e3
                                for column in ("sn_mva", "vn_hv_kv", "vn_lv_kv"))  # fmt: skip
        if not (sn_va > 0 and low_v > 0 and high_v > 0):
            findings.append(Finding(element, "has no usable rating", "set sn_mva, vn_hv_kv and vn_lv_kv"))
            continue
        factors = tap_factors(element, row, findings)
        tapped_v = low_v * abs(factors["lv"])
        base = tapped_v**2 / sn_va
        z1 = _leakage(element, row, "vk_percent", "vkr_percent", findings) * base
        z0 = _leakage(element, row, "vk0_percent", "vkr0_percent", findings) * base if phases == 3 else z1
        shift = number(row, "shift_degree", 0.0) + math.degrees(cmath.phase(factors["hv"]) - cmath.phase(factors["lv"]))
        step, low, high = operator_range(element, row, findings)
        yield Branch(
            "transformer", index, *ends, z1, z0, magnetising_va(element, row, sn_va, parallel, findings) / tapped_v**2, 0j,
            rating_a=sn_va * _share(element, row, findings) / (math.sqrt(3) * low_v), rating_va=sn_va,
            ratio=high_v * abs(factors["hv"]) / tapped_v, shift_degree=shift,
            zero_path=_zero_path(element, row, phases, shift, findings), tap_step=step, tap_low=low, tap_high=high,
        )  # fmt: skip


def _zero_path(element: str, row: Any, phases: int, shift_degree: float, findings: Findings) -> str:
    if not math.isfinite(shift_degree):
        findings.append(Finding(element, "has a phase shift that is not a number", "set shift_degree"))
    if phases == 1 or not math.isfinite(shift_degree):
        return "through"
    group = "" if is_empty(row, "vector_group") else re.sub(r"\d+$", "", str(row["vector_group"]))
    if group not in ZERO_PATHS:
        findings.append(Finding(element, f"has vector group {group or 'none'!r}", f"set vector_group to one of {', '.join(ZERO_PATHS)}"))
        return "through"
    path, odd = ZERO_PATHS[group]
    hours = shift_degree / 30
    if abs(hours - round(hours)) > 1e-9 or round(hours) % 2 != odd:
        problem = f"turns the phases by {shift_degree:g} degrees, which {group} cannot in a three-phase network"
        findings.append(Finding(element, problem, f"set shift_degree to an {'odd' if odd else 'even'} number of clock hours of 30 degrees"))
    return path


def open_branches(net: Any, kind: str) -> set[int]:
    return {int(row["element"]) for _, row in rows_in_service(net, "switch") if row["et"] == kind and not row["closed"]}


def _ends(element: str, row: Any, columns: tuple[str, str], bus_of: dict[int, int], findings: Findings) -> tuple[int, int] | None:
    start, end = (bus_at(element, row, column, bus_of, findings) for column in columns)
    return None if start is None or end is None else (start, end)


def _parallel(element: str, row: Any, findings: Findings) -> float:
    parallel = number(row, "parallel", 1.0)
    if parallel >= 1 and parallel == int(parallel):
        return parallel
    findings.append(Finding(element, f"has {parallel:g} parallel systems", "set parallel to a whole number from 1"))
    return 1.0


def check_impedance(element: str, z: complex, columns: str, findings: Findings) -> None:
    if not cmath.isfinite(z):
        findings.append(Finding(element, "has an impedance that is not a number", f"set {columns}"))
    elif abs(z) < 1e-9:
        findings.append(Finding(element, "has zero impedance", f"set {columns}, or use a closed bus-bus switch"))
    elif z.real < 0:
        findings.append(Finding(element, "has a negative resistance", f"correct {columns}"))


def _check_shunt(element: str, admittances: tuple[complex, ...], columns: str, findings: Findings) -> None:
    if not all(cmath.isfinite(y) and y.real >= 0 and y.imag >= 0 for y in admittances):
        findings.append(Finding(element, "has a negative charging admittance, or one that is not a number", f"correct {columns}"))


def _leakage(element: str, row: Any, whole: str, real: str, findings: Findings) -> complex:
    """Leakage impedance, per unit of the transformer."""
    z, r = number(row, whole) / 100, number(row, real) / 100
    if z < r:
        findings.append(Finding(element, f"has {real} above {whole}", f"correct {whole} and {real}"))
    leakage = complex(r, math.sqrt(max(z**2 - r**2, 0.0))) if not math.isnan(z) else complex(math.nan, math.nan)
    check_impedance(element, leakage, f"{whole} and {real}", findings)
    return leakage


def magnetising_va(element: str, row: Any, sn_va: float, parallel: float, findings: Findings) -> complex:
    """What the iron takes at rated voltage: losses, less j times the reactive power."""
    losses, apparent = number(row, "pfe_kw", 0.0) * 1e3 * parallel, number(row, "i0_percent", 0.0) / 100 * sn_va
    if not (0 <= losses < sn_va and 0 <= apparent < sn_va):
        findings.append(Finding(element, "has no usable magnetising branch", "correct pfe_kw and i0_percent"))
        return 0j
    return complex(losses, -math.sqrt(max(apparent**2 - losses**2, 0.0)))

"""Tap changers of transformers as pandapower 3 reads them: a complex factor on the rated voltage of the winding they sit on.

    Ratio, Symmetrical    1 + n s e^(j t)      n steps from neutral of s = tap_step_percent / 100, at an angle of t = tap_step_degree
    Ideal                 e^(j n t)            turns without changing the ratio; by percent: 2 asin(n s / 2) instead of n t

With factors c_hv and c_lv the ratio is vn_hv |c_hv| / (vn_lv |c_lv|), and the low side lags by shift_degree + arg c_hv - arg c_lv.
Tables of ratio and impedance by tap position are not read. Nets from before pandapower 3 have no `tap_changer_type`: there a
changer is of type Ratio, or Ideal where `tap_phase_shifter` says so.
"""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

from riskcheck.columns import flag, is_empty, number
from riskcheck.network import Finding

if TYPE_CHECKING:
    Findings = list[Finding]

TYPES = ("Ratio", "Symmetrical", "Ideal")


def tap_factors(element: str, row: Any, findings: Findings) -> dict[str, complex]:
    """Factor by side ("hv", "mv", "lv") of the tap changers of one transformer."""
    factors = dict.fromkeys(("hv", "mv", "lv"), 1 + 0j)
    if flag(element, row, "tap_dependency_table", findings) or flag(element, row, "tap_dependent_impedance", findings):
        findings.append(Finding(element, "takes its tap from a table", "set tap_dependency_table to False, with tap_step_percent"))
        return factors
    for changer in ("tap", "tap2"):
        steps = number(row, f"{changer}_pos", 0.0) - number(row, f"{changer}_neutral", 0.0)
        if steps == 0:
            continue
        side, factor = row.get(f"{changer}_side"), _factor(element, row, changer, steps, findings)
        if side not in factors:
            findings.append(Finding(element, f"has a tap off neutral and {changer}_side {side!r}", f"set {changer}_side to hv or lv"))
        elif factor is not None:
            factors[side] *= factor
    return factors


def _factor(element: str, row: Any, changer: str, steps: float, findings: Findings) -> complex | None:
    percent, degree = (number(row, f"{changer}_step_{unit}", 0.0) for unit in ("percent", "degree"))
    size, angle = steps * percent / 100, math.radians(degree)
    kind = _type(row, changer)
    if not math.isfinite(size + angle) or abs(size) >= 1:
        findings.append(Finding(element, f"has a tap of {steps:g} steps of {percent:g} %", f"correct its {changer} columns"))
    elif kind == "Ideal" and percent and degree:
        findings.append(Finding(element, "has an ideal phase shifter with steps in percent and degrees", "set one of the two to 0"))
    elif kind == "Ideal":
        return cmath.exp(1j * (steps * angle if degree else 2 * math.asin(size / 2)))
    elif kind in TYPES:
        return 1 + size * cmath.exp(1j * angle)
    else:
        remedy = f"set {changer}_changer_type to {', '.join(TYPES)}, or {changer}_pos to {changer}_neutral"
        findings.append(Finding(element, f"has a tap off neutral of the type {kind!r}", remedy))
    return None


def _type(row: Any, changer: str) -> Any:
    if f"{changer}_changer_type" in row:
        return None if is_empty(row, f"{changer}_changer_type") else row[f"{changer}_changer_type"]
    return "Ideal" if bool(row.get(f"{changer}_phase_shifter") or False) else "Ratio"


def operator_range(element: str, row: Any, findings: Findings) -> tuple[float, int, int]:
    """(tap_step, tap_low, tap_high) of a tap that the operator may move, see `Branch`; zeros where it may not."""
    if not flag(element, row, "tap_operator", findings):
        return 0.0, 0, 0
    position, low, high = number(row, "tap_pos", 0.0), number(row, "tap_min"), number(row, "tap_max")
    percent = number(row, "tap_step_percent")
    now = 1 + (position - number(row, "tap_neutral", 0.0)) * percent / 100
    plain = row.get("tap_side") == "hv" and _type(row, "tap") == "Ratio" and not number(row, "tap_step_degree", 0.0)
    whole = all(math.isfinite(x) and x == int(x) for x in (position, low, high))
    if not plain or not whole or not low <= position <= high or not 0 < abs(percent) <= 10 or not now > 0:
        remedy = "give it tap_side hv, type Ratio, and whole tap_min <= tap_pos <= tap_max with tap_step_percent up to 10"
        findings.append(Finding(element, "has a tap that the operator cannot move", remedy))
        return 0.0, 0, 0
    return percent / 100 / now, int(low - position), int(high - position)

"""Three-winding transformers of a pandapower net: a star of three branches around a bus of their own, in balanced networks.

The impedances between pairs of windings, each on the smaller of the two ratings, are brought to the rating of the high-voltage
winding and turned from delta into star (a star impedance may well be negative); the magnetising branch sits in the winding that
`loss_side` names (high voltage). As pandapower has it, with the star bus at the voltage level of the high-voltage side. A tap
changer at the star point acts on the star's side of its winding: the ratio is the same, the impedance is not scaled by it.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from riskcheck.branches import magnetising_va
from riskcheck.columns import bus_at, flag, number, rows_in_service
from riskcheck.network import Branch, Finding
from riskcheck.taps import tap_factors

if TYPE_CHECKING:
    Findings = list[Finding]

SIDES = ("hv", "mv", "lv")
# The pair of windings whose short-circuit voltage stands in the columns vk_hv, vk_mv and vk_lv.
PAIRS = (("hv", "mv"), ("mv", "lv"), ("hv", "lv"))


@dataclass(frozen=True)
class Star:
    """The bus in the middle of one transformer, at the voltage level of `level_of`, and its windings."""

    bus: int
    name: str
    level_of: int
    branches: tuple[Branch, ...]


def stars(net: Any, phases: int, bus_of: dict[int, int], findings: Findings) -> list[Star]:
    """The three-winding transformers in service; their buses are numbered on from the net's last."""
    found: list[Star] = []
    opened = {(int(r["element"]), int(r["bus"])) for _, r in rows_in_service(net, "switch") if r["et"] == "t3" and not r["closed"]}
    for index, row in rows_in_service(net, "trafo3w"):
        element = f"trafo3w {index}"
        if phases == 3:
            findings.append(Finding(element, "is not modelled in a three-phase network", "replace it by two-winding transformers"))
            continue
        buses = {side: bus_at(element, row, f"{side}_bus", bus_of, findings) for side in SIDES}
        star_bus = max(int(bus) for bus in net.bus.index) + 1 + index
        closed = [side for side in SIDES if buses[side] is not None and (index, int(row[f"{side}_bus"])) not in opened]
        branches = _windings(element, index, row, star_bus, buses, findings)
        if branches is not None and len(closed) >= 2 and None not in buses.values():
            found.append(Star(star_bus, f"{element} star", int(row["hv_bus"]), tuple(branches[side] for side in closed)))
    return found


def _windings(element: str, index: int, row: Any, star: int, buses: dict[str, int | None], findings: Findings) -> dict[str, Branch] | None:
    sn_va = {side: number(row, f"sn_{side}_mva") * 1e6 for side in SIDES}
    rated_v = {side: number(row, f"vn_{side}_kv") * 1e3 for side in SIDES}
    if not all(value > 0 for value in (*sn_va.values(), *rated_v.values())):
        findings.append(Finding(element, "has no usable rating", "set sn_ and vn_ of hv, mv and lv"))
        return None
    leakage = _star_impedance(element, row, sn_va, findings)
    iron_side = row.get("loss_side") if isinstance(row.get("loss_side"), str) else "hv"
    if iron_side not in SIDES:
        findings.append(Finding(element, f"has its losses at {iron_side!r}", "set loss_side to hv, mv or lv"))
    factors, at_star = tap_factors(element, row, findings), flag(element, row, "tap_at_star_point", findings)
    branches = {}
    for side in SIDES:
        size, high, own = abs(factors[side]), side == "hv", buses[side] or 0
        inner_v = rated_v["hv"] / (size if at_star else 1.0) if high else rated_v["hv"]
        outer_v = rated_v[side] * (1.0 if at_star and not high else size)
        ratio = rated_v["hv"] * size / rated_v["hv"] if high else rated_v["hv"] / (rated_v[side] * size)
        low_v = inner_v if high else outer_v
        shift = 0.0 if high else number(row, f"shift_{side}_degree", 0.0)
        shift += math.degrees(cmath.phase(factors[side])) * (1 if high else -1)
        if not math.isfinite(shift):
            findings.append(Finding(element, "has a phase shift that is not a number", f"set shift_{side}_degree"))
        iron = magnetising_va(element, row, sn_va[side], 1.0, findings) if side == iron_side else 0j
        z = leakage[side] * low_v**2 / sn_va[side]
        branches[side] = Branch(
            f"winding {side} of trafo3w", index, own if high else star, star if high else own, z, z, iron / low_v**2, 0j,
            rating_a=sn_va[side] * number(row, "max_loading_percent", 100.0) / 100 / (math.sqrt(3) * rated_v[side]),
            rating_va=sn_va[side], ratio=ratio, shift_degree=shift,
        )  # fmt: skip
    return branches


def _star_impedance(element: str, row: Any, sn_va: dict[str, float], findings: Findings) -> dict[str, complex]:
    """Impedance of each winding, per unit of its own rating; see pandapower, "three winding transformer"."""
    between = {}
    for pair, column in zip(PAIRS, SIDES, strict=True):
        z, r = (number(row, f"{name}_{column}_percent") / 100 for name in ("vk", "vkr"))
        if not (z > 0 and 0 <= r <= z):
            findings.append(
                Finding(element, "has an impedance that is not usable", f"set 0 <= vkr_{column}_percent <= vk_{column}_percent")
            )
            z, r = 0.1, 0.0
        between[pair] = complex(r, math.sqrt(z**2 - r**2)) * sn_va["hv"] / min(sn_va[side] for side in pair)
    high, middle, low = (between[pair] for pair in PAIRS)
    own = {"hv": high + low - middle, "mv": middle + high - low, "lv": low + middle - high}
    return {side: own[side] / 2 * sn_va[side] / sn_va["hv"] for side in SIDES}

"""What a certificate says: the records, and a point of the box in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from riskcheck.network import Network

    Floats = npt.NDArray[np.float64]


class Corner(msgspec.Struct, frozen=True):
    """A point of the box in words and in whole watts per customer and passive, export positive, at an interface voltage."""

    description: str
    interface_pu: float
    power_w: tuple[int, ...]
    passive_w: tuple[int, ...] = ()


class PhaseVoltage(msgspec.Struct, frozen=True):
    """The most extreme voltage of one phase: per unit of nominal, in volts, and where."""

    phase: str
    voltage_pu: float
    voltage_v: float
    bus: str
    corner: str


class BranchLoading(msgspec.Struct, frozen=True):
    name: str
    phase: str
    loading_percent: float
    corner: str


class KindMargin(msgspec.Struct, frozen=True):
    """The limit of one kind that came nearest to breaking. `margin` and `value` are in `unit`; `strategy` of the search found it.

    `value_v` is the value in volts where it is a voltage. `phase` is "n" for a neutral current, "abc" in a balanced network.
    """

    kind: str
    margin: float
    value: float
    unit: str
    element: str
    phase: str
    corner: Corner
    strategy: str
    value_v: float | None = None


class Certificate(msgspec.Struct, frozen=True):
    """Result of `certify`. Margins are the smallest found, negative where a limit breaks: pu, pu, fraction of rating.

    `kinds` has an entry for every kind of limit that the network has, with the corner that attains its margin. `bus_margin_pu`
    and `branch_margin` have one figure per bus and branch of the network, the smallest over phases, sides and corners.
    `points_tried` counts points of the search, by strategy in `points_by_strategy`, each solved at both ends of the interface
    range; `points_confirmed` counts the power flows in which power-grid-model agreed.
    """

    secure: bool
    margin_voltage_max_pu: float
    margin_voltage_min_pu: float
    margin_thermal: float
    highest_voltages: tuple[PhaseVoltage, ...]
    lowest_voltages: tuple[PhaseVoltage, ...]
    worst_branch: BranchLoading
    worst_kind: str
    worst_corner: Corner
    points_tried: int
    points_confirmed: int
    bus_margin_pu: tuple[float, ...]
    branch_margin: tuple[float, ...]
    network_hash: str
    effort: str
    seed: int
    rows_hash: str | None = None
    kinds: tuple[KindMargin, ...] = ()
    points_by_strategy: dict[str, int] = {}


def describe(network: Network, power_w: Floats) -> str:
    """A point [n_customers] or [n_injectors] in words, phase by phase: "phase a exports, b and c import"."""
    phases: dict[str, list[float]] = {}
    for customer, power in zip(network.customers, power_w[: len(network.customers)], strict=True):
        phases.setdefault(customer.phase, []).append(float(power))
    verbs: dict[str, list[str]] = {}
    for phase, powers in sorted(phases.items()):
        verbs.setdefault(_verb(powers), []).append(phase)
    if len(verbs) == 1:
        return f"all {next(iter(verbs))}"
    parts = []
    for verb, names in verbs.items():
        shown = verb + "s" if len(names) == 1 and verb in ("export", "import") else verb
        parts.append(f"{' and '.join(names)} {shown}")
    return "phase " + ", ".join(parts)


def _verb(powers_w: list[float]) -> str:
    exporting, importing = sum(p > 0 for p in powers_w), sum(p < 0 for p in powers_w)
    if not exporting and not importing:
        return "idle"
    if not importing:
        return "export"
    if not exporting:
        return "import"
    return f"mixed ({exporting} of {exporting + importing} export)"

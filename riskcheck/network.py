"""The network as limex sees it: an immutable record of buses, branches, customers and limits, in SI units.

A network is read once (`load`), checked completely, and never changes; another topology is another network with another
content hash. What is read from which pandapower field, and every default, is in docs/networks.md.

Conventions
* Buses are numbered 0..n-1; `bus_names` keeps the number that the source gave them. Voltages are phase to neutral, in volts.
* `bus_base_v` is the base of the source's per-unit system; `bus_nominal_v` is the declared voltage to which limits refer
  (230 V in public low voltage, EN 50160; elsewhere the base). All per-unit figures that limex shows are of `bus_nominal_v`.
* `phases` is 3 for a network with phases a, b, c, and 1 for a balanced one, where a branch has one current and a bus one voltage.
* A branch's impedance is in ohms at the voltage of its `to_bus`; a transformer's `to_bus` is its low-voltage side.
* Power is positive when it is exported into the network. Reactive power follows from it, see `Customer`.
* A three-winding transformer is three branches around a bus of its own.

Not modelled: the voltage of the neutral conductor (its impedance is in the sequence impedances), switches that are not ideal,
voltage-dependent loads, voltage-controlled generators. A source that has them is refused by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_NETWORK = "ieee-european-lv"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a source: the element, the problem, and what its owner can do about it."""

    element: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.element}: {self.problem} ({self.remedy})"


class BadNetwork(ValueError):  # noqa: N818 - the name is the domain's: a bad network, with findings
    """The source cannot be traded on. `findings` holds everything that is wrong, not only the first thing."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"{len(findings)} finding(s) on this network:\n{lines}")


@dataclass(frozen=True)
class VoltVar:
    """A Volt-VAr curve (IEEE 1547, EN 50549-1): reactive power, as a share of `var_max`, by voltage in pu of nominal.

    Piecewise linear through (voltage_pu, share), constant beyond its ends; shares fall from +1 (injects) to -1 (absorbs).
    """

    voltage_pu: tuple[float, ...]
    share: tuple[float, ...]
    var_max: float


@dataclass(frozen=True)
class Customer:
    """One metering point. Ratings bound what may ever be held, failsafe is the envelope without communication; whole watts.

    Reactive power: imports draw it by `power_factor` (lagging), exports absorb it by `export_power_factor`; with a `volt_var`
    curve the curve alone decides. `reactive_var_max` is what the operator may ask of its inverter beyond that, either way, and
    `reactive_var` what it has been told to inject now.
    """

    id: str
    bus: int
    phase: str  # "a" | "b" | "c" | "abc"
    rating_export_w: int
    rating_import_w: int
    failsafe_export_w: int
    failsafe_import_w: int
    power_factor: float
    export_power_factor: float = 1.0
    volt_var: VoltVar | None = None
    reactive_var_max: int = 0
    reactive_var: int = 0


@dataclass(frozen=True)
class Passive:
    """Load or generation that holds no envelope: its power is anywhere in the forecast interval [low_w, high_w], export positive.

    Reactive power follows its power by `power_factor`, drawn by imports; exports are made at unity.
    """

    id: str
    bus: int
    phase: str
    low_w: int
    high_w: int
    power_factor: float


@dataclass(frozen=True)
class Branch:
    """A line or a two-winding transformer. Admittances are the totals of the pi model; `rating_a` is at `to_bus`, per phase.

    For transformers `ratio` is the no-load voltage ratio from/to including the tap, `shift_degree` by how much the voltage at
    `to_bus` lags, and `zero_path` says where zero-sequence current may flow: "through" (YNyn), "to_ground" on the low-voltage
    side (Dyn, Yzn). An operator may move the tap by `tap_low`..`tap_high` steps from here, each changes `ratio` by `tap_step` of it.
    `neutral_rating_a` limits the sum of the phase currents, which returns through neutral and earth.
    """

    kind: str  # "line" | "transformer"
    number: int
    from_bus: int
    to_bus: int
    z1_ohm: complex
    z0_ohm: complex
    y1_siemens: complex
    y0_siemens: complex
    rating_a: float
    rating_va: float = 0.0
    ratio: float = 1.0
    shift_degree: float = 0.0
    zero_path: str = "through"
    neutral_rating_a: float = math.inf
    tap_step: float = 0.0
    tap_low: int = 0
    tap_high: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"


@dataclass(frozen=True, eq=False)
class Network:
    """An area: see the head of this file for units. Arrays are read-only; two networks are equal when their hashes are."""

    name: str
    phases: int
    bus_names: tuple[str, ...]
    bus_xy: NDArray[np.float64]  # [n_buses, 2], for pictures only
    bus_base_v: NDArray[np.float64]
    bus_nominal_v: NDArray[np.float64]
    bus_min_v: NDArray[np.float64]
    bus_max_v: NDArray[np.float64]
    branches: tuple[Branch, ...]
    sources: tuple[int, ...]
    customers: tuple[Customer, ...]
    voltage_min_pu: float
    voltage_max_pu: float
    interface_min_pu: float
    interface_max_pu: float
    interface_export_w_max: float = math.inf  # into the higher network, all sources together
    interface_import_w_max: float = math.inf
    passives: tuple[Passive, ...] = ()
    bus_shunt_siemens: tuple[tuple[int, complex], ...] = ()  # (bus, admittance to ground per phase)

    def __post_init__(self) -> None:
        for array in (self.bus_xy, self.bus_base_v, self.bus_nominal_v, self.bus_min_v, self.bus_max_v):
            array.setflags(write=False)

    @property
    def n_buses(self) -> int:
        return len(self.bus_names)

    @property
    def injectors(self) -> tuple[Customer | Passive, ...]:
        """Whoever has power: the customers, then the passives."""
        return (*self.customers, *self.passives)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of everything that physics and limits depend on; coordinates and the name are not part of it."""
        digest = hashlib.sha256(b"limex network 2\n")
        for array in (self.bus_base_v, self.bus_nominal_v, self.bus_min_v, self.bus_max_v):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        scalars = (self.phases, self.bus_names, self.sources, self.voltage_min_pu, self.voltage_max_pu)
        interface = (self.interface_min_pu, self.interface_max_pu, self.interface_export_w_max, self.interface_import_w_max)
        digest.update(repr((scalars, interface, self.bus_shunt_siemens)).encode())
        elements: list[Branch | Customer | Passive] = [*self.branches, *self.injectors]
        for element in elements:
            digest.update(repr(dataclasses.astuple(element)).encode())
        return digest.hexdigest()

    def caps_w(self) -> NDArray[np.int64]:
        """Connection ratings by right: [exports of all customers, imports of all customers], shape [2 n_customers]."""
        return np.array([c.rating_export_w for c in self.customers] + [c.rating_import_w for c in self.customers], dtype=np.int64)

    def floors_w(self) -> NDArray[np.int64]:
        """Failsafe envelopes by right, in the same order as `caps_w`."""
        return np.array([c.failsafe_export_w for c in self.customers] + [c.failsafe_import_w for c in self.customers], dtype=np.int64)


def builtin_names() -> tuple[str, ...]:
    """Names that `load` knows without a file, the default first. `simbench:CODE` is known too."""
    from riskcheck.catalogue import BUILTINS

    return tuple(BUILTINS)


def load(source: object = DEFAULT_NETWORK) -> Network:
    """Network from a builtin name, `simbench:CODE`, the path of a pandapower JSON file, or a pandapower net.

    Raises ValueError for a name or path that does not exist (the message lists the builtin names) and BadNetwork, with all
    findings, for a source that cannot be traded on. Importing pandapower takes seconds, so it happens here and not before.
    """
    from riskcheck import catalogue, intake

    if isinstance(source, (str, Path)):
        name = str(source)
        net = catalogue.make(name)
        if net is not None:
            return intake.from_pandapower(net, name=name)
        path = Path(name)
        if not path.is_file():
            known = f"{', '.join(builtin_names())} and simbench:CODE"
            raise ValueError(f"no network named {name!r} and no such file; builtin networks: {known}")
        return intake.from_pandapower(intake.read_json(path), name=path.stem)
    if hasattr(source, "bus") and hasattr(source, "ext_grid"):
        return intake.from_pandapower(source, name=str(getattr(source, "name", "") or "unnamed"))
    raise ValueError(f"cannot read a network from {type(source).__name__}: give a builtin name, a pandapower JSON file or a pandapower net")

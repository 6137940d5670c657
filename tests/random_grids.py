"""Small random networks of any shape, made without pandapower: trees and meshes, balanced and three-phase, mixed phases."""

from __future__ import annotations

import math

import numpy as np

from riskcheck.network import Branch, Customer, Network, Passive

BASE_V = 400 / math.sqrt(3)


def network(seed: int, *, customers: int = 12, phases: int = 3, passives: int = 0, loops: int = 0) -> Network:
    """A low-voltage network: the interface is bus 0, every other bus hangs on an earlier one, `loops` more lines close rings."""
    rng = np.random.default_rng(seed)
    buses = customers // 2 + 2
    pairs = [(int(rng.integers(0, bus)), bus) for bus in range(1, buses)]
    pairs += [tuple(int(bus) for bus in rng.choice(buses, 2, replace=False)) for _ in range(loops)]
    return Network(
        name=f"random {seed}", phases=phases, bus_names=tuple(str(bus) for bus in range(buses)), bus_xy=np.zeros((buses, 2)),
        bus_base_v=np.full(buses, BASE_V), bus_nominal_v=np.full(buses, 230.0), bus_min_v=np.full(buses, 207.0),
        bus_max_v=np.full(buses, 253.0), branches=tuple(_line(rng, number, pair) for number, pair in enumerate(pairs)), sources=(0,),
        customers=tuple(_customer(rng, number, buses, phases) for number in range(customers)),
        voltage_min_pu=0.9, voltage_max_pu=1.1, interface_min_pu=0.98, interface_max_pu=1.02,
        passives=tuple(_passive(rng, number, buses, phases) for number in range(passives)),
    )  # fmt: skip


def _line(rng: np.random.Generator, number: int, pair: tuple[int, ...]) -> Branch:
    z1 = complex(*rng.uniform(0.02, 0.15, 2))
    return Branch("line", number, pair[0], pair[1], z1, z1 * rng.uniform(2, 5), 0j, 0j, rating_a=float(rng.uniform(60, 250)))


def _customer(rng: np.random.Generator, number: int, buses: int, phases: int) -> Customer:
    phase = "abc" if phases == 1 else str(rng.choice(["a", "b", "c", "abc"], p=[0.3, 0.3, 0.3, 0.1]))
    power_factor = float(rng.choice([1.0, 0.95, 0.9]))
    return Customer(f"home{number}", int(rng.integers(1, buses)), phase, 20_000, 20_000, 500, 500, power_factor)


def _passive(rng: np.random.Generator, number: int, buses: int, phases: int) -> Passive:
    low, high = sorted(int(watts) for watts in rng.integers(-6_000, 6_000, 2))
    return Passive(f"load{number}", int(rng.integers(1, buses)), "abc" if phases == 1 else "abc"[number % 3], low, high, 0.95)

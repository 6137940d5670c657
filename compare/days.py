"""The days that every paradigm lives through: homes, appliances, sun, and the voltage at the interface. Pure but for SimBench's data.

A day lasts from 06:00 to 06:00, so that cars charge through their night. On an ordinary network each day draws homes, appliances and
clouds anew from its seed (`demo/homes.py`: late April). On a SimBench network with the `simbench` extra, loads and solar are its
measured profiles of one day of the year, drawn by the seed; worths, batteries and cars are the demo's, by the same seed. A home expects
of a quarter hour what the same quarter hour was on average in the seven days before.

The interface voltage wanders inside the range that the operator guarantees: by the hour between equal bands of that range, by the
quarter hour inside the band. The operator knows the band 75 minutes ahead, when orders are first taken, and so may refresh envelopes for
it; the voltage itself it knows when it measures. Sun and voltage are drawn independently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from demo.homes import HomeModel, connections, fleet, generator

if TYPE_CHECKING:
    import numpy.typing as npt

    from riskcheck.network import Network

    Integers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

MINUTE_MS = 60_000
INTERVAL_MIN = 15
INTERVAL_MS = INTERVAL_MIN * MINUTE_MS
DAY_INTERVALS = 96
MIDNIGHT_MS = 1_776_988_800_000  # 2026-04-24 00:00 UTC
START_MS = MIDNIGHT_MS + 6 * 60 * MINUTE_MS
BANDS = 3
STEPS = 3  # interface voltages in a band: its two ends and its middle
STAYS = 0.6  # the chance that the next hour has the same band
PASSIVE_SEED = "passives"
QUARTERS = 96
WEEK = 7
SIMBENCH = "simbench:"


class Profiles(NamedTuple):
    """Measured watts by customer and quarter hour, [n_customers, quarters]: what it draws, and what its panels give."""

    load_w: Integers
    solar_w: Integers

    @property
    def days(self) -> int:
        return int(self.load_w.shape[1]) // QUARTERS


@dataclass(frozen=True, eq=False)
class Day:
    """One day's homes, and by interval the band and the voltage of the interface; `passive_w` is [intervals, n_passives]."""

    seed: int
    name: str
    homes: tuple[HomeModel, ...]
    band: tuple[int, ...]
    interface_pu: tuple[float, ...]
    passive_w: Floats

    @property
    def intervals(self) -> int:
        return len(self.band)


def band_edges(network: Network) -> list[tuple[float, float]]:
    """The bands of the interface voltage; one where the operator guarantees a single voltage."""
    low, high = network.interface_min_pu, network.interface_max_pu
    count = BANDS if high > low else 1
    edges = [low + (high - low) * step / count for step in range(count)] + [high]
    return list(pairwise(edges))


def draw(network: Network, seed: int, profiles: Profiles | None = None, intervals: int = DAY_INTERVALS) -> Day:
    """The day of this seed, the same on every machine."""
    homes, name = fleet(connections(network), seed), f"seed {seed}"
    if profiles is not None:
        number = int(generator(seed, "day of the year").integers(WEEK, profiles.days))
        homes, name = [_measured(home, profiles, place, number) for place, home in enumerate(homes)], f"day {number + 1} of the year"
    band, interface_pu = _interface(network, seed, intervals)
    random = generator(seed, PASSIVE_SEED)
    passive_w = np.array([[random.uniform(p.low_w, p.high_w) for p in network.passives] for _ in range(intervals)]).reshape(intervals, -1)
    return Day(seed, name, tuple(homes), band, interface_pu, passive_w)


def _interface(network: Network, seed: int, intervals: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    edges, random = band_edges(network), generator(seed, "interface")
    at, bands, voltages = int(random.integers(len(edges))), [], []
    for interval in range(intervals):
        if interval % 4 == 0 and random.random() > STAYS:
            at = min(max(at + int(random.choice((-1, 1))), 0), len(edges) - 1)
        low, high = edges[at]
        bands.append(at)
        voltages.append(float(low + (high - low) * random.integers(STEPS) / (STEPS - 1)))
    return tuple(bands), tuple(voltages)


def _measured(home: HomeModel, profiles: Profiles, place: int, day: int) -> HomeModel:
    """The home with the measured load and sun of a day; it has no battery where it has no sun."""
    load, solar = profiles.load_w[place], profiles.solar_w[place]
    none = np.zeros_like(home.load_w)
    return replace(
        home, load_w=_minutes(load, day, 1), typical_load_w=_minutes(load, day - WEEK, WEEK), heat_w=none, typical_heat_w=none,
        solar_w=_minutes(solar, day, 1), typical_solar_w=_minutes(solar, day - WEEK, WEEK),
        battery=home.battery if solar.any() else None,
    )  # fmt: skip


def _minutes(profile: Integers, day: int, days: int) -> Integers:
    """The mean of some days, by minute of the day."""
    quarters = profile[day * QUARTERS : (day + days) * QUARTERS].reshape(days, QUARTERS).mean(axis=0)
    return np.repeat(quarters.astype(np.int64), INTERVAL_MIN)


def profiles_of(network_name: str, customers: Sequence[str]) -> Profiles | None:
    """SimBench's profiles by customer; None for any other network. Takes half a minute."""
    if not network_name.startswith(SIMBENCH):
        return None
    import simbench

    net = simbench.get_simbench_net(network_name.removeprefix(SIMBENCH))
    measured = simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)
    at_bus = {int(row.bus): _identity(row["name"]) for _, row in net.load.iterrows()}
    place = {name: number for number, name in enumerate(customers)}
    quarters = len(measured["load", "p_mw"])
    found = Profiles(*(np.zeros((len(customers), quarters), dtype=np.int64) for _ in range(2)))
    for table, watts in (("load", found.load_w), ("sgen", found.solar_w)):
        for index, row in getattr(net, table).iterrows():
            name = _identity(row["name"])
            number = place.get(name, place.get(at_bus.get(int(row.bus), "")))
            if number is not None:
                watts[number] += (measured[table, "p_mw"][index].to_numpy() * 1e6).astype(np.int64)
    return found


def _identity(name: str) -> str:
    """As `riskcheck/customers.py` names customers."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip())

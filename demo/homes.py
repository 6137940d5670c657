"""What the homes of the demo draw: seeded appliances, and one minute of physics at a time. Pure; docs/homes.md has the sources.

A home has a load and, by the draw, solar panels, a battery, a car and a heat pump. In every minute its net power lies inside
its envelope [-import_w, +export_w]; what does not fit is cut in a fixed order of merit and booked: sun is *curtailed*, load
and heat go *unserved*, the car charges less. Rules:

1. Sun serves load, heat, car and battery, in this order; the rest is exported, what exceeds the export limit is curtailed.
2. The battery serves load and heat that the sun does not cover. It neither charges from the grid nor discharges into it.
3. Import serves load, then heat, then the car. A car charges with at least 6 A (IEC 61851-1), or not at all.
4. Energy is whole watt-minutes, so every balance holds exactly: see `Flow` and `HomeState.check`.

A home's draws depend on (seed, customer) alone, the clouds on the seed alone. The profile is one day of 1440 minutes of UTC,
repeated where a run is longer. It does not know prices, orders or the market.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from riskcheck.network import Network

MINUTES = 1440
MINUTE_MS = 60_000
DAY_MS = MINUTES * MINUTE_MS

BATTERY_PERCENT = 95  # one way, AC to cells and back: about 90 % round trip
CAR_W = 7_400  # 32 A single phase at 230 V
CAR_W_MIN = 1_380  # 6 A at 230 V, the least that IEC 61851-1 can signal
TARIFF_MCT = 30_000  # what a home pays for a kWh from the grid
LOAD_MCT = 90_000  # what a kWh of household load is worth to it, gross
LATITUDE_DEG = 52.0
DECLINATION_DEG = 12.0  # the sun in late April: strong sun, and heat pumps still run
CLOUD_INDEX_MEAN = 0.85  # of `cloud_index`, on average: what a forecast assumes before it knows

# (name, watts, minutes, cycles per day at full activity): cycle power and length after Richardson et al. 2010
APPLIANCES = (
    ("kettle", 2_000, 3, 3.5),
    ("microwave", 1_250, 8, 1.0),
    ("hob", 2_400, 16, 1.1),
    ("oven", 2_125, 27, 0.6),
    ("washing machine", 2_000, 20, 0.5),
    ("dishwasher", 1_131, 60, 0.5),
    ("tumble dryer", 2_500, 60, 0.25),
    ("vacuum cleaner", 1_600, 18, 0.3),
)

Minutes = npt.NDArray[np.int64]


class Battery(NamedTuple):
    capacity_wmin: int
    power_w: int
    start_wmin: int
    stored_mct: int  # worth of a stored kWh: between feed-in and tariff, so that it is filled by the sun only


class Car(NamedTuple):
    """Connected in the minutes [arrives, leaves) of the run's first day; leaves may exceed one day."""

    arrives_min: int
    leaves_min: int
    need_wmin: int
    urgency_mct: int  # worth of the first kWh above tariff; falls linearly to a fifth at the last

    def value(self, charged_wmin: int) -> float:
        """What this charge is worth, gross, in mct kWh/kWh x watt-minutes (divide by 60,000 for mct)."""
        return charged_wmin * (TARIFF_MCT + self.urgency_mct * (1 - 0.4 * charged_wmin / self.need_wmin))

    def marginal_mct(self, charged_wmin: float) -> float:
        """Worth of one more kWh above the tariff, once this much is charged."""
        return self.urgency_mct * (1 - 0.8 * min(1.0, charged_wmin / self.need_wmin))


@dataclass(frozen=True, eq=False)
class HomeModel:
    """One home, frozen. Profiles in watts by minute of the day; `typical_*` is what it expects before it knows better."""

    customer: str
    kind: str
    rating_export_w: int
    rating_import_w: int
    failsafe_export_w: int
    failsafe_import_w: int
    load_w: Minutes
    heat_w: Minutes
    solar_w: Minutes
    typical_load_w: Minutes
    typical_heat_w: Minutes
    typical_solar_w: Minutes
    known: npt.NDArray[np.float64]  # per minute in [0, 1): known once the forecast's accuracy exceeds it
    feed_in_mct: int
    heat_mct: int  # gross worth of a kWh of heat pump operation
    margin: float  # what it wants to gain on a trade, as a share of its value
    caution: float  # reserve on what it expects to need, when it sells
    spare_mct: int  # the least it asks for a limit that it does not need
    battery: Battery | None
    car: Car | None


class Flow(NamedTuple):
    """Power of one minute in watts: solar - curtailed + discharged + imported = load + heat + car + charged + exported."""

    load_w: int
    heat_w: int
    car_w: int
    charged_w: int
    discharged_w: int
    imported_w: int
    exported_w: int
    curtailed_w: int


def dispatch(load_w: int, heat_w: int, solar_w: int, car_w: int, charge_w: int, discharge_w: int, export_w: int, import_w: int) -> Flow:
    """One minute inside the envelope. `car_w`, `charge_w` and `discharge_w` are the most that car and battery can do now."""
    demand = load_w + heat_w
    sun = max(0, solar_w - demand)
    short = max(0, demand - solar_w)
    discharged = min(short, discharge_w)
    imported = min(short - discharged, import_w)
    cut = short - discharged - imported
    heat_cut = min(heat_w, cut)
    room = sun + import_w - imported
    car = min(car_w, room) if room >= min(car_w, CAR_W_MIN) else 0
    imported += max(0, car - sun)
    sun = max(0, sun - car)
    charged = min(sun, charge_w)
    exported = min(sun - charged, export_w)
    return Flow(load_w - (cut - heat_cut), heat_w - heat_cut, car, charged, discharged, imported, exported, sun - charged - exported)


class Delivered(msgspec.Struct, frozen=True):
    """One home in one interval under one envelope. Energy in whole watt-minutes (60,000 make a kWh), worth in mct.

    `net_w_min`/`net_w_max` are the extremes of its net power, export positive. `value_mct` is the worth of what was served,
    charged, stored and exported, less the tariff of what was imported; nothing that homes pay each other is in it.
    """

    customer: str
    interval_ms: int
    export_w: int
    import_w: int
    net_w_min: int
    net_w_max: int
    load_wmin: int
    heat_wmin: int
    unserved_wmin: int
    solar_wmin: int
    curtailed_wmin: int
    car_wmin: int
    exported_wmin: int
    imported_wmin: int
    battery_wmin: int
    lost_wmin: int
    car_missing_wmin: int
    value_mct: float


class HomeState:
    """What a home carries from one interval to the next: the energy in its battery and that charged into its car."""

    def __init__(self, model: HomeModel, start_ms: int) -> None:
        self.model = model
        self.midnight_ms = start_ms - start_ms % DAY_MS
        self.battery_wmin = model.battery.start_wmin if model.battery else 0
        self.car_wmin = 0

    def check(self) -> None:
        """States are within their bounds."""
        assert 0 <= self.battery_wmin <= (self.model.battery.capacity_wmin if self.model.battery else 0)
        assert 0 <= self.car_wmin <= (self.model.car.need_wmin if self.model.car else 0)

    def minute(self, at_ms: int) -> int:
        """Minutes since the midnight before the run."""
        return (at_ms - self.midnight_ms) // MINUTE_MS

    def car_limit_w(self, minute: int) -> int:
        """The most that the car takes in this minute of the run."""
        car = self.model.car
        if car is None or not car.arrives_min <= minute < car.leaves_min:
            return 0
        return min(CAR_W, car.need_wmin - self.car_wmin)

    def battery_limits_w(self) -> tuple[int, int]:
        """(most charge, most discharge) of one minute, at the AC side."""
        battery = self.model.battery
        if battery is None:
            return 0, 0
        room = (battery.capacity_wmin - self.battery_wmin) * 100 // BATTERY_PERCENT
        return min(battery.power_w, room), min(battery.power_w, self.battery_wmin * BATTERY_PERCENT // 100)

    def step(self, interval_ms: int, end_ms: int, export_w: int, import_w: int) -> Delivered:
        """Lives through [interval_ms, end_ms) under this envelope, minute by minute."""
        model, car = self.model, self.model.car
        first, last = self.minute(interval_ms), self.minute(end_ms)
        car_before, battery_before = self.car_wmin, self.battery_wmin
        flows = [self._minute(minute, export_w, import_w) for minute in range(first, last)]
        load, heat, charged_car, charged, discharged, imported, exported, curtailed = (sum(column) for column in zip(*flows, strict=True))
        day = [minute % MINUTES for minute in range(first, last)]
        wanted = int(model.load_w[day].sum() + model.heat_w[day].sum())
        stored = self.battery_wmin - battery_before
        value = load * LOAD_MCT + heat * model.heat_mct + exported * model.feed_in_mct - imported * TARIFF_MCT
        value += stored * model.battery.stored_mct if model.battery else 0
        total = value + (car.value(self.car_wmin) - car.value(car_before) if car else 0.0)
        left = car is not None and first < car.leaves_min <= last
        self.check()
        return Delivered(
            customer=model.customer, interval_ms=interval_ms, export_w=export_w, import_w=import_w,
            net_w_min=min(flow.exported_w - flow.imported_w for flow in flows),
            net_w_max=max(flow.exported_w - flow.imported_w for flow in flows),
            load_wmin=load, heat_wmin=heat, unserved_wmin=wanted - load - heat,
            solar_wmin=int(model.solar_w[day].sum()), curtailed_wmin=curtailed, car_wmin=charged_car,
            exported_wmin=exported, imported_wmin=imported, battery_wmin=self.battery_wmin,
            lost_wmin=charged - discharged - stored,
            car_missing_wmin=car.need_wmin - self.car_wmin if car and left else 0,
            value_mct=total / 60_000,
        )  # fmt: skip

    def _minute(self, minute: int, export_w: int, import_w: int) -> Flow:
        model, now = self.model, minute % MINUTES
        charge_w, discharge_w = self.battery_limits_w()
        flow = dispatch(
            int(model.load_w[now]), int(model.heat_w[now]), int(model.solar_w[now]),
            self.car_limit_w(minute), charge_w, discharge_w, export_w, import_w,
        )  # fmt: skip
        self.car_wmin += flow.car_w
        self.battery_wmin += flow.charged_w * BATTERY_PERCENT // 100 - -(-flow.discharged_w * 100 // BATTERY_PERCENT)
        return flow


def live(models: Sequence[HomeModel], start_ms: int, interval_ms: int, limits: Sequence[Sequence[tuple[int, int]]]) -> list[Delivered]:
    """All homes through a run; `limits[interval][home]` is (export_w, import_w). The counterfactual is this on the allocations."""
    states = [HomeState(model, start_ms) for model in models]
    delivered = []
    for index, row in enumerate(limits):
        begin = start_ms + index * interval_ms
        delivered += [state.step(begin, begin + interval_ms, *envelope) for state, envelope in zip(states, row, strict=True)]
    return delivered


class Connection(NamedTuple):
    """What the network operator knows of a customer: ratings and failsafe envelope in watts."""

    customer: str
    rating_export_w: int
    rating_import_w: int
    failsafe_export_w: int
    failsafe_import_w: int


def connections(network: Network) -> list[Connection]:
    """Of the network's customers, in their order."""
    return [Connection(c.id, c.rating_export_w, c.rating_import_w, c.failsafe_export_w, c.failsafe_import_w) for c in network.customers]


def fleet(connections: Sequence[Connection], seed: int) -> list[HomeModel]:
    """One home per connection: the draws depend on (seed, customer) only, the clouds on the seed only."""
    clouds = cloud_index(seed)
    return [_home(connection, seed, clouds) for connection in connections]


def generator(seed: int, name: str) -> np.random.Generator:
    """Independent randomness per name, the same on every machine."""
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest(), "little"))


def cloud_index(seed: int) -> npt.NDArray[np.float64]:
    """Clear-sky index of each minute of the day: passing clouds, a two-state process with 4 and 12 minutes' mean stay."""
    random = generator(seed, "clouds")
    index = np.empty(MINUTES)
    minute, clear = 0, True
    while minute < MINUTES:
        stay = 1 + int(random.exponential(12.0 if clear else 4.0))
        index[minute : minute + stay] = random.uniform(0.92, 1.05) if clear else random.uniform(0.25, 0.6)
        minute, clear = minute + stay, not clear
    return np.convolve(np.pad(index, 1, mode="edge"), np.ones(3) / 3, mode="valid")


def clear_sky(shift_min: int = 0) -> npt.NDArray[np.float64]:
    """Global horizontal irradiance of a clear day in W/m2 by Haurwitz 1945; `shift_min` turns the panels east (-) or west (+)."""
    hour_angle = (np.arange(MINUTES) - shift_min - 720) * (2 * np.pi / MINUTES)
    latitude, declination = np.radians(LATITUDE_DEG), np.radians(DECLINATION_DEG)
    cosine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    up = np.maximum(cosine, 1e-3)
    return np.where(cosine > 0.01, 1098 * up * np.exp(-0.059 / up), 0.0)


def _home(connection: Connection, seed: int, clouds: npt.NDArray[np.float64]) -> HomeModel:
    random = generator(seed, connection.customer)
    has_solar, has_battery, has_car, has_heat_pump, away = random.random(5) < (0.5, 0.5, 0.4, 0.3, 0.2)
    has_battery = has_battery and has_solar
    sky = clear_sky(int(random.uniform(-75, 90)))
    peak_w = random.uniform(3_000, 8_000) * has_solar * random.uniform(1.0, 1.15)  # tilt gains what inverter and heat lose, and more
    delay = int(random.integers(0, 6))  # minutes until a cloud reaches this roof
    parts = ["away" if away else "home"] + [
        name for name, has in (("solar", has_solar), ("battery", has_battery), ("car", has_car), ("heat pump", has_heat_pump)) if has
    ]
    return HomeModel(
        **connection._asdict(),
        kind=", ".join(parts),
        load_w=_load(random, bool(away)),
        typical_load_w=_load(random, bool(away)),
        heat_w=_heat(random) * int(has_heat_pump),
        typical_heat_w=_heat(random) * int(has_heat_pump),
        solar_w=(sky / 1000 * peak_w * np.roll(clouds, delay)).astype(np.int64),
        typical_solar_w=(sky / 1000 * peak_w * CLOUD_INDEX_MEAN).astype(np.int64),
        known=random.random(MINUTES),
        feed_in_mct=int(random.uniform(6_000, 12_000)),
        heat_mct=TARIFF_MCT + int(random.uniform(28_000, 36_000)),
        margin=float(random.uniform(0.05, 0.25)),
        caution=float(random.uniform(0.05, 0.3)),
        spare_mct=int(random.uniform(300, 1_500)),
        battery=_battery(random) if has_battery else None,
        car=_car(random) if has_car and not away else None,
    )


def _activity() -> npt.NDArray[np.float64]:
    """How likely a household is to switch something on, per minute of the day; a day's sum is 1."""
    hour = np.arange(MINUTES) / 60
    bumps = ((7.5, 1.2, 0.8), (12.8, 1.5, 0.7), (18.3, 2.2, 1.5))  # breakfast, lunch, evening: hour, width, weight
    shape = np.full(MINUTES, 0.12)
    for centre, width, weight in bumps:
        shape += weight * np.exp(-(((hour - centre) / width) ** 2))
    shape[: 5 * 60] *= 0.1
    return np.asarray(shape / shape.sum())


def _load(random: np.random.Generator, away: bool) -> Minutes:
    """One drawn day: standby and a cycling fridge, lights and electronics with activity, appliances as a Poisson process."""
    watts = np.full(MINUTES, random.uniform(60, 200))
    phase, period = random.uniform(0, 60), random.uniform(40, 60)
    watts += np.where((np.arange(MINUTES) + phase) % period < 0.4 * period, 110.0, 0.0)
    if not away:
        activity = _activity()
        watts += activity * MINUTES * random.uniform(80, 250)
        for _, power_w, minutes, per_day in APPLIANCES:
            starts = np.flatnonzero(random.random(MINUTES) < activity * per_day)
            power = power_w * random.uniform(0.85, 1.15)
            for start in starts:
                watts[start : start + minutes] += power
    return watts.astype(np.int64)


def _heat(random: np.random.Generator) -> Minutes:
    """A heat pump of 1.5 to 3 kW that cycles: on for a share of each 30 minutes, a larger share in the cool hours."""
    power, phase = random.uniform(1_500, 3_000), random.uniform(0, 30)
    minute = np.arange(MINUTES)
    share = 0.45 + 0.2 * np.cos((minute / 60 - 4) * (2 * np.pi / 24)) + random.uniform(-0.1, 0.1)
    return np.where((minute + phase) % 30 < 30 * share, power, 0.0).astype(np.int64)


def _battery(random: np.random.Generator) -> Battery:
    capacity = int(random.uniform(5_000, 10_000)) * 60
    power, filled, stored = random.uniform(3_000, 5_000), random.uniform(0.3, 0.9), random.uniform(16_000, 24_000)
    return Battery(capacity, int(power), int(capacity * filled), int(stored))


def _car(random: np.random.Generator) -> Car:
    """Comes home between 12:30 and 17:30 and needs 4 to 20 kWh: two in three the same evening, the others by morning.

    What it needs is at most 85 % of what its charger could give while it stays.
    """
    arrives = int(random.uniform(12.5, 17.5) * 60)
    tonight = random.random() < 0.67
    stays = int(random.uniform(90, 300) if tonight else random.uniform(600, 960))
    urgency = random.uniform(14_000, 28_000) if tonight else random.uniform(3_000, 8_000)
    need_wmin = min(int(random.uniform(4_000, 20_000)) * 60, stays * CAR_W * 85 // 100)
    return Car(arrives, arrives + stays, need_wmin, int(urgency))

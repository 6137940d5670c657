"""Homes that live through a day inside limits, and how their power is measured minute by minute. Pure.

A paradigm only decides limits; what a home makes of them is `demo/homes.py`: sun that does not fit is curtailed, load and heat that do
not fit go unserved, cars charge less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from compare.days import INTERVAL_MIN, INTERVAL_MS, MINUTE_MS, START_MS, Day
from demo.homes import MINUTES, Delivered, Flow, HomeModel, HomeState, dispatch

if TYPE_CHECKING:
    import numpy.typing as npt

    Watts = npt.NDArray[np.int64]


class Energy(msgspec.Struct):
    """What one home wanted and got in a day, watt-minutes; worth in mct."""

    wanted_wmin: int = 0
    served_wmin: int = 0
    curtailed_wmin: int = 0
    unserved_wmin: int = 0
    car_missing_wmin: int = 0
    value_mct: float = 0.0

    @property
    def share(self) -> float:
        """Sun used or exported, load, heat and car, over what of these there was or was wanted."""
        return self.served_wmin / self.wanted_wmin if self.wanted_wmin else 1.0


class Lived(NamedTuple):
    """One paradigm's day: net power [minutes, homes], export positive, energy by home, the limits of every interval [intervals, homes]
    in watts (None where there were none to rely on), messages by kind, and what deciding took."""

    name: str
    net_w: Watts
    energy: tuple[Energy, ...]
    export_w: Watts | None
    import_w: Watts | None
    messages: Counter[str]
    deciding_s: float
    notes: dict[str, float]


class Resident(HomeState):
    """A home with a meter that writes down every minute's net power."""

    def __init__(self, model: HomeModel) -> None:
        super().__init__(model, START_MS)
        self.net_w: list[int] = []
        self._delivered: list[Delivered] = []

    def live(self, begin_ms: int, minutes: int, export_w: int, import_w: int) -> None:
        self._delivered.append(self.step(begin_ms, begin_ms + minutes * MINUTE_MS, export_w, import_w))

    def wish_w(self, minute: int) -> int:
        """Net power of the minute if its connection were the only limit; nothing changes."""
        model, now = self.model, minute % MINUTES
        flow = dispatch(
            int(model.load_w[now]), int(model.heat_w[now]), int(model.solar_w[now]), self.car_limit_w(minute), *self.battery_limits_w(),
            model.rating_export_w, model.rating_import_w,
        )  # fmt: skip
        return flow.exported_w - flow.imported_w

    def energy(self) -> Energy:
        """The day's account; what the car lacks at its end it will not get."""
        told, car = self._delivered, self.model.car
        need = car.need_wmin if car else 0
        solar, curtailed = sum(one.solar_wmin for one in told), sum(one.curtailed_wmin for one in told)
        served, unserved = sum(one.load_wmin + one.heat_wmin for one in told), sum(one.unserved_wmin for one in told)
        return Energy(
            wanted_wmin=solar + served + unserved + need, served_wmin=solar - curtailed + served + self.car_wmin,
            curtailed_wmin=curtailed, unserved_wmin=unserved, car_missing_wmin=need - self.car_wmin,
            value_mct=sum(one.value_mct for one in told),
        )  # fmt: skip

    def _minute(self, minute: int, export_w: int, import_w: int) -> Flow:
        flow = super()._minute(minute, export_w, import_w)
        self.net_w.append(flow.exported_w - flow.imported_w)
        return flow


def within_limits(name: str, day: Day, export_w: Watts, import_w: Watts, messages: Counter[str], deciding_s: float) -> Lived:
    """A day in which every home keeps to its limits [intervals, homes]."""
    residents = [Resident(model) for model in day.homes]
    for interval in range(day.intervals):
        for resident, *limits in zip(residents, export_w[interval].tolist(), import_w[interval].tolist(), strict=True):
            resident.live(START_MS + interval * INTERVAL_MS, INTERVAL_MIN, *limits)
    return lived(name, residents, export_w, import_w, messages, deciding_s, {})


def lived(
    name: str, residents: Sequence[Resident], export_w: Watts | None, import_w: Watts | None, messages: Counter[str],
    deciding_s: float, notes: dict[str, float],
) -> Lived:  # fmt: skip
    net_w = np.array([resident.net_w for resident in residents], dtype=np.int64).T
    return Lived(name, net_w, tuple(resident.energy() for resident in residents), export_w, import_w, messages, deciding_s, notes)

"""The fleet's errand, its timetable and its answer. Pure: what the asyncio shell in fleet.py is told to do, and when.

Market time runs `speed` times as fast as the wall clock and passes `market_ms` when the wall clock shows `wall_ms`. Each
interval takes orders from `open_lead_ms` to `close_lead_ms` before its delivery. In that window every home acts a
few times, at moments of its own drawn from (seed, customer, interval); at the start of an interval its physics run under the
envelope then in force.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from demo.homes import Connection, Delivered, generator

ROUNDS = 4


class Clock(msgspec.Struct, frozen=True):
    """Market milliseconds as a function of wall milliseconds (both UTC)."""

    market_ms: int
    wall_ms: float
    speed: float

    def market(self, wall_ms: float) -> int:
        return self.market_ms + int((wall_ms - self.wall_ms) * self.speed)

    def wall(self, market_ms: int) -> float:
        return self.wall_ms + (market_ms - self.market_ms) / self.speed


class HomeSpec(msgspec.Struct, frozen=True):
    """One customer: credentials (an empty user is the customer's name), ratings and failsafe envelope in watts."""

    customer: str
    password: str
    rating_export_w: int
    rating_import_w: int
    failsafe_export_w: int
    failsafe_import_w: int
    user: str = ""

    def connection(self) -> Connection:
        return Connection(self.customer, self.rating_export_w, self.rating_import_w, self.failsafe_export_w, self.failsafe_import_w)


class FleetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the fleet is told, as one line of JSON on its standard input.

    Without a `clock` the fleet connects all homes, prints the line `ready`, and reads the clock as a second line of JSON.
    `results` is the path for the answer, or null for standard output.
    """

    host: str
    port: int
    area: str
    seed: int
    start_ms: int
    intervals: int
    interval_ms: int
    open_lead_ms: int
    close_lead_ms: int
    lot_w: int
    tick_mct: int
    price_mct_max: int
    homes: tuple[HomeSpec, ...]
    clock: Clock | None = None
    results: str | None = None


class Announced(msgspec.Struct, frozen=True):
    """The last that was published of an interval: what its auction would come to, and the price of each row that binds."""

    interval_ms: int
    indicative_welfare_mct: int | None = None
    indicative_w: int = 0
    row_price_mct: dict[str, int] = {}


class HomeResult(msgspec.Struct):
    """What one home asked, was answered and lived through. Latencies are in microseconds.

    `lost` requests never got an answer, `resent` ones got it only when asked again. `announced` is what it saw of the public market.
    """

    customer: str
    kind: str
    delivered: list[Delivered] = msgspec.field(default_factory=list)
    requests: int = 0
    answers: dict[str, int] = msgspec.field(default_factory=dict)
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    lost: int = 0
    resent: int = 0
    fills: int = 0
    blocked: int = 0
    missing_envelopes: int = 0
    announced: list[Announced] = msgspec.field(default_factory=list)
    latencies_us: list[int] = msgspec.field(default_factory=list)


class FleetResult(msgspec.Struct, frozen=True):
    """`complete` is false when the fleet was stopped before the last delivery; `errors` are one line each."""

    area: str
    seed: int
    complete: bool
    homes: list[HomeResult]
    errors: list[str]


class Moment(NamedTuple):
    """Something a home does at a market time; `progress` is the share of the trading window that has passed, `turn` counts its rounds."""

    at_ms: int
    kind: Literal["trade", "deliver"]
    interval_ms: int
    progress: float
    turn: int = ROUNDS


def timetable(spec: FleetSpec, customer: str) -> list[Moment]:
    """All moments of one home, in time order; the last round stays clear of the gate."""
    window = spec.open_lead_ms - spec.close_lead_ms
    moments = []
    for index in range(spec.intervals):
        interval_ms = spec.start_ms + index * spec.interval_ms
        random = generator(spec.seed, f"{customer}/{interval_ms}/moments")
        for turn in range(ROUNDS):
            progress = 0.03 + 0.92 * (turn + random.random()) / ROUNDS
            moments.append(Moment(interval_ms - spec.open_lead_ms + int(progress * window), "trade", interval_ms, progress, turn))
        moments.append(Moment(interval_ms, "deliver", interval_ms, 1.0))
    return sorted(moments)

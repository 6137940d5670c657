"""Random but realistic command streams: homes that quote, cross, amend, repeat themselves and err; a solver that proposes.

`Stream` draws from a seeded `random.Random` and looks at the naive model, never at the engine, to know what is worth asking. The
operator is in `stream_operator`, the areas are in `stream_areas`, the proposals in `stream_proposals`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import msgspec

from exchange import commands as c
from tests.model import Model
from tests.model_market import Area, Interval
from tests.model_match import ONE, Scene, ceil_div
from tests.stream_areas import INTERVAL_MS, MIDDLE_MCT, SETTINGS, TERMS, rows_of, too_tight
from tests.stream_operator import OperatorStream
from tests.stream_proposals import proposal

PARTS_MAX = 20
Draw = Callable[[], c.Command | None]


class Stream(OperatorStream):
    """Call `next()` for one more command; apply it to the model before the next call."""

    def __init__(self, model: Model, random: Random) -> None:
        self.model = model
        self.random = random
        self.sent: list[c.CustomerCommand | c.Sweep] = []
        self.ids = 0
        self.start: list[c.Command] = [c.OpenArea(area, SETTINGS[area], TERMS[area]) for area in SETTINGS]
        self.rows = {area: rows_of(area, random) for area in SETTINGS}
        self.too_tight = {area: too_tight(area) for area in SETTINGS}
        self.start += [c.InstallRows(area, rows.to_bytes()) for area in SETTINGS for rows in self.rows[area]]
        self.kinds: list[Draw] = []
        self.weights: list[float] = []
        for kind, weight in self._mix() + self._operator_mix():
            self.kinds.append(kind)
            self.weights.append(weight)

    def _mix(self) -> list[tuple[Draw, float]]:
        return [
            (self.place, 42), (self.place_at_the_limit, 6), (self.block, 5), (self.sweep, 5), (self.replace, 15), (self.cancel, 8),
            (self.mass_cancel, 1), (self.repeat, 3), (self.reuse, 1.5), (self.err, 7),
            (self.one_too_many, 2), (self.block_at_an_iceberg, 2),
        ]  # fmt: skip

    def next(self) -> c.Command:
        if self.start:
            return self.start.pop(0)
        if not all(self._open_intervals(area) for area in SETTINGS):
            return self.open_interval()
        while True:
            command = self.random.choices(self.kinds, self.weights)[0]()
            if command is not None:
                if isinstance(command, c.Place | c.Replace | c.Cancel | c.MassCancel | c.Sweep):
                    self.sent = [*self.sent[-120:], command]
                return command

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"

    def place(self) -> c.Place:
        area, random = self._area(), self.random
        settings, lot = area.settings, area.settings.lot_w
        interval, direction = self._busy_interval(area), random.choice(("export", "import"))
        customer, side = random.choice(area.terms).customer, random.choice(("buy", "sell"))
        reach = 6 if settings.matching == "one_to_one" else random.choice((6, 6, 70))
        price = MIDDLE_MCT[area.name] + settings.tick_mct * random.randint(-reach, reach)
        if random.random() < 0.03:
            price = random.choice((settings.price_mct_min, settings.price_mct_max))
        price = min(settings.price_mct_max, max(settings.price_mct_min, price))
        quantity = lot * random.randint(1, (600 if random.random() < 0.7 else 3_000) // lot)
        if random.random() < 0.85:
            side, quantity = self._fitting(area, interval, customer, direction, side, quantity)
        force = random.choices(("gate", "until", "ioc", "fok"), (60, 12, 14, 14))[0]
        display = 0
        if force in ("gate", "until") and random.random() < 0.3:
            least = ceil_div(quantity, PARTS_MAX * lot)
            display = lot * random.choice((least, least, random.randint(1, quantity // lot)))
        return c.Place(
            area.name, customer, self._id(), interval.start_ms, direction, side, quantity, price, force,
            self.model.now_ms + random.randint(1, 4_000), display,
        )  # fmt: skip

    def place_at_the_limit(self) -> c.Command | None:
        """Against an order at rest, at the price at which the rows' rate is just acceptable, or a tick short of it."""
        found, random = self._some_order(), self.random
        if found is None or found[0].settings.matching == "one_to_one" or found[1].intervals > 1:
            return None
        area, maker = found
        direction, customer = random.choice(("export", "import")), random.choice(area.terms).customer
        owner, scene = area.owner(customer), Scene(area, area.intervals[maker.interval_ms])
        assert owner is not None
        mine, is_sale = area.right(owner, direction), maker.side == "buy"
        worst = scene.worst(*((maker.right, mine) if is_sale else (mine, maker.right)))
        if worst is None or worst[0] == float("inf"):
            return None
        tick, lot, rate = area.settings.tick_mct, area.settings.lot_w, int(worst[0])
        given = ceil_div(lot * rate, ONE)  # for a lot
        price = maker.price_mct * lot // given // tick * tick if is_sale else ceil_div(ceil_div(maker.price_mct * given, lot), tick) * tick
        price += random.choice((0, 0, 0, tick if is_sale else -tick))
        price = min(area.settings.price_mct_max, max(area.settings.price_mct_min, price))
        quantity = lot * random.choice((1, 1, 2, 5, 30))
        return c.Place(area.name, customer, self._id(), maker.interval_ms, direction, "sell" if is_sale else "buy", quantity, price, "ioc")

    def _busy_interval(self, area: Area) -> Interval:
        """Mostly one that trades."""
        there = self._open_intervals(area.name)
        trading = [interval for interval in there if self.model._trades(area, interval)]
        return self.random.choice(trading if trading and self.random.random() < 0.85 else there)

    @staticmethod
    def _fitting(area: Area, interval: Interval, customer: str, direction: str, side: c.Side, quantity: int) -> tuple[c.Side, int]:
        """No more than may still be sold or bought; the other side where that is nothing."""
        owner, lot = area.owner(customer), area.settings.lot_w
        assert owner is not None
        right, (failsafe, rating) = area.right(owner, direction), area.limits(owner, direction)
        held = interval.holding()[right]
        free: dict[c.Side, int] = {
            "sell": held - area.reserved(interval, right, "sell") - failsafe, "buy": rating - held - area.reserved(interval, right, "buy"),
        }  # fmt: skip
        if free[side] < lot:
            side = "buy" if side == "sell" else "sell"
        return side, max(lot, min(quantity, free[side] // lot * lot))

    def block(self) -> c.Place:
        """Of two or three intervals where there are so many, small and at a price that others accept now and then."""
        place, random = self.place(), self.random
        area = self.model.areas[place.area]
        first, tick = min(interval.start_ms for interval in self._open_intervals(place.area)), area.settings.tick_mct
        price = place.price_mct + (1 if place.side == "buy" else -1) * tick * random.randint(-6, 8)
        price = min(area.settings.price_mct_max, max(area.settings.price_mct_min, price))
        quantity = area.settings.lot_w * random.randint(1, 30)
        changed = {"interval_ms": first, "intervals": random.choice((2, 2, 3)), "quantity_w": quantity, "price_mct": price, "display_w": 0}
        return msgspec.structs.replace(place, **changed)

    def block_at_an_iceberg(self) -> c.Command | None:
        """More than a part of it, at any price."""
        area, random = self._area(), self.random
        firsts = [interval for interval in self._open_intervals(area.name) if interval.start_ms + INTERVAL_MS in area.intervals]
        icebergs = [order for interval in firsts for order in interval.orders if 0 < order.shown_w < order.open_w]
        if not icebergs:
            return None
        maker, settings = random.choice(icebergs), area.settings
        quantity, is_sale = maker.shown_w + settings.lot_w * random.randint(1, 4), maker.side == "buy"
        return c.Place(
            area.name, random.choice(area.terms).customer, self._id(), maker.interval_ms, maker.direction, "sell" if is_sale else "buy",
            quantity, settings.price_mct_min if is_sale else settings.price_mct_max, random.choice(("gate", "ioc")), 0, 0, 2,
        )  # fmt: skip

    def sweep(self) -> c.Sweep:
        place = self.place() if self.random.random() < 0.95 else self.block()
        area = self.model.areas[place.area]
        changes, _ = proposal(area, area.intervals[place.interval_ms], place, self.random)
        return c.Sweep(place, changes)

    def replace(self) -> c.Command | None:
        found, random = self._some_order(), self.random
        if found is None:
            return None
        area, order = found
        lot, tick = area.settings.lot_w, area.settings.tick_mct
        price, total, open_w = order.price_mct, order.total_w, order.open_w
        new_price = price if random.random() < 0.45 else price + tick * random.randint(-5, 5)
        less, more = total - lot * random.randint(0, open_w // lot), total + lot * random.randint(0, 60)
        new_total = random.choice((total, less, less, more, more, (total - open_w) // lot * lot))
        if random.random() < 0.09:
            wrongs = (
                (price + 1, total),
                (price, total + 50_000),
                (price, -lot),
                (1_000_000, total),
                (price, total + 3_000),
                (price, 3_990),
            )
            new_price, new_total = random.choice((*wrongs, (max(0, price - 70 * tick), total)))
        return c.Replace(area.name, area.name_of(order), self._id(), order.order_id, new_total, new_price)

    def cancel(self) -> c.Command | None:
        found = self._some_order()
        return c.Cancel(found[0].name, found[0].name_of(found[1]), self._id(), found[1].order_id) if found else None

    def mass_cancel(self) -> c.MassCancel:
        area, random = self._area(), self.random
        start, cause = random.choice([None, None, *area.intervals]), random.choice(("request", "disconnect", "silence"))
        return c.MassCancel(area.name, random.choice(area.terms).customer, self._id(), start, cause)

    def repeat(self) -> c.CustomerCommand | c.Sweep | None:
        """The same bytes again, as a broker may deliver them."""
        return self.random.choice(self.sent) if self.sent else None

    def reuse(self) -> c.Command | None:
        """The same id again, with another body."""
        earlier = self.repeat()
        if isinstance(earlier, c.Sweep):
            return c.Sweep(msgspec.structs.replace(earlier.place, quantity_w=earlier.place.quantity_w + 10), earlier.changes)
        if isinstance(earlier, c.Place | c.Replace):
            return msgspec.structs.replace(earlier, quantity_w=earlier.quantity_w + 10)
        if isinstance(earlier, c.Cancel):
            return msgspec.structs.replace(earlier, order_id=earlier.order_id + "0")
        return msgspec.structs.replace(earlier, interval_ms=8) if isinstance(earlier, c.MassCancel) else None

    def err(self) -> c.Command | None:
        """One request with one thing wrong, or with everything wrong."""
        random = self.random
        if random.random() < 0.25:
            return self._err_about_an_order()
        place = self.place() if random.random() < 0.7 else self.block()
        chosen: dict[str, object] = {}
        for _ in range(random.choice((1, 1, 2, 3))):
            chosen |= random.choice(self._wrongs(place))
        spoiled = msgspec.structs.replace(place, **chosen)
        return c.Sweep(spoiled, ()) if random.random() < 0.4 else spoiled

    def one_too_many(self) -> c.Command | None:
        """From the customer of whom an interval with a short memory remembers most."""
        kept = Counter((name, at) for (area, name, _), (at, _, _) in self.model.answers.items() if area == "east")
        if not kept:
            return None
        (customer, start), _ = kept.most_common(1)[0]
        area, request_id, random = self.model.areas["east"], self._id(), self.random
        place = c.Place("east", customer, request_id, start, "export", random.choice(("buy", "sell")), 10, MIDDLE_MCT["east"])
        mine = [order.order_id for order in area.intervals[start].orders if area.name_of(order) == customer]
        return random.choice((
            place, c.Sweep(place, ()), c.Replace("east", customer, request_id, random.choice(mine or ["none"]), 20, place.price_mct),
            c.Cancel("east", customer, request_id, "none"), c.MassCancel("east", customer, request_id, start),
        ))  # fmt: skip

    def _wrongs(self, place: c.Place) -> tuple[dict[str, object], ...]:
        area = self.model.areas[place.area]
        closed = [interval.start_ms for interval in area.intervals.values() if not interval.is_open()]
        settings, middle = area.settings, MIDDLE_MCT[area.name]
        low, high, far = settings.price_mct_min, settings.price_mct_max, settings.collar_mct + settings.tick_mct * 8
        prices = (middle + 3, -settings.tick_mct, high + settings.tick_mct, min(high, middle + far), max(low, middle - far))
        return (
            {"area": "nowhere"}, {"customer": "nobody"}, {"interval_ms": 7}, {"time_in_force": "until", "until_ms": self.model.now_ms},
            {"quantity_w": 0}, {"quantity_w": -10}, {"quantity_w": 15_005}, {"quantity_w": 90_000}, {"quantity_w": 4_000},
            {"interval_ms": self.random.choice(closed or [7])}, {"display_w": -10}, {"display_w": 90_000}, {"intervals": 99},
            {"display_w": 10, "time_in_force": "ioc"}, {"display_w": 10, "intervals": 2}, {"intervals": 0},
            *({"price_mct": price} for price in prices),
        )  # fmt: skip

    def _err_about_an_order(self) -> c.Command:
        area, random = self._area(), self.random
        name, customer, order_id = area.name, random.choice(area.terms).customer, f"r{random.randint(1, max(1, self.ids))}"
        return random.choice((
            c.Cancel(name, customer, self._id(), order_id), c.Replace(name, customer, self._id(), order_id, 10, 1_000),
            c.MassCancel(name, customer, self._id(), 7), c.Cancel("nowhere", customer, self._id(), order_id),
            c.Replace("nowhere", customer, self._id(), order_id, 10, 1_000), c.MassCancel("nowhere", customer, self._id()),
            c.Cancel(name, "nobody", self._id(), order_id), c.Replace(name, "nobody", self._id(), order_id, 10, 1_000),
            c.MassCancel(name, "nobody", self._id()),
        ))  # fmt: skip

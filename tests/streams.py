"""Random but realistic command streams: homes that quote, cross, amend, repeat themselves and err; an operator who does too.

`Stream` draws from a seeded `random.Random` and looks at the naive model, never at the engine, to know what is worth asking.
Two areas with different rules: `north` cancels self-trades, has a lot of 10 W and tight rows; `south` allows them, and pays another
compensation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

import msgspec
import numpy as np

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from riskcheck.polytope import Polytope, RowLabel
from tests.model import Model
from tests.model_market import Area, Interval

INTERVAL_MS = 900_000
SETTINGS = {
    "north": MarketSettings(INTERVAL_MS, 10, 10, 0, 2_000, "cancel_incoming"),
    "south": MarketSettings(INTERVAL_MS, 5, 1, 100, 3_000, "allow", 777),
}
TERMS = {
    "north": (
        CustomerTerms("ann", 9_000, 9_000, 1_000, 500, 4_000, 12),
        CustomerTerms("ben", 9_000, 4_000, 0, 0, 4_000, 5),
        CustomerTerms("cas", 6_000, 9_000, 1_500, 1_000, 4_000, 12),
        CustomerTerms("dee", 12_000, 9_000, 500, 1_500, 4_000, 12),
    ),
    "south": (CustomerTerms("ann", 9_000, 9_000, 0, 0, 9_000, 6), CustomerTerms("eve", 5_000, 9_000, 700, 0, 4_000, 12)),
}


def rows_of(area: str, random: Random) -> list[Polytope]:
    """Without a network; rows drawn at random; a feeder, a phase, an import limit and a row that couples both directions."""
    terms = TERMS[area]
    caps = [term.rating_export_w for term in terms] + [term.rating_import_w for term in terms]
    least = [term.failsafe_export_w for term in terms] + [term.failsafe_import_w for term in terms]
    n = len(terms)
    far = [1.0 + 0.6 * position for position in range(n)]
    rows = np.array([far + [0.0] * n, [0.0] * n + far[::-1], [1.0] * n + [0.4] * n, ([2.1, 0.0] * n)[: 2 * n]])
    slack = [8_000.0 * n, 7_000.0 * n, 6_500.0 * n, 5_000.0 * n]
    names = (("voltage_max", "bus 7", "a"), ("voltage_min", "bus 7", "b"), ("thermal", "line 3", "c"), ("thermal", "trafo", "abc"))
    labels = [RowLabel(*name) for name in names]
    drawn = [[random.choice((0.0, random.random(), 4 * random.random())) for _ in caps] for _ in labels]
    fullness = [random.uniform(0.2, 0.9) for _ in labels]
    drawn_slack = [
        1.0 + sum(take * (low + full * (cap - low)) for take, low, cap in zip(row, least, caps, strict=True))
        for row, full in zip(drawn, fullness, strict=True)
    ]
    drawn = [[min(take, room) for take in row] for row, room in zip(drawn, drawn_slack, strict=True)]
    return [Polytope.unlimited(2 * n), Polytope.from_rows(drawn, drawn_slack, labels, caps), Polytope.from_rows(rows, slack, labels, caps)]


def too_tight(area: str) -> Polytope:
    """One row that not even the failsafe envelopes satisfy."""
    terms = TERMS[area]
    least = sum(term.failsafe_export_w + term.failsafe_import_w for term in terms)
    caps = [term.rating_export_w for term in terms] + [term.rating_import_w for term in terms]
    return Polytope.from_rows([[1.0] * len(caps)], [least - 1.0], [RowLabel("thermal", "line 3", "c")], caps)


class Stream:
    """Call `next()` for one more command; apply it to the model before the next call."""

    def __init__(self, model: Model, random: Random) -> None:
        self.model = model
        self.random = random
        self.sent: deque[c.CustomerCommand] = deque(maxlen=120)
        self.ids = 0
        self.start = [c.OpenArea(area, SETTINGS[area], TERMS[area]) for area in SETTINGS]
        self.rows = {area: rows_of(area, random) for area in SETTINGS}
        self.too_tight = {area: too_tight(area) for area in SETTINGS}
        self.start += [c.InstallRows(area, rows.to_bytes()) for area in SETTINGS for rows in self.rows[area]]
        self.kinds: list[Callable[[], c.Command | None]] = []
        self.weights: list[float] = []
        for kind, weight in self._mix():
            self.kinds.append(kind)
            self.weights.append(weight)

    def _mix(self) -> list[tuple[Callable[[], c.Command | None], float]]:
        return [
            (self.place, 55), (self.replace, 16), (self.cancel, 8), (self.mass_cancel, 1), (self.repeat, 3), (self.reuse, 1),
            (self.err, 6), (self.advance, 3), (self.open_interval, 1), (self.close_gate, 0.5), (self.retire, 3), (self.halt, 0.06),
            (self.resume, 1), (self.operator_errs, 1.8), (self.install_rows, 1), (self.change_rows, 1.2),
        ]  # fmt: skip

    def next(self) -> c.Command:
        if self.start:
            return self.start.pop(0)
        if not all(self._open_intervals(area) for area in SETTINGS):
            return self.open_interval()
        while True:
            command = self.random.choices(self.kinds, self.weights)[0]()
            if command is not None:
                if isinstance(command, c.Place | c.Replace | c.Cancel | c.MassCancel):
                    self.sent.append(command)
                return command

    # what is there

    def _area(self) -> Area:
        return self.model.areas["north" if self.random.random() < 0.7 else "south"]

    def _open_intervals(self, area: str) -> list[Interval]:
        return [interval for interval in self.model.areas[area].intervals.values() if not interval.closed]

    def _some_order(self) -> tuple[Area, str, str, int, int, int] | None:
        """(area, customer, order id, price, open quantity, total) of a live order."""
        area = self._area()
        live = [order for interval in area.intervals.values() for order in interval.orders if order.live]
        if not live:
            return None
        order = self.random.choice(live)
        return area, area.terms[order.owner].customer, order.order_id, order.price_mct, order.open_w, order.total_w

    def _id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"

    # customers

    def place(self) -> c.Place:
        area, random = self._area(), self.random
        settings, lot = area.settings, area.settings.lot_w
        price = 1_000 + settings.tick_mct * random.randint(-6, 6)
        quantity = lot * random.randint(1, (600 if random.random() < 0.7 else 3_000) // lot)
        force = random.choices(("gate", "until", "ioc", "fok"), (60, 12, 14, 14))[0]
        return c.Place(
            area.name, random.choice(area.terms).customer, self._id(), random.choice(self._open_intervals(area.name)).start_ms,
            random.choice(("export", "import")), random.choice(("buy", "sell")), quantity, price, force,
            self.model.now_ms + random.randint(1, 4_000),
        )  # fmt: skip

    def replace(self) -> c.Command | None:
        found, random = self._some_order(), self.random
        if found is None:
            return None
        area, customer, order_id, price, open_w, total = found
        lot, tick = area.settings.lot_w, area.settings.tick_mct
        new_price = price if random.random() < 0.45 else price + tick * random.randint(-5, 5)
        less, more = total - lot * random.randint(0, open_w // lot), total + lot * random.randint(0, 60)
        new_total = random.choice((total, less, less, more, more, total - open_w))
        if random.random() < 0.06:
            wrongs = ((price + 1, total), (price, total + 50_000), (price, -lot), (1_000_000, total), (price, total + 3_000))
            new_price, new_total = random.choice(wrongs)
        return c.Replace(area.name, customer, self._id(), order_id, new_total, new_price)

    def cancel(self) -> c.Command | None:
        found = self._some_order()
        if found is None:
            return None
        area, customer, order_id = found[:3]
        return c.Cancel(area.name, customer, self._id(), order_id)

    def mass_cancel(self) -> c.MassCancel:
        area, random = self._area(), self.random
        start, cause = random.choice([None, None, *area.intervals]), random.choice(("request", "disconnect", "silence"))
        return c.MassCancel(area.name, random.choice(area.terms).customer, self._id(), start, cause)

    def repeat(self) -> c.Command | None:
        """The same bytes again, as a broker may deliver them."""
        return self.random.choice(self.sent) if self.sent else None

    def reuse(self) -> c.Command | None:
        earlier = self.repeat()
        if isinstance(earlier, c.Place | c.Replace):
            return msgspec.structs.replace(earlier, quantity_w=earlier.quantity_w + 10)
        return None

    def err(self) -> c.Command | None:
        """One request with one thing wrong, or with everything wrong."""
        place, now = self.place(), self.model.now_ms
        closed = [interval.start_ms for interval in self.model.areas[place.area].intervals.values() if interval.closed]
        wrongs = [
            {"area": "nowhere"}, {"customer": "nobody"}, {"interval_ms": 7}, {"time_in_force": "until", "until_ms": now},
            {"quantity_w": 0}, {"quantity_w": -10}, {"quantity_w": 15_005}, {"price_mct": 1_003}, {"price_mct": -10}, {"price_mct": 3_010},
            {"quantity_w": 90_000}, {"quantity_w": 4_000}, {"interval_ms": self.random.choice(closed or [7])},
        ]  # fmt: skip
        if self.random.random() < 0.2:
            return self.random.choice((
                c.Cancel(place.area, place.customer, self._id(), f"r{self.random.randint(1, self.ids)}"),
                c.Replace(place.area, place.customer, self._id(), f"r{self.random.randint(1, self.ids)}", 10, 1_000),
                c.MassCancel(place.area, place.customer, self._id(), 7),
            ))  # fmt: skip
        chosen: dict[str, object] = {}
        for _ in range(self.random.choice((1, 1, 2, 3))):
            chosen |= self.random.choice(wrongs)
        return msgspec.structs.replace(place, **chosen)

    # operator and clock

    def advance(self) -> c.Advance:
        return c.Advance(self.model.now_ms + self.random.randint(0, 900))

    def open_interval(self) -> c.Command:
        lacking = [area for area in SETTINGS if not self._open_intervals(area)]
        area = self.model.areas[self.random.choice(lacking or list(SETTINGS))]
        if len(self._open_intervals(area.name)) >= 2:
            return self.close_gate()
        start = max([*area.intervals, self.model.now_ms // INTERVAL_MS * INTERVAL_MS]) + INTERVAL_MS
        rows = self.random.choice(self.rows[area.name])
        rows_hash = rows.content_hash
        if rows_hash not in area.rows:  # forgotten with the last interval that needed it
            return c.InstallRows(area.name, rows.to_bytes())
        return c.OpenInterval(area.name, start, rows_hash, *self._allocation(area, rows_hash))

    def install_rows(self) -> c.InstallRows:
        area = self._area().name
        return c.InstallRows(area, self.random.choice(self.rows[area]).to_bytes())

    def _allocation(self, area: Area, rows_hash: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """As full as rows and ratings allow, by raising rights one after the other in a random order: the rows bind."""
        rows, n = area.rows[rows_hash], len(area.terms)
        limits = [area.limits(owner, direction) for direction in ("export", "import") for owner in range(n)]
        given = [low for low, _ in limits]
        order = list(range(2 * n))
        self.random.shuffle(order)
        for right in order:
            step = (limits[right][1] - given[right]) // (2 if len(rows.labels) else 3)
            while step >= 10:
                raised = [*given[:right], given[right] + step, *given[right + 1 :]]
                if min(Interval(0, rows, tuple(raised)).residual(), default=0) >= 0:
                    given = raised
                step //= 2
        return tuple(given[:n]), tuple(given[n:])

    def close_gate(self) -> c.CloseGate:
        area = self._area()
        start = min(interval.start_ms for interval in self._open_intervals(area.name))
        return c.CloseGate(self.random.choice((area.name, area.name, None)), start)

    def retire(self) -> c.Command | None:
        area = self._area()
        closed = [interval.start_ms for interval in area.intervals.values() if interval.closed]
        return c.RetireInterval(area.name, min(closed)) if closed else None

    def change_rows(self) -> c.ChangeRows:
        """New limits for an interval that trades or is delivered: full ones, or those of now as far as they fit."""
        area, random = self._area(), self.random
        interval, rows_hash = random.choice(list(area.intervals.values())), random.choice(list(area.rows))
        export_w, import_w = self._allocation(area, rows_hash)
        limit_w = export_w + import_w
        if random.random() < 0.5:
            limit_w = tuple(map(min, interval.holding(), limit_w))
        elif min(Interval(0, area.rows[rows_hash], tuple(interval.holding())).residual(), default=0) >= 0:
            limit_w = tuple(interval.holding())
        cause = random.choice(("topology", "limits", "audit", "recourse", "refresh"))
        settings = tuple(c.DeviceSetting(term.customer, "reactive_var", random.randint(-900, 900)) for term in area.terms[:2])
        replaces = random.choice(("", next(name for name, rows in area.rows.items() if rows is interval.rows)))
        settings = random.choice(((), settings, (c.DeviceSetting("trafo", "tap", random.randint(-2, 2)), *settings)))
        return c.ChangeRows(
            area.name, interval.start_ms, rows_hash, limit_w, cause, "storm", settings, self._woken(area, interval), replaces
        )

    def _woken(self, area: Area, interval: Interval) -> tuple[c.OrderRef, ...]:
        live = [c.OrderRef(area.terms[order.owner].customer, order.order_id) for order in interval.orders if order.live]
        self.random.shuffle(live)
        return tuple(live[: self.random.choice((0, 1, 3, len(live)))])

    def _scope(self) -> tuple[str | None, int | None]:
        area = self._area()
        return self.random.choice((None, area.name)), self.random.choice((None, *area.intervals))

    def halt(self) -> c.Halt:
        return c.Halt(*self._scope(), "storm")

    def resume(self) -> c.Command | None:
        return c.Resume(*self.random.choice(self.model.halts), "calm") if self.model.halts else None

    def operator_errs(self) -> c.Command:
        area, random = self._area(), self.random
        wrong = random.choice((self._wrong_area, self._wrong_interval, self._wrong_state, self._wrong_change))
        return random.choice(wrong(area))

    def _wrong_area(self, area: Area) -> tuple[c.Command, ...]:
        name, settings, terms = area.name, area.settings, area.terms
        return (
            c.OpenArea(name, settings, terms), c.OpenArea(name, MarketSettings(tick_mct=0), terms), c.OpenArea("west", settings, ()),
            c.OpenArea("west", settings, terms[:1] * 2), c.OpenArea("west", settings, (CustomerTerms("", 1, 1, 2, 0),)),
            c.InstallRows("nowhere", b""), c.InstallRows(name, b""), c.InstallRows(name, Polytope.unlimited(2).to_bytes()),
            c.CloseGate("nowhere", 0), c.RetireInterval("nowhere", 0), c.Halt("nowhere", None, ""), c.Resume("nowhere", None, ""),
            c.OpenInterval("nowhere", 0, "", (), ()), c.ChangeRows("nowhere", 0, "", (), "audit", ""),
        )  # fmt: skip

    def _wrong_interval(self, area: Area) -> tuple[c.Command, ...]:
        name, rows, n = area.name, list(area.rows)[-1], len(area.terms)
        known, later = self.random.choice(list(area.intervals)), max(area.intervals) + INTERVAL_MS
        fine = self._allocation(area, rows)
        highest = tuple(term.rating_export_w for term in area.terms), tuple(term.rating_import_w for term in area.terms)
        return (
            c.OpenInterval(name, later, "no such hash", *fine), c.OpenInterval(name, known, rows, *fine),
            c.OpenInterval(name, later + 1, rows, *fine), c.OpenInterval(name, -INTERVAL_MS, rows, *fine),
            c.OpenInterval(name, later, rows, fine[0][1:], fine[1]), c.OpenInterval(name, later, rows, (99_999,) * n, fine[1]),
            c.OpenInterval(name, later, rows, fine[0], (-1,) * n), c.OpenInterval(name, later, rows, *highest),
        )  # fmt: skip

    def _wrong_state(self, area: Area) -> tuple[c.Command, ...]:
        """What would be right at another time."""
        still_open = self._open_intervals(area.name)[0].start_ms
        closed = [interval.start_ms for interval in area.intervals.values() if interval.closed]
        return (
            c.CloseGate(None, 7), c.CloseGate(area.name, self.random.choice(closed or [7])), c.RetireInterval(area.name, 7),
            c.RetireInterval(area.name, still_open), c.Resume(area.name, 7, ""), c.Advance(self.model.now_ms - 1),
        )  # fmt: skip

    def _wrong_change(self, area: Area) -> tuple[c.Command, ...]:
        """A change of rows with one thing wrong."""
        fine, tight, n = self.change_rows(), self.too_tight[area.name], 2 * len(area.terms)
        wrongs: tuple[dict[str, object], ...] = (
            {"area": "nowhere"}, {"interval_ms": 7}, {"rows_hash": "no such hash"}, {"limit_w": fine.limit_w[1:]},
            {"limit_w": (-1, *fine.limit_w[1:])}, {"limit_w": (99_999, *fine.limit_w[1:])}, {"wake": (c.OrderRef("ann", "none"),)},
            {"wake": (c.OrderRef("nobody", "r1"),)}, {"settings": (c.DeviceSetting("nobody", "reactive_var", 1),)},
            {"settings": (c.DeviceSetting("", "tap", 1),)}, {"settings": (c.DeviceSetting("trafo", "tap", 1),) * 2},
            {"settings": (c.DeviceSetting("ann", "reactive_var", -(2**31)),)}, {"replaces_hash": "other rows"},
        )  # fmt: skip
        limits = [bounds for direction in ("export", "import") for owner in range(n // 2) if (bounds := area.limits(owner, direction))]
        insecure = c.ChangeRows(area.name, max(area.intervals), list(area.rows)[-1], tuple(high for _, high in limits), "limits", "")
        hopeless = c.InstallRows(area.name, tight.to_bytes())
        if tight.content_hash in area.rows:
            hopeless = msgspec.structs.replace(insecure, rows_hash=tight.content_hash, limit_w=tuple(low for low, _ in limits))
        return *(msgspec.structs.replace(fine, **wrong) for wrong in wrongs), insecure, insecure, hopeless, hopeless

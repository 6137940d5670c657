"""The operator and the clock of the random streams: phases, gates, halts, rows, headroom, and one mistake after the other."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from exchange import commands as c
from exchange.bounds import CustomerTerms, MarketSettings
from riskcheck.polytope import Polytope
from tests.model import Model
from tests.model_market import Area, Interval, Order
from tests.model_operator import MOVES
from tests.stream_areas import INTERVAL_MS, MIDDLE_MCT, SETTINGS, amended, full_allocation
from tests.stream_proposals import proposal

Draw = Callable[[], c.Command | None]


class OperatorStream:
    model: Model
    random: Random
    rows: dict[str, list[Polytope]]
    too_tight: dict[str, Polytope]
    _id: Callable[[], str]

    def _operator_mix(self) -> list[tuple[Draw, float]]:
        return [
            (self.advance, 3), (self.open_interval, 1), (self.close_gate, 0.5), (self.retire, 3), (self.enter_phase, 2),
            (self.uncross, 5), (self.halt, 0.4), (self.resume, 4), (self.suspend, 0.15), (self.reinstate, 1), (self.amend_terms, 0.3),
            (self.amend_settings, 0.1), (self.withhold, 1.5), (self.release, 1.2), (self.operator_errs, 4), (self.install_rows, 1),
            (self.change_rows, 1.2),
        ]  # fmt: skip

    # what is there

    def _area(self) -> Area:
        return self.model.areas[self.random.choices(("north", "south", "east"), (30, 35, 35))[0]]

    def _open_intervals(self, area: str) -> list[Interval]:
        return [interval for interval in self.model.areas[area].intervals.values() if interval.is_open()]

    def _some_order(self) -> tuple[Area, Order] | None:
        area = self._area()
        live = [order for interval in area.intervals.values() for order in interval.orders if order.row is None] + area.blocks
        return (area, self.random.choice(live)) if live else None

    def _some_interval(self) -> tuple[Area, Interval]:
        area = self._area()
        return area, self.random.choice(self._open_intervals(area.name))

    # time, rows and intervals

    def advance(self) -> c.Advance:
        return c.Advance(self.model.now_ms + self.random.randint(0, 900))

    def open_interval(self) -> c.Command:
        lacking = [area for area in SETTINGS if not self._open_intervals(area)]
        area, random = self.model.areas[self.random.choice(lacking or list(SETTINGS))], self.random
        if len(self._open_intervals(area.name)) >= 3:
            return self.close_gate()
        start = max([*area.intervals, self.model.now_ms // INTERVAL_MS * INTERVAL_MS]) + INTERVAL_MS
        rows = random.choice(self.rows[area.name])
        if rows.content_hash not in area.rows:  # forgotten with the last interval that needed it
            return c.InstallRows(area.name, rows.to_bytes())
        phase = random.choices(("continuous", "auction", "announced"), (5, 4, 1))[0]
        return c.OpenInterval(area.name, start, rows.content_hash, *self._halves(area, rows.content_hash), phase)

    def _halves(self, area: Area, rows_hash: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        given, n = full_allocation(area, rows_hash, self.random), len(area.terms)
        return given[:n], given[n:]

    def install_rows(self) -> c.InstallRows:
        area = self._area().name
        return c.InstallRows(area, self.random.choice(self.rows[area]).to_bytes())

    def close_gate(self) -> c.CloseGate:
        area = self._area()
        start = min(interval.start_ms for interval in self._open_intervals(area.name))
        return c.CloseGate(self.random.choice((area.name, area.name, None)), start)

    def retire(self) -> c.Command | None:
        area = self._area()
        closed = [interval.start_ms for interval in area.intervals.values() if not interval.is_open()]
        return c.RetireInterval(area.name, min(closed)) if closed else None

    def change_rows(self) -> c.ChangeRows:
        """New limits for an interval that trades or is delivered: full ones, or those of now as far as they fit, raised a little."""
        area, random = self._area(), self.random
        interval, rows_hash = random.choice(list(area.intervals.values())), random.choice(list(area.rows))
        limit_w, held = full_allocation(area, rows_hash, random), tuple(interval.holding())
        if random.random() < 0.5:
            limit_w = tuple(map(min, held, limit_w))
        elif min(area.rows[rows_hash].residual(list(held)), default=0) >= 0:
            limit_w = held
        raise_w = tuple(random.choice((0, 0, 10, 300)) for _ in held) if random.random() < 0.4 else ()
        cause = random.choice(("topology", "limits", "audit", "recourse", "refresh"))
        settings = tuple(c.DeviceSetting(term.customer, "reactive_var", random.randint(-900, 900)) for term in area.terms[:2])
        settings = random.choice(((), settings, (c.DeviceSetting("trafo", "tap", random.randint(-2, 2)), *settings)))
        replaces = random.choice(("", interval.rows.name))
        return c.ChangeRows(area.name, interval.start_ms, rows_hash, limit_w, cause, "storm", settings, raise_w, replaces)

    # the hand of the operator

    def enter_phase(self) -> c.Command | None:
        """The next phase, towards trading more often than away from it."""
        area, random = self._area(), self.random
        interval = random.choice(list(area.intervals.values()))
        moves = MOVES[interval.phase]
        if not moves or (interval.phase in ("continuous", "auction") and random.random() < 0.8):
            return None
        return c.EnterPhase(area.name, interval.start_ms, random.choice(moves), "the day's plan")

    def uncross(self) -> c.Command | None:
        area, interval = self._some_interval()
        ends = interval.phase == "auction"
        if not ends and (interval.phase != "continuous" or self.random.random() < 0.85):
            return None
        changes, prices = proposal(area, interval, None, self.random)
        if self.random.random() < 0.3:
            prices = ()
        return c.Uncross(area.name, interval.start_ms, interval.rows.name, changes, ends, prices)

    def _scope(self) -> tuple[str | None, int | None, c.Direction | None]:
        area, random = self._area(), self.random
        start = random.choice((None, *area.intervals, *area.intervals))
        return (
            random.choice((None, area.name)),
            start,
            random.choice((None, "export", "export", "import", "import")) if start is not None else None,
        )

    def halt(self) -> c.Halt:
        area, start, direction = self._scope()
        return c.Halt(area, start, "storm", direction)

    def resume(self) -> c.Command | None:
        if not self.model.halts:
            return None
        area, start, direction = self.random.choice(self.model.halts)
        return c.Resume(area, start, "calm", direction)  # type: ignore[arg-type]

    def suspend(self) -> c.Suspend:
        """Rather somebody with a block order."""
        area = self._area()
        waiting = [area.name_of(block) for block in area.blocks] * 2
        return c.Suspend(area.name, self.random.choice((None, *(term.customer for term in area.terms), *waiting)), "unpaid")

    def reinstate(self) -> c.Command | None:
        return c.Reinstate(*self.random.choice(self.model.suspended), "paid") if self.model.suspended else None

    def amend_terms(self) -> c.AmendTerms:
        area, random = self._area(), self.random
        return c.AmendTerms(area.name, random.choice(area.terms).customer, random.choice((3_000, 4_000, 9_000)), random.choice((4, 10)), "")

    def amend_settings(self) -> c.AmendSettings:
        area = self._area()
        return c.AmendSettings(area.name, amended(self.random, SETTINGS[area.name]), "tariff")

    def withhold(self) -> c.Withhold:
        area, interval = self._some_interval()
        random, settings = self.random, area.settings
        label = random.choice(interval.rows.labels or (("thermal", "line 3", "c"),))
        price = MIDDLE_MCT[area.name] + settings.tick_mct * random.randint(-20, 20)
        quantity = settings.lot_w * random.randint(1, 400 // settings.lot_w)
        return c.Withhold(area.name, self._id(), interval.start_ms, *label, random.choice(("buy", "sell")), quantity, price, "reserve")

    def release(self) -> c.Command | None:
        area = self._area()
        held = [(start, order) for start, interval in area.intervals.items() for order in interval.withheld]
        if not held:
            return None
        start, order = self.random.choice(held)
        return c.Release(area.name, order.order_id, start, "no need")

    # mistakes

    def operator_errs(self) -> c.Command:
        wrongs = (self._wrong_area, self._wrong_name, self._wrong_interval, self._wrong_state, self._wrong_change, self._wrong_withhold)
        return self.random.choice(self.random.choice(wrongs)(self._area()))

    def _wrong_area(self, area: Area) -> tuple[c.Command, ...]:
        name, settings, terms = area.name, area.settings, tuple(area.terms)
        return (
            c.OpenArea(name, settings, terms), c.OpenArea(name, MarketSettings(tick_mct=0), terms), c.OpenArea("west", settings, ()),
            c.OpenArea("west", settings, terms[:1] * 2), c.OpenArea("west", settings, (CustomerTerms("", 1, 1, 2, 0),)),
            c.InstallRows("nowhere", b""), c.InstallRows(name, b""), c.InstallRows(name, Polytope.unlimited(2).to_bytes()),
            c.CloseGate("nowhere", 0), c.RetireInterval("nowhere", 0), c.Halt("nowhere", None, ""), c.Resume("nowhere", None, ""),
            c.OpenInterval("nowhere", 0, "", (), ()), c.ChangeRows("nowhere", 0, "", (), "audit", ""),
            c.EnterPhase("nowhere", 0, "auction", ""), c.Suspend("nowhere", None, ""), c.Reinstate("nowhere", None, ""),
            c.AmendTerms("nowhere", "ann", 1, 1, ""), c.AmendSettings("nowhere", settings, ""), c.Release("nowhere", "w", 0, ""),
            c.Withhold("nowhere", "w", 0, "", "", "", "buy", 10, 10, ""), c.Uncross("nowhere", 0, "", ()),
        )  # fmt: skip

    def _wrong_name(self, area: Area) -> tuple[c.Command, ...]:
        name, known = area.name, area.terms[0].customer
        never = next((t.customer for t in area.terms if (name, t.customer) not in self.model.suspended), "nobody")
        return (
            c.Suspend(name, "nobody", ""), c.Reinstate(name, "nobody", ""), c.Reinstate(name, never, ""),
            c.AmendTerms(name, "nobody", 1, 1, ""), c.AmendTerms(name, known, 0, 1, ""), c.AmendTerms(name, known, 1, -1, ""),
            c.AmendSettings(name, msgspec.structs.replace(area.settings, lot_w=7), ""),
            c.AmendSettings(name, msgspec.structs.replace(area.settings, collar_mct=-1), ""), c.Halt(name, None, "", "export"),
            c.Halt(None, None, "", "import"),
        )  # fmt: skip

    def _wrong_interval(self, area: Area) -> tuple[c.Command, ...]:
        name, rows, n = area.name, list(area.rows)[-1], len(area.terms)
        known, later = self.random.choice(list(area.intervals)), max(area.intervals) + INTERVAL_MS
        fine = self._halves(area, rows)
        highest = tuple(term.rating_export_w for term in area.terms), tuple(term.rating_import_w for term in area.terms)
        return (
            c.OpenInterval(name, later, "no such hash", *fine), c.OpenInterval(name, known, rows, *fine),
            c.OpenInterval(name, later + 1, rows, *fine), c.OpenInterval(name, -INTERVAL_MS, rows, *fine),
            c.OpenInterval(name, later, rows, fine[0][1:], fine[1]), c.OpenInterval(name, later, rows, (99_999,) * n, fine[1]),
            c.OpenInterval(name, later, rows, fine[0], (-1,) * n), c.OpenInterval(name, later, rows, *highest),
        )  # fmt: skip

    def _wrong_state(self, area: Area) -> tuple[c.Command, ...]:
        """What would be right at another time."""
        interval, name = self._open_intervals(area.name)[0], area.name
        closed = [other.start_ms for other in area.intervals.values() if not other.is_open()]
        over, rows = self.random.choice(closed or [7]), interval.rows.name
        return (
            c.CloseGate(None, 7), c.CloseGate(name, over), c.RetireInterval(name, 7), c.RetireInterval(name, interval.start_ms),
            c.Resume(name, 7, ""), c.Advance(self.model.now_ms - 1), c.EnterPhase(name, 7, "auction", ""),
            c.EnterPhase(name, interval.start_ms, self.random.choice(("announced", "closed", "delivery")), ""),
            c.Uncross(name, 7, rows, ()), c.Uncross(name, over, rows, ()), c.Uncross(name, interval.start_ms, "no such hash", ()),
            c.Uncross(name, interval.start_ms, rows, (), interval.phase != "auction"), c.Uncross(name, interval.start_ms, rows, (), True),
            c.Release(name, "never", interval.start_ms, ""), c.Release(name, "w", 7, ""),
        )  # fmt: skip

    def _wrong_withhold(self, area: Area) -> tuple[c.Command, ...]:
        fine = self.withhold()
        area = self.model.areas[fine.area]
        closed = [other.start_ms for other in area.intervals.values() if not other.is_open()]
        later = [other.start_ms for other in area.intervals.values() if other.phase == "announced"]
        stopped = [other.start_ms for other in area.intervals.values() if other.phase == "frozen"]
        taken = [(start, order.order_id) for start, interval in area.intervals.items() for order in interval.withheld]
        start, request_id = self.random.choice(taken or [(fine.interval_ms, "w")])
        wrongs: tuple[dict[str, object], ...] = (
            {"interval_ms": 7}, {"interval_ms": self.random.choice(closed or [7])}, {"interval_ms": self.random.choice(later or [7])},
            {"interval_ms": self.random.choice(stopped or [7])}, {"quantity_w": -10}, {"quantity_w": 15_005},
            {"price_mct": fine.price_mct + 3}, {"price_mct": area.settings.price_mct_max + area.settings.tick_mct},
            {"element": "no such bus"}, {"interval_ms": start, "request_id": request_id},
            {"side": "sell", "quantity_w": 4_000},
        )  # fmt: skip
        return tuple(msgspec.structs.replace(fine, **wrong) for wrong in wrongs)

    def _wrong_change(self, area: Area) -> tuple[c.Command, ...]:
        """A change of rows with one thing wrong."""
        fine, tight = self.change_rows(), self.too_tight[area.name]
        wrongs: tuple[dict[str, object], ...] = (
            {"area": "nowhere"}, {"interval_ms": 7}, {"rows_hash": "no such hash"}, {"limit_w": fine.limit_w[1:]},
            {"limit_w": (-1, *fine.limit_w[1:])}, {"limit_w": (99_999, *fine.limit_w[1:])}, {"raise_w": (1,)},
            {"raise_w": (-1,) * len(fine.limit_w)}, {"raise_w": (9_000,) * len(fine.limit_w)}, {"raise_w": (150,) * len(fine.limit_w)},
            {"settings": (c.DeviceSetting("nobody", "reactive_var", 1),)}, {"settings": (c.DeviceSetting("", "tap", 1),)},
            {"settings": (c.DeviceSetting("trafo", "tap", 1),) * 2}, {"settings": (c.DeviceSetting("ann", "reactive_var", -(2**31)),)},
            {"replaces_hash": "other rows"},
        )  # fmt: skip
        limits = area.all_limits()
        insecure = c.ChangeRows(area.name, max(area.intervals), list(area.rows)[-1], tuple(high for _, high in limits), "limits", "")
        hopeless: c.Command = c.InstallRows(area.name, tight.to_bytes())
        if tight.content_hash in area.rows:
            hopeless = msgspec.structs.replace(insecure, rows_hash=tight.content_hash, limit_w=tuple(low for low, _ in limits))
        return *(msgspec.structs.replace(fine, **wrong) for wrong in wrongs), insecure, insecure, hopeless, hopeless

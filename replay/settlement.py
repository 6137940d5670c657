"""The account of every interval: watts by right, cash by customer, and the operator's; folded from events alone.

    holding = allocation + raised + bought - sold - rebased          for every right, to the watt
    cash of the customers + cash of the operator = 0                 for every interval, to the milli-cent

An interval that is retired has been settled by the exchange, in one `Settled` event; it counts, and the fold of all events before
it must have come to the same figures. One that still lives is shown as it stands, marked `open`. Whatever does not add up is a
problem in words, never a silent correction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from exchange.events import Event, IntervalOpened, Leg, Raised, Rebased, Settled, Traded
from replay.tabular import Column, Table, Value
from replay.tape import interval_name

OPERATOR = "~operator"
State = Literal["open", "settled"]
WATTS = ("allocation", "raised", "bought", "sold", "rebased", "holding")
DIRECTIONS = ("export", "import")
MEANINGS = {
    "allocation": "first given out by the operator", "raised": "given by the operator later", "bought": "received in trades",
    "sold": "given in trades", "rebased": "taken back by the operator", "holding": "the limit in the end",
}  # fmt: skip
SETTLEMENT = Table(
    "settlement",
    f"a customer in an interval, and the operator ({OPERATOR}) once per interval; cash sums to zero over an interval's rows",
    (
        Column("area", "text", "", "area"),
        Column("interval", "time", "UTC", "start of the delivery interval"),
        Column("state", "text", "", "settled, or open: not yet settled, as it stands"),
        Column("customer", "text", "", f"customer, or {OPERATOR}"),
        *(Column(f"{what}_{way}_w", "whole", "W", f"{way} limit: {MEANINGS[what]}") for way in DIRECTIONS for what in WATTS),
        Column("cash_mct", "whole", "mct", "earned (positive) or paid, compensation included"),
        Column("compensated_mct", "whole", "mct", "of it, paid by the operator for lowered holdings"),
    ),
)


class Account(NamedTuple):
    """One customer in one interval; watts as (export, import)."""

    customer: str
    allocation_w: tuple[int, int]
    raised_w: tuple[int, int]
    bought_w: tuple[int, int]
    sold_w: tuple[int, int]
    rebased_w: tuple[int, int]
    cash_mct: int
    compensated_mct: int

    @property
    def holding_w(self) -> tuple[int, int]:
        terms = zip(self.allocation_w, self.raised_w, self.bought_w, self.sold_w, self.rebased_w, strict=True)
        exported, imported = (given + raised + bought - sold - rebased for given, raised, bought, sold, rebased in terms)
        return exported, imported


class Statement(NamedTuple):
    """One interval of one area. `operator_mct` is what the operator earned, its own orders included."""

    area: str
    interval_ms: int
    state: State
    accounts: tuple[Account, ...]
    operator_mct: int

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Rows of SETTLEMENT."""
        for one in self.accounts:
            watts = zip(one.allocation_w, one.raised_w, one.bought_w, one.sold_w, one.rebased_w, one.holding_w, strict=True)
            by_direction = [value for way in watts for value in way]
            yield self.area, self.interval_ms, self.state, one.customer, *by_direction, one.cash_mct, one.compensated_mct
        yield self.area, self.interval_ms, self.state, OPERATOR, *[None] * (2 * len(WATTS)), self.operator_mct, None

    def balance_mct(self) -> int:
        """What must be zero."""
        return self.operator_mct + sum(account.cash_mct for account in self.accounts)


class _Running:
    """An interval that lives: the same figures as `Settled` has, watts by right, cash by customer."""

    def __init__(self, opened: IntervalOpened) -> None:
        n = len(opened.customers)
        self.position = {name: place for place, name in enumerate(opened.customers)}
        self.allocation_w = list(opened.export_w + opened.import_w)
        self.raised_w, self.bought_w, self.sold_w, self.rebased_w = [0] * 2 * n, [0] * 2 * n, [0] * 2 * n, [0] * 2 * n
        self.cash_mct, self.compensated_mct, self.operator_mct = [0] * n, [0] * n, 0

    def right(self, customer: str, direction: str) -> int:
        return self.position[customer] + len(self.position) * (direction == "import")

    def trade(self, leg: Leg) -> None:
        if leg.customer == OPERATOR:
            self.operator_mct += leg.cash_mct
            return
        moved = self.bought_w if leg.change_w > 0 else self.sold_w
        moved[self.right(leg.customer, leg.direction)] += abs(leg.change_w)
        self.cash_mct[self.position[leg.customer]] += leg.cash_mct

    def rebase(self, event: Rebased) -> None:
        self.rebased_w[self.right(event.customer, event.direction)] += event.quantity_w
        place = self.position[event.customer]
        self.cash_mct[place] += event.cash_mct
        self.compensated_mct[place] += event.cash_mct
        self.operator_mct -= event.cash_mct

    def holding_w(self, right: int) -> int:
        gained = self.allocation_w[right] + self.raised_w[right] + self.bought_w[right]
        return gained - self.sold_w[right] - self.rebased_w[right]

    def settled(self, area: str, interval_ms: int) -> Settled:
        return Settled(
            0, area, interval_ms, tuple(self.position), tuple(self.allocation_w), tuple(self.raised_w), tuple(self.bought_w),
            tuple(self.sold_w), tuple(self.rebased_w), tuple(self.cash_mct), tuple(self.compensated_mct), self.operator_mct,
        )  # fmt: skip


class Books:
    """All accounts of a stream of events. `take` gives the statement of an interval as it is settled; `open` those that live."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._running: dict[tuple[str, int], _Running] = {}

    def take(self, event: Event) -> Statement | None:
        match event:
            case IntervalOpened():
                self._running[event.area, event.interval_ms] = _Running(event)
            case Traded():
                self._trade(event)
            case Rebased():
                self._running[event.area, event.interval_ms].rebase(event)
                self._compare(event.sequence, event.area, event.interval_ms, event.customer, event.direction, event.holding_w)
            case Raised():
                running = self._running[event.area, event.interval_ms]
                running.raised_w[running.right(event.customer, event.direction)] += event.quantity_w
                self._compare(event.sequence, event.area, event.interval_ms, event.customer, event.direction, event.holding_w)
            case Settled():
                return self._settle(event)
            case _:
                pass
        return None

    def open(self) -> list[Statement]:
        """Every interval that is not settled yet, as it stands."""
        return [self._stated(running.settled(*key), "open") for key, running in sorted(self._running.items())]

    def _trade(self, event: Traded) -> None:
        running = self._running[event.area, event.interval_ms]
        for leg in event.legs:
            running.trade(leg)
        running.operator_mct += event.operator_mct
        over = event.operator_mct + sum(leg.cash_mct for leg in event.legs)
        if over:
            self.problems.append(f"trade {event.sequence}: the cash of its legs and the operator comes to {over} mct, not to zero")
        last = {(leg.customer, leg.direction): leg.holding_w for leg in event.legs if leg.customer != OPERATOR}
        for (customer, direction), holding_w in last.items():
            self._compare(event.sequence, event.area, event.interval_ms, customer, direction, holding_w)

    def _compare(self, sequence: int, area: str, interval_ms: int, customer: str, direction: str, told_w: int) -> None:
        running = self._running[area, interval_ms]
        holding_w = running.holding_w(running.right(customer, direction))
        if holding_w != told_w:
            self.problems.append(f"event {sequence}: {customer} holds {holding_w} W of {direction}, the event says {told_w} W")

    def _settle(self, event: Settled) -> Statement:
        running = self._running.pop((event.area, event.interval_ms))
        folded = running.settled(event.area, event.interval_ms)
        for name in event.__struct_fields__[3:]:
            if getattr(event, name) != getattr(folded, name):
                where = f"interval {interval_name(event.interval_ms)} of {event.area}"
                self.problems.append(f"{where}: {name} as settled is not what its events come to")
        return self._stated(event, "settled")

    def _stated(self, event: Settled, state: State) -> Statement:
        n = len(event.customers)

        def both(by_right: tuple[int, ...], place: int) -> tuple[int, int]:
            return by_right[place], by_right[n + place]

        accounts = tuple(
            Account(
                name, both(event.allocation_w, place), both(event.raised_w, place), both(event.bought_w, place), both(event.sold_w, place),
                both(event.rebased_w, place), event.cash_mct[place], event.compensated_mct[place],
            )
            for place, name in enumerate(event.customers)
        )  # fmt: skip
        statement = Statement(event.area, event.interval_ms, state, accounts, event.operator_mct)
        if statement.balance_mct():
            self.problems.append(
                f"interval {interval_name(event.interval_ms)} of {event.area}: cash comes to {statement.balance_mct()} mct, not to zero"
            )
        return statement


def settle(events: Iterable[Event]) -> tuple[list[Statement], list[str]]:
    """(every interval's statement, those still open last; what does not add up)."""
    books = Books()
    settled = [statement for event in events if (statement := books.take(event)) is not None]
    return settled + books.open(), books.problems


class Total(NamedTuple):
    """A customer over several intervals: energy of envelope is watts times hours, so watts are only added within one length."""

    customer: str
    bought_w: int
    sold_w: int
    rebased_w: int
    cash_mct: int
    compensated_mct: int


def totals(statements: Iterable[Statement]) -> list[Total]:
    """By customer, both directions together, and the operator last."""
    sums: dict[str, list[int]] = {}
    operator_mct = compensated_mct = 0
    for statement in statements:
        operator_mct += statement.operator_mct
        for one in statement.accounts:
            figures = (sum(one.bought_w), sum(one.sold_w), sum(one.rebased_w), one.cash_mct, one.compensated_mct)
            compensated_mct += one.compensated_mct
            sums[one.customer] = [had + more for had, more in zip(sums.get(one.customer, [0] * 5), figures, strict=True)]
    listed = [Total(name, *figures) for name, figures in sums.items()]
    return [*listed, Total(OPERATOR, 0, 0, 0, operator_mct, -compensated_mct)] if listed else []

"""Order logs: the orders of a market as a table, CSV or Parquet, from whoever has one. Read strictly, written from our journals.

A line is one request of one customer: `place`, `replace`, `cancel` or `mass_cancel`, at a time that does not run backwards. Times
are ISO 8601 with a zone or whole UTC milliseconds (in Parquet also timestamps with a zone), an interval is named by its start,
prices are milli-cents (`price_mct`) or cents (`price_ct`) per kWh of envelope. Columns that an action does not need may be filled
or empty; a column that nobody knows is a mistake, because it may be a misspelt one.

Every mistake of every line is found, not the first one only: the line, the column, what is wrong and what would be right. What a
line asks for is not judged here: whether an order is on the lot or the interval open is the engine's to say, and it says it in
`Rejected` events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, cast

from exchange.bounds import POWER_W_MAX, PRICE_MCT_MAX
from exchange.commands import Cancel, CustomerCommand, MassCancel, Place, Replace
from gateway.topics import NAME
from replay.tabular import Column, Record, Table, Value, read

ACTIONS = ("place", "replace", "cancel", "mass_cancel")
CHOICES = {
    "action": ACTIONS, "side": ("buy", "sell"), "direction": ("export", "import"), "time_in_force": ("gate", "until", "ioc", "fok"),
    "cause": ("request", "disconnect", "silence"),
}  # fmt: skip
NAME_HELP = "give letters, digits and ._:-, at most 64 of them"
RIGHT = {
    "customer": NAME_HELP, "order_id": NAME_HELP, "request_id": NAME_HELP, "quantity_w": "give whole watts, like 1500",
    "display_w": "give whole watts, or leave it empty", "intervals": "give how many, or leave it empty",
}  # fmt: skip
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # Decimal alone takes 5_000, +5000 and the digits of every script
SHOWN_MAX = 80
TIME_MS_MAX = 2**52
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
AHEAD_MS_MAX = 366 * 86_400_000
INTERVALS_MAX = 10_000
REQUIRED = ("time", "customer", "order_id", "side", "direction", "interval", "quantity_w")
LOG = Table(
    "orderlog",
    "a request of a customer, in the order in which the market took them",
    (
        Column("time", "time", "UTC", "market time at which the request was taken; never before that of the line above"),
        Column("action", "text", "", "place, replace, cancel or mass_cancel; empty: place"),
        Column("customer", "text", "", "who asks: a customer of the network"),
        Column("order_id", "text", "", "place: the new order's id, unique per customer; replace, cancel: the order that is meant"),
        Column("side", "text", "", "place: buy or sell"),
        Column("direction", "text", "", "place: the right that is traded, export or import"),
        Column("interval", "time", "UTC", "place: start of the delivery interval; mass_cancel: of the one meant, empty: all"),
        Column("quantity_w", "whole", "W", "place: watts; replace: the new total, what has traded included"),
        Column("price_mct", "whole", "mct/kWh", "place, replace: limit in milli-cents per kWh of envelope; or price_ct, in cents"),
        Column("time_in_force", "text", "", "place: gate, until, ioc or fok; empty: gate"),
        Column("until", "time", "UTC", "place with time in force until: when the order ends"),
        Column("display_w", "whole", "W", "place: the part of an iceberg that is shown; empty or 0: all of it"),
        Column("intervals", "whole", "", "place: consecutive intervals of a block order; empty: 1"),
        Column("request_id", "text", "", "replace, cancel, mass_cancel: the request's own id; empty: made from the line's number"),
        Column("cause", "text", "", "mass_cancel: request, disconnect or silence; empty: request"),
        Column("received", "time", "UTC", "the exchange's own clock when it took the request; not read"),
    ),
)
KNOWN = {column.name for column in LOG.columns} | {"price_ct"}


class Entry(NamedTuple):
    """One request and the market time at which it came."""

    line: int
    time_ms: int
    command: CustomerCommand


class Problem(NamedTuple):
    """One mistake: where, what is wrong, and what would be right."""

    line: int
    column: str
    wrong: str
    right: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.wrong}; {self.right}"


class BadLogError(ValueError):
    """The log cannot be used; `problems` holds every mistake, and so does the message."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = len({problem.line for problem in problems})
        super().__init__("\n  ".join([f"{path}: {len(problems)} mistake(s) in {lines} line(s), nothing is imported", *map(str, problems)]))


class Log(NamedTuple):
    """What a log said: its entries in order, and what was wrong with the lines that were left out."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def load(path: Path, area: str, customers: Iterable[str] | None = None, *, skip_bad: bool = False) -> Log:
    """Reads a log for an area; with `customers`, those of the network, a line of anyone else is bad.

    Raises BadLogError with every mistake unless `skip_bad`, UnreadableTableError for what is no table, MissingExtraError.
    """
    names, records = read(path)
    problems = list(_heading(names))
    if problems:
        raise BadLogError(path, problems)
    known = None if customers is None else frozenset(customers)
    entries: list[Entry] = []
    for record in records:
        line = _Line(record, area, known, entries[-1] if entries else None)
        entry = line.entry()
        if line.problems:
            problems += line.problems
        else:
            entries.append(entry)
    if problems and not skip_bad:
        raise BadLogError(path, problems)
    return Log(tuple(entries), tuple(problems))


def _heading(names: Sequence[str]) -> Iterator[Problem]:
    for name in dict.fromkeys(names):
        if name not in KNOWN:
            yield Problem(1, _shown(name), "no such column", f"remove it, or use one of {', '.join(sorted(KNOWN))}")
        if names.count(name) > 1:
            yield Problem(1, _shown(name), "the column stands twice", "keep one")
    for name in REQUIRED:
        if name not in names:
            yield Problem(1, name, "the column is missing", f"the first line names at least {', '.join(REQUIRED)} and a price")
    if ("price_mct" in names) == ("price_ct" in names):
        yield Problem(1, "price_mct", "one price column is needed", "name price_mct (milli-cents) or price_ct (cents), not both")


class _Line:
    """One record being read; a cell that cannot be used leaves a problem and a stand-in."""

    def __init__(self, record: Record, area: str, customers: frozenset[str] | None, before: Entry | None) -> None:
        self.problems: list[Problem] = []
        self._record = record
        self._area = area
        self._customers = customers
        self._before = before

    def entry(self) -> Entry:
        if "" in self._record.cells:
            self._wrong("end of line", f"{len(self._record.cells[''])} cell(s) too many", "quote text that contains a comma")
        time_ms = self._time("time") or 0
        if self._before is not None and time_ms < self._before.time_ms and not self.problems:
            self._wrong("time", f"earlier than line {self._before.line}", "sort the log by time")
        action = self._word("action", "place")
        return Entry(self._record.line, time_ms, self._command(action, self._customer(), time_ms))

    def _command(self, action: str, customer: str, time_ms: int) -> CustomerCommand:
        if action == "place":
            return self._place(customer, time_ms)
        request_id = f"line:{self._record.line}" if self._cell("request_id") is None else self._name("request_id")
        if action == "replace":
            order_id, quantity_w = self._name("order_id"), self._whole("quantity_w", 0, POWER_W_MAX)
            return Replace(self._area, customer, request_id, order_id, quantity_w, self._price_mct())
        if action == "cancel":
            return Cancel(self._area, customer, request_id, self._name("order_id"))
        interval_ms = None if self._cell("interval") is None else self._interval(time_ms)
        return MassCancel(self._area, customer, request_id, interval_ms, cast(Any, self._word("cause", "request")))

    def _place(self, customer: str, time_ms: int) -> Place:
        time_in_force = self._word("time_in_force", "gate")
        until = "until" if time_in_force == "until" or self._cell("until") is not None else None
        return Place(
            self._area, customer, self._name("order_id"), self._interval(time_ms), cast(Any, self._word("direction")),
            cast(Any, self._word("side")), self._whole("quantity_w", 1, POWER_W_MAX), self._price_mct(), cast(Any, time_in_force),
            (self._time(until) or 0) if until else 0, self._whole("display_w", 0, POWER_W_MAX, 0),
            self._whole("intervals", 1, INTERVALS_MAX, 1),
        )  # fmt: skip

    # --- cells ----------------------------------------------------------------------------------------------------

    def _wrong(self, column: str, wrong: str, right: str) -> None:
        self.problems.append(Problem(self._record.line, column, wrong, right))

    def _cell(self, column: str) -> Any:
        """None where it is empty; a table that pandas wrote has NaN there."""
        value = self._record.cells.get(column)
        return None if value in (None, "") or value != value else value

    def _text(self, column: str) -> str:
        value = self._cell(column)
        return "" if value is None else str(value)

    def _name(self, column: str) -> str:
        """A customer's name, an order's or a request's id: what the wire takes."""
        text = self._text(column)
        if not NAME.match(text):
            self._wrong(column, f"{_shown(text)} is no name" if text else "empty", RIGHT[column])
        return text

    def _word(self, column: str, default: str | None = None) -> str:
        text, choices = self._text(column) or default or "", CHOICES[column]
        if text not in choices:
            self._wrong(column, f"{_shown(text)} is no {column}" if text else "empty", f"give {' or '.join(choices)}")
        return text

    def _customer(self) -> str:
        name = self._text("customer")
        if not name or self._customers is None or name in self._customers:
            return self._name("customer")
        some = ", ".join(sorted(self._customers)[:3])
        self._wrong("customer", f"the network has no customer {_shown(name)}", f"it has {len(self._customers)}, like {some}")
        return name

    def _whole(self, column: str, low: int, high: int, default: int | None = None) -> int:
        value = self._cell(column)
        if value is None and default is not None:
            return default
        number = None if value is None else _decimal(value)
        if number is None or number != number.to_integral_value() or not low <= number <= high:
            wrong = "empty" if value is None else f"{_shown(value)} is not a whole number from {low} to {high}"
            self._wrong(column, wrong, RIGHT[column])
            return low
        return int(number)

    def _price_mct(self) -> int:
        column, factor = ("price_ct", 1000) if "price_ct" in self._record.cells else ("price_mct", 1)
        value = self._cell(column)
        number = None if value is None else _decimal(value)
        mct = None if number is None else number * factor
        if mct is None or mct != mct.to_integral_value() or not 0 <= mct <= PRICE_MCT_MAX:
            wrong = "empty" if value is None else f"{_shown(value)} is not a whole number of milli-cents from 0 to {PRICE_MCT_MAX}"
            right = "give cents per kWh with at most three decimals, like 12.34" if factor > 1 else "give milli-cents per kWh, like 12340"
            self._wrong(column, wrong, right)
            return 0
        return int(mct)

    def _time(self, column: str) -> int | None:
        value = self._cell(column)
        at_ms = None if value is None else _time_ms(value)
        if at_ms is None:
            wrong = "empty" if value is None else f"{_shown(value)} is no time with a zone"
            self._wrong(column, wrong, "give ISO 8601 with a zone, like 2026-04-27T14:05:00Z, or whole UTC milliseconds")
        return at_ms

    def _interval(self, time_ms: int) -> int:
        start_ms = self._time("interval")
        if start_ms is not None and abs(start_ms - time_ms) > AHEAD_MS_MAX and not self.problems:
            self._wrong("interval", "more than a year from the line's time", "give both in the same unit; numbers are UTC milliseconds")
        return start_ms or 0


def _shown(value: Any) -> str:
    """A cell as a message quotes it."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 30 else None


def _time_ms(value: Any) -> int | None:
    """UTC milliseconds of a timestamp, a number or a text; None for what is no time, has no zone or is out of range."""
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return None if value.tzinfo is None else (value - EPOCH) // MILLISECOND
    number = _decimal(value)
    return int(number) if number is not None and number == number.to_integral_value() and 0 <= number <= TIME_MS_MAX else None


# --- written ------------------------------------------------------------------------------------------------------


def row(time_ms: int, command: CustomerCommand, received_ms: int | None = None) -> tuple[Value, ...]:
    """One request as a row of LOG."""
    action = str(command.__struct_config__.tag)
    cells: dict[str, Value] = {"time": time_ms, "action": action, "customer": command.customer, "received": received_ms}
    match command:
        case Place():
            cells |= {
                "order_id": command.request_id, "side": command.side, "direction": command.direction, "interval": command.interval_ms,
                "quantity_w": command.quantity_w, "price_mct": command.price_mct, "time_in_force": command.time_in_force,
                "until": command.until_ms if command.until_ms or command.time_in_force == "until" else None,
                "display_w": command.display_w, "intervals": command.intervals,
            }  # fmt: skip
        case Replace():
            cells |= {"request_id": command.request_id, "order_id": command.order_id}
            cells |= {"quantity_w": command.quantity_w, "price_mct": command.price_mct}
        case Cancel():
            cells |= {"request_id": command.request_id, "order_id": command.order_id}
        case MassCancel():
            cells |= {"request_id": command.request_id, "interval": command.interval_ms, "cause": command.cause}
    return tuple(cells.get(column.name) for column in LOG.columns)

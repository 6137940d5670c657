"""How much of the possible welfare does each way of matching reach? Beside HiGHS, on the same orders.

    python -m benchmarks.welfare                         generated books on three networks, recorded books and a whole demo day
    python -m benchmarks.welfare --network cigre-lv --books 5 --intervals 0

**Books.** Orders of one interval whose rows bind: generated (`benchmarks/books.py`), and recorded: what homes of the demo's day would
have in the book at gate closure if nothing had traded. Each book comes order by order to four markets: pairs one to one, pairs at
exchange rates, sweeps, and an auction at the end. The shares are of HiGHS' optimum with all orders known beforehand; what comes
early and trades cannot be taken back, so only the auction can reach all of it. "Best one to one" is HiGHS' too, with watts bought
= watts sold in each direction. "Greedy" is the auction's own pair by pair match.

**One order.** Some orders of each book's second half meet what pairs have left behind. Beside each stands HiGHS' optimum over the
orders that rest at that moment and the one that comes: the share that the walk reaches, and the share that the sweep does. Only
where that optimum is worth `MATTERS_MCT_W` (200 W at the middle price): whole watts cost some five of them, however much trades.

**Day.** Every order that homes placed in a demo's day, recorded in a one-to-one market: each once, at the moment at which it was
placed, with the terms that it had last, whatever became of it. So all markets see the same orders. The clairvoyant knows those of
an interval beforehand and minds rows, ratings and failsafes. "As in the demo": the orders that come while the demo's opening auction
of an interval collects are matched in that auction, the others meet as they come. With `opening`, that part of an interval's orders is
collected instead. Welfare counts each trade at the orders' limits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from benchmarks import arguments, tables
from benchmarks.books import Book, generated
from benchmarks.markets import ONE_TO_ONE, RATES, SWEEPS, Market, ever_placed, opened, orders_of, recorded, resting
from benchmarks.measure import load_average, machine
from benchmarks.networks import ready
from benchmarks.optimum import optimum
from benchmarks.orders import demo_day
from riskcheck.network import DEFAULT_NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import RenderableType

    from benchmarks.feeder import Feeder
    from benchmarks.orders import Stream
    from exchange.bounds import MarketSettings
    from exchange.commands import Place

    Tell = Callable[[str], None]

NETWORKS = ("ieee-european-lv", "cigre-lv", "kerber-vorstadt")
LOOKS = 8  # orders of a book's second half
MATTERS_MCT_W = 200 * 6_000
OPENINGS = (0.25, 0.5, 0.75)
MEAN_TARGET, WORST_TARGET, DAY_TARGET, FACTOR_TARGET = 0.995, 0.95, 0.85, 1.2


@dataclass
class Shares:
    """Of HiGHS' optimum, by way of matching; one entry a book (or an order)."""

    name: str
    of: dict[str, list[float]] = field(default_factory=dict)
    below_greedy: int = 0

    def note(self, way: str, share: float) -> None:
        self.of.setdefault(way, []).append(round(share, 6))


@dataclass
class Day:
    """Sums over all intervals, in mct/kWh times watts."""

    orders: int
    collected: int  # of them, in the auctions that open the demo's intervals
    clairvoyant: float
    of: dict[str, int]


# --- books --------------------------------------------------------------------------------------------------------


def of_books(name: str, books: Iterable[Book], tell: Tell) -> tuple[Shares, Shares]:
    """Whole books, and some of their orders one by one."""
    whole, single = Shares(name), Shares(f"{name}, one order")
    for number, book in enumerate(books):
        tell(f"{name}: book {number + 1}, {len(book.places)} orders")
        _whole(book, whole)
        _one_by_one(book, single)
    return whole, single


def _whole(book: Book, shares: Shares) -> None:
    rows, orders = book.feeder.polytope, orders_of(book.feeder, book.places)
    residual = rows.residual(book.held_w)
    most = optimum(rows.columns, residual, orders)
    if most < MATTERS_MCT_W:
        return
    shares.note("pairs one to one", _traded(book, ONE_TO_ONE) / most)
    shares.note("best one to one", optimum(rows.columns, residual, orders, one_to_one=True) / most)
    shares.note("pairs at rates", _traded(book, RATES) / most)
    shares.note("sweeps", _traded(book, SWEEPS) / most)
    auction, greedy = _auctioned(book, ask=True), _auctioned(book, ask=False)
    shares.note("greedy", greedy / most)
    shares.note("auction", auction / most)
    shares.below_greedy += auction < greedy


def _traded(book: Book, settings: MarketSettings, collected: int = 0) -> int:
    """The welfare of orders that come one by one, after an opening auction over the first of them."""
    market = opened(book, settings, "auction" if collected else "continuous")
    for place in book.places[:collected]:
        market.take(place)
    if collected:
        market.end_auction(book.interval_ms, ask=settings.sweeps)
    for place in book.places[collected:]:
        market.take(place)
    return market.total()


def _auctioned(book: Book, *, ask: bool) -> int:
    market = opened(book, SWEEPS, "auction")
    for place in book.places:
        market.take(place)
    market.asks = ask
    market.end_auction(book.interval_ms, ask=ask)
    return market.total()


def _one_by_one(book: Book, shares: Shares) -> None:
    market = opened(book, SWEEPS, asks=False)
    looked_at = set(np.linspace(len(book.places) // 2, len(book.places) - 1, LOOKS).astype(int).tolist())
    for number, place in enumerate(book.places):
        if number in looked_at:
            _note(book, market, place, shares)
        market.take(place)


def _note(book: Book, market: Market, place: Place, shares: Shares) -> None:
    """What the walk and the sweep of an order that comes now reach of the optimum."""
    interval = market.engine.areas[place.area].intervals[book.interval_ms]
    orders = orders_of(book.feeder, [*resting(market, book.interval_ms), place])
    most = optimum(interval.headroom.columns, interval.headroom.residual, orders)
    if most >= MATTERS_MCT_W:
        walked, swept = (_gain(market.fork(asks=asks), place) for asks in (False, True))
        shares.note("walk", walked / most)
        shares.note("sweep", swept / most)
        shares.below_greedy += swept < walked


def _gain(market: Market, place: Place) -> int:
    before = market.total()
    market.take(place)
    return market.total() - before


# --- a day --------------------------------------------------------------------------------------------------------


def of_day(feeder: Feeder, stream: Stream, tell: Tell) -> Day:
    rows, n = feeder.polytope, len(feeder.terms)
    held = np.array(feeder.export_w + feeder.import_w)
    most_sold = held - np.array([t.failsafe_export_w for t in feeder.terms] + [t.failsafe_import_w for t in feeder.terms])
    most_bought = np.array([t.rating_export_w for t in feeder.terms] + [t.rating_import_w for t in feeder.terms]) - held
    day = Day(0, 0, 0.0, {})
    assert len(held) == 2 * n == rows.n_rights
    for interval_ms, places in sorted(ever_placed(stream.commands, ONE_TO_ONE).items()):
        tell(f"the day: {day.orders:,} orders so far")
        orders = orders_of(feeder, places)
        collected = stream.collected.get(interval_ms, 0)
        day.orders, day.collected = day.orders + len(places), day.collected + collected
        day.clairvoyant += optimum(rows.columns, rows.residual(held), orders, net_w=(most_sold, most_bought))
        for way, worth in _ways(Book(feeder, interval_ms, tuple(places)), collected):
            day.of[way] = day.of.get(way, 0) + worth
    return day


def _ways(book: Book, collected: int) -> Iterable[tuple[str, int]]:
    yield "pairs one to one", _traded(book, ONE_TO_ONE)
    yield "pairs at rates", _traded(book, RATES)
    yield "sweeps", _traded(book, SWEEPS)
    yield "sweeps, auction as in the demo", _traded(book, SWEEPS, collected)
    for opening in OPENINGS:
        yield f"sweeps, opening {opening:.0%}", _traded(book, SWEEPS, int(opening * len(book.places)))


# --- the tables ---------------------------------------------------------------------------------------------------


def of_shares(found: Sequence[Shares], title: str) -> RenderableType:
    ways = list(dict.fromkeys(way for shares in found for way in shares.of))
    table = _table(title, "on", "count", *ways, "below greedy")
    for shares in found:
        cells = [_cell(shares.of.get(way, [])) for way in ways]
        table.add_row(shares.name, str(max(map(len, shares.of.values()), default=0)), *cells, str(shares.below_greedy))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _cell(shares: Sequence[float]) -> str:
    return f"{np.mean(shares):.4f} / {min(shares):.4f}" if shares else "-"


def of_a_day(day: Day) -> RenderableType:
    target = f"target {DAY_TARGET}, {FACTOR_TARGET} times one to one"
    title = f"A demo's day, {day.orders:,} orders, {day.collected:,} while opening auctions collect ({target})"
    table = _table(title, "market", "of the clairvoyant", "times pairs one to one")
    least = day.of["pairs one to one"]
    for way, worth in day.of.items():
        table.add_row(way, f"{worth / day.clairvoyant:.4f}", f"{worth / max(1, least):.2f}")
    return table


def main(given: list[str] | None = None) -> int:
    """Prints the tables. 2: a network that cannot be traded on."""
    args = _parser().parse_args(given)
    command, began = arguments.command("welfare", given), time.time()
    say = tables.printer(quiet=args.json)

    def tell(phrase: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{phrase}", end="", file=sys.stderr, flush=True)

    whole: list[Shares] = []
    single: list[Shares] = []
    try:
        for name in args.network or NETWORKS:
            feeder = ready(name, lambda phrase, _: tell(phrase))[1]
            books = (generated(feeder, seed, 0) for seed in range(args.seed, args.seed + args.books))
            _append(of_books(name, books, tell), whole, single)
        day = _recorded(args, whole, single, tell)
    except ValueError as error:
        print(f"welfare: {error}", file=sys.stderr)
        return 2
    head = {"command": command, "machine": machine(), "load": load_average(), "seconds": round(time.time() - began)}
    say(f"$ {command}\n{head['seconds']} s\n")
    say(of_shares(whole, f"Whole books, share of HiGHS' optimum, mean / worst (auction: target {MEAN_TARGET} / {WORST_TARGET})"))
    say(of_shares(single, f"One order against what rests, mean / worst (sweep: target {MEAN_TARGET} / {WORST_TARGET})"))
    if day is not None:
        say(of_a_day(day))
    if args.json:
        plain: dict[str, Any] = {"books": [asdict(one) for one in whole], "orders": [asdict(one) for one in single]}
        print(json.dumps(head | plain | {"day": None if day is None else asdict(day)}))
    return 0


def _append(found: tuple[Shares, Shares], whole: list[Shares], single: list[Shares]) -> None:
    whole.append(found[0])
    single.append(found[1])


def _recorded(args: argparse.Namespace, whole: list[Shares], single: list[Shares], tell: Tell) -> Day | None:
    if not args.intervals:
        return None
    feeder = ready(DEFAULT_NETWORK, lambda phrase, _: tell(phrase))[1]
    stream = demo_day(feeder, args.seed, args.intervals, args.first_interval, lambda phrase, _: tell(phrase), ONE_TO_ONE)
    books = [book for number, book in enumerate(recorded(feeder, stream.commands, ONE_TO_ONE)) if number % args.every == 0]
    _append(of_books(f"{feeder.network}, recorded", books, tell), whole, single)
    return of_day(feeder, stream, tell)


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("welfare", __doc__)
    parser.add_argument("--network", action="append", default=[], help="generated books on this one; may be repeated")
    parser.add_argument("--books", type=int, default=20, help="generated, per network (default %(default)s)")
    parser.add_argument("--intervals", type=int, default=96, help="of the demo's day (default %(default)s); 0 leaves it out")
    parser.add_argument("--first-interval", type=int, default=0, help="of the day (default %(default)s)")
    parser.add_argument("--every", type=int, default=8, help="recorded books: every so many-th interval (default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

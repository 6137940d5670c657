"""Order books for Python that pip installs, on the same requests as the engine: plain price-time books, in compiled code.

They know neither holdings nor bounds, receipts, intervals or a network, and give no events but trades; ours decides all of that. So
the ratio says what a whole exchange costs beside a bare book. Every interval and direction is a book of its own; a replacement is a
cancel and a new order, since none of them can raise a quantity. Requests are turned into numbers before the clock starts.

    orderly-chaos        C++ behind a C ABI, MIT
    cython-orderbook     Cython, no licence stated
    lightmatchingengine  one file of Python, MIT

What is not installed (extra `benchmarks`) is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

import msgspec

from benchmarks.measure import no_collector, version_of
from exchange.commands import Cancel, Command, Place, Replace


class PeerFigures(msgspec.Struct, frozen=True):
    """Requests per second: median and best of whole rounds, and per second of processor time. `trades` in one round."""

    name: str
    version: str
    per_s_median: int
    per_s_best: int
    per_cpu_s: int
    trades: int


class Request(NamedTuple):
    """Cancels `gone` (0: nothing), then places `order` (0: nothing)."""

    book: int
    gone: int
    order: int
    is_buy: bool
    quantity_w: int
    price_mct: int


Round = Callable[[Sequence[Request], int], int]  # requests, books -> trades


def measure(commands: Sequence[Command], rounds: int) -> list[PeerFigures]:
    """Each peer that is installed, on the stream's customers' requests."""
    requests, books = numbered(commands)
    return [_figures(name, play, requests, books, rounds) for name, play in PEERS.items() if version_of(name)]


def numbered(commands: Sequence[Command]) -> tuple[list[Request], int]:
    """A replacement keeps side and direction and places what is asked anew; requests for orders never seen are left out."""
    books: dict[tuple[int, str], int] = {}
    orders: dict[tuple[str, str], tuple[int, int, bool]] = {}  # (customer, order id) -> book, number, side
    found = []
    for number, command in enumerate(commands, start=1):
        if isinstance(command, Place):
            book = books.setdefault((command.interval_ms, command.direction), len(books))
            orders[command.customer, command.request_id] = book, number, command.side == "buy"
            found.append(Request(book, 0, number, command.side == "buy", command.quantity_w, command.price_mct))
        elif isinstance(command, Replace | Cancel) and (command.customer, command.order_id) in orders:
            book, gone, is_buy = orders[command.customer, command.order_id]
            if isinstance(command, Cancel):
                found.append(Request(book, gone, 0, is_buy, 0, 0))
                continue
            orders[command.customer, command.order_id] = book, number, is_buy
            found.append(Request(book, gone, number, is_buy, command.quantity_w, command.price_mct))
    return found, len(books)


def _figures(name: str, play: Round, requests: Sequence[Request], books: int, rounds: int) -> PeerFigures:
    walls, cpus, trades = [], [], 0
    for _ in range(rounds):
        with no_collector():
            began, began_cpu = time.perf_counter(), time.process_time()
            trades = play(requests, books)
            walls.append(time.perf_counter() - began)
            cpus.append(time.process_time() - began_cpu)
    walls.sort()
    cpus.sort()
    median, best, cpu = (int(len(requests) / seconds) for seconds in (walls[rounds // 2], walls[0], cpus[rounds // 2]))
    return PeerFigures(name, version_of(name), median, best, cpu, trades)


def _orderly(requests: Sequence[Request], books: int) -> int:
    module: Any = import_module("orderly_chaos")
    trades: list[Any] = []
    listed = [module.LimitOrderBook(on_trade=trades.append) for _ in range(books)]
    buy, sell, unknown = module.Side.BUY, module.Side.SELL, module.UnknownOrderIdError
    for book, gone, order, is_buy, quantity, price in requests:
        if gone:
            with suppress(unknown):
                listed[book].cancel(gone)
        if order:
            listed[book].limit(buy if is_buy else sell, order, quantity, price)
    return len(trades)


def _cython(requests: Sequence[Request], books: int) -> int:
    module: Any = import_module("cython_orderbook")
    listed = [module.OrderBook() for _ in range(books)]
    make, buy, sell = module.Order, module.OrderSide.BID, module.OrderSide.ASK
    ids: dict[int, Any] = {}
    for book, gone, order, is_buy, quantity, price in requests:
        if gone:
            with suppress(Exception):  # whatever it raises for an order that has traded
                listed[book].cancel_order(ids[gone])
        if order:
            placed = make(side=buy if is_buy else sell, price=price, original_quantity=quantity)
            listed[book].add_limit_order(placed)
            ids[order] = placed.order_id
    return sum(len(book.trade_log) for book in listed)


def _light(requests: Sequence[Request], books: int) -> int:
    module: Any = import_module("lightmatchingengine.lightmatchingengine")
    engine, buy, sell, trades = module.LightMatchingEngine(), module.Side.BUY, module.Side.SELL, 0
    ids: dict[int, Any] = {}
    names = [f"b{book}" for book in range(books)]
    for book, gone, order, is_buy, quantity, price in requests:
        if gone:
            with suppress(Exception):  # whatever it raises for an order that has traded
                engine.cancel_order(ids[gone], names[book])
        if order:
            placed, made = engine.add_order(names[book], price, quantity, buy if is_buy else sell)
            ids[order] = placed.order_id
            trades += len(made) // 2  # one of each party
    return trades


PEERS: dict[str, Round] = {"orderly-chaos": _orderly, "cython-orderbook": _cython, "lightmatchingengine": _light}

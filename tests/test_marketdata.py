"""What the public sees is what the engine's books say, and names nobody."""

from __future__ import annotations

from itertools import chain, islice

import pytest

from exchange import commands as c
from exchange.engine import Engine
from exchange.recovery import run_batch
from gateway import topics, wire
from gateway.marketdata import DIRECTIONS, LEVELS, MarketData
from gateway.session import Session
from tests import noise
from tests.exchange_at_work import AREA, T0, T1, opening


class Bench:
    def __init__(self) -> None:
        self.engine = Engine()
        self.session = Session(self.engine)
        self.apply(*opening(T0, T1))
        self.session.marketdata.render()

    def apply(self, *commands: c.Command) -> None:
        batch = run_batch(self.engine, 1, T0, commands, b"")
        self.session.route(batch.commands, batch.events, T0)

    def place(self, customer: str, order: str, side: c.Side, quantity: int, price: int) -> None:
        self.apply(c.Place(AREA, customer, order, T0, "export", side, quantity, price))

    @property
    def book(self) -> wire.Book:
        return self.session.marketdata.book((AREA, T0, "export"))


def test_orders_at_one_price_are_one_level() -> None:
    bench = Bench()
    bench.place("alice", "a1", "sell", 1000, 120)
    bench.place("bob", "b1", "sell", 500, 120)
    bench.place("bob", "b2", "sell", 500, 130)
    bench.place("carol", "c1", "buy", 700, 100)
    assert bench.book.offers == (wire.Level(120, 1500, 2), wire.Level(130, 500, 1))
    assert bench.book.bids == (wire.Level(100, 700, 1),)
    assert (bench.book.shown_buy_w, bench.book.shown_sell_w) == (700, 2000)


def test_a_trade_takes_from_the_level_and_is_shown_newest_first() -> None:
    bench = Bench()
    bench.place("alice", "a1", "sell", 1000, 120)
    bench.place("bob", "b1", "buy", 300, 130)
    bench.place("bob", "b2", "buy", 200, 120)
    assert bench.book.offers == (wire.Level(120, 500, 1),)
    assert [(trade.price_mct, trade.received_w, trade.given_w) for trade in bench.book.trades] == [(120, 200, 200), (120, 300, 300)]
    assert (bench.book.traded_w, bench.book.trade_count) == (500, 2)


def test_a_replaced_order_moves_to_its_new_level_and_a_cancelled_one_goes() -> None:
    bench = Bench()
    bench.place("alice", "a1", "sell", 1000, 120)
    bench.apply(c.Replace(AREA, "alice", "r1", "a1", 800, 140))
    assert bench.book.offers == (wire.Level(140, 800, 1),)
    bench.apply(c.Cancel(AREA, "alice", "x1", "a1"))
    assert bench.book.offers == ()


def test_only_the_best_levels_are_published_and_the_totals_count_all() -> None:
    bench = Bench()
    for n in range(LEVELS + 3):
        bench.place("alice", f"a{n}", "sell", 100, 500 - 10 * n)
    assert len(bench.book.offers) == LEVELS
    assert bench.book.offers[0].price_mct == 500 - 10 * (LEVELS + 2)
    assert bench.book.shown_sell_w == 100 * (LEVELS + 3)


def test_a_book_is_published_once_however_many_events_it_saw() -> None:
    bench = Bench()
    for n in range(20):
        bench.place("alice", f"a{n}", "sell", 10, 120)
    (message,) = bench.session.marketdata.render()
    assert message.topic == topics.book(AREA, T0, "export")
    assert message.retain
    assert bench.session.marketdata.render() == []


def test_a_retired_interval_leaves_the_broker() -> None:
    bench = Bench()
    bench.place("alice", "a1", "sell", 10, 120)
    bench.apply(c.CloseGate(AREA, T0), c.RetireInterval(AREA, T0))
    sent = bench.session.marketdata.render()
    assert [(m.topic, m.payload) for m in sent if "/md/" in m.topic] == [(topics.book(AREA, T0, d), b"") for d in DIRECTIONS]
    (state,) = [wire.decode_state(m.payload) for m in sent if m.topic == topics.state(AREA)]
    assert [i.interval_ms for i in state.intervals] == [T1]


@pytest.mark.parametrize(
    ("command", "phases"),
    [
        (c.CloseGate(AREA, T0), ["closed", "continuous"]),
        (c.EnterPhase(AREA, T1, "frozen", "test"), ["continuous", "frozen"]),
        (c.EnterPhase(AREA, T0, "auction", "test"), ["auction", "continuous"]),
        (c.Halt(AREA, T1, "test"), ["continuous", "continuous, export and import halted"]),
        (c.Halt(None, None, "test"), ["continuous, export and import halted"] * 2),
        (c.Halt(None, T0, "test"), ["continuous, export and import halted", "continuous"]),
        (c.Halt(AREA, T0, "test", "import"), ["continuous, import halted", "continuous"]),
    ],
)
def test_the_state_shows_the_phase_of_each_interval_and_the_halted_books(command: c.Command, phases: list[str]) -> None:
    bench = Bench()
    bench.apply(command)
    (message,) = [m for m in bench.session.marketdata.render() if m.topic == topics.state(AREA)]
    state = wire.decode_state(message.payload)
    assert [in_words(interval) for interval in state.intervals] == phases
    assert (state.tick_mct, state.lot_w, state.interval_length_ms) == (10, 10, 900_000)


def in_words(interval: wire.IntervalState) -> str:
    return f"{interval.phase}, {' and '.join(interval.halted)} halted" if interval.halted else interval.phase


@pytest.mark.parametrize("matching", ["one_to_one", "exchange_rate"])
def test_mirror_and_books_equal_the_engine_s_after_a_random_stream(matching: str) -> None:
    engine = Engine()
    session = Session(engine)
    for number, command in enumerate(islice(chain(noise.opening(matching), noise.Noise(engine, 7)), 2500)):
        batch = run_batch(engine, number, 0, (command,), b"")
        session.route(batch.commands, batch.events, 0)
        if number % 50 == 49:
            session.mirror.check(engine)
            assert_same_books(session.marketdata, engine)
    fresh = MarketData(session.mirror)  # what a restarted process would show
    assert_same_books(fresh, engine)
    assert not any(name.encode() in m.payload for m in session.marketdata.render() for name in noise.NAMES)


def assert_same_books(marketdata: MarketData, engine: Engine) -> None:
    for area, interval_ms, direction in marketdata.books:
        book = marketdata.book((area, interval_ms, direction))
        bids, offers = engine.book(area, interval_ms, direction)
        assert [(level.price_mct, level.shown_w, level.orders) for level in book.bids] == bids[:LEVELS]
        assert [(level.price_mct, level.shown_w, level.orders) for level in book.offers] == offers[:LEVELS]

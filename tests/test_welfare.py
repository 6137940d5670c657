"""The welfare benchmark: its optimum by hand, its books, and that sweep and auction keep their promises on small ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import welfare
from benchmarks.books import LOT_W, TICK_MCT, Book, generated
from benchmarks.feeder import AREA, Feeder, synthetic
from benchmarks.markets import ONE_TO_ONE, RATES, SWEEPS, ever_placed, opened, orders_of, recorded
from benchmarks.optimum import Orders, optimum
from benchmarks.orders import Stream
from exchange.commands import Cancel, CloseGate, Command, Place, Replace

FEEDER, STREET = synthetic(8, 12), synthetic(30, 40)


def orders(*of: tuple[int, str, int, int]) -> Orders:
    right, side, quantity_w, price_mct = zip(*of, strict=True)
    return Orders(np.array(right), np.array([s == "buy" for s in side]), np.array(quantity_w), np.array(price_mct))


COLUMNS = np.array([[2], [1], [0], [0]], dtype=np.int32)  # two exports, two imports; one row on the exports


def test_the_optimum_trades_at_the_networks_rates() -> None:
    assert optimum(COLUMNS, np.array([0]), orders((0, "sell", 100, 10), (1, "buy", 500, 30))) == pytest.approx(200 * 30 - 100 * 10)


def test_one_to_one_a_watt_bought_is_a_watt_sold() -> None:
    asked = orders((0, "sell", 100, 10), (1, "buy", 500, 30))
    assert optimum(COLUMNS, np.array([0]), asked, one_to_one=True) == pytest.approx(100 * 20)


def test_a_right_buys_or_sells_whichever_is_better_for_all() -> None:
    """Its own bid of 90 and ask of 10 cross; the sale serves a bid of 30 for 200 W, the bid has 20 W of room."""
    asked = orders((0, "sell", 100, 10), (0, "buy", 100, 90), (1, "buy", 200, 30))
    assert optimum(COLUMNS, np.array([0]), asked) == pytest.approx(200 * 30 - 100 * 10)


def test_net_bounds_hold_for_a_rights_orders_together() -> None:
    net = np.array([100, 100, 100, 100]), np.array([100, 50, 100, 100])
    asked = orders((1, "buy", 40, 30), (1, "buy", 40, 20))
    assert optimum(COLUMNS, np.array([10**6]), asked, net_w=net) == pytest.approx(40 * 30 + 10 * 20)


def test_no_orders_are_worth_nothing() -> None:
    assert optimum(COLUMNS, np.array([0]), Orders(*(np.array([], dtype=int) for _ in range(4)))) == 0


def test_a_generated_book_is_the_same_each_time_and_all_of_it_is_taken_in() -> None:
    book = generated(FEEDER, 3, 0)
    assert book == generated(FEEDER, 3, 0) != generated(FEEDER, 4, 0)
    assert all(place.quantity_w % LOT_W == 0 and place.price_mct % TICK_MCT == 0 for place in book.places)
    market = opened(book, RATES, "auction")
    for place in book.places:
        market.take(place)
    assert list(market.placed.values()) == list(book.places)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_auction_reaches_the_optimum_and_never_less_than_greedy(seed: int) -> None:
    shares = welfare.Shares("test")
    welfare._whole(generated(STREET, seed, 0), shares)
    assert shares.below_greedy == 0
    assert shares.of["auction"][0] >= welfare.MEAN_TARGET
    assert shares.of["pairs one to one"][0] <= shares.of["best one to one"][0] + 1e-6


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_sweep_reaches_the_optimum_of_its_moment_and_never_less_than_the_walk(seed: int) -> None:
    shares = welfare.Shares("test")
    welfare._one_by_one(generated(STREET, seed, 0), shares)
    assert shares.below_greedy == 0
    assert min(shares.of["sweep"]) >= welfare.WORST_TARGET


def stream(feeder: Feeder) -> list[Command]:
    """Three orders, of which one is changed and one withdrawn."""
    first, second, third = generated(feeder, 1, 0).places[:3]
    return [
        *feeder.opening(ONE_TO_ONE), feeder.open_interval(0), first, second, third,
        Replace(AREA, first.customer, "r", first.request_id, 2 * LOT_W, TICK_MCT), Cancel(AREA, second.customer, "c", second.request_id),
        CloseGate(AREA, 0),
    ]  # fmt: skip


def test_a_recorded_book_is_what_would_rest_at_the_gate() -> None:
    (book,) = recorded(FEEDER, stream(FEEDER), ONE_TO_ONE)
    first, _, third = generated(FEEDER, 1, 0).places[:3]
    assert [(place.request_id, place.customer) for place in book.places] == [
        (place.request_id, place.customer) for place in (third, first)
    ]  # the change cost the first its place
    assert book.places[1].quantity_w == 2 * LOT_W


def test_the_days_orders_come_once_each_when_placed_with_their_last_terms() -> None:
    first, second, third = generated(FEEDER, 1, 0).places[:3]
    (of_interval,) = ever_placed(stream(FEEDER), ONE_TO_ONE).values()
    assert [place.customer for place in of_interval] == [first.customer, second.customer, third.customer]
    assert (of_interval[0].quantity_w, of_interval[0].price_mct) == (2 * LOT_W, TICK_MCT)


def test_a_day_sets_every_market_beside_the_clairvoyant() -> None:
    places = generated(FEEDER, 1, 0).places
    stream = Stream("a day", (*FEEDER.opening(ONE_TO_ONE), FEEDER.open_interval(0), *places), {0: len(places) // 2})
    day = welfare.of_day(FEEDER, stream, lambda _: None)
    assert (day.orders, day.collected) == (len(places), len(places) // 2)
    assert 0 < max(day.of.values()) <= day.clairvoyant


def test_the_command_prints_tables_or_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(welfare, "ready", lambda name, progress: (None, STREET))
    assert welfare.main(["--network", "small", "--books", "1", "--intervals", "0"]) == 0
    assert "Whole books" in capsys.readouterr().out
    assert welfare.main(["--network", "small", "--books", "1", "--intervals", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["books"][0]["of"]["auction"][0] >= welfare.MEAN_TARGET


def test_orders_as_numbers() -> None:
    names = [terms.customer for terms in FEEDER.terms]
    book = Book(
        FEEDER, 0, (Place(AREA, names[1], "a", 0, "import", "buy", 20, 30), Place(AREA, names[0], "b", 0, "export", "sell", 10, 40))
    )
    assert [entry.tolist() for entry in orders_of(FEEDER, book.places)] == [[9, 0], [True, False], [20, 10], [30, 40]]


def test_forks_go_their_own_way() -> None:
    book = generated(FEEDER, 2, 0)
    market = opened(book, SWEEPS, asks=False)
    for place in book.places[:-1]:
        market.take(place)
    worth, fork = market.total(), market.fork(asks=True)
    fork.take(book.places[-1])
    assert (market.total(), len(market.placed)) == (worth, len(fork.placed) - 1)

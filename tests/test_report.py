"""The report of a run, from a hand-made list of events: every figure derived by hand, and every promise that a run can break."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from demo import figures, page, pictures, price_picture, report
from demo.homes import DAY_MS, MINUTE_MS, Connection, fleet, live
from demo.timetable import FleetResult, HomeResult
from exchange.events import (
    Accepted,
    Blocked,
    Cancelled,
    Event,
    Halted,
    IntervalOpened,
    Leg,
    PhaseEntered,
    Raised,
    Rejected,
    Replaced,
    Resumed,
    Settled,
    Traded,
    Uncrossed,
    Withheld,
)

LENGTH_MS = 15 * MINUTE_MS
T0 = 20_000 * DAY_MS + 14 * 60 * MINUTE_MS
T1 = T0 + LENGTH_MS
CONNECTIONS = [Connection(name, 10_000, 14_000, 500, 800) for name in ("ann", "ben", "cem")]
PLACES = [report.Place("ann", "a", 10.0), report.Place("ben", "a", 300.0), report.Place("cem", "c", 120.0)]


def opened(sequence: int, start_ms: int) -> IntervalOpened:
    return IntervalOpened(sequence, "lv", start_ms, "rows", ("ann", "ben", "cem"), (2_000, 2_000, 2_000), (3_000, 3_000, 3_000), "auction")


def traded(sequence: int, quantity_w: int, price_mct: int, buyer_w: int, seller_w: int) -> Traded:
    """Ann, the taker, buys export rights of T0 from Ben at his price; the last two figures are what they then hold."""
    cash = quantity_w * price_mct // 4_000
    buy = Leg("ann", "a1", "buy", "export", quantity_w, price_mct, -cash, 0, buyer_w, 0)
    return Traded(sequence, "lv", T0, (buy, Leg("ben", "b1", "sell", "export", -quantity_w, price_mct, cash, 0, seller_w, 0)))


def settled(sequence: int, start_ms: int, moved_w: int, cash_mct: int) -> Settled:
    """Ann bought from Ben what moved of export limits."""
    nothing = (0,) * 6
    bought, sold = (moved_w, *nothing[1:]), (0, moved_w, *nothing[2:])
    given = (2_000,) * 3 + (3_000,) * 3
    cash = (-cash_mct, cash_mct, 0)
    return Settled(sequence, "lv", start_ms, ("ann", "ben", "cem"), given, nothing, bought, sold, nothing, cash, (0, 0, 0), 0)


EVENTS: list[Event] = [
    opened(1, T0),
    opened(2, T1),
    Accepted(3, "lv", "ben", "b1", T0, "export", "sell", 1_000, 2_000, 500, 1),
    Accepted(4, "lv", "ann", "a1", T0, "export", "buy", 1_200, 6_000, 1_200, 1),
    traded(5, 600, 2_000, 2_600, 1_400),
    Blocked(6, "lv", "ann", "a1", T0, "export", "voltage_max", "bus 886", "b", 600, 0),
    Replaced(7, "lv", "ann", "r1", "a1", T0, "export", "buy", 1_000, 400, 8_000, False, 400),
    Blocked(8, "lv", "ann", "a1", T0, "export", "voltage_max", "bus 886", "b", 400, 300),
    traded(9, 300, 2_000, 2_900, 1_100),
    Rejected(10, "lv", "cem", "c1", "not_covered", "at most 1500 W"),
    Accepted(11, "lv", "cem", "c2", T1, "import", "buy", 500, 9_000, 500, 1),
    Cancelled(12, "lv", "cem", "", "c2", T1, "import", "buy", 500, "gate"),
    settled(13, T0, 900, 450),
    settled(14, T1, 0, 0),
]
HELD = [[(2_900, 3_000), (1_100, 3_000), (2_000, 3_000)], [(2_000, 3_000)] * 3]
SECURE = report.Certificate(
    "the allocation", 40, (0.95, 0.96, 0.97), (1.05, 1.04, 1.09), (0.9, 1.1), "line 1 phase a", 0.8, "a exports, b imports", 0
)


def a_run(**changes: object) -> report.Run:
    delivered = live(fleet(CONNECTIONS, 3), T0, LENGTH_MS, HELD)
    homes = [HomeResult(name, "home", [one for one in delivered if one.customer == name]) for name in ("ann", "ben", "cem")]
    for home, latencies in zip(homes, ([1_000, 2_000], [3_000], []), strict=True):
        home.latencies_us, home.requests = latencies, len(latencies)
    feeder = pictures.Feeder(
        {0: (0.0, 0.0), 1: (1.0, 0.0), 2: (1.0, 1.0)}, [(0, 1, 0.8), (1, 2, 0.3)],
        {0: (0.09, 0.09, 0.09), 1: (0.03, 0.05, 0.02), 2: (0.01, 0.04, 0.02)}, [(1, 0), (2, 0), (2, 2)], 0,
    )  # fmt: skip
    run = report.Run(
        network="a street", seed=3, interval_ms=LENGTH_MS, speed=120.0, wall_s=12.0, machine="a machine", broker="amqtt",
        connections=CONNECTIONS, places=PLACES, events=EVENTS, fleet=FleetResult("lv", 3, True, homes, []),
        certificates=[SECURE, dataclasses.replace(SECURE, subject="the interval at 14:00", voltage_max_pu=(1.06, 1.02, 1.08))],
        replay=report.Replay(12, 12, "digest", True, 0.1), feeder=feeder,
    )  # fmt: skip
    return dataclasses.replace(run, **changes)  # type: ignore[arg-type]


def summarised(run: report.Run) -> dict[str, object]:
    return report.summary(run, report.gather(run))


def test_the_events_are_counted():
    market = figures.fold(EVENTS, LENGTH_MS)
    assert (market.orders, market.replaced, len(market.trades), market.blocked) == (3, 1, 2, 2)
    assert market.cancelled == {"gate": 1}
    assert market.refusals == {"not_covered": 1}
    assert market.blocked_rows == {"over-voltage of bus 886 phase b": 2}
    assert market.problems == []


def test_what_one_order_could_not_trade_counts_once_at_its_largest():
    assert figures.fold(EVENTS, LENGTH_MS).blocked_w == {(T0, "export"): 600}


def test_limits_after_trading_are_the_allocation_and_the_legs():
    market = figures.fold(EVENTS, LENGTH_MS)
    assert market.holding[T0, "export"] == {"ann": 2_900, "ben": 1_100, "cem": 2_000}
    assert market.allocation[T0, "export"] == {"ann": 2_000, "ben": 2_000, "cem": 2_000}
    assert [market.envelopes(start_ms, ["ann", "ben", "cem"], traded=True) for start_ms in (T0, T1)] == HELD


def test_surplus_is_bids_above_asks_on_the_watts_that_traded_for_a_quarter_of_an_hour():
    market = figures.fold(EVENTS, LENGTH_MS)
    by_hand = 0.6 * 0.25 * (6_000 - 2_000) + 0.3 * 0.25 * (8_000 - 2_000)  # kW x h x mct; after the replacement Ann bids 8000
    assert market.surplus_mct == pytest.approx(by_hand)
    assert market.turnover_mct == 300 + 150
    assert market.price_mean_mct("export") == 2_000
    assert market.price_mean_mct("import") is None


def test_a_ledger_that_contradicts_its_legs_is_a_problem():
    wrong = [*EVENTS[:4], traded(5, 600, 2_000, 9_999, 1_400)]
    assert figures.fold(wrong, LENGTH_MS).problems == ["trade 5: ann holds 2600 W, the leg says 9999 W"]


def test_a_trade_of_many_legs_is_one_trade():
    legs = (
        Leg("ann", "a1", "buy", "export", 500, 1_920, -240, 700, 2_500, 700),
        Leg("ben", "b1", "sell", "export", -700, 1_000, 175, 300, 1_300, 300),
        Leg("cem", "c1", "sell", "import", -100, 2_600, 65, 0, 2_900, 0),
    )  # fmt: skip
    accepted = Accepted(5, "lv", "cem", "c1", T0, "import", "sell", 100, 2_600, 100, 1)
    market = figures.fold([*EVENTS[:4], accepted, Traded(6, "lv", T0, legs, "sweep")], LENGTH_MS)
    assert (len(market.trades), market.kinds, market.problems) == (1, {"sweep": 1}, [])
    assert (market.traded_w("export"), market.price_mean_mct("export"), market.traded_w("import")) == (500, 1_920, 0)


def test_cash_that_the_operator_keeps_belongs_to_a_trades_sum():
    legs = (Leg("ann", "a1", "buy", "export", 100, 4_000, -100, 1_100, 2_100, 1_100),)
    sold = Leg("ben", "b1", "sell", "export", -100, 2_000, 50, 900, 1_900, 500)
    for operator_mct, problems in ((50, []), (0, ["trade 5: cash does not sum to zero"])):
        market = figures.fold([*EVENTS[:4], Traded(5, "lv", T0, (*legs, sold), "uncross", operator_mct)], LENGTH_MS)
        assert market.problems == problems


def test_headroom_that_nobody_held_is_counted_apart_and_has_no_price():
    leg = Leg("ann", "a1", "buy", "export", 300, 0, 0, 900, 2_300, 900)
    market = figures.fold([*EVENTS[:4], Traded(5, "lv", T0, (leg,), "leftover")], LENGTH_MS)
    assert market.leftover_w == {"export": 300}
    assert (market.traded_w("export"), market.price_mean_mct("export")) == (0, None)


def test_an_order_that_was_blocked_and_trades_later_was_woken_once():
    assert figures.fold(EVENTS, LENGTH_MS).woken == 1


def test_auctions_are_told_apart_and_the_first_of_an_interval_is_its_opening():
    leg = Leg("ann", "a1", "buy", "export", 300, 0, 0, 900, 2_300, 900)
    ending = [
        Uncrossed(5, "lv", T0, True, True, 70), Traded(6, "lv", T0, (leg,), "uncross"),
        PhaseEntered(7, "lv", T0, "continuous", "uncrossed"),
        PhaseEntered(8, "lv", T0, "auction", "a halt ended"), Uncrossed(9, "lv", T0, False, True, 0),
    ]  # fmt: skip
    market = figures.fold([*EVENTS[:4], *ending], LENGTH_MS)
    assert market.auctions == [figures.Auction(T0, True, True, 70, 300), figures.Auction(T0, False, False, 0)]
    assert market.operator.moves == ["auction: a halt ended"]


def test_the_operators_headroom_is_in_no_customers_book():
    withheld = Withheld(5, "lv", "w1", T0, "thermal", "line 1", "a", "sell", 500, 2_000, 500, "for sale")
    legs = (
        Leg("ann", "a1", "buy", "export", 200, 3_000, -150, 1_000, 2_200, 1_000),
        Leg("~operator", "w1", "sell", "export", -300, 2_000, 150, 200, 200, 200),
    )
    market = figures.fold([*EVENTS[:4], withheld, Traded(6, "lv", T0, legs)], LENGTH_MS)
    assert (market.operator.sold_w, market.operator.earned_mct, market.problems) == (300, 150, [])
    assert market.holding[T0, "export"] == {"ann": 2_200, "ben": 2_000, "cem": 2_000}


def test_the_operators_hand_is_told_from_the_halt_on():
    hand = [Halted(2, "lv", T0, "a fuse is looked at", None), Resumed(3, "lv", T0, "the fuse is sound", None)]
    market = figures.fold([opened(1, T0), *hand], LENGTH_MS)
    assert market.operator.moves == ["halted: a fuse is looked at", "resumed: the fuse is sound"]


def test_a_raise_is_held_and_counted():
    market = figures.fold([*EVENTS[:2], Raised(3, "lv", T0, "cem", "import", 400, "refresh", 3_400)], LENGTH_MS)
    assert market.holding[T0, "import"]["cem"] == 3_400
    assert market.operator.raised_w == {"import": 400}


def test_a_settlement_that_does_not_sum_to_zero_or_forgets_watts_is_a_problem():
    cash = msgspec.structs.replace(EVENTS[12], cash_mct=(-450, 440, 0))
    assert figures.fold([*EVENTS[:12], cash], LENGTH_MS).problems == [f"settlement of interval {T0} does not sum to zero"]
    found = figures.fold([*EVENTS[:12], settled(13, T0, 800, 450)], LENGTH_MS).problems
    assert found == [f"settlement of interval {T0} is not what its events lead to"]


@pytest.mark.parametrize(
    ("ordered", "share", "expected"),
    [([1, 2, 3, 4], 0.5, 2), ([1, 2, 3, 4], 0.99, 4), ([7], 0.5, 7), (list(range(1, 101)), 0.99, 99), (list(range(1, 101)), 0.5, 50)],
)
def test_quantiles_are_nearest_rank(ordered, share, expected):
    assert figures.quantile(ordered, share) == expected


def test_the_summary_of_a_good_run():
    found = summarised(a_run())
    assert found["problems"] == []
    assert found["requests"] == {"sent": 3, "lost": 0, "resent": 0, "p50_ms": 2.0, "p99_ms": 3.0, "max_ms": 3.0}
    assert found["envelopes"]["export"]["before"] == {"smallest_w": 2_000, "median_w": 2_000, "largest_w": 2_000}
    assert found["envelopes"]["export"]["after"] == {"smallest_w": 1_100, "median_w": 2_000, "largest_w": 2_900}
    assert found["certificate"]["voltage_max_pu"] == (1.06, 1.04, 1.09)
    assert found["certificate"]["corners"] == 80
    assert found["certificate"]["worst_corner"] == "a exports, b imports"


def test_without_trades_the_counterfactual_is_the_run():
    run = a_run(events=[*EVENTS[:2], settled(3, T0, 0, 0), settled(4, T1, 0, 0)])
    untraded = live(fleet(CONNECTIONS, 3), T0, LENGTH_MS, [[(2_000, 3_000)] * 3] * 2)
    homes = [HomeResult(name, "home", [one for one in untraded if one.customer == name]) for name in ("ann", "ben", "cem")]
    found = summarised(dataclasses.replace(run, fleet=FleetResult("lv", 3, True, homes, [])))
    assert found["energy_kwh"]["with"] == found["energy_kwh"]["without"]
    assert found["welfare_gain_eur"] == 0
    assert found["problems"] == []


def test_replaying_the_homes_on_the_ledgers_limits_gives_what_they_lived_through():
    facts = report.gather(a_run())
    again = figures.counterfactual(facts.market, CONNECTIONS, 3, traded=True)
    assert sorted(map(repr, again)) == sorted(map(repr, facts.lived))


BROKEN = [
    (lambda run: {"certificates": [dataclasses.replace(SECURE, violations=2)]}, "2 AC violations in the allocation"),
    (lambda run: {"replay": dataclasses.replace(run.replay, same=False)}, "the replay of the journal differs"),
    (lambda run: {"events": EVENTS[:8]}, "1 deliveries under an envelope that is not the ledger's, first ben"),
    (lambda run: {"fleet": FleetResult("lv", 3, False, run.fleet.homes, ["ann: lost it"])}, "fleet: ann: lost it"),
    (lambda run: {"fleet": FleetResult("lv", 3, True, run.fleet.homes[:2], [])}, "4 deliveries, 6 were due"),
]


@pytest.mark.parametrize(("change", "problem"), BROKEN)
def test_what_a_run_must_not_show_is_named(change, problem):
    run = a_run()
    if "not the ledger's" in problem:
        run = dataclasses.replace(run, fleet=FleetResult("lv", 3, True, run.fleet.homes[1:2], []))
    found = summarised(dataclasses.replace(run, **change(run)))
    assert any(text.startswith(problem) for text in found["problems"]), found["problems"]


def test_lost_acknowledgements_and_missing_envelopes_are_problems():
    run = a_run()
    run.fleet.homes[0].lost, run.fleet.homes[1].missing_envelopes = 1, 2
    assert [text[:2] for text in summarised(run)["problems"]] == ["1 ", "2 "]


def test_what_the_gate_refused_is_counted_with_what_the_exchange_refused():
    run = a_run()
    run.fleet.homes[0].refusals = {"throttled": 2, "not_covered": 1}  # the latter is in the events already
    assert summarised(run)["market"]["refusals"] == {"throttled": 2, "not_covered": 1}


def test_a_delivery_outside_its_envelope_is_a_problem():
    run = a_run()
    first = run.fleet.homes[0].delivered[0]
    changed = {field: getattr(first, field) for field in first.__struct_fields__} | {"net_w_max": first.export_w + 1}
    run.fleet.homes[0].delivered[0] = type(first)(**changed)
    assert summarised(run)["problems"] == ["1 deliveries outside their envelope"]


def test_the_report_folder_is_complete_and_the_page_needs_nothing_else(tmp_path: Path):
    found = report.write(a_run(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.json", "summary.md", "index.html", "trades.csv", "homes.csv", *page.PICTURES}
    assert json.loads((tmp_path / "report.json").read_text())["market"]["trades"] == 2
    text = (tmp_path / "index.html").read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/png;base64,") == 4
    assert found["problems"] == []
    assert "No violation" in text
    assert len((tmp_path / "homes.csv").read_text().splitlines()) == 1 + 6
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in page.PICTURES)


def purchase(price_mct: int, kind: str = "pair") -> price_picture.TradePoint:
    return price_picture.TradePoint(T0, "import", 500, price_mct, kind)


@pytest.mark.parametrize(
    ("dearest_mct", "said"), [(14_000, "Import: 51 purchases<"), (14_100, "Import: 51 purchases; ▲ 1 above the scale, up to 14.1 ct<")]
)
def test_a_price_over_twice_what_others_paid_is_said_in_words(tmp_path: Path, dearest_mct: int, said: str):
    picture = tmp_path / "prices.svg"
    price_picture.draw_prices(picture, [purchase(7_000)] * 50 + [purchase(dearest_mct)], {}, [T0], "")
    assert said in picture.read_text()


def test_the_picture_of_prices_names_kinds_as_the_table_does_and_says_every_sum(tmp_path: Path):
    picture = tmp_path / "prices.svg"
    kinds = ("pair", "sweep", "uncross", "block", "leftover")
    price_picture.draw_prices(picture, [purchase(7_000, kind) for kind in kinds], {(T0, "import"): 900}, [T0], "")
    words = [f">{kind}<" for kind in kinds[:-1]] + [">5 kW<", ">bought: 2.0 kW<", ">leftover, free: 0.5 kW<", ">blocked: 0.9 kW<"]
    assert [word for word in words if word not in picture.read_text()] == []


def test_the_width_of_branches_has_a_key(tmp_path: Path):
    feeder = a_run().feeder
    assert feeder is not None
    pictures.draw_feeder(tmp_path / "feeder.svg", feeder, "")
    text = (tmp_path / "feeder.svg").read_text()
    assert all(f">{share} %<" in text for share in (25, 50, 100))


def test_a_run_in_which_nothing_happened_still_has_a_report(tmp_path: Path):
    run = a_run(events=[], certificates=[], replay=None, feeder=None, fleet=FleetResult("lv", 3, False, [], ["no broker"]))
    found = report.write(run, tmp_path)
    assert "fleet: no broker" in found["problems"]
    assert "This run failed" in (tmp_path / "index.html").read_text()
    assert "This run failed" in (tmp_path / "summary.md").read_text()


def test_the_page_escapes_what_it_is_given(tmp_path: Path):
    text = page.html_page(summarised(a_run(network="<script>alert(1)</script>")), tmp_path)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text

"""The life of an interval: which moves there are, what each phase admits, and the account at its end."""

from __future__ import annotations

import msgspec
import pytest

from exchange import commands as c
from exchange.events import GateClosed, PhaseEntered, Settled
from tests.rulebook import AREA, CLOSED, OPEN, SETTINGS, UNKNOWN, Market
from tests.story import story

LATER = 4 * 900_000
PHASES: tuple[c.Phase, ...] = ("announced", "auction", "continuous", "frozen", "closed", "delivery")
MOVES = {
    ("announced", "auction"), ("announced", "continuous"), ("announced", "frozen"), ("auction", "frozen"), ("continuous", "auction"),
    ("continuous", "frozen"), ("frozen", "auction"), ("frozen", "continuous"), ("closed", "delivery"),
}  # fmt: skip


def market(phase: c.Phase = "continuous", **settings: object) -> Market:
    """With a third interval in this phase."""
    made = Market(settings=msgspec.structs.replace(SETTINGS, **settings))
    first = phase if phase in ("announced", "auction") else "continuous"
    made.do(c.OpenInterval(AREA, LATER, made.rows.content_hash, made.allocation, made.allocation, first))
    if phase == "frozen":
        enter(made, "frozen")
    elif phase in ("closed", "delivery"):
        made.do(c.CloseGate(AREA, LATER))
        if phase == "delivery":
            enter(made, "delivery")
    assert made.engine.areas[AREA].intervals[LATER].phase == phase
    return made


def enter(made: Market, phase: c.Phase, interval_ms: int = LATER) -> str:
    return story(made.do(c.EnterPhase(AREA, interval_ms, phase, "plan")))


def place(made: Market, name: str, customer: str, side: c.Side, quantity_w: int, price_mct: int, **fields: object) -> str:
    command = c.Place(AREA, customer, name, LATER, "export", side, quantity_w, price_mct)
    return story(made.do(msgspec.structs.replace(command, **fields)))


@pytest.mark.parametrize("target", PHASES)
@pytest.mark.parametrize("phase", PHASES)
def test_an_interval_moves_as_the_table_says_and_not_otherwise(phase: c.Phase, target: c.Phase) -> None:
    made = market(phase)
    told = enter(made, target)
    assert told == (f"{target} for plan" if (phase, target) in MOVES else "refused wrong_phase")
    assert made.engine.areas[AREA].intervals[LATER].phase == (target if (phase, target) in MOVES else phase)


def test_a_move_that_there_is_none_is_refused_with_those_that_there_are() -> None:
    (refused,) = market("frozen").do(c.EnterPhase(AREA, LATER, "delivery", "plan"))
    assert refused.detail == "from frozen an interval moves to auction or continuous, not to delivery"  # type: ignore[union-attr]


def test_what_does_not_exist_does_not_move() -> None:
    made = market()
    assert story(made.do(c.EnterPhase("nowhere", UNKNOWN, "frozen", "plan"))) == "refused unknown_area"
    assert story(made.do(c.EnterPhase(AREA, UNKNOWN, "frozen", "plan"))) == "refused unknown_interval"


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("announced", "rejected not_yet_open"),
        ("auction", "accepted A1"),
        ("continuous", "accepted A1"),
        ("frozen", "rejected halted"),
        ("closed", "rejected gate_closed"),
        ("delivery", "rejected gate_closed"),
    ],
)
def test_orders_are_taken_in_an_auction_and_in_continuous_trading(phase: c.Phase, told: str) -> None:
    assert place(market(phase), "A1", "alice", "sell", 500, 9_000) == told


def test_orders_collect_in_an_auction_cancels_work_while_frozen_and_what_rests_trades_when_trading_begins() -> None:
    made = market("auction")
    place(made, "A1", "alice", "sell", 500, 9_000)
    place(made, "A2", "alice", "sell", 500, 9_100)
    assert place(made, "B1", "bob", "buy", 800, 9_500) == "accepted B1"
    assert enter(made, "frozen") == "frozen for plan"
    assert story(made.do(c.Cancel(AREA, "alice", "x1", "A2"))) == "cancelled A2 500 request"
    assert enter(made, "continuous") == "continuous for plan; pair B1 +500 A1 -500"
    assert made.engine.queue(AREA, LATER, "export", "buy") == [("bob", "B1", 9_500, 300)]


def test_trading_that_begins_under_a_halt_waits_for_its_end() -> None:
    made = market("auction")
    place(made, "A1", "alice", "sell", 500, 9_000)
    place(made, "B1", "bob", "buy", 500, 9_000)
    enter(made, "frozen")
    made.do(c.Halt(AREA, LATER, "storm"))
    assert enter(made, "continuous") == "continuous for plan"
    assert story(made.do(c.Resume(AREA, LATER, "calm"))) == f"resumed {AREA} {LATER} for calm; pair B1 +500 A1 -500"


def test_a_freeze_forgets_the_price_that_a_pause_is_measured_from() -> None:
    """200 mct/kWh lead into an auction: from 9,000 to 9,200 and then, frozen in between, to 9,400 do not."""
    made = market(pause_mct=200)
    for price_mct in (9_000, 9_200, 9_400):
        place(made, f"A{price_mct}", "alice", "sell", 100, price_mct)
        assert place(made, f"B{price_mct}", "bob", "buy", 100, price_mct).startswith("accepted")
        assert made.engine.areas[AREA].intervals[LATER].phase == "continuous"
        if price_mct == 9_200:
            enter(made, "frozen")
            enter(made, "continuous")
            assert made.engine.areas[AREA].intervals[LATER].anchor_mct == {}


def test_an_auction_began_at_the_first_time_that_is_told_after_it_did() -> None:
    made = market("auction")
    view = made.engine.auctions_since_ms
    made.do(c.AmendSettings(AREA, SETTINGS, "not a time"))
    assert (view(AREA), made.engine.next_expiry_ms()) == ({}, made.engine.now_ms)
    for now_ms in (500, 700):
        made.do(c.Advance(now_ms))
        assert (view(AREA), made.engine.next_expiry_ms()) == ({LATER: 500}, None)
    enter(made, "frozen")
    made.do(c.Advance(800))
    assert (view(AREA), made.engine.next_expiry_ms()) == ({}, None)
    enter(made, "auction")
    made.do(c.Advance(800))
    assert view(AREA) == {LATER: 800}, "another auction has another beginning"
    made.do(c.Uncross(AREA, LATER, made.rows.content_hash, (), True))
    assert view(AREA) == {}


def test_a_gate_that_closes_ends_an_auction_without_a_word_of_time() -> None:
    made = market("auction")
    made.do(c.CloseGate(AREA, LATER))
    assert (made.engine.next_expiry_ms(), made.engine.auctions_since_ms(AREA)) == (None, {})


@pytest.mark.parametrize("phase", ["announced", "auction", "continuous", "frozen"])
def test_a_gate_closes_from_every_phase_that_is_not_closed(phase: c.Phase) -> None:
    made = market(phase)
    closed = made.do(c.CloseGate(AREA, LATER))
    assert [type(event) for event in closed] == [GateClosed], "the gate's event stands for the phase"
    assert story(made.do(c.CloseGate(AREA, LATER))) == "refused gate_closed"


def test_a_gate_takes_what_rests_and_the_blocks_that_contain_its_interval() -> None:
    """Purchases before sales, the better price first; K2 lies in the two intervals before."""
    made = market()
    two = {"interval_ms": OPEN, "intervals": 2}
    place(made, "A1", "alice", "sell", 500, 9_100)
    place(made, "A2", "alice", "sell", 500, 9_000)
    place(made, "B1", "bob", "buy", 500, 8_000)
    place(made, "K1", "carol", "buy", 100, 1_000, **two)
    place(made, "K2", "carol", "buy", 100, 1_000, interval_ms=OPEN)
    assert story(made.do(c.CloseGate(AREA, LATER))) == (
        "cancelled B1 500 gate; cancelled A2 500 gate; cancelled A1 500 gate; cancelled K1 100 gate; closed feeder 3600000"
    )
    assert [order.order_id for order in made.engine.open_orders(AREA, "carol")] == ["K2"]


def test_an_interval_is_opened_in_the_phase_asked_for() -> None:
    made = Market()
    for place_in_time, phase in enumerate(("announced", "auction", "continuous")):
        start_ms = LATER + place_in_time * 900_000
        opening = c.OpenInterval(AREA, start_ms, made.rows.content_hash, made.allocation, made.allocation, phase)  # type: ignore[arg-type]
        assert story(made.do(opening)) == f"opened {start_ms} {phase}"


def test_the_account_of_an_interval_is_its_last_event_but_one() -> None:
    """1,000 W for a quarter of an hour are 0.25 kWh: 3,000 mct at 12,000. Alice is compensated for 400 W at 10,000: 1,000 mct."""
    made = market()
    place(made, "A1", "alice", "sell", 1_000, 12_000)
    place(made, "B1", "bob", "buy", 1_000, 12_000)
    limits, raises = (3_600, *[10_000] * 5), (0, 0, 50, 0, 0, 0)
    made.do(c.ChangeRows(AREA, LATER, made.rows.content_hash, limits, "refresh", "new envelopes", raise_w=raises))
    made.do(c.CloseGate(AREA, LATER))
    cash, operator_mct = made.engine.cash(AREA), made.engine.operator_cash(AREA)
    settled, retired = made.do(c.RetireInterval(AREA, LATER))
    assert settled == Settled(
        settled.sequence, AREA, LATER, ("alice", "bob", "carol"), (5_000,) * 6, (0, 0, 50, 0, 0, 0), (0, 1_000, 0, 0, 0, 0),
        (1_000, 0, 0, 0, 0, 0), (400, 0, 0, 0, 0, 0), (4_000, -3_000, 0), (1_000, 0, 0), -1_000,
    )  # fmt: skip
    assert story([retired]) == f"retired {LATER}"
    assert (
        (made.engine.cash(AREA), made.engine.operator_cash(AREA))
        == (cash, operator_mct)
        == ({"alice": 4_000, "bob": -3_000, "carol": 0}, -1_000)
    )


def test_what_still_trades_is_not_retired() -> None:
    made = market("frozen")
    assert story(made.do(c.RetireInterval("nowhere", LATER))) == "refused unknown_area"
    assert story(made.do(c.RetireInterval(AREA, UNKNOWN))) == "refused unknown_interval"
    assert story(made.do(c.RetireInterval(AREA, LATER))) == "refused gate_open"
    made.do(c.Halt(AREA, CLOSED, "storm", "export"))
    assert story(made.do(c.RetireInterval(AREA, CLOSED))) == f"settled {CLOSED}; retired {CLOSED}"
    assert story(made.do(c.RetireInterval(AREA, CLOSED))) == "refused unknown_interval"
    assert story(made.do(c.Resume(AREA, CLOSED, "calm", "export"))) == "refused not_halted", "its halt ended with it"


def test_a_phase_entered_tells_where_and_why() -> None:
    (entered,) = market().do(c.EnterPhase(AREA, LATER, "frozen", "refresh"))
    assert entered == PhaseEntered(entered.sequence, AREA, LATER, "frozen", "refresh")

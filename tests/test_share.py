"""More room is shared out on top of holdings, the smallest raise first; less room takes back; the exchange can always apply it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envelopes.allocate import max_min
from envelopes.share import Bounds, Standing, raises_w, refresh_interval, refresh_intervals, without_raises
from exchange.commands import ChangeRows, InstallRows
from exchange.events import Event, Raised, Rebased, Refused
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.project import InsecureFloorsError, project
from tests.rulebook import AREA, OPEN, Market

RATING = (10_000,) * 4


def rows_of(columns: npt.ArrayLike, slack: int) -> Polytope:
    columns = np.array(columns, dtype=np.int32)
    return Polytope(columns, slack, [RowLabel("thermal", f"line {row}", "abc") for row in range(columns.shape[1])])


def street(slack: int) -> Polytope:
    """Two homes whose exports share one row, and whose imports share another."""
    return rows_of([[1, 0], [1, 0], [0, 1], [0, 1]], slack)


def test_a_home_that_sold_is_not_refilled_first() -> None:
    """Of 4,000 the first sold 1,500 to the second. 1,000 more: 500 for each, whatever they hold."""
    assert raises_w(street(5_000), [500, 3_500, 2_500, 2_500], [9_500, 6_500, 0, 0]) == (500, 500, 0, 0)


def test_who_can_take_no_more_leaves_it_to_the_others() -> None:
    """Room is the rating less what is held and wanted."""
    assert raises_w(street(5_000), [500, 3_500, 1_000, 1_000], [9_500, 100, 1, 9_000]) == (900, 100, 1, 2_999)


def test_a_watt_that_takes_more_of_the_row_rises_as_far() -> None:
    assert raises_w(rows_of([[3], [1], [0], [0]], 8_000), [1_000, 1_000, 0, 0], [9_000] * 4) == (1_000, 1_000, 9_000, 9_000)


def test_full_rows_give_nothing_and_the_others_go_on() -> None:
    assert raises_w(street(4_000), [2_000, 2_000, 1_000, 1_000], [9_000] * 4) == (0, 0, 1_000, 1_000)


@pytest.mark.parametrize(
    ("holding", "room", "message"),
    [
        ([1, 2, 3], [0] * 4, "give 4 holdings and rooms"),
        ([1] * 4, [0, 0, 0, -1], "none negative"),
        ([4_000, 1, 0, 0], [0] * 4, "the holdings break overload of line 0 phase abc"),
    ],
)
def test_what_does_not_fit_is_refused(holding: list[int], room: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raises_w(street(4_000), holding, room)


def fairest(rows: Polytope, held: npt.NDArray[np.int64], room: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """By raising the smallest raise a watt at a time; whom a row or its room stops stays where it is."""
    raised, rising = np.zeros(len(held), dtype=np.int64), np.ones(len(held), dtype=bool)
    while rising.any():
        least = min(np.flatnonzero(rising), key=lambda right: (raised[right], right))
        raised[least] += 1
        if raised[least] > room[least] or not rows.is_secure(held + raised):
            raised[least] -= 1
            rising[least] = False
    return raised


whole = st.integers(0, 9)
columns = st.integers(1, 4).flatmap(lambda rows: st.lists(st.lists(whole, min_size=rows, max_size=rows), min_size=4, max_size=4))
watts = st.lists(st.integers(0, 60), min_size=4, max_size=4)


@given(columns, watts, watts, st.integers(1, 2_000))
@settings(max_examples=80, deadline=None)
def test_raises_are_secure_within_their_room_and_those_of_a_watt_at_a_time_but_for_a_watt(
    taken: list[list[int]], holding: list[int], room: list[int], slack: int
) -> None:
    rows, held = rows_of(taken, slack), np.array(holding)
    if not rows.is_secure(held):
        return
    raised = np.array(raises_w(rows, held, room))
    assert ((raised >= 0) & (raised <= room)).all()
    assert rows.is_secure(held + raised)
    assert raised.min() >= fairest(rows, held, np.array(room)).min() - 1


def standing(holding: tuple[int, ...], wanted: tuple[int, ...] = (0, 0, 0, 0)) -> Standing:
    return Standing(900_000, holding, wanted, "old")


BOUNDS = Bounds("A", (300,) * 4, RATING)


def test_a_refresh_with_more_room_lowers_nobody_and_raises_all() -> None:
    command = refresh_interval(street(6_000), BOUNDS, standing((500, 3_500, 2_500, 2_500), (0, 6_400, 0, 0)))
    assert command.raise_w == (1_900, 100, 500, 500)
    assert (command.cause, command.rows_hash, command.replaces_hash) == ("refresh", street(6_000).content_hash, "old")
    assert (np.array(command.limit_w) >= (500, 3_500, 2_500, 2_500)).all()
    assert without_raises(command).raise_w == ()


def test_a_refresh_with_less_room_lowers_to_the_projection_and_raises_nobody() -> None:
    holding = (500, 3_500, 2_500, 2_500)
    command = refresh_interval(street(3_000), BOUNDS, standing(holding))
    assert command.limit_w == tuple(project(street(3_000), holding, BOUNDS.failsafe_w).tolist()) == (300, 2_700, 1_500, 1_500)
    assert command.raise_w == ()


def test_less_in_one_place_and_more_in_another_are_one_command() -> None:
    rows = rows_of([[2, 0], [2, 0], [0, 1], [0, 1]], 6_000)
    command = refresh_interval(rows, BOUNDS, standing((1_000, 3_000, 2_500, 2_500)))
    assert command.limit_w == (500, 2_500, 3_000, 3_000)
    assert command.raise_w == (0, 0, 500, 500)


def test_where_the_failsafe_does_not_fit_the_row_is_named() -> None:
    with pytest.raises(InsecureFloorsError, match="overload of line 0"):
        refresh_interval(street(599), BOUNDS, standing((300,) * 4))


holdings = st.lists(st.integers(5, 60), min_size=4, max_size=4)


@given(columns, holdings, holdings, st.integers(400, 4_000))
@settings(max_examples=80, deadline=None)
def test_the_limits_are_secure_whatever_trades_meanwhile(taken: list[list[int]], holding: list[int], traded: list[int], slack: int) -> None:
    """What the exchange asks of a command: limits between failsafe and rating, secure; raises secure on what was read, within ratings."""
    rows, bounds = rows_of(taken, slack), Bounds("A", (5,) * 4, (100,) * 4)
    if not rows.is_secure(bounds.failsafe_w):
        return
    wanted = (10, 0, 20, 0)
    command = refresh_interval(rows, bounds, standing(tuple(holding), wanted))
    limits, raised = np.array(command.limit_w), np.array(command.raise_w or (0, 0, 0, 0))
    assert ((limits >= bounds.failsafe_w) & (limits <= bounds.rating_w)).all()
    assert rows.is_secure(limits)
    assert rows.is_secure(np.minimum(traded, limits))
    lowered = np.minimum(holding, limits)
    assert rows.is_secure(lowered + raised)
    assert (lowered + raised <= np.maximum(lowered, np.array(bounds.rating_w) - wanted)).all()
    if rows.is_secure(holding):
        assert (lowered == holding).all(), "who fits loses nothing"


def test_several_intervals_are_refreshed_from_the_bytes_of_the_rows() -> None:
    rows, standings = street(6_000), [standing((500, 3_500, 2_500, 2_500)), standing((3_000, 3_000, 3_000, 3_000))]
    commands = refresh_intervals(rows.to_bytes(), BOUNDS, standings, "a cloud has passed")
    assert [command.raise_w for command in commands] == [(1_000, 1_000, 500, 500), ()]
    assert {command.detail for command in commands} == {"a cloud has passed"}


def test_from_nothing_the_raises_are_the_allocation() -> None:
    rows = rows_of([[3, 1], [1, 2], [1, 0], [0, 1]], 9_000)
    assert np.abs(max_min(rows, [0] * 4, RATING).limits_w - raises_w(rows, [0] * 4, RATING)).max() <= 1


FEEDER = rows_of([[1, 2, 0], [2, 2, 1], [4, 2, 0], [0, 0, 4], [0, 0, 0], [0, 0, 0]], 40_000)


def rows_changed(market: Market, command: ChangeRows) -> list[Event]:
    """The engine checks all of its invariants after it."""
    market.do(InstallRows(AREA, NEW[command.rows_hash].to_bytes()))
    return market.do(command)


def read(market: Market) -> tuple[Bounds, Standing]:
    """How an interval stands, as the host reads it: rights of customers only, the operator's own come after them."""
    area = market.engine.areas[AREA]
    interval = area.intervals[OPEN]
    n, ledger = interval.headroom.polytope.n_rights, interval.ledger
    bounds = Bounds(AREA, tuple(area.failsafe_w[:n]), tuple(area.rating_w[:n]))
    return bounds, Standing(OPEN, tuple(ledger.holding_w[:n]), tuple(ledger.wanted_w[:n]), interval.rows_hash)


NEW = {rows.content_hash: rows for rows in (FEEDER.tightened(200), FEEDER.tightened(50), FEEDER, rows_of(FEEDER.columns, 60_000))}
TRADED = """
    place A1 alice sell 4000 @ 10000      rested 4000
    place B1 bob buy 1500 @ 10000         traded 1500 @ 10000 maker A1
    place C1 carol buy 4990 @ 9000 import    rested 4990
    place B2 bob buy 3000 @ 9000          rested 3000
    """


@pytest.mark.parametrize("rows", NEW.values())
def test_the_exchange_takes_every_refresh_of_what_was_read(rows: Polytope) -> None:
    market = Market(FEEDER).play(TRADED)
    bounds, before = read(market)
    command = refresh_interval(rows, bounds, before)
    events = rows_changed(market, command)
    assert not [event for event in events if isinstance(event, Refused)]
    raised, lowered = ([event for event in events if isinstance(event, kind)] for kind in (Raised, Rebased))
    assert sum(event.quantity_w for event in raised) == sum(command.raise_w)
    assert bool(lowered) != rows.is_secure(before.holding_w)


def test_a_raise_that_was_overtaken_is_refused_and_what_makes_it_secure_is_not() -> None:
    """Between reading and telling alice sells to carol, who takes four times as much of the far end."""
    market = Market(FEEDER).play("place A1 alice sell 4000 @ 10000      rested 4000")
    rows = rows_of(FEEDER.columns, 60_000)
    command = refresh_interval(rows, *read(market))
    market.ask("place C1 carol buy 1000 @ 10000")
    refused = rows_changed(market, command)
    assert [event.reason for event in refused if isinstance(event, Refused)] == ["insecure_raise"]
    assert not [event for event in market.do(without_raises(command)) if isinstance(event, Refused)]
    assert market.engine.areas[AREA].intervals[OPEN].rows_hash == rows.content_hash

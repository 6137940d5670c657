"""What has ended leaves nothing behind, what is halted waits, and nothing else ends with it: found by mutants that survived the streams."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from exchange import commands as c
from exchange import events as e
from riskcheck.polytope import Polytope, RowLabel
from tests.rulebook import AREA, CLOSED, OPEN, SETTINGS, Market, terms_of

LATER = OPEN + 900_000


def market(**settings: object) -> Market:
    """With a second open interval."""
    made = Market(settings=msgspec.structs.replace(SETTINGS, **settings))
    made.do(c.OpenInterval(AREA, LATER, made.rows.content_hash, made.allocation, made.allocation))
    return made


# --- orders that end in time ---------------------------------------------------------------------------------------


def test_the_clock_is_told_of_the_next_end_and_of_none_that_has_come_already() -> None:
    made = market().play("""
        place A1 alice sell 100 @ 10                  rested 100
        place B1 bob buy 100 @ 10 until 500           traded 100 @ 10 maker A1
        place B2 bob buy 100 @ 10 ioc                 cancelled B2 100 ioc
        """)
    assert made.engine.next_expiry_ms() is None
    made.play("""
        place A2 alice sell 100 @ 10 until 3000       rested 100
        place A3 alice sell 100 @ 10 until 2000       rested 100
        place A4 alice sell 100 @ 10 until 4000       rested 100
        """)
    assert made.engine.next_expiry_ms() == 2_000
    made.play("advance 2000                                  cancelled A3 100 expired; advanced")
    assert made.engine.next_expiry_ms() == 3_000


def test_with_an_interval_its_expiries_are_forgotten_and_no_others() -> None:
    made = market().play("""
        place A1 alice sell 100 @ 10 until 1000       rested 100
        place A2 alice sell 100 @ 10 until 2000 in 3600000  rested 100
        place A3 alice sell 100 @ 10 until 3000       rested 100
        close 2700000                                 cancelled A1 100 gate; cancelled A3 100 gate; closed
        """)
    assert made.engine.next_expiry_ms() == 1_000, "it may have gone already"
    made.play("retire 2700000                                retired")
    assert [order.order_id for _, _, order in made.engine.expiries] == ["A2"]
    made.play("advance 5000                                  cancelled A2 100 expired; advanced")


def test_a_late_cancel_is_told_what_became_of_the_order() -> None:
    made = market().play("""
        place A1 alice sell 100 @ 10                  rested 100
        place B1 bob buy 100 @ 10                     traded 100 @ 10 maker A1
        place A2 alice sell 100 @ 10                  rested 100
        cancel x1 alice A2                            cancelled A2 100 request
        """)
    details = [made.do(c.Cancel(AREA, "alice", f"late-{name}", name))[0].detail for name in ("A1", "A2", "A3", "x1")]  # type: ignore[union-attr]
    assert details == ["order A1 is filled", "order A2 is cancelled", "order A3 is not known", "order x1 is not known"]


# --- halts ----------------------------------------------------------------------------------------------------------


def test_a_halt_ends_with_the_last_interval_that_it_names_and_no_other_does() -> None:
    made = market()
    made.do(c.OpenArea("west", SETTINGS, terms_of("alice")))
    made.do(c.InstallRows("west", Polytope.unlimited(2).to_bytes()))
    made.do(c.OpenInterval("west", OPEN, Polytope.unlimited(2).content_hash, (5_000,), (5_000,)))
    for interval_ms in (OPEN, LATER):
        for area in (AREA, "west", None):
            made.do(c.Halt(area, interval_ms, "storm"))
            made.do(c.Halt(area, interval_ms, "storm", "import"))
    made.do(c.Halt(None, None, "storm"))
    every = set(made.engine.halts)
    made.do(c.CloseGate(AREA, OPEN))
    made.do(c.RetireInterval(AREA, OPEN))
    assert set(made.engine.halts) == every - {(AREA, OPEN, None), (AREA, OPEN, "import")}
    made.do(c.CloseGate("west", OPEN))
    made.do(c.RetireInterval("west", OPEN))
    assert set(made.engine.halts) == {key for key in every if key[1] != OPEN}


HALTS = [(None, None, None), (AREA, None, None), (None, OPEN, None), (AREA, OPEN, None)]


@pytest.mark.parametrize("scope", [*HALTS, (AREA, OPEN, "export"), (None, OPEN, "export")])
def test_a_halt_stops_what_it_names_and_nothing_else(scope: tuple[str | None, int | None, c.Direction | None]) -> None:
    made, (area, interval_ms, book) = market(), scope
    made.do(c.Halt(area, interval_ms, "storm", book))
    told = [
        made.ask(f"place {book}{start} alice sell 10 @ 10 {book} in {start}") for book in ("export", "import") for start in (OPEN, LATER)
    ]
    halted, goes_on = "rejected halted", "rested 10"
    assert told == [halted, goes_on if interval_ms else halted, goes_on if book else halted, goes_on if interval_ms else halted]
    assert made.engine.halts_all(AREA, OPEN) == (book is None)
    assert made.engine.shut(AREA, OPEN) == (1 if book else 3)


@pytest.mark.parametrize("matching", ["one_to_one", "exchange_rate"])
@pytest.mark.parametrize("book", ["export", "import"])
def test_what_crosses_in_a_halted_book_waits_for_its_end_and_the_other_book_goes_on(book: str, matching: str) -> None:
    """Collected in an auction that ends without a match, by way of a freeze. No row has room for a watt."""
    columns, slack = np.array([[1]] * 6, dtype=np.int32), 30_000
    rows = Polytope(columns, slack, [RowLabel("thermal", "line", "a")])
    made, other = Market(rows, msgspec.structs.replace(SETTINGS, matching=matching)), "import" if book == "export" else "export"
    made.do(c.EnterPhase(AREA, OPEN, "auction", "plan"))
    for name in (book, other):
        made.play(f"""
            place S{name} alice sell 100 @ 100 {name}     rested 100
            place B{name} bob buy 100 @ 900 {name}        rested 100
            """)
    made.do(c.Halt(AREA, OPEN, "storm", book))  # type: ignore[arg-type]
    made.play(f"""
        enter frozen                                  frozen
        enter continuous                              continuous; traded 100 @ 100 maker S{other}
        resume {AREA} {OPEN} {book}                   resumed; traded 100 @ 100 maker S{book}
        """)


def test_time_does_not_wait_for_the_closed_interval() -> None:
    made = market()
    assert (made.engine.intervals(AREA), made.engine.gates(AREA)) == ([CLOSED, OPEN, LATER], {CLOSED: True, OPEN: False, LATER: False})
    assert made.engine.phases(AREA) == {CLOSED: "closed", OPEN: "continuous", LATER: "continuous"}


def test_the_depth_is_both_sides_of_one_book() -> None:
    made = market().play("""
        place A1 alice sell 300 @ 30                  rested 300
        place A2 alice sell 200 @ 20 show 50          rested 200
        place A3 alice sell 100 @ 20                  rested 100
        place B1 bob buy 10 @ 10                      rested 10
        place C1 carol buy 70 @ 10 import             rested 70
        """)
    assert made.engine.book(AREA, OPEN, "export") == ([(10, 10, 1)], [(20, 150, 2), (30, 300, 1)])
    assert made.engine.book(AREA, OPEN, "import") == ([(10, 70, 1)], [])
    assert isinstance(made.do(c.CloseGate(AREA, OPEN))[-1], e.GateClosed)


# --- what is remembered ----------------------------------------------------------------------------------------------


def retire(made: Market, interval_ms: int) -> None:
    made.do(c.CloseGate(AREA, interval_ms))
    made.do(c.RetireInterval(AREA, interval_ms))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (c.Cancel(AREA, "alice", "x1", "A9"), "rejected unknown_order"),
        (c.Place(AREA, "alice", "x1", 900_001, "export", "sell", 10, 10), "rejected unknown_interval"),
        (c.MassCancel(AREA, "alice", "x1"), "0 orders"),
    ],
)
def test_what_names_no_interval_is_remembered_until_the_last_one_is_gone(asked: c.Command, told: str) -> None:
    made = Market()
    made.do(c.OpenInterval(AREA, LATER + 900_000, made.rows.content_hash, made.allocation, made.allocation))
    made.do(c.OpenInterval(AREA, LATER, made.rows.content_hash, made.allocation, made.allocation))
    assert made.tell(asked) == told
    for gone in (OPEN, CLOSED, LATER):
        assert made.tell(asked).startswith("again")
        retire(made, gone)
    assert made.tell(asked).startswith("again")
    retire(made, LATER + 900_000)
    assert [made.tell(asked), made.tell(asked)] == [told, told], "there is nothing left that it could change"


def test_a_mass_cancel_of_an_interval_is_remembered_with_it() -> None:
    made, asked = market(), c.MassCancel(AREA, "alice", "m1", OPEN)
    made.do(asked)
    retire(made, LATER)
    assert made.tell(asked).startswith("again")
    retire(made, OPEN)
    assert made.tell(asked) == "rejected unknown_interval"


def test_a_mass_cancel_goes_through_the_intervals_in_time() -> None:
    made = Market()
    for start_ms in (LATER + 900_000, LATER):
        made.do(c.OpenInterval(AREA, start_ms, made.rows.content_hash, made.allocation, made.allocation))
    made.play("""
        place A1 alice sell 10 @ 10 in 4500000        rested 10
        place A2 alice sell 10 @ 10 in 3600000        rested 10
        place A3 alice sell 10 @ 10                   rested 10
        cancel_all m1 alice                           cancelled A3 10 mass; cancelled A2 10 mass; cancelled A1 10 mass; 3 orders
        """)
    assert made.engine.intervals(AREA) == [CLOSED, OPEN, LATER, LATER + 900_000]


def test_what_names_no_interval_says_so() -> None:
    made = market()
    one = c.Place(AREA, "alice", "A1", 900_001, "export", "sell", 10, 10)
    two = c.Place(AREA, "alice", "A2", LATER, "export", "sell", 10, 10, intervals=2)
    assert [made.do(place)[0].detail for place in (one, two)] == ["no interval 900001", "2 intervals are not open"]  # type: ignore[union-attr]


def test_the_next_end_is_the_earliest_that_is_left() -> None:
    """Ends at 1, 2, 5, 3, 4: the first two go with their interval."""
    made = market()
    for until_ms in (1, 2):
        made.ask(f"place A{until_ms} alice sell 10 @ 10 until {until_ms}")
    for until_ms in (5, 3, 4):
        made.ask(f"place A{until_ms} alice sell 10 @ 10 until {until_ms} in {LATER}")
    retire(made, OPEN)
    assert made.engine.next_expiry_ms() == 3
    made.play("advance 4                                     cancelled A3 10 expired; cancelled A4 10 expired; advanced")


def test_holdings_are_the_customers() -> None:
    rows = Polytope(np.array([[1]] * 6, dtype=np.int32), 31_000, [RowLabel("thermal", "line", "a")])
    made = Market(rows).play("withhold w1 thermal/line/a sell 100 @ 100     withheld 100")
    assert made.engine.holdings(AREA, OPEN) == ([5_000] * 3, [5_000] * 3)


def test_a_mass_cancel_of_an_interval_takes_the_blocks_that_contain_it_and_no_others() -> None:
    made = market()
    made.do(c.OpenInterval(AREA, LATER + 900_000, made.rows.content_hash, made.allocation, made.allocation))
    made.play("""
        place A1 alice sell 10 @ 10 times 2           rested 10
        place A2 alice sell 10 @ 10 times 2 in 3600000  rested 10
        place B1 bob sell 10 @ 10 times 2             rested 10
        cancel_all m1 alice in 2700000                cancelled A1 10 mass; 1 orders
        cancel_all m2 alice in 2700000                0 orders
        cancel_all m3 alice in 3600000                cancelled A2 10 mass; 1 orders
        """)


# --- what need not be searched ---------------------------------------------------------------------------------------


def test_who_has_searched_in_vain_hides_no_order_that_others_reach() -> None:
    """To the milli-cent: the least price and the greatest that somebody looked for, and what rests just beyond."""
    market(tick_mct=1).play("""
        place A1 alice sell 10 @ 50                   rested 10
        cancel x1 alice A1                            cancelled A1 10 request
        place A2 alice sell 10 @ 101                  rested 10
        place B1 bob buy 10 @ 100                     rested 10
        place B2 bob buy 10 @ 101                     traded 10 @ 101 maker A2
        place C1 carol buy 10 @ 150                   rested 10
        cancel x2 carol C1                            cancelled C1 10 request
        cancel x3 bob B1                              cancelled B1 10 request
        place C2 carol buy 10 @ 99                    rested 10
        place A3 alice sell 10 @ 100                  rested 10
        place A4 alice sell 10 @ 99                   traded 10 @ 99 maker C2
        """)


def test_who_passes_over_its_own_orders_hides_them_from_nobody() -> None:
    market().play("""
        place A1 alice sell 10 @ 50                   rested 10
        place A2 alice sell 10 @ 50 in 3600000        rested 10
        place A3 alice buy 10 @ 100 times 2           rested 10
        place B1 bob buy 10 @ 50                      traded 10 @ 50 maker A1
        """)

"""What if: the same requests under another rule, other rows, another network. Compared with what can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from envelopes.refresh import Plan
from exchange.bounds import MarketSettings
from exchange.commands import (
    Cancel,
    Change,
    ChangeRows,
    CloseGate,
    Command,
    CustomerCommand,
    InstallRows,
    OpenArea,
    OpenInterval,
    Place,
    Sweep,
    Uncross,
)
from exchange.engine import Engine
from replay.outcome import Outcome, crossing_w, jain
from replay.variants import AS_RECORDED, RULES, Edition, Variant, VariantError, parse
from replay.whatif import compare, opening_of, run, tape_of_journal
from replay.whatif_report import draw, write
from riskcheck.polytope import Polytope
from tests.recorded import ALLOCATED, HOMES, LENGTH_MS, ROWS, START_MS, TIGHT, day, opening, record

HOUR_KWH = LENGTH_MS / 3_600_000_000  # kWh of a watt over an interval


def no_plan(source: str, settings: MarketSettings) -> Plan:
    raise AssertionError("no other network is asked for")


def outcome(tape: list[Command], text: str | None = None) -> Outcome:
    return run(tape, parse(text) if text else Variant(), no_plan)


def interval(*asked: Command, **settings: object) -> list[Command]:
    """One interval in which this is asked, until its gate closes."""
    opened = OpenInterval("lv", START_MS, ROWS.content_hash, ALLOCATED, ALLOCATED)
    return [*opening(**settings), opened, *asked, CloseGate(None, START_MS)]


def place(who: str, number: str, direction: str, side: str, watts: int, price: int, **more: object) -> Place:
    return Place("lv", who, number, START_MS, direction, side, watts, price, **more)  # type: ignore[arg-type]


# --- figures ------------------------------------------------------------------------------------------------------


def test_the_figures_of_one_trade_by_hand() -> None:
    """1,000 W from cleo to ben, whose right uses row 0 twice as much: no row has less room after it. 12 ct bid, 8 ct asked."""
    tape = interval(place("anna", "s", "export", "sell", 1_000, 8_000), place("cleo", "b", "export", "buy", 1_000, 12_000))
    found = outcome(tape)
    assert (found.orders, found.trades, found.problems) == (2, 1, ())
    assert found.welfare_mct == 4_000 * 0.25
    assert found.traded_kwh == {"export": 0.25, "import": 0.0}
    assert found.price_mean_mct == {"export": 8_000, "import": None}
    assert (found.turnover_mct, found.operator_mct, found.crossing_kwh) == (2_000, 0, 0.0)
    assert (found.smallest_w, found.jain) == (2_000, {"export": jain([2_000, 3_000, 4_000, 3_000]), "import": 1.0})


def test_what_crosses_at_the_gate_is_what_one_price_would_clear() -> None:
    assert crossing_w([]) == 0
    assert crossing_w([("buy", 10, 100), ("sell", 11, 50)]) == 0
    assert crossing_w([("buy", 12, 100), ("buy", 10, 100), ("sell", 9, 150), ("sell", 12, 100)]) == 150


def test_jains_index() -> None:
    assert (jain([5, 5, 5]), jain([9, 0, 0]), jain([]), jain([0])) == (1.0, round(1 / 3, 4), None, None)


def test_money_sums_to_zero_and_nothing_fails_to_add_up_in_any_variant() -> None:
    texts = [f"rule={rule}" for rule in RULES] + ["rows=tightened:100", "rows=none", "rule=auction,rows=tightened:50"]
    for found in compare(day(3), [parse(text) for text in texts], no_plan):
        assert found.problems == ()
        assert found.orders > 20


# --- rules --------------------------------------------------------------------------------------------------------


def test_as_recorded_is_what_the_journal_says(tmp_path: Path) -> None:
    tape = day(2, matching="exchange_rate")
    assert tape_of_journal(record(tmp_path / "j.sqlite", tape)) == tape
    same, again = outcome(tape), outcome(tape, "rule=exchange_rate")
    assert (same.welfare_mct, same.trades, same.smallest_w) == (again.welfare_mct, again.trades, again.smallest_w)
    assert same.left_out == again.left_out == 0


def test_exchange_rates_trade_what_one_to_one_cannot_and_joint_fills_no_less() -> None:
    """A watt of anna's export takes 3 of row 0, one of ben's 2, and 300 are left. Watt for watt she gets 300 W of him; at rates the
    100 W that are left over, then 900 W of his at 1.5 to 1 for 600. Together, or at once, no more can be had: 300 + 2 * 900 = 3 * 700."""
    tape = interval(place("ben", "s", "export", "sell", 900, 1_000), place("anna", "b", "export", "buy", 900, 9_000))
    one, rates, joint, auction = (outcome(tape, f"rule={rule}") for rule in RULES)
    assert one.welfare_mct == (9_000 - 1_000) * 300 // 4_000
    assert rates.welfare_mct == joint.welfare_mct == (9_000 * 700 - 1_000 * 900) // 4_000
    assert (rates.leftover_kwh, rates.traded_kwh["export"]) == (100 * HOUR_KWH, 600 * HOUR_KWH)
    assert (auction.trades, auction.welfare_mct) == (1, rates.welfare_mct)


def test_an_auction_collects_until_the_gate_and_refuses_who_cannot_wait() -> None:
    tape = interval(
        place("anna", "s", "export", "sell", 500, 1_000), place("cleo", "b", "export", "buy", 500, 2_000),
        place("dora", "now", "export", "buy", 500, 3_000, time_in_force="ioc"), Cancel("lv", "cleo", "c", "b"),
    )  # fmt: skip
    continuous, auction = outcome(tape, "rule=one_to_one"), outcome(tape, "rule=auction")
    assert (continuous.traded_kwh["export"], continuous.late, auction.late) == (500 * HOUR_KWH, 1, 0)
    assert auction.rejects == {"in_auction": 1}
    assert auction.traded_kwh["export"] == 0.0


def test_an_auction_whose_gate_is_not_on_record_is_ended_with_it() -> None:
    tape = interval(place("anna", "s", "export", "sell", 500, 1_000), place("cleo", "b", "export", "buy", 500, 2_000))[:-1]
    found = outcome(tape, "rule=auction")
    assert found.traded_kwh["export"] == 500 * HOUR_KWH
    assert found.notes == ("1 auction(s) were ended with the record, before their gate",)


def test_recorded_auctions_are_held_under_every_rule() -> None:
    """Opened in an auction, which two orders that cross wait for; it ends long before the gate."""
    asked = [place("anna", "s", "export", "sell", 500, 1_000), place("cleo", "b", "export", "buy", 500, 2_000)]
    opened = OpenInterval("lv", START_MS, ROWS.content_hash, ALLOCATED, ALLOCATED, "auction")
    ended = Uncross("lv", START_MS, ROWS.content_hash, (Change(0, -500), Change(2, 500)), ends_auction=True)
    tape = [*opening(), opened, *asked, ended, place("dora", "late", "export", "buy", 100, 100), CloseGate(None, START_MS)]
    for found in compare(tape, [Variant(), *(parse(f"rule={rule}") for rule in RULES)], no_plan):
        assert (found.orders, found.traded_kwh["export"], found.problems) == (3, 500 * HOUR_KWH, ()), found.name


def test_recorded_proposals_are_made_anew_or_left_out() -> None:
    order = place("anna", "o", "export", "sell", 20, 1_000)
    tape: list[Command] = [Sweep(order, ()), Uncross("lv", START_MS, "x", ()), Uncross("lv", START_MS, "x", (), ends_auction=True)]
    engine, edition = Engine(), Edition(parse("rule=one_to_one"), opening_of(opening()), Mute())
    assert [list(edition.commands(told, engine)) for told in tape] == [[order], [], [tape[2]]]
    assert edition.left_out == 1
    asked = Edition(parse("rule=joint"), opening_of(opening()), Mute())
    assert [list(asked.commands(told, engine)) for told in tape] == [[order], [], []]


class Mute:
    """A solver that has nothing to propose."""

    def propose(self, engine: Engine, place: Place) -> None:
        return None

    def uncross(self, engine: Engine, area_name: str, interval_ms: int, *, ends_auction: bool) -> None:
        return None

    def may_uncross(self, engine: Engine, area_name: str, interval_ms: int) -> bool:
        return True


# --- rows ---------------------------------------------------------------------------------------------------------


def test_without_limits_nobody_is_blocked_and_allocations_stay() -> None:
    found = outcome(day(2, operator=False), "rows=none")
    assert (found.blocked_orders, found.notes) == (0, ())


def test_tighter_rows_share_out_anew_where_the_record_is_not_secure() -> None:
    tape = interval(place("anna", "s", "export", "sell", 500, 1_000))
    tight = outcome(tape, "rows=tightened:200")
    assert tight.notes == ("the recorded envelopes are not secure on these rows: max-min anew",)
    assert tight.smallest_w is not None
    assert tight.smallest_w < 3_000


def test_rows_of_a_file_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "tight.rows").write_bytes(TIGHT.to_bytes())
    found = outcome(day(2), f"rows={tmp_path / 'tight.rows'}")
    assert found.left_out == 1  # the recorded change of rows
    (tmp_path / "few.rows").write_bytes(Polytope.unlimited(4).to_bytes())
    (tmp_path / "no.rows").write_bytes(b"no")
    for name, message in (("few.rows", "rows for 2 customers, the area has 4"), ("no.rows", "not a polytope"), ("gone", "give a file")):
        with pytest.raises(VariantError, match=message):
            outcome(day(2), f"rows={tmp_path / name}")


# --- networks -----------------------------------------------------------------------------------------------------


class Elsewhere:
    """Another network's plan: these customers, no limits, 1,000 W each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        area = opening()[0]
        assert isinstance(area, OpenArea)
        terms = area.customers[0]
        self._terms = tuple(type(terms)(name, 20_000, 20_000, 500, 500, 20_000, 50) for name in names)
        self.rows = Polytope.unlimited(2 * len(names))
        self.allocation = self
        self.export_w = self.import_w = [1_000] * len(names)

    def terms(self) -> object:
        return self._terms


def moved(names: tuple[str, ...]) -> Outcome:
    tape = interval(place("dora", "s", "export", "sell", 500, 1_000), place("anna", "b", "export", "buy", 500, 2_000))
    return run(tape, parse("network=elsewhere"), lambda _source, _settings: Elsewhere(names))  # type: ignore[arg-type,return-value]


def test_another_network_brings_rows_ratings_and_envelopes_of_its_own() -> None:
    same = moved((*HOMES, "emil"))
    assert (same.smallest_w, same.trades, same.notes) == (500, 1, ())
    other = moved(("a", "b", "c", "d"))
    assert (other.smallest_w, other.trades) == (500, 1)
    assert "customers have other names there" in other.notes[0]
    with pytest.raises(VariantError, match="has 3 customers with other names, the log has 4"):
        moved(("a", "b", "c"))


def test_every_request_comes_under_the_other_name() -> None:
    edition = Edition(parse("network=x"), opening_of(opening()), Mute(), lambda *_: Elsewhere(tuple("abcd")))  # type: ignore[arg-type,return-value]
    asked = [command for command in day(1) if isinstance(command, CustomerCommand)]
    names = dict(zip(HOMES, "abcd", strict=True))
    for command in asked:
        (given,) = edition.commands(command, Engine())
        assert isinstance(given, CustomerCommand)
        assert given.customer == names[command.customer]


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joint", "takes rule=, rows= or network="),
        ("rule=", "takes rule=, rows= or network="),
        ("rule=joint,rule=auction", "each at most once"),
        ("rule=fair", "rule 'fair' is none of one_to_one, exchange_rate, joint, auction"),
        ("rows=none,network=cigre-lv", "exclude each other"),
    ],
)
def test_what_cannot_be_asked_is_named(text: str, message: str) -> None:
    with pytest.raises(VariantError, match=message):
        parse(text)


def test_a_variant_is_named_as_it_was_asked_for() -> None:
    assert parse("rule=auction, rows=tightened:20") == Variant("auction rows=tightened:20", "auction", "tightened:20", None)
    assert Variant().name == AS_RECORDED
    with pytest.raises(VariantError, match="give per mille"):
        outcome(day(2), "rows=tightened:much")


def test_a_comparison_needs_one_area() -> None:
    assert opening_of(opening()).area == "lv"
    for tape in ([], [*opening(), OpenArea("mv", MarketSettings(), ())]):
        with pytest.raises(VariantError, match="a comparison needs one area"):
            opening_of(tape)


def test_the_report_has_table_picture_and_json(tmp_path: Path) -> None:
    found = list(compare(day(2), [Variant(), parse("rule=joint")], no_plan))
    page = write(found, "a <day>", tmp_path / "report").read_text()
    assert "a &lt;day&gt;" in page
    assert "data:image/png;base64," in page
    assert "<th>as recorded</th><th>joint</th>" in page
    assert [one["name"] for one in json.loads((tmp_path / "report" / "whatif.json").read_text())] == [AS_RECORDED, "joint"]
    assert (tmp_path / "report" / "whatif.png").stat().st_size > 10_000


def test_a_panel_in_which_all_are_zero_says_so(tmp_path: Path) -> None:
    found = list(compare(day(2), [Variant()], no_plan))
    for crossing_kwh, panels in ((0.0, 1), (0.5, 0)):
        draw(tmp_path / "whatif.svg", [msgspec.structs.replace(one, crossing_kwh=crossing_kwh) for one in found], "a day")
        assert (tmp_path / "whatif.svg").read_text().count("none in any variant") == panels


def test_recorded_rows_that_change_stay_where_rows_do_not_differ() -> None:
    tape = [command for command in day(2) if isinstance(command, ChangeRows | InstallRows)]
    edition = Edition(parse("rule=exchange_rate"), opening_of(opening()), Mute())
    assert [list(edition.commands(told, Engine())) for told in tape] == [[told] for told in tape]

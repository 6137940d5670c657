"""Four paradigms live through the same day: the day is drawn from its seed, curtailment does what the equations say, the figures add up."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import msgspec
import numpy as np
import pytest

from compare import ground, run
from compare.curtailment import DEADBAND_SHARE, Operator
from compare.days import BANDS, INTERVAL_MIN, START_MS, WEEK, Day, Profiles, band_edges, draw
from compare.living import Resident, within_limits
from compare.page import facts, write
from compare.paradigms import NAMES, Prepared
from compare.physics import Physics
from compare.score import BY_KEY, METRICS, Corners, Score, Scored, difference, mean, over_days
from compare.verdict import Cell, headline, ranked, table, temptation, verdict
from riskcheck.network import Network, load
from tests import grids

INTERVALS = 4


@lru_cache(maxsize=1)
def network() -> Network:
    """A home on each phase of one line of 20 A; the interface may be anywhere in 2 %."""
    net = grids.three_phase_line(rating_a=20.0)
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 0.99, 1.01
    return load(net)


@lru_cache(maxsize=1)
def plans() -> ground.Ground:
    """As `ground.prepare`, without processes and cache."""
    whole, *own = (ground._built(network(), edges) for edges in [(0.99, 1.01), *band_edges(network())])
    bands = tuple(ground._band(network(), edges, rows, whole) for edges, rows in zip(band_edges(network()), own, strict=True))
    return ground.Ground(bands, ground._static(network(), whole))


@lru_cache(maxsize=1)
def prepared() -> Prepared:
    return Prepared(plans(), Physics(network()))


@lru_cache(maxsize=1)
def lived_day() -> Scored:
    return prepared().day(draw(network(), 3, None, INTERVALS))


def tiled(day: Day, watts: int) -> np.ndarray:
    return np.full((day.intervals, len(day.homes)), watts, dtype=np.int64)


# --- days ---------------------------------------------------------------------------------------------------------


def test_a_day_is_the_same_from_the_same_seed_and_another_from_another() -> None:
    one, same, other = (draw(network(), seed, None, INTERVALS) for seed in (7, 7, 8))
    assert one.interface_pu == same.interface_pu
    assert all((a.load_w == b.load_w).all() for a, b in zip(one.homes, same.homes, strict=True))
    assert any((a.load_w != b.load_w).any() for a, b in zip(one.homes, other.homes, strict=True))


def test_the_interface_stays_in_its_band_and_a_band_lasts_an_hour() -> None:
    day, edges = draw(network(), 1), band_edges(network())
    assert len(edges) == BANDS
    assert all(edges[band][0] <= pu <= edges[band][1] for band, pu in zip(day.band, day.interface_pu, strict=True))
    assert all(len(set(day.band[hour : hour + 4])) == 1 for hour in range(0, 96, 4))


def test_measured_profiles_take_the_place_of_what_is_drawn_and_the_week_before_is_expected() -> None:
    days, homes = 9, len(network().customers)
    load_w = np.repeat(np.arange(days), 96)[None].repeat(homes, axis=0) * 700
    day = draw(network(), 1, Profiles(load_w, np.zeros_like(load_w)), INTERVALS)
    number = int(day.name.split()[1]) - 1
    assert WEEK <= number < days
    assert set(day.homes[0].load_w) == {700 * number}
    assert set(day.homes[0].typical_load_w) == {700 * (number - 4)}  # the middle of the seven days before
    assert day.homes[0].battery is None


# --- homes and their limits ---------------------------------------------------------------------------------------


def test_without_any_limit_left_all_sun_is_curtailed_or_used_and_nothing_flows() -> None:
    day = draw(network(), 3, None, INTERVALS)
    lived = within_limits("nothing", day, tiled(day, 0), tiled(day, 0), Counter(), 0.0)
    assert not lived.net_w.any()
    assert lived.net_w.shape == (INTERVALS * INTERVAL_MIN, len(day.homes))
    assert all(0.0 <= one.share <= 1.0 for one in lived.energy)


def test_what_a_home_wishes_is_what_it_does_when_nobody_holds_it() -> None:
    day, minute = draw(network(), 3, None, INTERVALS), 6 * 60
    for home in day.homes:
        resident = Resident(home)
        wish_w = resident.wish_w(minute)
        resident.live(START_MS, 1, home.rating_export_w, home.rating_import_w)
        assert resident.net_w == [wish_w]


# --- curtailment --------------------------------------------------------------------------------------------------


def operator() -> Operator:
    day = draw(network(), 3, None, INTERVALS)
    return Operator(prepared().physics, day)


def test_nobody_is_held_while_limits_hold() -> None:
    asked = operator()
    caps = asked.caps(np.array([2_000, -2_000, 500]), 0)
    assert (caps.export_w == asked.free.export_w).all()
    assert (caps.import_w == asked.free.import_w).all()
    assert asked.solved == 0


def test_an_export_over_the_rating_is_cut_to_the_current_that_the_line_carries_and_no_further() -> None:
    """At the home u = u0 + Re(Z) i with Z = (2 z1 + z0) / 3 = 0.4 + 0.2j ohm, nearly; p = u i at the rating less the deadband."""
    asked = operator()
    caps = asked.caps(np.array([9_000, 0, 0]), 0)
    current = 20.0 * (1 - DEADBAND_SHARE)
    source_v = asked._day.interface_pu[0] * 400 / 3**0.5
    expected = (source_v + 0.4 * current) * current
    assert caps.export_w[0] == pytest.approx(expected, rel=0.012)
    assert (caps.export_w[1:] == asked.free.export_w[1:]).all()
    assert asked.unsolved == 0


def test_after_curtailment_no_limit_is_broken() -> None:
    asked, wish_w = operator(), np.array([9_000, -8_000, 7_000])
    caps = asked.caps(wish_w, 0)
    held = np.clip(wish_w, -caps.import_w, caps.export_w).astype(float)
    limits = prepared().physics.limits_at(asked._day.interface_pu[0])
    assert limits.measure(prepared().physics.engine, held[None]).max() <= 0.0


# --- a whole day, small -------------------------------------------------------------------------------------------


def test_every_paradigm_lives_through_the_day_and_envelopes_break_nothing() -> None:
    scores = {score.paradigm: score for score in lived_day().scores}
    assert list(scores) == list(NAMES)
    for name in ("equal", "doe", "market"):
        assert scores[name].minutes_broken == scores[name].corners.broken == 0
    assert scores["rating"].corners.broken == INTERVALS
    assert scores["anm"].corners is None
    assert scores["anm"].messages["measurements"] == INTERVALS * INTERVAL_MIN * len(network().customers)
    assert all(score.welfare_eur <= scores["rating"].welfare_eur + 1e-6 for score in scores.values() if score.minutes_broken == 0)


def test_a_page_and_its_facts_come_of_it(tmp_path) -> None:
    task = run.Task(network(), (3,), INTERVALS, 1, tmp_path)
    page = write(task, run.Comparison(plans(), [lived_day()], profiles=False))
    assert all(words in page.read_text() for words in NAMES.values())
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "report.json", "security.svg", "energy.svg", "fairness.svg"}
    assert facts(task, run.Comparison(plans(), [lived_day()], profiles=False))["means"]["doe"]["minutes_broken"] == {
        "mean": 0.0,
        "half": None,
    }


def test_a_day_that_is_done_is_read_again_and_half_a_file_is_not(tmp_path) -> None:
    run._write(tmp_path, lived_day())
    assert run._read(tmp_path, 3) == lived_day()
    (tmp_path / "4.json").write_text('{"seed": 4')
    assert run._read(tmp_path, 4) is None


# --- figures ------------------------------------------------------------------------------------------------------


def planted(paradigm: str, welfare: float, broken: int = 0) -> Score:
    return Score(
        paradigm, minutes=1440, minutes_broken=broken, quarters_broken=0, excess_pu=0.0, overload=0.2 if broken else 0.0,
        above_kvah=broken / 10, outside_kwh=0.0, corners=Corners(96, 0, 0.01), smallest_share=0.5, jain=0.9, curtailed_kwh=10.0,
        unserved_kwh=5.0, car_missing_kwh=1.0, welfare_eur=welfare, messages={"limits": 3}, deciding_s=0.1, shares=(0.5, 1.0), notes={},
    )  # fmt: skip


def planted_days(market: tuple[float, ...], broken: int = 0) -> list[Scored]:
    """Welfare of 100 for all but the market; limits are broken without any limits, and by curtailment where it is said."""
    minutes = {"rating": 90, "anm": broken}
    others = [planted(name, 100.0, minutes.get(name, 0)) for name in NAMES if name != "market"]
    return [Scored(seed, f"seed {seed}", (*others, planted("market", welfare))) for seed, welfare in enumerate(market)]


def test_an_interval_is_students() -> None:
    """Of 1, 2, 3: standard deviation 1, t(0.975, 2) = 4.3027."""
    found = mean([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert mean([1.0]).half is None


def test_differences_are_paired_by_day() -> None:
    days = planted_days((110.0, 112.0, 111.0))
    gap = difference(days, "market", "doe", BY_KEY["welfare_eur"])
    assert gap.mean == pytest.approx(11.0)
    assert gap.half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert over_days(days, "doe", BY_KEY["welfare_eur"]).half == 0.0


@pytest.mark.parametrize(
    ("market", "said"),
    [
        ((110.0, 111.0, 112.0), "The market beats envelopes on welfare +11.0"),
        ((90.0, 91.0, 89.0), "The market does not win against envelopes on welfare -10.0"),
        ((90.0, 110.0, 100.5), "Against envelopes 3 days cannot tell:"),
    ],
)
def test_the_verdict_follows_the_figures(market: tuple[float, ...], said: str) -> None:
    assert any(line.startswith(said) for line in verdict(planted_days(market)))


def test_who_gains_by_breaking_limits_is_told_so() -> None:
    lines = verdict(planted_days((90.0, 91.0, 89.0), broken=30))
    assert "Limits are broken with curtailment in 30.0 ± 0.0 minutes a day (3.00 kVAh above ratings, at worst 20 % above one)." in lines
    assert "But curtailment breaks limits in 30.0 ± 0.0 minutes a day, the market in 0." in lines


def test_the_table_has_a_row_per_metric_and_one_of_promises() -> None:
    rows = table(planted_days((1.0, 2.0)))
    assert len(rows) == len(METRICS) + 1
    assert all(len(cells) == len(NAMES) for _, cells in rows)
    assert rows[1] == ("sets of limits that some corner breaks", [Cell("0 of 192")] * len(NAMES))


def test_who_keeps_the_limits_comes_first_and_only_they_can_be_best() -> None:
    days = planted_days((110.0, 111.0, 112.0), broken=30)
    order, rows = ranked(days), dict(table(days))
    assert order == ["market", "5kw", "equal", "doe", "anm", "rating"]
    assert [cell.mark for cell in rows["welfare, EUR"]] == ["best", "", "", "", "", ""]
    assert [cell.mark for cell in rows["time with a broken limit, min"]] == ["", "", "", "", "broken", "broken"]
    assert [cell.mark for cell in rows["sun curtailed, kWh"]] == [""] * len(NAMES)


def test_what_days_cannot_tell_from_the_best_is_best_too() -> None:
    """100 everywhere against 90, 110 and 100.5: a difference of 0.2 with an interval of about 25."""
    rows = dict(table(planted_days((90.0, 110.0, 100.5))))
    assert [cell.mark for cell in rows["welfare, EUR"]] == ["best"] * 5 + [""]


@pytest.mark.parametrize(
    ("market", "said"),
    [
        ((110.0, 111.0, 112.0), "Every limit kept, and most for the homes: market, 111 EUR a day; next: 5 kW for ever, 100 EUR"),
        ((90.0, 110.0, 100.5), "market, 100 EUR a day; next: 5 kW for ever, 100 EUR, which 3 days cannot tell apart"),
    ],
)
def test_the_headline_is_the_finding(market: tuple[float, ...], said: str) -> None:
    assert headline(planted_days(market)).endswith(said)


def changed(days: list[Scored], paradigm: str, **figures: float) -> list[Scored]:
    scores = ([msgspec.structs.replace(one, **figures) if one.paradigm == paradigm else one for one in day.scores] for day in days)
    return [msgspec.structs.replace(day, scores=tuple(after)) for day, after in zip(days, scores, strict=True)]


def test_where_the_network_carries_everything_no_limit_was_needed() -> None:
    days = changed(planted_days((90.0, 91.0)), "rating", minutes_broken=0)
    assert headline(days) == "The network would have carried all that homes wanted: no limit was needed"


def test_what_would_serve_better_by_breaking_limits_is_named() -> None:
    days = planted_days((90.0, 91.0, 89.0))
    assert temptation(days) == ""
    days = changed(days, "anm", welfare_eur=120.0, minutes_broken=7)
    assert temptation(days) == "More, but with broken limits: curtailment 120 EUR (7.00 minutes a day)."


def test_how_much_of_the_price_of_security_trading_brings_back_is_said() -> None:
    """Envelopes are worth 100, no limits 120, the market 110, 111 and 112: 11 of 20."""
    days = changed(planted_days((110.0, 111.0, 112.0)), "rating", welfare_eur=120.0)
    assert any(line.endswith("Trading them brings back 11.0 ± 2.5 EUR, 55 % of it.") for line in verdict(days))
    assert not any("brings back" in line for line in verdict(planted_days((110.0, 111.0, 112.0))))


def test_what_is_the_same_on_every_day_is_said_to_be() -> None:
    lines = verdict(planted_days((110.0, 111.0, 112.0)))
    assert any(line.startswith("The market and envelopes are the same on sun curtailed; demand unserved;") for line in lines)


def test_a_score_survives_its_file() -> None:
    assert msgspec.json.decode(msgspec.json.encode(planted("doe", 1.5)), type=Score) == planted("doe", 1.5)

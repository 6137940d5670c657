"""The benchmarks run and say what they should; how fast anything is, is asserted nowhere."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import false_accepts, feeder, left_on_table, networks, orders, peers, run, workers
from benchmarks.blind_adversary import BlindAdversary, behind_branches
from benchmarks.campaigns import MOODS, STARTS, Campaign
from benchmarks.market_campaigns import MarketCampaign
from exchange.codec import encode_command
from exchange.commands import Cancel, Place, Replace
from exchange.engine import Engine
from exchange.events import Blocked, Refused, Traded
from riskcheck.network import BadNetwork, Finding, Network
from riskcheck.polytope import Polytope

SMALL = "cigre-lv"
CASE = networks.Case(SMALL, campaigns=2, flows=120)


@pytest.fixture(scope="module")
def synthetic() -> feeder.Feeder:
    return feeder.synthetic(customers=12, rows=40)


def quiet(_phrase: str, _share: float) -> None:
    pass


def test_the_same_seed_gives_the_same_demo_and_another_seed_another(synthetic: feeder.Feeder) -> None:
    first, again, other = (orders.demo_day(synthetic, seed, 3, 40, quiet).commands for seed in (1, 1, 2))
    assert list(map(encode_command, first)) == list(map(encode_command, again))
    assert list(map(encode_command, first)) != list(map(encode_command, other))


def test_the_same_seed_gives_the_same_busy_market(synthetic: feeder.Feeder) -> None:
    first, again = (orders.busy(synthetic, 5, 2_000).commands for _ in range(2))
    assert list(map(encode_command, first)) == list(map(encode_command, again))


def test_both_streams_place_replace_cancel_trade_and_meet_the_network(synthetic: feeder.Feeder) -> None:
    for stream in (orders.demo_day(synthetic, 1, 6, 40, quiet), orders.busy(synthetic, 1, 2_000)):
        engine = Engine()
        events = [event for command in stream.commands for event in engine.apply(command)]
        engine.check()
        assert {Place, Replace, Cancel} <= {type(command) for command in stream.commands}, stream.name
        assert {Traded, Blocked} <= {type(event) for event in events}, stream.name
        assert Refused not in {type(event) for event in events}, stream.name


def test_quick_run_prints_one_well_formed_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run.main(["--quick", "--only", "engine,replay", "--json", "--network", SMALL]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"].startswith("limex bench --quick")
    assert found["machine"]["processor"] and found["machine"]["python"]
    measured = [(one["way"], one["rows"] > 0, one["stream"].split(",")[0]) for one in found["engine"]["engine"]]
    assert measured == [
        ("journal", True, "busy"), ("journal", False, "busy"), ("live", True, "demo"), ("journal", True, "demo"), ("live", True, "busy"),
        ("journal", True, "busy"),
    ]  # fmt: skip
    for one in found["engine"]["engine"]:
        assert 0 < one["command"]["p50_us"] <= one["command"]["p99_us"] <= one["command"]["max_us"]
        assert one["per_s_best"] >= one["per_s_median"] > 0 and one["mix"]["commands"]
    free, bare, *binding = found["engine"]["engine"]
    assert free["mix"]["events"] == bare["mix"]["events"], "with a hundred times the room no trade is blocked"
    assert 0.3 < free["mix"]["fills_per_command"] < 0.45
    assert all(one["mix"]["commands"].get("Sweep", 0) + one["mix"]["commands"].get("Uncross", 0) > 0 for one in binding[2:])
    assert all(one["trades"] > 0 and one["per_s_best"] > 0 for one in found["engine"]["peers"])
    assert found["replay"]["verify_per_s"] > 0 and len(found["replay"]["digest"]) == 32


@pytest.mark.parametrize("given", [["--only", "engine,fortune"], ["--broker", "carrier-pigeon"]])
def test_wrong_arguments_end_with_2_and_name_the_choices(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(given)
    assert ended.value.code == 2
    assert "there are engine" in (said := capsys.readouterr().err) or "mosquitto" in said


def test_an_unknown_network_ends_with_2_and_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--json", "--network", "nowhere"]) == 2
    assert SMALL in capsys.readouterr().err


@pytest.fixture(scope="module")
def small() -> tuple[Network, feeder.Feeder]:
    return networks.ready(SMALL, quiet)


def wider(rows: Polytope, by: float) -> bytes:
    """Rows that admit more than is secure."""
    return Polytope(np.floor(rows.columns / by).astype(np.int32), rows.slack, rows.labels).to_bytes()


def is_filled(network: Network, rows: Polytope, held: npt.NDArray[np.int64]) -> bool:
    """Secure and within the ratings, and no right can rise by a watt."""
    rise = np.flatnonzero(held < network.caps_w())
    can_rise = any(rows.is_secure(held + (np.arange(len(held)) == right)) for right in rise)
    return bool((held <= network.caps_w()).all()) and rows.is_secure(held) and not can_rise


def test_campaigns_fill_the_rows_from_every_start_in_every_mood_and_keep_to_the_ratings(small: tuple[Network, feeder.Feeder]) -> None:
    network, rows = small[0], small[1].polytope
    fair = np.array(small[1].export_w + small[1].import_w)
    for number in range(len(STARTS) * len(MOODS)):
        campaign = Campaign(network, rows, fair, np.random.default_rng(number), number)
        campaign.trade(200)
        campaign.sell_headroom()
        assert is_filled(network, rows, campaign.limits_w)


def test_the_whole_market_fills_the_rows_in_every_kind_of_trade_and_keeps_to_the_ratings(small: tuple[Network, feeder.Feeder]) -> None:
    network, rows = small[0], small[1].polytope
    fair = np.array(small[1].export_w + small[1].import_w)
    kinds: Counter[str] = Counter()
    for number in range(6):
        campaign = MarketCampaign(network, rows, fair, np.random.default_rng(number), number)
        campaign.trade(250)
        assert rows.is_secure(campaign.limits_w) and (campaign.residual >= 0).all()
        campaign.sell_headroom()
        assert is_filled(network, rows, campaign.limits_w)
        kinds += campaign.kinds
    assert set(kinds) == {"pair", "leftover", "sweep", "uncross", "block"}


def test_requests_become_numbers_that_any_order_book_takes() -> None:
    place = Place("lv", "ann", "a1", 900_000, "export", "buy", 500, 6_000)
    stream = [place, Replace("lv", "ann", "r1", "a1", 700, 6_100), Cancel("lv", "ann", "c1", "a1"), Cancel("lv", "ben", "c2", "b9")]
    requests, books = peers.numbered(stream)
    assert books == 1
    assert [(r.gone, r.order, r.quantity_w, r.price_mct) for r in requests] == [(0, 1, 500, 6_000), (1, 2, 700, 6_100), (2, 0, 0, 0)]


def test_fuzz_finds_no_false_accept_in_true_rows_and_many_in_wider_ones(
    small: tuple[Network, feeder.Feeder], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, kept = small
    for by, is_secure in ((1.0, True), (1.05, False)):
        planted = msgspec.structs.replace(kept, rows=wider(kept.polytope, by))
        monkeypatch.setattr(false_accepts, "ready", lambda _name, _tell, planted=planted: (network, planted))
        tally = false_accepts.Fuzz(CASE, 1, lambda *_: None).run(400)
        assert tally.trades == 400 and tally.accepted > 0 and tally.states == 6
        assert (tally.false_accepts == 0) == is_secure
        assert len(tally.broken) == min(3, tally.false_accepts)


def test_the_blind_adversary_finds_what_wider_rows_let_through_without_any_sensitivity(small: tuple[Network, feeder.Feeder]) -> None:
    network, kept = small
    rows = Polytope.from_bytes(wider(kept.polytope, 1.05))
    campaign = Campaign(network, rows, np.array(kept.export_w + kept.import_w), np.random.default_rng(1), 1)
    campaign.sell_headroom()
    export_w, import_w = np.split(campaign.limits_w.astype(float), 2)
    nobody = np.empty((0, len(network.customers)), dtype=bool)
    found = BlindAdversary(network).search(export_w, import_w, np.random.default_rng(1), 400, nobody)
    assert min(found.margins) < -1e-3 and found.flows == 400
    assert ((found.points_w <= export_w) & (found.points_w >= -import_w)).all()


def test_who_is_behind_a_branch_is_read_from_the_tree(small: tuple[Network, feeder.Feeder]) -> None:
    behind = behind_branches(small[0])
    assert behind.any(axis=1).all() and len(np.unique(behind, axis=0)) == len(behind)
    for one in behind:
        shared = behind[(behind & one).any(axis=1)]
        assert all((other <= one).all() or (one <= other).all() for other in shared), "of two branches one feeds the other or none"


def test_what_is_left_on_the_table_is_measured_by_power(small: tuple[Network, feeder.Feeder], monkeypatch: pytest.MonkeyPatch) -> None:
    network, kept = small
    shares = []
    for by in (1.0, 0.9):
        tighter = msgspec.structs.replace(kept, rows=wider(kept.polytope, by))
        monkeypatch.setattr(left_on_table, "ready", lambda _name, _tell, tighter=tighter: (network, tighter))
        figures = left_on_table.measure(CASE, 2, 1, lambda *_: None)
        assert figures.corners > 0 and all(0 < share.rows <= share.ac for share in figures.shares)
        shares.append(figures.smallest.power)
    assert shares[1] < shares[0] < 1


def told(number: int, tell: workers.Tell) -> int:
    tell(f"network {number}", 1, "")
    if number < 0:
        raise BadNetwork((Finding("load 3", "has no phase", "give it one"),))
    return number


def test_works_of_two_processes_come_back_in_their_order_and_tell_of_their_steps() -> None:
    news: list[str] = []
    assert workers.shared([partial(told, number) for number in (3, 1, 2)], lambda network, _done, _phrase: news.append(network)) == [
        3,
        1,
        2,
    ]
    assert set(news) <= {"network 1", "network 2", "network 3"}


def test_what_is_wrong_with_a_network_arrives_in_its_own_words() -> None:
    with pytest.raises(ValueError, match="load 3: has no phase"):
        workers.shared([partial(told, -1)], lambda *_: None)


def test_an_unknown_network_of_a_fuzz_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert left_on_table.main(["--network", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err

"""The benchmarks run and say what they should; how fast anything is, is asserted nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import feeder, orders, run
from exchange.codec import encode_command
from exchange.commands import Cancel, Place, Replace
from exchange.engine import Engine
from exchange.events import Blocked, Refused, Traded

SMALL = "cigre-lv"


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
    measured = [(one["rows"] > 0, one["stream"][:4]) for one in found["engine"]]
    assert measured == [(True, "demo"), (True, "busy"), (False, "demo"), (False, "busy")]
    for one in found["engine"]:
        assert 0 < one["command"]["p50_us"] <= one["command"]["p99_us"] <= one["command"]["max_us"]
        assert one["per_s_best"] >= one["per_s_median"] > 0 and one["mix"]["commands"]
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

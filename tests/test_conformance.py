"""limex against other exchanges' own test scenarios (`../shared/conformance`, where it is there) and against its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exchange.engine import Engine
from tests.conformance import Verdict, main, read_scenarios, run_scenario, summary

ROOT = Path(__file__).resolve().parent.parent
PEERS = sorted((ROOT.parent / "shared" / "conformance").glob("*.json"))
OURS = sorted((ROOT / "tests" / "scenarios").glob("*.json"))


@pytest.mark.parametrize("path", PEERS or [None], ids=lambda path: path.stem if path else "absent")
def test_every_scenario_of_the_peers_passes(path: Path | None) -> None:
    if path is None:
        pytest.skip("../shared/conformance is not beside this repository")
    verdicts = [run_scenario(scenario) for scenario in read_scenarios(path)]
    failed = [f"{verdict.scenario}: {verdict.text}" for verdict in verdicts if verdict.outcome == "failed"]
    assert not failed, "\n".join([*failed, summary(verdicts)])


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_every_scenario_of_ours_passes_and_none_is_skipped(path: Path) -> None:
    verdicts = [run_scenario(scenario) for scenario in read_scenarios(path)]
    assert [verdict for verdict in verdicts if verdict.outcome != "passed"] == []


def verdict_on(expect: dict[str, object], *steps: dict[str, object], **scenario: object) -> Verdict:
    """What the runner says of a resting sale of 100 W at 50, then `steps`, the last of which expects `expect`."""
    first: dict[str, object] = {"op": "new", "id": "s", "side": "sell", "type": "limit", "price": 50, "qty": 100, "tif": "GTC"}
    told = [{"do": step, "expect": {}} for step in (first, *steps)]
    told[-1]["expect"] = expect
    return run_scenario({"id": "planted", "self_trade": "allow", "steps": told} | scenario)


BUY = {"op": "new", "id": "b", "side": "buy", "type": "limit", "price": 60, "qty": 30, "tif": "GTC"}

GAIN = {"qty": 30, "notional": 1500}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"fills": [{"maker": "s", "price": 50, "qty": 30}]}, {"fills": [{"maker": "s", "price": 60, "qty": 30}]}),
        ({"filled": {"s": GAIN, "b": GAIN}}, {"filled": {"b": GAIN}}),
        ({"matched": True}, {"matched": False}),
        ({"status": "filled"}, {"status": "resting"}),
        ({"cancelled_qty": 0}, {"cancelled_qty": 1}),
        ({"leaves": {"s": 70, "b": 0}}, {"leaves": {"s": 100}}),
        ({"asks": [[50, 70, 1]]}, {"asks": [[50, 70, 2]]}),
        ({"bids": []}, {"bids": [[60, 30, 1]]}),
        ({"asks_prefix": [[50, 70, 1]]}, {"asks_prefix": [[50, 70, 1], [51, 1, 1]]}),
        ({"bids_prefix": []}, {"bids_prefix": [[60, 30, 1]]}),
        ({"head_ask": "s"}, {"head_ask": "b"}),
        ({"head_bid": None}, {"head_bid": "b"}),
        ({"n_ask_orders": 1, "n_bid_orders": 0}, {"n_bid_orders": 1}),
        ({"ask_volume": 70, "bid_volume": 0}, {"ask_volume": 100}),
        ({"order_was": None}, {"order_was": "filled"}),
    ],
    ids=lambda expect: ",".join(expect),
)
def test_every_expectation_is_really_checked(right: dict[str, object], wrong: dict[str, object]) -> None:
    assert verdict_on(right, BUY).outcome == "passed"
    assert verdict_on(wrong, BUY).outcome == "failed"


def test_an_expectation_that_nobody_knows_fails_the_scenario() -> None:
    assert "cannot be checked" not in verdict_on({}, BUY).text
    assert verdict_on({"mood": "calm"}, BUY).outcome == "failed"


UNREADABLE = [{"op": "new"}, {"op": "cancel"}, {}, "new", 7, None, BUY | {"tif": "GTD"}, BUY | {"qty": "many"}, BUY | {"price": None}]


@pytest.mark.parametrize("step", UNREADABLE)
def test_a_step_that_cannot_be_read_fails_the_scenario(step: dict[str, object]) -> None:
    assert verdict_on({}, step).outcome == "failed"


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (BUY | {"tif": "FOK", "budget": 1500}, "already bound what a home pays"),
        ({"op": "auction", "id": "x"}, "no operation 'auction'"),
        (BUY | {"type": "stop"}, "no order type 'stop'"),
        (BUY | {"display_qty": 10}, "no display_qty in 'new'"),
        (BUY | {"type": "market", "qty": 130}, "a market order never rests in limex"),
        (BUY | {"id": "s", "side": "sell"}, "names one order as long as its interval lives"),
    ],
    ids=["budget", "auction", "stop", "iceberg", "resting market order", "id again"],
)
def test_what_limex_does_not_have_is_skipped_by_name_and_with_the_reason(step: dict[str, object], reason: str) -> None:
    verdict = verdict_on({"status": "resting"}, step)
    assert verdict.outcome == "skipped"
    assert reason in verdict.text


def test_a_broken_invariant_fails_its_scenario_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(engine: Engine) -> None:
        raise AssertionError("cash does not sum to zero")

    monkeypatch.setattr(Engine, "check", broken)
    verdict = verdict_on({}, BUY)
    assert verdict.outcome == "failed"
    assert "an invariant of limex broke: cash does not sum to zero" in verdict.text


def test_exit_code_and_last_line_tell_the_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [{"do": BUY, "expect": {"status": "resting"}}]
    good = {"id": "good", "self_trade": "allow", "steps": steps}
    bad = good | {"id": "bad", "steps": [{"do": BUY, "expect": {"status": "filled"}}]}
    skipped = good | {"id": "skipped", "steps": [{"do": BUY | {"budget": 1}, "expect": {}}]}

    def run(*scenarios: dict[str, object]) -> tuple[int, list[str]]:
        path = tmp_path / "scenarios.json"
        path.write_text(json.dumps({"scenarios": scenarios}))
        return main([str(path)]), capsys.readouterr().out.splitlines()

    assert run(good) == (0, ["1 passed, 0 failed"])
    assert run(good, skipped)[1][-1] == "1 passed, 0 failed, 1 skipped"
    code, (told, last) = run(good, bad)
    assert told == 'FAILED bad: step 1 (new b side=buy type=limit price=60 qty=30 tif=GTC): status expected "filled" got "resting"'
    assert (code, last) == (1, "1 passed, 1 failed")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"scenarios": 3}', '{"scenarios": [3]}', None])
def test_an_unreadable_file_is_named_and_exits_2(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 2
    assert f"cannot read {path}" in capsys.readouterr().err

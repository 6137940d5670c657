"""Replay: any moment again, a proof that it is the same, and a tape that a person can read."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
from functools import cache
from pathlib import Path

import pytest

from exchange.commands import Cancel, CloseGate, Command, Halt, MassCancel, Replace, Resume, RetireInterval
from exchange.journal import JournalError
from exchange.recovery import ReplayMismatchError
from exchange.snapshot import dump
from gateway.arguments import UsageError
from gateway.show import happened_line
from gateway.wire import Happened
from replay import cli, tape
from replay.moments import batch_of, stamps
from replay.orderlog import BadLogError
from replay.pace import Pace
from replay.rebuild import rebuild
from replay.tabular import iso
from replay.verify import EventLog, verify
from riskcheck.network import load
from tests.recorded import START_MS, day, record
from tests.test_node import decide, opening, place

DAY: list[Command] = [
    *opening(), place(1), place(2, "bob", "buy", 1100), place(3), place(3), place(4, price=1010),
    Replace("lv", "alice", "r1", "alice-4", 20, 1020), Cancel("lv", "alice", "c1", "alice-3"), Cancel("lv", "alice", "c2", "nothing"),
    Halt("lv", None, "storm"), place(5), Resume("lv", None, "calm"), MassCancel("lv", "alice", "m1"), CloseGate(None, 0),
    CloseGate(None, 0), RetireInterval("lv", 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day in batches of three commands, with a snapshot after each run."""
    return record(tmp_path_factory.mktemp("recorded") / "journal.sqlite", DAY, 3)


@pytest.fixture
def journal(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recorded, tmp_path / "journal.sqlite"))


def test_a_journal_leads_to_the_same_events_and_states(journal: Path) -> None:
    verdict = verify(journal)
    assert (verdict.commands, verdict.snapshots, verdict.undigested) == (len(DAY), 6, 0)
    assert verify(journal) == verdict


def test_every_released_event_is_compared_byte_for_byte(tmp_path: Path) -> None:
    path, log = tmp_path / "j.sqlite", EventLog()
    _, released = decide(path, DAY)
    for batch in released:
        log.keep(batch)
    assert verify(path, on_batch=log.compare).commands == len(DAY)
    forgetful = EventLog()
    with pytest.raises(ReplayMismatchError, match="not those that were released"):
        verify(path, on_batch=forgetful.compare)


def test_a_snapshot_that_is_not_the_state_is_found(journal: Path) -> None:
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE snapshot SET body = (SELECT body FROM snapshot WHERE batch = 1) WHERE batch = 2")
    with pytest.raises(ReplayMismatchError, match="the state after batch 2 is not the stored snapshot"):
        verify(journal)


def test_any_moment_from_any_snapshot_is_the_same_state(journal: Path) -> None:
    for batch in range(1, 7):
        states = {dump(rebuild(journal, batch=batch, snapshot_max=start)[0]) for start in range(batch + 1)}
        assert len(states) == 1


@pytest.fixture(scope="module")
def market_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded today, with the market's clock on a day in April."""
    return record(tmp_path_factory.mktemp("day") / "j.sqlite", day(2))


def test_a_moment_is_a_time_by_either_clock(market_day: Path) -> None:
    told = [stamp for stamp in stamps(market_day) if stamp.market_ms is not None]
    opened_ms = told[0].market_ms
    assert opened_ms == START_MS - 3_600_000
    same_time = [stamp.batch for stamp in told if stamp.market_ms == opened_ms]
    assert batch_of(market_day, f"market:{opened_ms}") == batch_of(market_day, "market:2026-04-27T13:00") == same_time[-1]
    assert batch_of(market_day, "market:2999-01-01") == batch_of(market_day, "2999-01-01") == told[-1].batch
    assert batch_of(market_day, iso(told[3].recorded_ms)) >= told[3].batch


def test_a_moment_before_the_journal_is_refused_with_its_span(market_day: Path) -> None:
    span = r"taken from 20.*market:TIME, went from 2026-04-27T13:00"
    for use in (["replay", "--until"], ["replay", "--tape", "--until"], ["replay", "--at"], ["settle", "--until"], ["export", "--until"]):
        with pytest.raises(UsageError, match=f"nothing lies before 2026-04-27T13:05.*{span}"):
            limex(*use, "2026-04-27T13:05", market_day)
    with pytest.raises(UsageError, match="nothing lies before market:2026-04-27T12:59"):
        limex("replay", market_day, "--until", "market:2026-04-27T12:59")


def test_options_that_mean_nothing_together_are_refused(journal: Path) -> None:
    for idle in (["--tape"], ["--until", 3], ["--speed", 2]):
        with pytest.raises(UsageError, match=f"--at shows one moment and takes no {idle[0]}"):
            limex("replay", journal, "--at", 2, *idle)
    for options in (["--network", "cigre-lv"], ["--skip-bad"], ["--interval-minutes", 5], ["--close-lead-minutes", 1]):
        with pytest.raises(UsageError, match=f"{options[0]}: of an order log"):
            limex("whatif", journal, *options)
    with pytest.raises(SystemExit):
        limex("settle", journal, "--customer", "alice", "--json")


def test_the_tape_tells_the_day(tmp_path: Path) -> None:
    _, released = decide(tmp_path / "j.sqlite", DAY)
    told = "\n".join(line for batch in released for line in tape.lines(batch))
    for sentence in (
        "alice alice-1: sell 10 W export @ 1.00 ct/kWh for 01 Jan 00:00",
        "TRADE 01 Jan 00:00: bob +10 W export @ 1.00 ct/kWh (holds 50000010 W), alice -10 W export @ 1.00 ct/kWh (holds 49999990 W)",
        "alice alice-3: came again, answered as before",
        "alice alice-4: now 20 W open @ 1.02 ct/kWh, loses its priority",
        "alice alice-3: 10 W cancelled (request)",
        "REJECTED alice c2: unknown_order: order nothing is not known",
        "HALTED lv, all intervals: storm",
        "REJECTED alice alice-5: halted",
        "RESUMED lv",
        "alice m1: all cancelled, 1 orders",
        "01 Jan 00:00 gate closed in lv",
        "REFUSED close_gate: gate_closed",
        "01 Jan 00:00 retired in lv",
    ):
        assert sentence in told


def test_what_comes_from_outside_forges_no_line_of_the_tape(tmp_path: Path) -> None:
    forged = "storm\n2026-04-27 HALTED lv\x1b[2J\u202e"
    _, released = decide(tmp_path / "j.sqlite", [*opening(), Halt("lv", None, forged)])
    told = [line for batch in released for line in tape.lines(batch)]
    assert len(told) == sum(len(events) for batch in released for events in batch.events)
    escaped = r"storm\n2026-04-27 HALTED lv\x1b[2J\u202e"
    assert told[-1].endswith(f"HALTED lv, all intervals: {escaped}")
    assert happened_line(Happened("halted", {"area": "lv", "reason": forged})) == f"halted: area lv, reason {escaped}"


def test_what_is_not_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such journal"):
        verify(tmp_path / "nothing.sqlite")


# --- how far, and how fast ----------------------------------------------------------------------------------------


def test_a_replay_can_stop_after_a_batch(journal: Path) -> None:
    heard: list[tuple[int, int]] = []
    verdict = verify(journal, until=2, on_batch=lambda batch, total: heard.append((batch.number, total)))
    assert (verdict.batches, verdict.commands, verdict.snapshots) == (2, 6, 2)
    assert heard == [(1, 2), (2, 2)]
    assert verify(journal, until=99) == verify(journal)
    assert verify(journal, until=0).batches == 0


def test_the_pace_is_that_of_the_record_times_the_speed() -> None:
    now_s, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(round(seconds, 3))
        now_s += seconds

    waits: list[float] = []
    pace = Pace(10, waits.append, lambda: now_s, sleep)
    for at_ms in (5_000, 6_000, 6_000, 4_000, 8_000):
        pace.wait(at_ms)
        now_s += 0.01  # the work on a batch is part of the time
    assert slept == [0.09, 0.17]
    pace.wait(60_000)
    assert [round(seconds) for seconds in waits] == [5]
    Pace(None, sleep=sleep).wait(10**12)
    assert len(slept) == 3


# --- the commands -------------------------------------------------------------------------------------------------


def limex(*arguments: object) -> int:
    """One of the commands of replay, as `limex` runs it."""
    parser = argparse.ArgumentParser(prog="limex")
    cli.add_parsers(parser.add_subparsers(dest="command", required=True))
    parsed = parser.parse_args(list(map(str, arguments)))
    code: int = parsed.run(parsed)
    return code


def test_until_holds_with_and_without_the_tape(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert limex("replay", journal, "--until", 2) == 0
    assert "6 commands in 2 batches" in capsys.readouterr().out
    assert limex("replay", journal, "--until", 2, "--tape") == 0
    said = capsys.readouterr()
    assert {int(line.split()[2]) for line in said.out.splitlines()} == {1, 2}
    assert "6 commands in 2 batches" in said.err


def test_a_moment_is_a_batch_or_a_time(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for moment in ("3", "2999-01-01T00:00:00+01:00"):
        assert limex("replay", journal, "--at", moment, "--json") == 0
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["batch"], last["batch"]) == (3, 6)
    for wrong in ("noon", "-1", "\u00b2", "market:", 5000 * "9"):
        with pytest.raises(UsageError, match="a moment is a batch number or a time"):
            limex("replay", journal, "--at", wrong)
    with pytest.raises(UsageError, match="batches are counted from 1"):
        limex("replay", journal, "--until", 0)
    with pytest.raises(UsageError, match="no such journal"):
        limex("settle", journal.with_name("nothing"))


def test_an_interrupted_replay_says_how_far_it_came(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Pace, at_ms: int) -> None:
        if capsys.readouterr().out:
            raise KeyboardInterrupt

    monkeypatch.setattr(Pace, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        limex("replay", journal, "--tape", "--speed", 10)
    assert "stopped after batch 1" in capsys.readouterr().err
    verify(journal)


@pytest.mark.parametrize("wrong", [["--speed", "0"], ["--speed", "fast"], ["--tape", "--json"]])
def test_wrong_arguments_are_refused(journal: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        limex("replay", journal, *wrong)
    assert stopped.value.code == 2


def test_a_log_is_imported_settled_exported_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.given, "network", cache(load))
    planned = cache(cli._plan_of)
    monkeypatch.setattr(cli, "_plan_of", lambda network, area, settings, progress=None: planned(network, area, settings))
    log, journal, tables = tmp_path / "log.csv", tmp_path / "j.sqlite", tmp_path / "tables"
    names = [customer.id for customer in load("cigre-lv").customers]
    log.write_text(
        "time,customer,order_id,side,direction,interval,quantity_w,price_ct\n"
        f"2026-04-27T13:00:00Z,{names[2]},a,sell,import,2026-04-27T14:00:00Z,500,4\n"
        f"2026-04-27T13:05:00Z,{names[0]},b,buy,import,2026-04-27T14:00:00Z,500,6\n"
        f"2026-04-27T13:06:00Z,nobody,c,buy,import,2026-04-27T14:00:00Z,500,6\n"
    )
    with pytest.raises(BadLogError, match="nobody"):
        limex("import", log, "--network", "cigre-lv", "--journal", journal)
    assert limex("import", log, "--network", "cigre-lv", "--journal", journal, "--skip-bad") == 0
    said = capsys.readouterr()
    assert "2 lines imported, 1 mistakes skipped" in said.out
    assert "2 orders accepted, 1 trades; rejects: none" in said.out
    assert "skipped line 4, customer: the network has no customer 'nobody'" in said.err
    assert limex("settle", journal, "--csv", tmp_path / "s.csv") == 0
    assert "every interval's cash sums to zero" in capsys.readouterr().out
    assert limex("settle", journal, "--json") == 0
    bought = [one["bought_import_w"] for one in json.loads(capsys.readouterr().out)["settlement"]]
    assert sum(watts or 0 for watts in bought) == 500
    assert limex("settle", journal, "--customer", names[0]) == 0
    assert limex("export", journal, "--out", tables, "--format", "parquet", "--tables", "trades,orderlog") == 0
    assert sorted(file.name for file in tables.iterdir()) == ["orderlog.parquet", "trades.parquet"]
    for wrong in ("bids", ""):
        with pytest.raises(UsageError, match=f"no table '{wrong}'; there are commands, orders"):
            limex("export", journal, "--tables", wrong)
    capsys.readouterr()
    assert limex("whatif", journal, "--against", "rule=auction", "--out", tmp_path / "report", "--json") == 0
    recorded, auction = json.loads(capsys.readouterr().out)
    assert (recorded["name"], recorded["trades"], auction["trades"]) == ("as recorded", 1, 1)
    assert limex("whatif", tables / "orderlog.parquet", "--network", "cigre-lv") == 0
    assert "exchange_rate" in capsys.readouterr().out

"""Order logs of others: read strictly, every mistake named; around the orders, what a schedule makes of gates."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.commands import (
    Advance,
    Cancel,
    CloseGate,
    CustomerCommand,
    InstallRows,
    MassCancel,
    OpenArea,
    OpenInterval,
    Place,
    Replace,
    RetireInterval,
)
from gateway.clock import Schedule
from replay import script
from replay.export import export
from replay.importer import into_journal
from replay.orderlog import LOG, BadLogError, load, row
from replay.tabular import MissingExtraError, OutputError, UnreadableTableError, read, write
from replay.verify import verify
from tests.recorded import ALLOCATED, HOMES, LENGTH_MS, ROWS, START_MS, day, opening, orders, record

HEAD = "time,action,customer,order_id,side,direction,interval,quantity_w,price_ct"
GOOD = "2026-04-27T13:00:00Z,place,anna,o1,buy,export,2026-04-27T14:00:00Z,500,12.34"
AT_MS = START_MS - 3_600_000


def log(tmp_path: Path, *lines: str, head: str = HEAD, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def test_each_action_becomes_its_command(tmp_path: Path) -> None:
    more = "time_in_force,until,display_w,intervals,request_id,cause"
    head = HEAD.replace("price_ct", f"price_mct,{more}")
    path = log(
        tmp_path,
        f"{AT_MS},,anna,o1,buy,export,{START_MS},500,12340,,,,,,",
        "2026-04-27T15:00:00+02:00,place,ben,o2,sell,import,2026-04-27T14:00:00Z,40.0,0,until,2026-04-27T14:00:00Z,20,2,,",
        f"{AT_MS + 1},replace,anna,o1,,,,600,12350,,,,,change-1,",
        f"{AT_MS + 2},cancel,ben,o2,,,,,,,,,,,",
        f"{AT_MS + 3},mass_cancel,ben,,,,,,,,,,,all,silence",
        f"{AT_MS + 3},mass_cancel,ben,,,,{START_MS},,,,,,,one,",
        head=head,
    )
    found = load(path, "lv", HOMES)
    assert not found.problems
    assert [entry.command for entry in found.entries] == [
        Place("lv", "anna", "o1", START_MS, "export", "buy", 500, 12_340),
        Place("lv", "ben", "o2", START_MS, "import", "sell", 40, 0, "until", START_MS, 20, 2),
        Replace("lv", "anna", "change-1", "o1", 600, 12_350),
        Cancel("lv", "ben", "line:5", "o2"),
        MassCancel("lv", "ben", "all", None, "silence"),
        MassCancel("lv", "ben", "one", START_MS, "request"),
    ]
    assert [entry.time_ms - AT_MS for entry in found.entries] == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("line", "column", "wrong"),
    [
        (GOOD.replace("2026-04-27T13:00:00Z", ""), "time", "empty"),
        (GOOD.replace("13:00:00Z", "13:00:00"), "time", "'2026-04-27T13:00:00' is no time with a zone"),
        (GOOD.replace("2026-04-27T14:00:00Z", "14:00"), "interval", "'14:00' is no time with a zone"),
        (GOOD.replace("2026-04-27T14:00:00Z", "1777298400"), "interval", "more than a year from the line's time"),
        (GOOD.replace("place", "plaice"), "action", "'plaice' is no action"),
        (GOOD.replace("anna", "zoe"), "customer", "the network has no customer 'zoe'"),
        (GOOD.replace("anna", ""), "customer", "empty"),
        (GOOD.replace("o1", ""), "order_id", "empty"),
        (GOOD.replace("buy", "bid"), "side", "'bid' is no side"),
        (GOOD.replace("export", ""), "direction", "empty"),
        (GOOD.replace("anna", '"an\nna"'), "customer", "the network has no customer 'an\\nna'"),
        (GOOD.replace("o1", '"o\n1"'), "order_id", "'o\\n1' is no name"),
        (GOOD.replace("o1", "o\0001"), "order_id", "'o\\x001' is no name"),
        (GOOD.replace("o1", "o 1"), "order_id", "'o 1' is no name"),
        (GOOD.replace("o1", 65 * "o"), "order_id", "is no name"),
        (GOOD.replace("o1", 500 * "o"), "order_id", "ooo... is no name"),
        (GOOD.replace("500", "2147483648"), "quantity_w", "'2147483648' is not a whole number from 1 to 2147483647"),
        (GOOD.replace("500", "5_000"), "quantity_w", "'5_000' is not"),
        (GOOD.replace("500", "+5000"), "quantity_w", "'+5000' is not"),
        (GOOD.replace("500", "\u0665\u0660"), "quantity_w", "is not a whole number"),
        (GOOD.replace("12.34", "1_2"), "price_ct", "'1_2' is not"),
        (GOOD.replace("2026-04-27T13:00:00Z", "\u0661\u0667"), "time", "is no time with a zone"),
        (GOOD.replace("500", "0"), "quantity_w", "'0' is not a whole number from 1"),
        (GOOD.replace("500", "0.5"), "quantity_w", "'0.5' is not a whole number"),
        (GOOD.replace("500", "nan"), "quantity_w", "'nan' is not a whole number"),
        (GOOD.replace("500", "1e999999999"), "quantity_w", "is not a whole number"),
        (GOOD.replace("12.34", "12.3456"), "price_ct", "'12.3456' is not a whole number of milli-cents"),
        (GOOD.replace("12.34", "-1"), "price_ct", "'-1' is not"),
        (GOOD.replace("12.34", ""), "price_ct", "empty"),
        (GOOD + ",surplus", "end of line", "1 cell(s) too many"),
        (GOOD.replace("2026-04-27T13:00:00Z", "2026-04-27T12:59:59Z"), "time", "earlier than line 2"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_column(tmp_path: Path, line: str, column: str, wrong: str) -> None:
    with pytest.raises(BadLogError) as refused:
        load(log(tmp_path, GOOD, line), "lv", HOMES)
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (3, column)
    assert wrong in problem.wrong
    assert problem.right


def test_every_mistake_is_reported_and_nothing_is_imported_or_only_the_good_lines(tmp_path: Path) -> None:
    bad = [GOOD.replace("buy", "x").replace("500", "x").replace("12.34", "x"), "", GOOD.replace("anna", "zoe")]
    path = log(tmp_path, GOOD, *bad, GOOD.replace("o1", "o2"))
    with pytest.raises(BadLogError, match=r"4 mistake\(s\) in 2 line\(s\), nothing is imported") as refused:
        load(path, "lv", HOMES)
    named = sorted((problem.line, problem.column) for problem in refused.value.problems)
    assert named == [(3, "price_ct"), (3, "quantity_w"), (3, "side"), (5, "customer")]
    found = load(path, "lv", HOMES, skip_bad=True)
    assert [entry.line for entry in found.entries] == [2, 6]
    assert len(found.problems) == 4


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        (HEAD.replace("quantity_w", "quantity"), "'quantity'.*no such column"),
        (HEAD.replace("order_id,", ""), "order_id.*the column is missing"),
        (HEAD + ",price_mct", "one price column is needed"),
        (HEAD.replace(",price_ct", ""), "one price column is needed"),
        (HEAD + ",side", r"1 mistake\(s\).*\n.*the column stands twice"),
    ],
)
def test_a_heading_that_is_wrong_is_named(tmp_path: Path, head: str, wrong: str) -> None:
    with pytest.raises(BadLogError, match=wrong):
        load(log(tmp_path, GOOD, head=head), "lv")


def test_a_line_break_inside_quotes_does_not_move_the_numbers_of_the_lines(tmp_path: Path) -> None:
    path = log(tmp_path, GOOD.replace("o1", '"o\n1"'), GOOD.replace("buy", "x"))
    with pytest.raises(BadLogError) as refused:
        load(path, "lv")
    assert [problem.line for problem in refused.value.problems] == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe", "not a CSV file in UTF-8: line 1: byte 0xff"),
        (b"time\n1\nM\xfcller\n2\n", "line 3: byte 0xfc is not UTF-8"),
        (b'time\n1\n"2\n3\n', "line 3: a quote is opened and not closed"),
        (b"time\n1\n" + 200_000 * b"2", "line 3: field larger than field limit"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableTableError, match=message):
        list(read(path)[1])
    with pytest.raises(UnreadableTableError, match="no such file"):
        load(tmp_path / "nothing.csv", "lv")


# --- Parquet ------------------------------------------------------------------------------------------------------


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    rows = [row(AT_MS + place, command) for place, command in enumerate(orders(3))]  # type: ignore[arg-type]
    for name in ("log.csv", "log.parquet"):
        assert write(tmp_path / name, LOG, rows) == len(rows)
    texts, typed = (load(tmp_path / name, "lv", HOMES).entries for name in ("log.csv", "log.parquet"))
    assert [entry.command for entry in typed] == [entry.command for entry in texts] == orders(3)
    assert [entry.time_ms for entry in typed] == [entry.time_ms for entry in texts]


def test_parquet_of_pandas_with_floats_and_empty_cells_is_read(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "time": pd.to_datetime([AT_MS, AT_MS], unit="ms", utc=True), "action": ["place", "cancel"], "customer": ["anna", "anna"],
            "order_id": ["o1", "o1"], "side": ["buy", None], "direction": ["export", None], "interval": [float(START_MS), float("nan")],
            "quantity_w": [500.0, float("nan")], "price_ct": [12.34, float("nan")],
        }
    )  # fmt: skip
    frame.to_parquet(tmp_path / "log.parquet")
    assert [entry.command for entry in load(tmp_path / "log.parquet", "lv").entries] == [
        Place("lv", "anna", "o1", START_MS, "export", "buy", 500, 12_340),
        Cancel("lv", "anna", "line:2", "o1"),
    ]
    frame["time"] = frame["time"].dt.tz_localize(None)
    frame.to_parquet(tmp_path / "naive.parquet")
    with pytest.raises(BadLogError, match="no time with a zone"):
        load(tmp_path / "naive.parquet", "lv")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "log.parquet").touch()
    for use in (lambda: load(tmp_path / "log.parquet", "lv"), lambda: write(tmp_path / "new.parquet", LOG, [])):
        with pytest.raises(MissingExtraError, match=r"pip install 'limex\[parquet\]'"):
            use()


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_text("time,customer")
    with pytest.raises(UnreadableTableError, match="not a Parquet file"):
        load(tmp_path / "log.parquet", "lv")


# --- from log to commands -----------------------------------------------------------------------------------------


class Ready:
    """The recorded network, ready to trade."""

    area = "lv"

    def opening(self) -> tuple[OpenArea, InstallRows]:
        area, rows = opening()
        assert isinstance(area, OpenArea)
        assert isinstance(rows, InstallRows)
        return area, rows

    def open_interval(self, interval_ms: int) -> OpenInterval:
        return OpenInterval("lv", interval_ms, ROWS.content_hash, ALLOCATED, ALLOCATED)


def test_gates_come_from_the_schedule_and_time_comes_before_the_order(tmp_path: Path) -> None:
    lines = [GOOD, GOOD.replace("13:00:00Z,place,anna,o1", "13:58:00Z,place,ben,o2")]
    entries = load(log(tmp_path, *lines), "lv").entries
    told = list(script.commands(entries, Ready(), Schedule(LENGTH_MS, 3_600_000, 300_000)))
    assert [type(command) for _, command in told] == [
        OpenArea, InstallRows, Advance, OpenInterval, Advance, Place, Advance, CloseGate, Advance, Place, Advance, RetireInterval,
    ]  # fmt: skip
    assert [at_ms - START_MS for at_ms, _ in told[2:]] == [
        *[-3_600_000] * 4, -300_000, -300_000, -120_000, -120_000, LENGTH_MS, LENGTH_MS,
    ]  # fmt: skip


def test_the_schedule_of_a_log_lets_every_order_come_in_time(tmp_path: Path) -> None:
    early, late = GOOD.replace("T13:00", "T10:07"), GOOD.replace("T13:00:00Z,place,anna,o1", "T13:59:59Z,place,ben,o2")
    entries = load(log(tmp_path, early, late), "lv").entries
    schedule = script.schedule_of(entries, LENGTH_MS)
    assert (schedule.open_lead_ms, schedule.close_lead_ms) == (16 * LENGTH_MS, 999)
    assert not schedule.problems()
    done = into_journal(tmp_path / "j.sqlite", script.commands(entries, Ready(), schedule))
    assert (done.accepted, done.rejects, done.refused) == (2, {}, ())


def test_an_order_that_comes_again_is_counted(tmp_path: Path) -> None:
    entries = load(log(tmp_path, GOOD, GOOD, GOOD.replace("o1", "o2")), "lv").entries
    done = into_journal(tmp_path / "j.sqlite", script.commands(entries, Ready(), script.schedule_of(entries, LENGTH_MS)))
    assert (done.accepted, done.repeated, done.rejects) == (2, 1, {})


def test_a_log_becomes_a_journal_that_replays(tmp_path: Path) -> None:
    rows = [row(AT_MS + 40 * place, command) for place, command in enumerate(orders(5))]  # type: ignore[arg-type]
    write(tmp_path / "log.csv", LOG, rows)
    entries = load(tmp_path / "log.csv", "lv", HOMES).entries
    told = list(script.commands(entries, Ready(), script.schedule_of(entries, LENGTH_MS)))
    done = into_journal(tmp_path / "j.sqlite", told)
    verdict = verify(tmp_path / "j.sqlite")
    assert (verdict.commands, verdict.undigested) == (len(told), 0)
    assert done.accepted > 30
    assert done.trades > 10
    with pytest.raises(OutputError, match="is there already"):
        into_journal(tmp_path / "j.sqlite", told)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_a_journal_exports_is_what_a_log_imports(tmp_path: Path, kind: str) -> None:
    journal = record(tmp_path / "j.sqlite", day(2, matching="exchange_rate"))
    export(journal, tmp_path / "tables", kind, ["orderlog"])
    entries = load(tmp_path / "tables" / f"orderlog.{kind}", "lv", HOMES).entries
    assert [entry.command for entry in entries] == [command for command in day(2) if isinstance(command, CustomerCommand)]

"""Tables of a journal: complete, typed, opened in one line by pandas and polars, and documented column by column."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from exchange.events import Accepted, Blocked, Event, Rejected, Traded
from exchange.recovery import Batch
from replay.export import export
from replay.tables import TABLES
from replay.tabular import OutputError
from replay.verify import verify
from tests.recorded import HOMES, LENGTH_MS, START_MS, day, record

DOCUMENT = Path(__file__).parents[1] / "docs" / "replay.md"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("journal") / "j.sqlite", day(2, matching="exchange_rate"), 30)


@pytest.fixture(scope="module")
def events(journal: Path) -> list[Event]:
    told: list[Event] = []

    def keep(batch: Batch, _total: int) -> None:
        told.extend(event for of_command in batch.events for event in of_command)

    verify(journal, on_batch=keep)
    return told


@pytest.fixture(scope="module")
def tables(journal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for kind in ("csv", "parquet"):
        assert export(journal, folder, kind).problems == ()
    return folder


def test_every_table_has_every_row(tables: Path, events: list[Event]) -> None:
    frames = {name: pd.read_csv(tables / f"{name}.csv") for name in TABLES}
    trades = [event for event in events if isinstance(event, Traded)]
    assert len(frames["commands"]) == len(day(2))
    assert len(frames["orders"]) == sum(isinstance(event, Accepted) for event in events)
    assert len(frames["trades"]) == sum(len(trade.legs) for trade in trades)
    assert len(frames["blocked"]) == sum(isinstance(event, Blocked) for event in events) > 0
    assert len(frames["settlement"]) == 2 * (len(HOMES) + 1)
    assert frames["phases"]["phase"].tolist() == ["continuous", "continuous", "closed", "settled"]
    assert (frames["commands"]["answer"] == "rejected").sum() == sum(isinstance(event, Rejected) for event in events) > 0


def test_csv_and_parquet_say_the_same_and_parquet_has_types_and_units(tables: Path) -> None:
    import pyarrow.parquet as pq

    for name, table in TABLES.items():
        texts, typed = pd.read_csv(tables / f"{name}.csv"), pd.read_parquet(tables / f"{name}.parquet")
        assert list(texts.columns) == list(typed.columns) == [column.name for column in table.columns]
        for column in table.columns:
            stamps = pd.to_datetime(texts[column.name]) if column.kind == "time" else texts[column.name]
            assert [a for a in stamps if a == a] == [b for b in typed[column.name] if b == b and b not in (None, "")], (name, column.name)
            field = pq.read_schema(tables / f"{name}.parquet").field(column.name)
            assert field.metadata == {b"unit": column.unit.encode(), b"meaning": column.meaning.encode()}


def test_the_legs_of_a_trade_and_the_operator_sum_to_zero(tables: Path) -> None:
    trades = pd.read_parquet(tables / "trades.parquet")
    assert (trades.groupby("sequence")[["cash_mct", "operator_mct"]].sum().sum(axis=1) == 0).all()


def test_an_orders_row_is_what_its_legs_come_to(tables: Path) -> None:
    orders, trades = (pd.read_parquet(tables / f"{name}.parquet") for name in ("orders", "trades"))
    of_order = trades.groupby(["customer", "order_id"])
    legs = orders.set_index(["customer", "order_id"])
    assert (of_order["cash_mct"].sum() == legs["cash_mct"].reindex(of_order.size().index)).all()
    assert (of_order.size() == legs["legs"].reindex(of_order.size().index)).all()
    assert set(legs["end"]) >= {"filled", "open", "gate", "mass"}
    filled = legs[legs["end"] == "filled"]
    assert (filled["traded_w"] == filled["quantity_w"]).all()
    assert legs[legs["end"] == "open"]["ended"].isna().all()


def test_times_are_the_markets(tables: Path) -> None:
    orders = pd.read_parquet(tables / "orders.parquet")
    assert orders["placed"].min() == pd.Timestamp(START_MS - 3_600_000, unit="ms", tz="UTC")
    assert set(orders["interval"]) == {pd.Timestamp(START_MS + k * LENGTH_MS, unit="ms", tz="UTC") for k in range(2)}


def test_part_of_a_journal_and_some_tables_only(journal: Path, tmp_path: Path) -> None:
    done = export(journal, tmp_path / "new" / "folder", names=["trades", "commands"], until=1)
    assert done.rows["commands"] == 30
    assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == ["commands.csv", "trades.csv"]


def test_a_place_that_cannot_be_written_is_named(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write into"):
        export(journal, tmp_path / "file")
    (tmp_path / "trades.csv").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        export(journal, tmp_path, names=["trades"])


# --- the documentation --------------------------------------------------------------------------------------------


def test_the_lines_of_the_documentation_run(tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tables)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    lines = [line.replace("tables/", "") for block in blocks for line in block.splitlines() if line]
    assert any("pd.read_parquet" in line for line in lines)
    assert any("pl.read_parquet" in line for line in lines)
    exec("\n".join(lines), {})  # the page's own lines
    assert "anna" in capsys.readouterr().out


def test_the_documentation_has_every_column_with_its_unit_and_meaning() -> None:
    page = DOCUMENT.read_text()
    for table in TABLES.values():
        for column in table.columns:
            if not (table.name == "settlement" and column.name.endswith("_w")):
                assert f"| {column.name} | {column.unit} | {column.meaning} |" in page, (table.name, column.name)

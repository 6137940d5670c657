"""What is alike is solved once: areas of one network, and the benchmark that measures how the job grows with them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import scale
from benchmarks.scale import Found, slope
from benchmarks.scale_page import BEGIN, END, write
from benchmarks.scale_steps import Point, alone
from envelopes import job
from envelopes.forecasts import AreaSource, Forecast, Key
from envelopes.job import Done, Due, Outcome, Piece, Store, pieces, run
from tests.test_job import QUARTER, STARTS, passive_of, street


def threads() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.fixture
def twins(tmp_path: Path) -> list[AreaSource]:
    """Two areas, with files of their own and the same network in them."""
    first = street(tmp_path / "first.json")
    second = Path(shutil.copy(first, tmp_path / "second.json"))
    return [AreaSource("one", str(first)), AreaSource("two", str(second))]


def test_areas_that_differ_in_name_only_are_solved_once(twins: list[AreaSource], tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    (piece,) = pieces(twins, {}, STARTS, store)
    outcomes = run([piece], threads, store)
    assert [(one.area, one.interval_ms, one.keeps) for one in outcomes] == [(area, at, "new") for area in ("one", "two") for at in STARTS]
    assert len({one.export_w for one in outcomes}) == 1
    assert pieces(twins, {}, STARTS, store) == []


def test_another_forecast_rule_or_network_is_another_piece(twins: list[AreaSource], tmp_path: Path) -> None:
    store, lamps = Store(tmp_path / "out"), passive_of(twins[0])
    dark = {Key("two", QUARTER): (Forecast(lamps, -20_000, 0),)}
    found = pieces(twins, dark, STARTS, store)
    assert [[(due.area, due.interval_ms) for due in piece.intervals] for piece in found] == [
        [("one", at) for at in STARTS] + [("two", 0), ("two", 2 * QUARTER)],
        [("two", QUARTER)],
    ]
    equal = AreaSource("three", twins[0].network, rule="equal")
    larger = AreaSource("four", str(street(tmp_path / "larger.json", homes=4)))
    assert len(pieces([twins[0], equal, larger], {}, STARTS, store)) == 3


def test_rows_of_areas_alike_are_one_file_and_forgotten_one_by_one(
    twins: list[AreaSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "out")
    outcome = run(pieces(twins, {}, STARTS[:1], store), threads, store)[0]
    one, two = (tmp_path / "out" / area / f"{outcome.rows_hash}.rows" for area in ("one", "two"))
    assert one.samefile(two)
    two.unlink()
    two.write_bytes(b"half of it")
    (tmp_path / "out" / "two" / "0.json").unlink()
    again = Store(tmp_path / "out")
    (tmp_path / "out" / "one" / "0.json").unlink()
    run(pieces(twins, {}, STARTS[:1], again), threads, again)
    assert one.samefile(two), "a file that is not the rows is replaced"
    monkeypatch.setattr("envelopes.job.ROWS_KEPT_S", -1.0)
    store.forget("one", QUARTER)
    assert not one.exists()
    assert store.rows("two", outcome.rows_hash)


def test_without_links_every_area_gets_rows_of_its_own(twins: list[AreaSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(job.os, "link", refuse)
    store = Store(tmp_path / "out")
    first, second = run(pieces(twins, {}, STARTS[:1], store), threads, store)
    assert store.rows("one", first.rows_hash) == store.rows("two", second.rows_hash)


def test_areas_alike_fail_alike_and_each_keeps_its_own_last_envelopes(twins: list[AreaSource], tmp_path: Path) -> None:
    store, lamps = Store(tmp_path / "out"), passive_of(twins[0])
    (before,) = run(pieces(twins[:1], {}, STARTS[:1], store), threads, store)
    too_much = {Key(area, 0): (Forecast(lamps, -900_000, 0),) for area in ("one", "two")}
    one, two = run(pieces(twins, too_much, STARTS[:1], store), threads, store)
    assert (one.keeps, one.export_w, two.keeps, two.export_w) == ("last", before.export_w, "failsafe", ())


def test_a_file_that_changes_while_it_is_solved_gives_nobody_envelopes(twins: list[AreaSource], tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    work = pieces(twins, {}, STARTS[:1], store)
    street(Path(twins[0].network), homes=4)
    assert [(one.keeps, "the job began with" in one.problem) for one in run(work, threads, store)] == [("failsafe", True)] * 2
    first, second = run(pieces(twins, {}, STARTS[:1], store), threads, store)
    assert [(one.keeps, len(one.customers)) for one in (first, second)] == [("new", 4), ("new", 3)]


def test_another_version_solves_everything_again(twins: list[AreaSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "out")
    run(pieces(twins, {}, STARTS[:1], store), threads, store)
    monkeypatch.setattr(job, "version", lambda _name: "99")
    assert len(pieces(twins, {}, STARTS[:1], store)) == 1


class Rows(bytes):
    """Counts how many of them there are."""

    alive = 0

    def __new__(cls) -> Rows:
        cls.alive += 1
        return super().__new__(cls, b"rows")

    def __del__(self) -> None:
        type(self).alive -= 1


def test_rows_are_let_go_as_soon_as_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = [Piece(AreaSource(f"area{number}", ""), (), (Due(0, f"area{number}", ""),)) for number in range(9)]
    ready = threading.Semaphore(1)
    alive: list[int] = []

    def solve(_piece: Piece) -> Done:
        ready.acquire()
        return Done(Outcome("", 0, "", "new"), Rows())

    class Watched(Store):
        def keep(self, done: Done) -> Outcome:
            alive.append(Rows.alive)
            ready.release()
            return done.outcome

    monkeypatch.setattr(job, "solve", solve)
    run(work, threads, Watched(tmp_path))
    assert max(alive) <= 2, "what is being kept, and what came meanwhile"


# --- the benchmark ------------------------------------------------------------------------------------------------


def made(line: str, exponent: float) -> list[Point]:
    return [Point(line, n, n**exponent, 2 * n**exponent, 10.0 * n, more={"rows": n, "areas": 1, "intervals": 4}) for n in (10, 100, 1_000)]


@pytest.fixture
def found() -> Found:
    stopped = Point("programs", 1_000, 0.0, 60.0, 0.0, stopped=True)
    return Found({"processor": "abacus", "cores": "2", "python": "3"}, "0.1", [*made("rows", 2.0), *made("exchange", 1.0), stopped])


def test_a_slope_is_the_exponent_whatever_the_size_of_the_steps(found: Found) -> None:
    fit = slope(found.of("rows"))
    assert fit is not None
    assert fit == pytest.approx((2.0, 1.0, 2.0, 1.0))
    assert slope(found.of("programs")) is None, "what was stopped says nothing about growth"


def test_the_page_keeps_its_words_and_gets_figures_and_a_picture(found: Found, tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    write(found, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 1,000 | 1,000 | 2,000,000 s, 9.8 GB | | stopped after 60 s |" in text.replace("|  |", "| |")
    picture = (tmp_path / "pictures" / "scale.svg").read_text()
    assert "rows, once" in picture
    assert len(picture) < 100_000


def test_every_step_measures_a_small_street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    part = street(tmp_path / "3.json")
    monkeypatch.setattr(scale, "alone", lambda _cap_s, step, *arguments: step(*arguments))
    monkeypatch.setattr(scale.steps, "parts", lambda _folder, _wanted: {3: part})
    monkeypatch.setattr("envelopes.pools.processes", lambda _workers: threads)
    monkeypatch.setattr(scale, "AREAS_QUICK", (6,))
    monkeypatch.setattr(scale, "TARGET", 0.0)  # no test is timed
    assert scale.main(["--quick", "--json", "--out", str(tmp_path)]) == 0
    points = {one["line"]: one for one in json.loads(capsys.readouterr().out)["found"]["points"]}
    assert set(points) == {"rows", "allocation", "programs", "exchange", "day", "alike", "apart"}
    assert (points["day"]["more"]["solved"], points["day"]["more"]["outcomes"]) == (4, 96)
    assert (points["alike"]["more"]["solved"], points["alike"]["more"]["outcomes"]) == (4, 192)
    assert (points["apart"]["more"]["solved"], points["apart"]["more"]["outcomes"]) == (2, 192)
    monkeypatch.setattr(scale, "alone", lambda _cap_s, step, *arguments: {3: part} if step is scale.steps.parts else pytest.fail("again"))
    assert scale.main(["--quick", "--json", "--out", str(tmp_path)]) == 0


def test_a_step_that_takes_too_long_is_stopped() -> None:
    assert alone(0.01, time.sleep, 60) is None

"""The periodic job: what is solved, what is kept, and what happens when areas, workers or inputs fail."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandapower as pp
import pytest

from envelopes import job
from envelopes.forecasts import AreaSource, BadInputsError, Forecast, Key, read_areas, read_forecasts
from envelopes.job import Piece, Store, pieces, run
from envelopes.pools import NoClusterError, cluster, processes
from riskcheck.network import load

QUARTER = 900_000
STARTS = [QUARTER * number for number in range(3)]


def street(path: Path, *, homes: int = 3, export_w: int = 60_000) -> Path:
    """A transformer, a cable and some homes, with a passive at the end."""
    net = pp.create_empty_network()
    grid, bar, end = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, grid)
    pp.create_transformer(net, grid, bar, std_type="0.4 MVA 20/0.4 kV")
    pp.create_line_from_parameters(net, bar, end, 0.3, r_ohm_per_km=0.3, x_ohm_per_km=0.08, c_nf_per_km=0, max_i_ka=0.1)
    for number in range(homes):
        pp.create_load(net, end, p_mw=0.001, name=f"home {number}")
    net.load["rating_export_w"], net.load["rating_import_w"] = export_w, 60_000
    net.load["failsafe_export_w"], net.load["failsafe_import_w"] = 500, 500
    net.load["passive"] = False
    pp.create_load(net, end, p_mw=0.0, name="lamps")
    net.load.loc[homes, ["passive", "forecast_min_w", "forecast_max_w"]] = [True, -1_000, 0]
    pp.to_json(net, str(path))
    return path


def threads() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.fixture
def source(tmp_path: Path) -> AreaSource:
    return AreaSource("street", str(street(tmp_path / "street.json")))


def test_every_interval_gets_envelopes_that_its_forecast_leaves_room_for(source: AreaSource, tmp_path: Path) -> None:
    lamps = passive_of(source)
    forecasts = {Key("street", 0): (Forecast(lamps, -1_000, 0),), Key("street", QUARTER): (Forecast(lamps, -20_000, 0),)}
    store = Store(tmp_path / "out")
    outcomes = run(pieces([source], forecasts, STARTS, store), threads, store)
    assert [outcome.keeps for outcome in outcomes] == ["new"] * 3
    light, dark, usual = (min(outcome.import_w) for outcome in outcomes)
    assert dark < light == usual, "an interval without a forecast has the network's own"
    assert len(store.rows("street", outcomes[0].rows_hash)) > 0


def test_a_job_goes_on_where_it_stopped_and_solves_again_only_what_changed(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    first = pieces([source], {}, STARTS[:2], store)
    run(first, threads, store)
    (rest,) = pieces([source], {}, STARTS, store)
    assert [start for start, _, _ in rest.intervals] == STARTS[2:]
    street(Path(source.network), export_w=50_000)
    (again,) = pieces([source], {}, STARTS[:2], store)
    assert [start for start, _, _ in again.intervals] == STARTS[:2], "the network file has changed"


def test_one_areas_failure_does_not_stop_the_others_and_its_homes_keep_their_last_envelopes(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    (before,) = run(pieces([source], {}, STARTS[:1], store), threads, store)
    lamps = passive_of(source)
    too_much = {Key("street", start): (Forecast(lamps, -900_000, 0),) for start in STARTS}
    other = AreaSource("other", str(street(tmp_path / "other.json")))
    outcomes = {Key(o.area, o.interval_ms): o for o in run(pieces([source, other], too_much, STARTS, store), threads, store)}
    assert {outcomes[Key("other", start)].keeps for start in STARTS} == {"new"}
    last, none = outcomes[Key("street", 0)], outcomes[Key("street", QUARTER)]
    assert (last.keeps, last.export_w, none.keeps, none.export_w) == ("last", before.export_w, "failsafe", ())
    assert last.problem
    assert none.problem


def test_a_network_that_cannot_be_read_is_a_failure_of_its_area(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    (tmp_path / "broken.json").write_text("{")
    broken = AreaSource("broken", str(tmp_path / "broken.json"))
    (outcome,) = run(pieces([broken], {}, STARTS[:1], store), threads, store)
    assert outcome.keeps == "failsafe"
    assert "broken.json" in outcome.problem


def test_what_nobody_foresaw_is_a_failure_of_its_piece(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    Forked.task = fall_over
    (outcome,) = run(pieces([source], {}, STARTS[:1], store), Forked, store)
    assert (outcome.keeps, outcome.problem) == ("failsafe", "it ended unexpectedly: ZeroDivisionError: division by zero")


def fall_over(_piece: Piece) -> list[job.Done]:
    raise ZeroDivisionError("division by zero")


def test_an_outcome_says_which_network_and_forecasts_it_is_for(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    ranges = (Forecast(passive_of(source), -1_500, 0),)
    (outcome,) = run(pieces([source], {Key("street", 0): ranges}, STARTS[:1], store), threads, store)
    assert (outcome.network_hash, outcome.forecasts) == (load(source.network).content_hash, ranges)


def test_what_is_over_is_forgotten_with_rows_that_nobody_names(source: AreaSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "out")
    forecasts = {Key("street", 0): (Forecast(passive_of(source), -20_000, 0),)}
    first, second = run(pieces([source], forecasts, STARTS[:2], store), threads, store)
    store.forget("street", QUARTER)
    assert store.intervals("street") == [QUARTER]
    assert store.rows("street", first.rows_hash), "somebody may be about to read them"
    monkeypatch.setattr("envelopes.job.ROWS_KEPT_S", -1.0)
    store.forget("street", QUARTER)
    assert store.rows("street", second.rows_hash)
    with pytest.raises(FileNotFoundError):
        store.rows("street", first.rows_hash)


def test_a_forecast_for_an_unknown_passive_is_named(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    forecasts = {Key("street", 0): (Forecast("load 99", -1, 0),)}
    (outcome,) = run(pieces([source], forecasts, STARTS[:1], store), threads, store)
    assert "load 99" in outcome.problem


def test_processes_find_what_one_thread_finds(source: AreaSource, tmp_path: Path) -> None:
    alone, many = Store(tmp_path / "alone"), Store(tmp_path / "many")
    assert run(pieces([source], {}, STARTS, alone), threads, alone) == run(pieces([source], {}, STARTS, many), processes(2), many)


def die_once(piece: Piece) -> list[job.Done]:
    """Kills its worker the first time, by a file that remembers."""
    mark = Path(piece.source.network + ".died")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job.solve(piece)


def die_always(_piece: Piece) -> list[job.Done]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Forked(ProcessPoolExecutor):
    """Forked, so that a function of this test is known there, and puts it in the place of `solve`."""

    task: Any = None

    def __init__(self) -> None:
        import multiprocessing

        super().__init__(1, mp_context=multiprocessing.get_context("fork"))

    def submit(self, _fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(type(self).task, *args, **kwargs)


def test_a_worker_that_dies_costs_nothing_but_its_time(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    Forked.task = die_once
    (outcome,) = run(pieces([source], {}, STARTS[:1], store), Forked, store)
    assert outcome.keeps == "new"


def test_a_piece_that_kills_every_worker_fails_alone(source: AreaSource, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    Forked.task = die_always
    (outcome,) = run(pieces([source], {}, STARTS[:1], store), Forked, store)
    assert (outcome.keeps, outcome.problem) == ("failsafe", "its worker died while it was solved")


def test_a_dask_cluster_solves_it_too_and_survives_a_killed_worker(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    sources = [AreaSource(f"street{number}", str(street(tmp_path / f"{number}.json", homes=2 + number))) for number in range(3)]
    alone, many = Store(tmp_path / "alone"), Store(tmp_path / "many")
    expected = run(pieces(sources, {}, STARTS[:1], alone), threads, alone)
    with cluster("local:3") as pool:
        victim = pool()._client.cluster.workers[0]
        threading.Timer(1.0, lambda: os.kill(victim.process.pid, signal.SIGKILL)).start()
        found = run(pieces(sources, {}, STARTS[:1], many), pool, many)
    assert found == expected


def test_a_cluster_that_is_none_is_named() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(NoClusterError, match="local:x is not local:N"), cluster("local:x"):
        pass


def test_all_mistakes_of_the_inputs_are_named_with_their_line(tmp_path: Path) -> None:
    areas, forecasts = tmp_path / "areas.toml", tmp_path / "forecasts.csv"
    areas.write_text(
        '[[area]]\nname = "a b"\nnetwork = "cigre-lv"\n[[area]]\nname = "x"\nnetwork = "y"\n[[area]]\nname = "x"\nnetwork = "y"\n'
    )
    with pytest.raises(BadInputsError, match=r"(?s)area x stands twice.*'a b' is not"):
        read_areas(areas)
    areas.write_text("area = 3")
    with pytest.raises(BadInputsError, match=r"an area begins with \[\[area\]\]"):
        read_areas(areas)
    areas.write_text('[[area]]\nname = "x"\nruel = "total"\n[[area]]\nnetwork = 5\norder = "first"\n[[areas]]\n')
    with pytest.raises(BadInputsError) as refused:
        read_areas(areas)
    assert refused.value.problems == [
        "'areas' is no [[area]]",
        "area x: there is no setting 'ruel'; there are name, network, rule, weights, order",
        "area x: it has no network",
        "area 2: it has no name",
        "area 2: network must be text in quotes, not 5",
        "area 2: no order 'first'; there are together, export_first, import_first",
    ]
    areas.write_text('[[area]]\nname = ".."\nnetwork = "cigre-lv"\nrule = "fair"\norder = "first"\n')
    with pytest.raises(BadInputsError, match=r"(?s)'..' is not.*no rule 'fair'; there are max_min.*no order 'first'; there are together"):
        read_areas(areas)
    forecasts.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputsError, match="it is no CSV file"):
        read_forecasts(forecasts, ["x"])
    lines = [
        "area,interval,passive,low_w,high_w",
        "x,12:00,load 1,0,5",
        "y,0,load 1,5,0",
        "x,0,load 1,a,0",
        "x,0,load 1,1,2",
        "x,0,load 1,1,2",
    ]
    forecasts.write_text("\n".join(lines))
    with pytest.raises(BadInputsError) as caught:
        read_forecasts(forecasts, ["x"])
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["line 2", "line 3", "line 3", "line 4", "line 6"]


def test_times_with_a_zone_and_milliseconds_name_the_same_interval(tmp_path: Path) -> None:
    path = tmp_path / "forecasts.csv"
    path.write_text("area,interval,passive,low_w,high_w\nx,1970-01-01T01:15:00+01:00,load 1,0,5\nx,900000,load 2,0,5\n")
    assert list(read_forecasts(path, ["x"])) == [Key("x", QUARTER)]


def passive_of(source: AreaSource) -> str:
    (passive,) = load(source.network).passives
    return passive.id


@pytest.fixture(autouse=True)
def _no_leftover() -> Iterator[None]:
    yield
    Forked.task = None

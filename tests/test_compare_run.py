"""`limex compare` at its edges: a run goes on where it was stopped, and arguments that cannot be used are told."""

from __future__ import annotations

import argparse
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from compare import cli, run
from compare.score import Corners, Score, Scored
from gateway.arguments import BAD_INPUT, OutputError, UsageError
from riskcheck.network import Network, load
from tests import grids


@pytest.fixture(scope="module")
def network() -> Network:
    return load(grids.three_phase_line())


def scored(seed: int) -> Scored:
    score = Score("doe", 15, 0, 0, 0.0, 0.0, 0.0, 0.0, Corners(1, 0, 0.01), 0.5, 0.9, 1.0, 0.0, 0.0, float(seed), {}, 0.0, (0.5,), {})
    return Scored(seed, f"seed {seed}", (score,))


def test_only_the_days_that_are_missing_are_lived(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived: list[list[int]] = []

    def live(task: object, ground: object, profiles: object, seeds: list[int], folder: Path, progress: object) -> None:
        lived.append(list(seeds))
        for seed in seeds:
            run._write(folder, scored(seed))

    monkeypatch.setattr(run, "prepare", lambda _network, _progress: None)
    monkeypatch.setattr(run, "_live", live)
    for seeds in ((1, 2), (1, 2, 3), (3, 2)):
        found = run.compare(run.Task(network, seeds, 1, 1, tmp_path), lambda _phrase, _share: None)
        assert [day.seed for day in found.days] == list(seeds)
    assert lived == [[1, 2], [3]]


def test_other_code_or_another_length_of_day_is_another_folder(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run._fingerprint(run.Task(network, (1,), 4))
    assert one == run._fingerprint(run.Task(network, (1, 2), 4))
    assert one != run._fingerprint(run.Task(network, (1,), 5))
    monkeypatch.setattr(run, "code_hash", lambda _folders: "other")
    assert one != run._fingerprint(run.Task(network, (1,), 4))


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parsers(parser.add_subparsers(required=True))
    return parser.parse_args(["compare", *arguments])


def test_twenty_days_of_the_feeder_are_the_default() -> None:
    found = parsed()
    assert (found.network, found.days, found.seed, found.intervals) == ("ieee-european-lv", 20, 1, 96)


@pytest.mark.parametrize("wrong", [("--days", "0"), ("--days", "many"), ("--intervals", "97"), ("--processes", "-1"), ("--seed", "-1")])
def test_counts_that_cannot_be_used_are_refused(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parsed(*wrong)
    assert refused.value.code == BAD_INPUT
    assert wrong[0] in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_before_any_work(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "prepare", lambda _network, _progress: pytest.fail("worked before it looked"))
    monkeypatch.setattr(cli.given, "network", lambda _source: network)
    (tmp_path / "file").write_text("")
    found = parsed("--out", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"cannot use .*file.*: "):
        found.run(found)


def test_a_worker_that_is_gone_is_told_with_what_to_do(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_network: object, _progress: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(run, "prepare", broken)
    monkeypatch.setattr(cli.given, "network", lambda _source: network)
    found = parsed("--out", str(tmp_path))
    with pytest.raises(cli.WorkersError, match="run again to go on"):
        found.run(found)


def test_a_network_that_does_not_exist_is_named_with_those_that_do() -> None:
    found = parsed("--network", "atlantis")
    with pytest.raises(UsageError, match=r"atlantis.*ieee-european-lv"):
        found.run(found)

"""`limex refresh` as its user meets it: what it says, what it exits with, what it reads again, and that an interrupt loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envelopes.job import Store
from envelopes.pools import Pool
from gateway.cli import main
from tests.test_job import street, threads

NOON, QUARTER = "2026-06-01T12:00", 900_000
NOON_MS = 1_780_315_200_000
HEAD = "area,interval,passive,low_w,high_w\n"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a job of two areas, solved in a thread."""

    @contextmanager
    def pool(_arguments: Any) -> Iterator[Pool]:
        yield threads

    monkeypatch.setattr("gateway.commands_refresh._pool", pool)
    street(tmp_path / "street.json")
    areas = "".join(f'[[area]]\nname = "{name}"\nnetwork = "street.json"\n' for name in ("east", "west"))
    (tmp_path / "areas.toml").write_text(areas)
    (tmp_path / "forecasts.csv").write_text(HEAD + f"east,{NOON}Z,lamps,-900000,0\n")
    files = ["--forecasts", str(tmp_path / "forecasts.csv"), "--out", str(tmp_path / "out")]
    return ["refresh", str(tmp_path / "areas.toml"), *files, "--from", NOON, "--horizon", "2"]


def test_a_round_says_what_it_came_to_and_exits_with_one_when_an_area_failed(
    job: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*job, "--once", "--json"]) == 1
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["from_ms"], summary["solved"], summary["unchanged"]) == (NOON_MS, 4, 0)
    assert [(area["new"], area["failsafe"], len(area["problems"])) for area in summary["areas"]] == [(1, 1, 1), (2, 0, 0)]
    assert "east: no room for any customer" in told.err
    assert "its customers keep the failsafe envelopes" in told.err
    (tmp_path / "forecasts.csv").write_text(HEAD)
    assert main([*job, "--once"]) == 0
    assert "east: 1 new, 0 failed, 1 unchanged" in capsys.readouterr().out
    assert Store(tmp_path / "out").intervals("east") == [NOON_MS, NOON_MS + QUARTER]


@pytest.mark.parametrize(
    ("forecasts", "message"),
    [
        (HEAD + "north,0,lamps,0,1\n", "line 2: there is no area 'north'"),
        (HEAD + "east,2026-06-01T12:07:00Z,lamps,0,1\n", "begins no interval of 15 minutes"),
        (None, "cannot read"),
    ],
)
def test_files_that_cannot_be_used_are_bad_input(
    job: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], forecasts: str | None, message: str
) -> None:
    path = tmp_path / "forecasts.csv"
    if forecasts is None:
        path.unlink()
    else:
        path.write_text(forecasts)
    assert main([*job, "--once"]) == 2
    assert message in capsys.readouterr().err


def test_results_that_cannot_be_kept_are_a_failure_of_the_surroundings(job: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert main([*job, "--once"]) == 3


def test_each_round_reads_again_and_a_bad_file_is_not_the_end(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = ["", HEAD, HEAD + f"west,{NOON}Z,lamps,-2000,0\n"]

    def next_round(_seconds: float) -> None:
        if not rounds:
            raise KeyboardInterrupt
        (tmp_path / "forecasts.csv").write_text(rounds.pop(0))

    monkeypatch.setattr(time, "sleep", next_round)
    assert main([*job, "--json"]) == 130
    told = capsys.readouterr()
    assert [json.loads(line)["solved"] for line in told.out.splitlines()] == [4, 1, 1]
    assert "its first line must be" in told.err


def test_an_interrupt_ends_it_at_once_and_what_was_kept_is_not_solved_again(job: list[str], tmp_path: Path) -> None:
    """The processes are real here, and so is the signal."""
    command = [sys.executable, "-m", "gateway.cli", *job, "--json", "--workers", "1"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stdout is not None
    first = json.loads(running.stdout.readline())
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert (first["solved"], running.returncode) == (4, 130)
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert main([*job, "--once", "--json"]) == 1, "only what failed is tried again"

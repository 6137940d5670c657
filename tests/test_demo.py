"""The main job, end to end and small: a real broker, real homes, a journal on the disk, a report, a replay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARGUMENTS = ["demo", "--network", "kerber-landnetz", "--intervals", "2", "--interval-seconds", "1.5", "--seed", "3"]


def limex(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *map(str, arguments)]


@pytest.mark.parametrize("broker", [[], ["--broker-kind", "amqtt"]])
def test_a_small_demo_keeps_every_promise_and_writes_its_report(tmp_path: Path, broker: list[str]) -> None:
    command = limex(*ARGUMENTS, "--json", "--out", tmp_path / "report", *broker)
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["problems"] == []
    assert summary["replay"]["same"]
    assert summary["requests"]["lost"] == 0
    assert all(certificate["violations"] == 0 for certificate in summary["certificates"])
    assert len(summary["certificates"]) == 3
    assert [auction["opening"] for auction in summary["auctions"]].count(True) == 2
    assert summary["settlement"]["intervals"] == 2
    assert summary["settlement"]["sum_mct"] == 0
    assert "resumed: the fuse is sound" in summary["operator"]["moves"] or summary["run"]["notes"]
    assert [rule["name"] for rule in summary["rules"]] == ["as recorded", "one to one"]
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names >= {
        "certificate.json", "energy.png", "envelopes.json", "envelopes.png", "feeder.png", "homes.csv", "index.html", "journal.sqlite",
        "prices.png", "report.json", "summary.md", "trades.csv",
    }  # fmt: skip
    replayed = subprocess.run(limex("replay", tmp_path / "report" / "journal.sqlite", "--json"), capture_output=True, text=True, cwd=ROOT)
    assert json.loads(replayed.stdout)["digest"] == summary["replay"]["digest"]


def test_interrupting_it_leaves_no_process_and_a_journal_that_replays(tmp_path: Path) -> None:
    command = limex(*ARGUMENTS, "--interval-seconds", 20, "--out", tmp_path / "report")
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    assert running.stderr is not None
    while "homes connect" not in running.stderr.readline():
        assert running.poll() is None
    time.sleep(4)
    running.send_signal(signal.SIGINT)
    rest = running.stderr.read()
    assert running.wait(timeout=60) == 130, rest
    assert "Traceback" not in rest
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    replayed = subprocess.run(limex("replay", tmp_path / "report" / "journal.sqlite"), capture_output=True, text=True, cwd=ROOT)
    assert replayed.returncode == 0, replayed.stderr

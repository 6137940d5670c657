"""A process that ends anywhere, or a disk that gives up: what was heard is in the journal, once, and the next life goes on from there.

`benchmarks/crash_loop.py` has the exchange that is killed and what is looked at afterwards, `benchmarks/crash_boundaries.py` the deaths
between any two statements of the journal. Here are short versions of both, the disks that fail, and faults that must be found.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from benchmarks.crash_boundaries import connecting_with, die_at_each, go_on, live, script
from benchmarks.crash_loop import CrashError, Heard, crash, forked, name_of, traced, verify
from benchmarks.crash_market import CrashMarket
from exchange import node, search
from exchange.codec import encode_command
from exchange.engine import Engine
from exchange.journal import Journal
from riskcheck.headroom import warm

KILLS, SEED, STEP = 20, 5, 23


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    warm()
    search.warm()


def test_a_death_between_any_two_statements_loses_nothing_that_was_heard(tmp_path: Path) -> None:
    assert die_at_each(count(3, STEP), tmp_path) >= 3


def test_killed_at_random_moments_it_keeps_what_it_said(tmp_path: Path) -> None:
    assert crash(KILLS, SEED, tmp_path)["traded"] > 10


# --- disks --------------------------------------------------------------------------------------------------------


class Full(sqlite3.Connection):
    """A database that may not grow beyond so many pages."""

    pages = 0

    def executescript(self, *given: object) -> object:  # type: ignore[override]
        done = super().executescript(*given)  # type: ignore[arg-type]
        super().execute(f"PRAGMA max_page_count = {self.pages}")
        return done


@pytest.mark.parametrize("pages", [10, 14])
def test_a_full_database_ends_the_exchange_and_nothing_that_was_heard_is_lost(tmp_path: Path, pages: int) -> None:
    def prepare() -> None:
        Full.pages = pages
        connecting_with(Full)

    assert_it_stops_and_goes_on(tmp_path / "j.sqlite", prepare)


@pytest.mark.parametrize("bytes_max", [30_000, 90_000])
def test_a_disk_that_takes_no_more_ends_the_exchange_and_nothing_that_was_heard_is_lost(tmp_path: Path, bytes_max: int) -> None:
    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))

    assert_it_stops_and_goes_on(tmp_path / "j.sqlite", prepare)


def assert_it_stops_and_goes_on(path: Path, prepare: Callable[[], None]) -> None:
    market, heard = CrashMarket(SEED), Heard()
    orders = market.orders()
    batches = [market.opening(), *([next(orders) for _ in range(12)] for _ in range(40))]
    assert live(forked(path, prepare), batches, heard) == 1
    go_on(path, batches[:6], heard)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; it injects the failing fsync")
def test_a_sync_that_fails_ends_the_exchange_and_nothing_that_was_heard_is_lost(tmp_path: Path) -> None:
    path, heard = tmp_path / "j.sqlite", Heard()
    assert live(traced(path, 3), script() * 2, heard) == 1
    go_on(path, script(), heard)


# --- the judges, judged -------------------------------------------------------------------------------------------


def speaking_before_it_is_durable() -> None:
    write, append = node.Node._write, Journal.append

    def hasty(self: node.Node, batch: node.Batch, writer: node.ThreadPoolExecutor) -> None:
        self._release(batch)
        write(self, batch, writer)

    def dies(self: Journal, number: int, *rest: object) -> None:
        append(self, number, *rest) if number < 3 else os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[arg-type]

    node.Node._write, Journal.append = hasty, dies  # type: ignore[method-assign, assignment]


def test_an_exchange_that_speaks_before_its_journal_is_found_out(tmp_path: Path) -> None:
    path, heard = tmp_path / "j.sqlite", Heard()
    assert live(forked(path, speaking_before_it_is_durable), script(), heard) == -signal.SIGKILL
    with pytest.raises(CrashError, match="were heard and are not in the journal"):
        verify(path, heard)


def test_a_request_that_is_decided_twice_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, heard, batches = tmp_path / "j.sqlite", Heard(), script()
    assert live(forked(path), batches[:1], heard) == 0
    journal, asked = Journal(path), next(command for command in batches[1] if name_of(command).startswith("r"))
    for number in (100, 101):
        journal.append(number, 0, [encode_command(asked)], number, [], 0)
    journal.close()
    verify(path, heard)  # the second answer is a repetition of the first
    monkeypatch.setattr(Engine, "_admit", forgetful(Engine._admit))
    with pytest.raises(CrashError, match="was decided twice"):
        verify(path, heard)


def forgetful(admit: Callable[..., object]) -> Callable[..., object]:
    def without_receipts(self: Engine, *given: object) -> object:
        for area in self.areas.values():
            for account in area.accounts.values():
                account.receipts.clear()
        return admit(self, *given)

    return without_receipts

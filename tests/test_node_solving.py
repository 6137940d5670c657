"""The node and the solver: what it proposes is journaled with the order; an auction is solved while other orders are decided."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from exchange.bounds import CustomerTerms, MarketSettings
from exchange.commands import (
    Cancel,
    CloseGate,
    Command,
    InstallRows,
    OpenArea,
    OpenInterval,
    Place,
    Replace,
    RetireInterval,
    Sweep,
    Uncross,
)
from exchange.journal import Journal
from exchange.node import SOLVED_MEANWHILE_MAX, Node
from exchange.proposer import Question
from exchange.recovery import Recovery
from exchange.snapshot import dump
from replay.whatif import tape_of_journal
from riskcheck import sweep
from riskcheck.polytope import Polytope, RowLabel
from riskcheck.sweep import Fills
from tests.test_node import decide


def joint() -> list[Command]:
    """Two full rows; `west` and `east` sell at one each, and `middle` buys from both what no pair can trade."""
    columns = np.array([[240, 0], [0, 240], [120, 120], [0, 0], [0, 0], [0, 0]], dtype=np.int32)
    rows = Polytope(columns, 360 * 5_000, [RowLabel("thermal", name, "abc") for name in ("west", "east")])
    terms = tuple(CustomerTerms(name, 20_000, 20_000, 0, 0) for name in ("west", "east", "middle"))
    return [
        OpenArea("lv", MarketSettings(matching="exchange_rate", sweeps=True), terms),
        InstallRows("lv", rows.to_bytes()),
        OpenInterval("lv", 0, rows.content_hash, (5_000,) * 3, (5_000,) * 3),
    ]


def order(who: str, side: str, watts: int, price: int) -> Place:
    return Place("lv", who, f"{who} {side}", 0, "export", side, watts, price)  # type: ignore[arg-type]


SWEPT = [order("west", "sell", 500, 1_000), order("east", "sell", 500, 2_000), order("middle", "buy", 800, 5_000)]


def test_a_sweep_takes_the_place_of_its_order_and_is_what_the_journal_holds(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    node, released = decide(path, [*joint(), *SWEPT])
    last = tape_of_journal(path)[-1]
    assert isinstance(last, Sweep)
    assert last.place == SWEPT[-1]
    assert [command for batch in released for command in batch.commands] == tape_of_journal(path)
    assert list(node.engine.holdings("lv", 0)[0]) == [4_600, 4_600, 5_800]


def test_replay_never_solves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.sqlite"
    node, _ = decide(path, [*joint(), *SWEPT])

    def not_asked(*_: object, **__: object) -> None:
        raise AssertionError("replay asked the solver")

    monkeypatch.setattr(sweep, "best", not_asked)
    reader = Journal(path, readonly=True)
    recovery = Recovery(reader, snapshot_max=0)
    assert [batch.digest for batch in recovery][-1] == node.digest
    assert dump(recovery.engine) == dump(node.engine)
    reader.close()


def test_orders_at_rest_that_a_replacement_brings_together_are_uncrossed_at_the_end_of_the_batch(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    low = order("middle", "buy", 800, 500)
    node, _ = decide(path, [*joint(), *SWEPT[:2], low, Replace("lv", "middle", "r", low.request_id, 800, 5_000)])
    assert isinstance(tape_of_journal(path)[-1], Uncross)
    assert list(node.engine.holdings("lv", 0)[0]) == [4_600, 4_600, 5_800]


def test_the_command_that_ends_an_auction_carries_the_joint_fills(tmp_path: Path) -> None:
    assert ended(collecting(tmp_path / "j.sqlite")) == [4_600, 4_600, 5_800]


def test_orders_are_decided_while_an_auction_is_solved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes meanwhile collects, too."""
    late = order("east", "buy", 100, 5_000)
    solved = interrupted(monkeypatch, [late])
    path = collecting(tmp_path / "j.sqlite")
    assert ended(path) == [4_600, 4_600, 5_800]
    assert [type(command) for command in tape_of_journal(path)[-2:]] == [Place, Uncross], "it came first"
    assert len(for_auctions(solved)) == 1


def test_an_auction_is_solved_again_where_an_order_that_it_fills_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solved = interrupted(monkeypatch, [Cancel("lv", "west", "c1", SWEPT[0].request_id), order("middle", "sell", 10, 4_000)])
    path = collecting(tmp_path / "j.sqlite")
    assert ended(path) == [5_000, 5_000, 5_000]
    assert len(for_auctions(solved)) == 2
    assert tape_of_journal(path)[-1] == Uncross("lv", 0, rows_of(path), (), ends_auction=True), "without west no two can trade"


def test_who_overtakes_the_solver_each_time_is_solved_while_nothing_else_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = [Replace("lv", "middle", f"r{watts}", SWEPT[2].request_id, watts, 5_000) for watts in (700, 600)]
    solved = interrupted(monkeypatch, smaller)
    assert ended(collecting(tmp_path / "j.sqlite")) == [4_700, 4_700, 5_600]
    assert len(for_auctions(solved)) == SOLVED_MEANWHILE_MAX + 1


def test_an_indication_of_rows_that_are_no_more_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(monkeypatch, [CloseGate("lv", 0)])

    async def run(node: Node) -> object:
        return await node.indicated("lv", 0)

    assert asyncio.run(beside(collecting(tmp_path / "j.sqlite"), run)) is None
    assert asyncio.run(beside(tmp_path / "j.sqlite", run)) is None, "and there is nothing to ask"


def test_prices_of_an_interval_are_forgotten_with_it_in_a_market_without_sweeps_too(tmp_path: Path) -> None:
    opened, rows, interval = joint()
    assert isinstance(opened, OpenArea)
    assert isinstance(interval, OpenInterval)
    settings = msgspec.structs.replace(opened.settings, sweeps=False, call_auctions=True)
    auction = [msgspec.structs.replace(opened, settings=settings), rows, msgspec.structs.replace(interval, phase="auction"), *SWEPT]
    path = tmp_path / "j.sqlite"
    decide(path, auction)

    async def priced(node: Node) -> object:
        assert await node.indicated("lv", 0) is not None
        assert len(node.proposer._outlooks) == 1
        for command in (CloseGate("lv", 0), RetireInterval("lv", 0)):
            node.submit(command)
        return node

    node = asyncio.run(beside(path, priced))
    assert isinstance(node, Node)
    assert not node.proposer._outlooks


# --- a node at work, and somebody who acts while it solves --------------------------------------------------------


def collecting(path: Path) -> Path:
    """A journal of an auction in which the three orders have collected."""
    *before, interval = joint()
    assert isinstance(interval, OpenInterval)
    node, _ = decide(path, [*before, msgspec.structs.replace(interval, phase="auction"), *SWEPT])
    assert node.engine.areas["lv"].intervals[0].phase == "auction"
    return path


def rows_of(path: Path) -> str:
    (opened,) = (command for command in tape_of_journal(path) if isinstance(command, OpenInterval))
    return opened.rows_hash


_at_work: list[tuple[Node, asyncio.AbstractEventLoop]] = []


def interrupted(monkeypatch: pytest.MonkeyPatch, commands: list[Command]) -> list[Question]:
    """Each time when something is solved, the next of these commands is decided before the answer is there. What was asked."""
    asked: list[Question] = []
    waiting, answer = list(commands), Question.answer

    def slow(question: Question) -> Fills | None:
        asked.append(question)
        if waiting and threading.current_thread() is not threading.main_thread():
            node, loop = _at_work[-1]
            before = node.engine.sequence
            loop.call_soon_threadsafe(node.submit, waiting.pop(0))
            while node.engine.sequence == before:
                time.sleep(0.001)
        return answer(question)

    monkeypatch.setattr(Question, "answer", slow)
    return asked


def for_auctions(asked: list[Question]) -> list[Question]:
    """Without those that are asked quickly, of orders that meet at once."""
    return [question for question in asked if not question.is_quick]


async def beside(path: Path, act: Callable[[Node], Awaitable[object]]) -> object:
    """Does something with a node that is deciding, then stops it."""
    node = Node(path, lambda batch: None)
    _at_work.append((node, asyncio.get_running_loop()))
    deciding = asyncio.create_task(node.run())
    try:
        return await act(node)
    finally:
        node.stop()
        await deciding


def ended(path: Path) -> list[int]:
    """The export holdings when the auction has ended."""

    async def end(node: Node) -> object:
        uncross = await node.uncrossed("lv", 0)
        assert uncross is not None
        node.submit_first([uncross])
        return node

    node = asyncio.run(beside(path, end))
    assert isinstance(node, Node)
    assert node.engine.areas["lv"].intervals[0].phase == "continuous"
    return list(node.engine.holdings("lv", 0)[0])

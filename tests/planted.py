"""Mistakes as people make them, one at a time in the source of the engine: `python -m tests.planted` says what found each of them.

Streams of commands are recorded with the naive model's answers (tests/mutation/recording.py; engine and model agree on all of them, or
nothing is proven). For each fault a process is forked that imports the exchange anew, with the fault in place of the file, and follows
the recording. What a process of its own costs is its imports, so everything heavy is imported before. Prints one JSON object: what the
first complaint was, by fault, empty where there was none.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from tests.mutation.judging import COMPILED, ROOT, Replaced

IMPORTED_ONCE = ("numba", "numpy", "scipy.optimize")
COMMANDS, SEEDS = 15_000, (5, 3)
CPU_SECONDS_MAX = 30
UNHARMED = ("compiled", "interpreted")


class Fault(NamedTuple):
    """`old` stands once in the file."""

    name: str
    file: str
    old: str
    new: str


FAULTS = (
    Fault("cash is rounded up", "ledger", "interval_ms // MCT_W_MS_PER_KWH", "interval_ms // MCT_W_MS_PER_KWH + 1"),
    Fault("the failsafe is forgotten", "ledger", "self.offered_w[right] - self.failsafe_w[right]", "self.offered_w[right]"),
    Fault("purchases at rest are not counted", "ledger", "self.holding_w[right] - self.wanted_w[right]", "self.holding_w[right]"),
    Fault("the newest of a price goes first", "book", "order.arrival, order)\n        insort", "-order.arrival, order)\n        insort"),
    Fault("a head keeps the watts of before", "book", "self.shown[right], self.arrivals[right] = order.price_mct, order.shown_w, arrival",
          "self.arrivals[right] = order.price_mct, arrival"),
    Fault("an iceberg shows all that it has", "book", "shown_of(self.display_w, self.open_w)", "shown_of(0, self.open_w)"),
    Fault("a pair trades at the taker's price", "matching", "interval.ledger, area.settings.interval_ms, maker.price_mct",
          "interval.ledger, area.settings.interval_ms, taker.price_mct"),
    Fault("a sale brings the buyer's watts", "matching", "min(cash_of(sold, price, length),", "min(cash_of(bought, price, length),"),
    Fault("a remainder below a lot rests", "matching", "if open_w < area.settings.lot_w:", "if open_w < 1:"),
    Fault("a shown part is used up to the last watt", "matching", "if shown_w < area.settings.lot_w:", "if shown_w < 1:"),
    Fault("a killed order keeps the headroom of its walk", "matching", "        undo.take_back()\n        taker.open_w = wanted",
          "        taker.open_w = wanted"),
    Fault("nothing is woken after a walk", "matching", "        interval.freed(interval.before)\n    if area", "        pass\n    if area"),
    Fault("owners are told again and again", "matching", "order.told_row = row", "order.told_row = -1"),
    Fault("a proposal is taken though it breaks a row", "dealing", "residual.size and residual.min() < 0", "residual.size < 0"),
    Fault("a proposal is compared with nothing", "proposals", "walk_worth(area, interval, taker, command.place.time_in_force, shut)", "0"),
    Fault("time does not decide among equals in a proposal", "dealing", "order.arrival or LAST)", "-order.born)"),
    Fault("the surplus of a proposal is lost", "proposals", "interval.ledger.cash_mct[-1] += operator_mct", "pass"),
    Fault("a rate is rounded down", "search", "rate = max(rate, ((taken << RATE_BITS) + given - 1) // given)",
          "rate = max(rate, (taken << RATE_BITS) // given)"),
    Fault("the seller's watts are rounded down", "search", "given = (limited * rate + (1 << RATE_BITS) - 1) >> RATE_BITS",
          "given = (limited * rate) >> RATE_BITS"),
    Fault("rates above two are barred", "search", "rate if rate <= min(lot, RATE_MAX) << RATE_BITS and accepts",
          "rate if rate <= 2 << RATE_BITS and accepts"),
    Fault("rows that are not tight are not looked at", "search", "if slope > 0 and float", "if slope < 0 and float"),
    Fault("lots are forgotten for what is left over", "search", "else room - room % lot", "else room"),
    Fault("priority by plain price", "search", "cost = (offered * rate + (1 << RATE_BITS) - 1) >> RATE_BITS", "cost = offered"),
    Fault("a halted book trades", "search", "return shut != 0 and line < 2 * n and", "return shut != 0 and line < 0 and"),
    Fault("only the first row that was freed wakes", "search", "                marks[line] = 1\n                found = True",
          "                marks[line] = row == 0\n                found = True"),
    Fault("released headroom is gone", "withhold", "interval.headroom.change(kept.right, -held_w)",
          "interval.headroom.change(kept.right, 0)"),
    Fault("more is withheld than is left over", "withhold", "min(command.quantity_w, _left_over(area, interval, row)) if",
          "command.quantity_w if"),
    Fault("a block trades in part", "blocks", "        if part.open_w:\n            break\n", ""),
    Fault("a block pays more than its limit", "blocks", "sum(cash for _, cash in found) >= limit",
          "sum(cash for _, cash in found) >= 2 * limit"),
    Fault("a block reserves in its first interval only", "engine", "for each in intervals:\n            (each",
          "for each in intervals[:1]:\n            (each"),
    Fault("a no-op replacement loses priority", "engine", "command.quantity_w <= order.quantity_w\n",
          "command.quantity_w < order.quantity_w\n"),
    Fault("the throttle forgets replacements", "engine", "        interval.requests[order.account.position] += 1\n        if keeps",
          "        if keeps"),
    Fault("an iceberg has any number of parts", "guards", "command.display_w and command.quantity_w > PARTS_MAX",
          "command.display_w < 0 and command.quantity_w > PARTS_MAX"),
    Fault("a replaced iceberg has any number of parts", "guards", "order.display_w and command.quantity_w - traded_w >",
          "order.display_w < 0 and command.quantity_w - traded_w >"),
    Fault("an interval's memory has no end", "guards", "if interval.receipts[account.position] < area.settings.requests_max:", "if True:"),
    Fault("what was not decided is remembered", "engine", "if refusal[0] is not Reason.TOO_MANY_REQUESTS:", "if refusal:"),
    Fault("a restart empties the memory's count", "snapshot", "        interval.remember(account, Receipt(command, receipt.answer, order))",
          "        interval.remember(account, Receipt(command, receipt.answer, order))\n        interval.receipts[account.position] = 0"),
    Fault("an iceberg is shown as full as ever after a block", "blocks", "maker.shown_w, base, events)",
          "maker.next_shown_w(), base, events)"),
    Fault("the collar is one-sided", "guards", "abs(price - last) > settings.collar_mct", "price - last > settings.collar_mct"),
    Fault("the pause never ends the calm", "matching", "abs(last[book] - price) > most for", "last[book] - price > most for"),
    Fault("the price of before continuous trading is remembered", "market", "        self.anchor_mct.clear()\n", ""),
    Fault("compensation has no ceiling", "rebase", "min(interval.last_price_mct.get(direction, ceiling_mct), ceiling_mct)",
          "interval.last_price_mct.get(direction, ceiling_mct)"),
    Fault("compensation is not booked on the operator", "ledger", "        self.cash_mct[-1] -= cash_mct\n", ""),
    Fault("new rows wake nobody", "rebase", "    interval.mark_all()\n", ""),
    Fault("a suspended customer's block orders stay", "control",
          "[order for order in area.blocks if account in (None, order.account)]", "[]"),
)  # fmt: skip


def mistaken(fault: Fault) -> dict[str, ast.Module]:
    """The files that are imported from other syntax: the fault's, and where it is compiled all that are."""
    name = f"exchange/{fault.file}.py"
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, f"{fault.name}: stands {text.count(fault.old)} times in {name}"
    trees = {name: ast.parse(text.replace(fault.old, fault.new))}
    if name in COMPILED:
        trees |= interpreted(set(COMPILED) - {name}) | {name: without_compiler(trees[name])}
    return trees


def interpreted(names: set[str]) -> dict[str, ast.Module]:
    return {name: without_compiler(ast.parse((ROOT / name).read_text(encoding="utf-8"))) for name in names}


def without_compiler(tree: ast.Module) -> ast.Module:
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "numba":
            statement.module = "tests.mutation.interpreted"
    return tree


def in_child(work: Callable[[], bytes]) -> bytes:
    """What the work says in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _end(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return b"no end"
    assert status == 0, "the work of a child failed"
    return said


def _end(work: Callable[[], bytes], writing: int) -> None:
    """The child never returns, and has only so much time to work."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(work())
    except BaseException:  # noqa: BLE001 - a child that went on would do the parent's work
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def recorded(seed: int) -> bytes:
    from tests.mutation.recording import record

    steps, differed = record(seed, COMMANDS)
    assert not differed, f"engine and model differ at command {differed}"
    return msgspec.msgpack.encode(steps)


def complaint(steps: bytes, trees: dict[str, ast.Module]) -> bytes:
    """What is wrong with the exchange with these files; empty where nothing is."""
    sys.meta_path.insert(0, Replaced(trees))  # type: ignore[arg-type]
    from tests.mutation.recording import Step, follow

    try:
        follow([Step(*step) for step in msgspec.msgpack.decode(steps, type=list[tuple[bytes, bytes, bytes]])])
    except Exception as error:  # noqa: BLE001 - any complaint will do
        return f"{type(error).__name__} {error}"[:200].encode()
    return b""


def main() -> None:
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    streams = [in_child(partial(recorded, seed)) for seed in SEEDS]
    told = dict(zip(UNHARMED, (first_complaint(streams, trees) for trees in ({}, interpreted(set(COMPILED)))), strict=True))
    told |= {fault.name: first_complaint(streams, mistaken(fault)) for fault in FAULTS}
    print(json.dumps(told))


def first_complaint(streams: list[bytes], trees: dict[str, ast.Module]) -> str:
    """The second stream is asked only where the first finds nothing."""
    found = (in_child(partial(complaint, steps, trees)) for steps in streams)
    return next(filter(None, found), b"").decode()


if __name__ == "__main__":
    main()

"""How much memory a resting order takes, and where it goes.

    python -m benchmarks.resting --orders 1000000

Orders rest in several areas and intervals, on both sides, without crossing. Each comes as bytes, as it does from the journal or the
broker, so that none of its texts is shared by accident. Exit code 1 where a million take more than 1 GB.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import peak_mb
from exchange import search
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import decode_command, encode_command
from exchange.commands import Command, InstallRows, OpenArea, OpenInterval, Place
from exchange.engine import Engine
from exchange.events import Accepted
from exchange.snapshot import dump
from riskcheck.headroom import warm
from riskcheck.polytope import Polytope

AREAS, INTERVALS, STEP_MS = 4, 4, 900_000
ORDERS_PER_RIGHT = 25
HELD_W, LOT_W = 5_000, 10
LIMIT_BYTES = 1_000  # per order: 1 GB for a million


def resident_bytes() -> int:
    """Memory of this process at this moment; its peak where that is all that is known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_mb() << 20


def opening(homes: int) -> Iterator[Command]:
    rows = Polytope.unlimited(2 * homes)
    terms = tuple(CustomerTerms(f"home{number:04}", 10_000, 10_000, 0, 0, 5_000, 10**6) for number in range(homes))
    for area in range(AREAS):
        yield OpenArea(f"feeder-{area}", MarketSettings(lot_w=LOT_W), terms)
        yield InstallRows(f"feeder-{area}", rows.to_bytes())
        for number in range(INTERVALS):
            yield OpenInterval(f"feeder-{area}", number * STEP_MS, rows.content_hash, (HELD_W,) * homes, (HELD_W,) * homes)


def orders(count: int, homes: int) -> Iterator[bytes]:
    """Sales above all purchases, at many prices; the ids are those of a client that counts."""
    for number in range(count):
        book, rest = number % 2, number // 2
        side, rest = rest % 2, rest // 2
        area, rest = rest % AREAS, rest // AREAS
        interval, rest = rest % INTERVALS, rest // INTERVALS
        home, turn = rest % homes, rest // homes
        price = 10 * (turn * 37 % 400) + (5_000 if side else 10)
        direction, name = ("export", "import")[book], f"home{home:04}-{number:09x}"
        yield encode_command(
            Place(
                f"feeder-{area}", f"home{home:04}", name, interval * STEP_MS, direction, ("buy", "sell")[side], LOT_W, price  # type: ignore[arg-type]
            )
        )  # fmt: skip


def fill(count: int, homes: int) -> Engine:
    engine = Engine()
    for command in opening(homes):
        engine.apply(command)
    for body in orders(count, homes):
        events = engine.apply(decode_command(body))
        assert type(events[0]) is Accepted and len(events) == 1, events
    return engine


def parts(engine: Engine) -> list[tuple[str, int]]:
    """Bytes of what one resting order consists of."""
    area = next(iter(engine.areas.values()))
    account = next(iter(area.accounts.values()))
    request_id, receipt = next(iter(account.receipts.items()))
    command, order = receipt.command, receipt.order
    assert isinstance(command, Place)
    assert order is not None
    entry = order.line.entries[0]
    texts = {id(text): sys.getsizeof(text) for text in (command.area, command.customer, command.request_id, request_id)}
    numbers = (order.quantity_w, order.price_mct, order.born, order.arrival, command.interval_ms)
    return [
        ("command", sys.getsizeof(command)), ("receipt", sys.getsizeof(receipt)),
        ("order", sys.getsizeof(order)), ("place in its line", sys.getsizeof(entry) + 8), ("place in the receipts", 100),
        ("remembered by its interval", 8), ("texts", sum(texts.values())),
        ("numbers", sum(sys.getsizeof(number) for number in numbers)),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resting", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=1_000_000)
    arguments = parser.parse_args()
    warm()
    search.warm()
    homes = max(1, arguments.orders // (AREAS * INTERVALS * 4 * ORDERS_PER_RIGHT))
    gc.disable()
    before, began = resident_bytes(), time.perf_counter()
    engine = fill(arguments.orders, homes)
    seconds, taken = time.perf_counter() - began, resident_bytes() - before
    each = taken / arguments.orders
    print(f"{arguments.orders} orders of {homes} homes in {AREAS} areas and {INTERVALS} intervals, placed in {seconds:.0f} s")
    print(f"{resident_bytes() >> 20} MB in all, {taken >> 20} MB for the orders: {each:.0f} bytes each")
    for name, size in parts(engine):
        print(f"{size:>6} {name}")
    snapshot = dump(engine)
    print(f"a snapshot of {len(snapshot) >> 20} MB; most ever {peak_mb()} MB")
    return 0 if each <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())

"""The whole state of an engine as bytes, and back. Only an optimisation: the journal from the start gives the same state.

Whatever decides a later event is here: queues in priority, receipts, what owners were told, halts and time. What can be
recomputed (residuals, reservations, the pairs known to be blocked) is recomputed, and `load` checks every invariant.
"""

from __future__ import annotations

import hashlib
import heapq

import msgspec

from exchange.book import Order
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import CorruptRecordError
from exchange.commands import CustomerCommand, DeviceSetting, Direction, Place
from exchange.engine import Engine
from exchange.events import Answer
from exchange.ledger import Ledger
from exchange.market import Area, Interval
from exchange.receipts import Receipt
from riskcheck.headroom import Headroom
from riskcheck.polytope import Polytope

FORMAT = 2
SEAL_BYTES = 16


class _Order(msgspec.Struct, frozen=True, array_like=True):
    quantity_w: int
    open_w: int
    price_mct: int
    born: int
    told_row: int
    is_live: bool


class _Receipt(msgspec.Struct, frozen=True, array_like=True):
    position: int
    command: CustomerCommand
    answer: Answer
    order: _Order | None


class _Interval(msgspec.Struct, frozen=True, array_like=True):
    start_ms: int
    rows_hash: str
    is_closed: bool
    allocation_w: tuple[int, ...]
    bought_w: list[int]
    sold_w: list[int]
    rebased_w: list[int]
    cash_mct: list[int]
    operator_mct: int
    last_price_mct: dict[Direction, int]
    settings: tuple[DeviceSetting, ...]
    receipts: list[_Receipt]
    queues: list[list[tuple[int, str]]]


class _Area(msgspec.Struct, frozen=True, array_like=True):
    name: str
    settings: MarketSettings
    terms: tuple[CustomerTerms, ...]
    settled_mct: list[int]
    settled_operator_mct: int
    rows: list[bytes]
    intervals: list[_Interval]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of every format's state."""

    format: int


class _State(msgspec.Struct, frozen=True, array_like=True):
    format: int
    sequence: int
    now_ms: int
    halts: list[tuple[str | None, int | None, str]]
    areas: list[_Area]


def dump(engine: Engine) -> bytes:
    """Equal engines give equal bytes."""
    areas = [
        _Area(
            area.name, area.settings, area.terms, area.settled_mct, area.settled_operator_mct,
            [rows.to_bytes() for rows in area.rows.values()], [_dump_interval(interval) for interval in area.intervals.values()],
        )
        for area in engine.areas.values()
    ]  # fmt: skip
    halts = [(area, interval, reason) for (area, interval), reason in engine.halts.items()]
    body = msgspec.msgpack.encode(_State(FORMAT, engine.sequence, engine.now_ms, halts, areas))
    return _seal(body) + body


def _seal(body: bytes) -> bytes:
    """In front of the body, so that damaged bytes are never taken for a state."""
    return hashlib.blake2b(body, digest_size=SEAL_BYTES).digest()


def is_older(raw: bytes) -> bool:
    """Whether an earlier format's `dump` wrote these bytes: whole, and not to be read here. The journal leads there without it."""
    body = raw[SEAL_BYTES:]
    try:
        return raw[:SEAL_BYTES] == _seal(body) and msgspec.msgpack.decode(body, type=_Head).format < FORMAT
    except msgspec.MsgspecError:
        return False


def load(raw: bytes) -> Engine:
    """Raises CorruptRecordError on bytes that `dump` of this format did not write."""
    body = raw[SEAL_BYTES:]
    if raw[:SEAL_BYTES] != _seal(body):
        raise CorruptRecordError("not a snapshot, or a damaged one")
    try:
        state = msgspec.msgpack.decode(body, type=_State)
    except msgspec.MsgspecError as error:
        raise CorruptRecordError(f"not a snapshot: {error}") from error
    if state.format != FORMAT:
        raise CorruptRecordError(f"snapshot format {state.format}, this version reads {FORMAT}")
    engine = Engine()
    engine.sequence, engine.now_ms = state.sequence, state.now_ms
    engine.halts = {(area, interval): reason for area, interval, reason in state.halts}
    for kept in state.areas:
        area = engine.areas[kept.name] = Area(kept.name, kept.settings, kept.terms)
        area.settled_mct, area.settled_operator_mct = kept.settled_mct, kept.settled_operator_mct
        for rows in map(Polytope.from_bytes, kept.rows):
            area.rows[rows.content_hash] = rows
        for interval in kept.intervals:
            area.intervals[interval.start_ms] = _load_interval(engine, area, interval)
    engine.check()
    return engine


def _dump_interval(interval: Interval) -> _Interval:
    ledger = interval.ledger
    receipts = []
    for account, request_id in interval.remembered:
        receipt = account.receipts[request_id]
        order = _dump_order(receipt.order) if receipt.order is not None else None
        receipts.append(_Receipt(account.position, receipt.command, receipt.answer, order))
    queues = [[(order.account.position, order.order_id) for order in queue] for queue in interval.queues()]
    return _Interval(
        interval.start_ms, interval.rows_hash, interval.is_closed, ledger.allocation_w, ledger.bought_w, ledger.sold_w,
        ledger.rebased_w, ledger.cash_mct, ledger.operator_mct, interval.last_price_mct, interval.settings, receipts, queues,
    )  # fmt: skip


def _dump_order(order: Order) -> _Order:
    return _Order(order.quantity_w, order.open_w, order.price_mct, order.born, order.told_row, order.is_live)


def _load_interval(engine: Engine, area: Area, kept: _Interval) -> Interval:
    ledger = Ledger(kept.allocation_w, area.failsafe_w, area.rating_w)
    ledger.bought_w, ledger.sold_w, ledger.rebased_w = kept.bought_w, kept.sold_w, kept.rebased_w
    ledger.cash_mct, ledger.operator_mct = kept.cash_mct, kept.operator_mct
    parts = zip(kept.allocation_w, kept.bought_w, kept.sold_w, kept.rebased_w, strict=True)
    ledger.holding_w = [allocation + bought - sold - rebased for allocation, bought, sold, rebased in parts]
    headroom = Headroom(area.rows[kept.rows_hash], ledger.holding_w)
    interval = Interval(area.name, kept.start_ms, kept.rows_hash, headroom, ledger)
    interval.is_closed, interval.last_price_mct, interval.settings = kept.is_closed, kept.last_price_mct, kept.settings
    accounts = list(area.accounts.values())
    for receipt in kept.receipts:
        account = accounts[receipt.position]
        order = _load_order(area, interval, receipt) if receipt.order else None
        account.receipts[receipt.command.request_id] = Receipt(receipt.command, receipt.answer, order)
        interval.remembered.append((account, receipt.command.request_id))
    for queue, members in zip(interval.queues(), kept.queues, strict=True):
        reserved = ledger.wanted_w if queue.side == "buy" else ledger.offered_w
        for position, order_id in members:
            order = accounts[position].receipts[order_id].order
            assert order is not None, "a queue names an order without a receipt"
            queue.add(order)
            accounts[position].open_orders += 1
            reserved[order.right] += order.open_w
            command = accounts[position].receipts[order_id].command
            if isinstance(command, Place) and command.time_in_force == "until":
                heapq.heappush(engine.expiries, (order.until_ms, order.born, order))
    return interval


def _load_order(area: Area, interval: Interval, receipt: _Receipt) -> Order:
    command, kept = receipt.command, receipt.order
    assert isinstance(command, Place), "only a Place makes an order"
    assert kept is not None
    queue = interval.books[command.direction].queue(command.side)
    account = area.accounts[command.customer]
    right = area.right(account.position, command.direction)
    return Order(
        account, command.request_id, queue, right, kept.quantity_w, kept.open_w, kept.price_mct, command.until_ms, kept.born,
        told_row=kept.told_row,
    )  # fmt: skip

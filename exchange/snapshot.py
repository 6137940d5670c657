"""The whole state of an engine as bytes, and back. Only an optimisation: the journal from the start gives the same state.

Whatever decides a later event is here: orders with their arrival, receipts, what owners were told, halts, suspensions and time. What
can be recomputed (lines, residuals, reservations) is recomputed, and `load` checks every invariant.
"""

from __future__ import annotations

import hashlib
import heapq

import msgspec

from exchange.book import Line, Order
from exchange.bounds import CustomerTerms, MarketSettings
from exchange.codec import CorruptRecordError
from exchange.commands import CustomerCommand, DeviceSetting, Direction, Phase, Place, Withhold
from exchange.engine import Engine
from exchange.events import Answer
from exchange.ledger import Ledger
from exchange.market import Area, Interval, Withholding
from exchange.receipts import Account, Receipt
from riskcheck.headroom import Headroom
from riskcheck.polytope import Polytope

FORMAT = 4
SEAL_BYTES = 16


class _Order(msgspec.Struct, frozen=True, array_like=True):
    quantity_w: int
    open_w: int
    price_mct: int
    born: int
    arrival: int
    shown_w: int
    told_row: int
    is_live: bool


class _Receipt(msgspec.Struct, frozen=True, array_like=True):
    position: int
    command: CustomerCommand
    answer: Answer | None
    order: _Order | None


class _Withholding(msgspec.Struct, frozen=True, array_like=True):
    command: Withhold
    row: int
    right: int
    order: _Order


class _Ledger(msgspec.Struct, frozen=True, array_like=True):
    """By right, the operator's at the end; `operator_row` has the row of each of those."""

    allocation_w: list[int]
    raised_w: list[int]
    bought_w: list[int]
    sold_w: list[int]
    rebased_w: list[int]
    cash_mct: list[int]
    compensated_mct: list[int]
    operator_row: list[int]


class _Interval(msgspec.Struct, frozen=True, array_like=True):
    start_ms: int
    rows_hash: str
    phase: Phase
    auction_since_ms: int | None
    ledger: _Ledger
    arrivals: int
    last_price_mct: dict[Direction, int]
    anchor_mct: dict[Direction, int]
    requests: list[int]
    trades: list[int]
    settings: tuple[DeviceSetting, ...]
    receipts: list[_Receipt]
    withheld: list[_Withholding]


class _Block(msgspec.Struct, frozen=True, array_like=True):
    """`is_tried`: in vain, since its intervals last changed."""

    position: int
    order_id: str
    is_tried: bool


class _Area(msgspec.Struct, frozen=True, array_like=True):
    """`blocks`: the block orders at rest, in the order in which they came."""

    name: str
    settings: MarketSettings
    terms: list[CustomerTerms]
    suspended: list[tuple[str | None, str]]
    settled_mct: list[int]
    rows: list[bytes]
    intervals: list[_Interval]
    blocks: list[_Block]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of every format's state."""

    format: int


class _State(msgspec.Struct, frozen=True, array_like=True):
    format: int
    sequence: int
    now_ms: int
    halts: list[tuple[str | None, int | None, Direction | None, str]]
    areas: list[_Area]


def dump(engine: Engine) -> bytes:
    """Equal engines give equal bytes."""
    halts = [(*scope, reason) for scope, reason in engine.halts.items()]
    areas = [_dump_area(area) for area in engine.areas.values()]
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
    engine.halts = {(area, interval, direction): reason for area, interval, direction, reason in state.halts}
    for kept in state.areas:
        engine.areas[kept.name] = _load_area(engine, kept)
    engine.check()
    return engine


def _dump_area(area: Area) -> _Area:
    return _Area(
        area.name, area.settings, area.terms, list(area.suspended.items()), area.settled_mct,
        [rows.to_bytes() for rows in area.rows.values()], [_dump_interval(interval) for interval in area.intervals.values()],
        [_Block(block.account.position, block.order_id, block.arrival == area.seen(block)) for block in area.blocks],
    )  # fmt: skip


def _dump_interval(interval: Interval) -> _Interval:
    receipts = []
    for receipt in interval.remembered:
        position = interval.area.accounts[receipt.command.customer].position
        order = _dump_order(receipt.order) if receipt.order is not None else None
        receipts.append(_Receipt(position, receipt.command, receipt.answer, order))
    withheld = [_Withholding(kept.command, kept.row, kept.right, _dump_order(kept.order)) for kept in interval.withheld.values()]
    return _Interval(
        interval.start_ms, interval.rows_hash, interval.phase, interval.auction_since_ms, _dump_ledger(interval), interval.arrivals,
        interval.last_price_mct, interval.anchor_mct, interval.requests, interval.trades, interval.settings, receipts, withheld,
    )  # fmt: skip


def _dump_ledger(interval: Interval) -> _Ledger:
    ledger, columns = interval.ledger, interval.headroom.columns
    rows = [int(columns[right].argmax()) for right in range(ledger.customers_rights, len(ledger.holding_w))]
    return _Ledger(
        ledger.allocation_w, ledger.raised_w, ledger.bought_w, ledger.sold_w, ledger.rebased_w,
        ledger.cash_mct, ledger.compensated_mct, rows,
    )  # fmt: skip


def _dump_order(order: Order) -> _Order:
    arrival = order.arrival if order.intervals == 1 else 0
    return _Order(order.quantity_w, order.open_w, order.price_mct, order.born, arrival, order.shown_w, order.told_row, order.is_live)


def _load_area(engine: Engine, kept: _Area) -> Area:
    area = Area(kept.name, kept.settings, tuple(kept.terms))
    area.suspended, area.settled_mct = dict(kept.suspended), kept.settled_mct
    for rows in map(Polytope.from_bytes, kept.rows):
        area.rows[rows.content_hash] = rows
    for interval in kept.intervals:
        area.intervals[interval.start_ms] = _load_interval(engine, area, interval)
    for block in kept.blocks:
        _load_block(area, block)
    return area


def _load_block(area: Area, kept: _Block) -> None:
    account = list(area.accounts.values())[kept.position]
    block = account.receipts[kept.order_id].order
    assert block is not None, "a block order without a receipt"
    area.blocks.append(block)
    account.open_orders += block.intervals
    block.is_live, block.arrival = True, area.seen(block) if kept.is_tried else 0
    for start_ms in area.spanned(block):
        _reserve(area.intervals[start_ms], block)


def _load_interval(engine: Engine, area: Area, kept: _Interval) -> Interval:
    interval = _load_rights(area, kept)
    interval.arrivals, interval.last_price_mct, interval.anchor_mct = kept.arrivals, kept.last_price_mct, kept.anchor_mct
    interval.auction_since_ms = kept.auction_since_ms
    interval.requests, interval.trades, interval.settings = kept.requests, kept.trades, kept.settings
    accounts = list(area.accounts.values())
    for receipt in kept.receipts:
        account, command = accounts[receipt.position], receipt.command
        order = None
        if receipt.order is not None:
            assert isinstance(command, Place), "only a Place makes an order"
            order = _load_order(engine, area, interval, account, command, receipt.order)
        interval.remember(account, Receipt(command, receipt.answer, order))
    for withheld in kept.withheld:
        order = _load_withheld(area, interval, withheld)
        interval.withheld[withheld.command.request_id] = Withholding(withheld.command, withheld.row, withheld.right, order)
    return interval


def _load_rights(area: Area, kept: _Interval) -> Interval:
    """The interval with its holdings, and without its orders."""
    figures, rights = kept.ledger, 2 * len(area.terms)
    parts = zip(figures.allocation_w, figures.raised_w, figures.bought_w, figures.sold_w, figures.rebased_w, strict=True)
    holding_w = [allocation + raised + bought - sold - rebased for allocation, raised, bought, sold, rebased in parts]
    ledger = Ledger(figures.allocation_w[:rights], area.failsafe_w, area.rating_w)
    ledger.holding_w = holding_w[:rights]
    headroom = Headroom(area.rows[kept.rows_hash], ledger.holding_w)
    interval = Interval(area, kept.start_ms, kept.rows_hash, headroom, ledger, kept.phase)
    for row, watts in zip(figures.operator_row, holding_w[rights:], strict=True):
        interval.add_row_right(row, watts)
    ledger.raised_w, ledger.bought_w, ledger.sold_w, ledger.rebased_w = (
        figures.raised_w,
        figures.bought_w,
        figures.sold_w,
        figures.rebased_w,
    )
    ledger.cash_mct, ledger.compensated_mct = figures.cash_mct, figures.compensated_mct
    return interval


def _load_order(engine: Engine, area: Area, interval: Interval, account: Account, command: Place, kept: _Order) -> Order:
    line = interval.side(command.side).lines[area.right(account.position, command.direction)]
    order = _order(account, command.request_id, line, kept, command.until_ms, command.display_w, command.intervals)
    if kept.is_live and order.intervals == 1:
        _rest(interval, order)
    if kept.is_live and command.time_in_force == "until":
        heapq.heappush(engine.expiries, (order.until_ms, order.born, order))
    return order


def _load_withheld(area: Area, interval: Interval, kept: _Withholding) -> Order:
    line = interval.side(kept.command.side).lines[kept.right]
    order = _order(area.operator, kept.command.request_id, line, kept.order)
    if kept.order.is_live:
        _rest(interval, order)
    return order


def _order(
    account: Account, order_id: str, line: Line, kept: _Order, until_ms: int = 0, display_w: int = 0, intervals: int = 1
) -> Order:  # fmt: skip
    """The order as it was, but for its place in the market."""
    return Order(
        account, order_id, line, line.right, kept.quantity_w, kept.open_w, kept.price_mct, until_ms, kept.born, display_w, intervals,
        kept.arrival, kept.shown_w, kept.told_row,
    )  # fmt: skip


def _rest(interval: Interval, order: Order) -> None:
    interval.rest(order, order.arrival)
    _reserve(interval, order)


def _reserve(interval: Interval, order: Order) -> None:
    reserved = interval.ledger.wanted_w if order.side == "buy" else interval.ledger.offered_w
    reserved[order.right] += order.open_w

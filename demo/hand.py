"""The operator of the demo: the market's rules, its timetable, and what the operator does with its hand while homes trade.

Everything is switched on that a complete market has: network exchange rates, joint fills, an opening auction for every interval with
uniform prices by location, and an auction after each halt. In the course of the run the operator

* sells what is left over of the scarcest limit of one interval, at a reserve price, from the opening auction on;
* halts another interval for a while, and resumes it: an auction follows;
* freezes a third one, shares out what room is left there max-min on top of what homes hold, and opens it again, with an auction.

Each is an ordinary command in the journal, with its reason. What the exchange refuses is told, and is no failure: there may be no room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envelopes.share import Bounds, Standing, refresh_interval
from exchange.bounds import MarketSettings
from exchange.commands import Command, EnterPhase, Halt, Resume, Withhold
from exchange.market import Interval
from gateway.clock import Schedule
from gateway.host import Host
from riskcheck.polytope import RowLabel

RULES = MarketSettings(matching="exchange_rate", sweeps=True, call_auctions=True, auction_pricing="uniform")
LEAD_INTERVALS = 5  # an interval takes orders so many intervals before its delivery: one of them is its auction
RESERVE_MCT = 2_000
OFFERED_W_MAX, SCARCE_W = 10_000, 200


def schedule(start_ms: int, intervals: int, length_ms: int) -> Schedule:
    return Schedule(
        interval_ms=length_ms, auction_lead_ms=LEAD_INTERVALS * length_ms, open_lead_ms=(LEAD_INTERVALS - 1) * length_ms,
        close_lead_ms=length_ms // 3, first_ms=start_ms, end_ms=start_ms + intervals * length_ms, pause_ms=length_ms // 3,
    )  # fmt: skip


class Act(NamedTuple):
    """Something the operator does to an interval at a market time."""

    at_ms: int
    interval_ms: int
    commands: Callable[[Host, int], list[Command]]


def acts(market: Schedule) -> list[Act]:
    assert market.end_ms is not None
    length, intervals = market.interval_ms, (market.end_ms - market.first_ms) // market.interval_ms
    sale, halt, refresh = (market.first_ms + intervals * quarter // 4 * length for quarter in (1, 2, 3))
    return sorted(
        [
            Act(sale - market.auction_lead_ms + length // 20, sale, _sell),
            Act(halt - 3 * length, halt, _halt),
            Act(halt - 3 * length + length // 3, halt, _resume),
            Act(refresh - 5 * length // 2, refresh, _freeze),
            Act(refresh - 5 * length // 2 + length // 10, refresh, _share_out),
        ]
    )


async def operate(host: Host, market: Schedule, wait_until: Callable[[int], float], tell: Callable[[str], None]) -> None:
    """All acts in their time; `wait_until` says how many seconds are left until a market time."""
    for act in acts(market):
        await asyncio.sleep(max(0.0, wait_until(act.at_ms)))
        async with host.settling:
            interval = host.engine.areas[host.plan.area].intervals.get(act.interval_ms)
            if interval is None or interval.is_closed:
                tell(f"the operator came too late for {act.commands.__name__.strip('_')}: the gate had closed")
                continue
            decided = await host.submit(act.commands(host, act.interval_ms))
        for refused in decided.refused:
            tell(f"the operator's {refused.command} was refused: {refused.reason}: {refused.detail}")


def _interval(host: Host, interval_ms: int) -> Interval:
    return host.engine.areas[host.plan.area].intervals[interval_ms]


def _sell(host: Host, interval_ms: int) -> list[Command]:
    row = scarcest(_interval(host, interval_ms))
    if row is None:
        return []
    reason = "what is left over is for sale"
    label = row.kind, row.element, row.phase
    return [Withhold(host.plan.area, "left-over", interval_ms, *label, "sell", OFFERED_W_MAX, RESERVE_MCT, reason)]


def scarcest(interval: Interval) -> RowLabel | None:
    """The row with the least headroom of all that are worth selling; None where the network limits nothing."""
    rows = np.flatnonzero(interval.row_largest)
    left_w = interval.headroom.residual[rows] // interval.row_largest[rows]
    labels = interval.headroom.polytope.labels
    first = {label: row for row, label in reversed(list(enumerate(labels))) if interval.row_largest[row]}
    worth = [(watts, row) for watts, row in zip(left_w.tolist(), rows.tolist(), strict=True) if watts >= SCARCE_W]
    return next((labels[row] for _, row in sorted(worth) if first[labels[row]] == row), None)


def _halt(host: Host, interval_ms: int) -> list[Command]:
    return [Halt(host.plan.area, interval_ms, "a fuse is looked at")]


def _resume(host: Host, interval_ms: int) -> list[Command]:
    return [Resume(host.plan.area, interval_ms, "the fuse is sound")]


def _freeze(host: Host, interval_ms: int) -> list[Command]:
    return [EnterPhase(host.plan.area, interval_ms, "frozen", "what room is left is shared out")]


def _share_out(host: Host, interval_ms: int) -> list[Command]:
    """The raises on top of what is held in the rows in force, and the auction that opens the interval again."""
    area = host.engine.areas[host.plan.area]
    interval, rights = area.intervals[interval_ms], 2 * len(area.terms)
    ledger = interval.ledger
    standing = Standing(interval_ms, tuple(ledger.holding_w[:rights]), tuple(ledger.wanted_w[:rights]), interval.rows_hash)
    bounds = Bounds(area.name, tuple(area.failsafe_w), tuple(area.rating_w))
    change = refresh_interval(interval.headroom.polytope, bounds, standing, "what room is left is shared out")
    return [change, EnterPhase(area.name, interval_ms, "auction", "orders meet again")]

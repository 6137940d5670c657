"""A network that changes under a running exchange: halt, compute, re-base, resume. The way from a new network to commands.

    Halt(area, "network change: ...")      at once: the old rows would accept trades that the new network cannot carry
    plan in a process apart                rows, envelopes and their AC certificate; the event loop goes on
    InstallRows, the plan is replaced      intervals that open from now on open on the new rows
    ChangeRows per live interval           until no interval is left on other rows: some may have opened meanwhile
    Resume                                 of this halt, and of no other

If the new network cannot carry even the failsafe envelopes, the halt stays and says so. If the process is killed in between,
the journal has the halt, and the next start re-bases what is left on the network that it is started with (`stale`, `settle`).

A change takes settings of devices back: recourse was found for another network. What trades relied on them is lowered with the rest.
A start on the same network keeps them, as the rows built for the network with these settings prove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from typing import NamedTuple, Protocol

from envelopes.allocate import InsecureFloorsError
from envelopes.change import ChangeError, Difference, Taken, change_rows, difference, is_within, limit_w, limits_w, taken
from envelopes.recourse import Settings, in_force
from envelopes.refresh import MAX_MIN, InsecureAllocationError, Plan, Policy, plan
from exchange.bounds import MarketSettings
from exchange.commands import Command, Halt, Resume
from exchange.engine import Engine
from exchange.events import Event, Refused
from exchange.market import Interval
from gateway.operator import NETWORK_CHANGE
from gateway.worker import Worker, WorkerEndedError, WorkerError
from riskcheck.linearise import Insecure, build
from riskcheck.network import Network
from riskcheck.polytope import Polytope

AT_START = Difference("refresh", "the exchange was started with another network")
BACK = Difference("refresh", "back to the network in force, after a change that failed")
BUILD_PATIENCE_S = 1800.0


class Unfit(NamedTuple):
    """The worker's answer for a network that cannot carry the failsafe envelopes, which all others contain."""

    detail: str
    is_shown: bool  # False where the rows could not be computed, and so nothing is known to be secure


class UnfitError(WorkerError):
    """The same, raised here; `consequence` is for the operator."""

    def __init__(self, unfit: Unfit) -> None:
        super().__init__(unfit.detail)
        how = "are not secure" if unfit.is_shown else "cannot be shown to be secure"
        self.consequence = f"; the envelopes in force {how} on the new network: correct the file and send SIGHUP again"


class Decided(NamedTuple):
    """What came of commands of the host's own."""

    events: tuple[Event, ...]
    refused: tuple[Refused, ...]


class Exchange(Protocol):
    """What a change, the auditor and the desk need of the host. `settling` is held by who changes rows."""

    plan: Plan
    settling: asyncio.Lock

    @property
    def engine(self) -> Engine: ...
    async def submit(self, commands: Iterable[Command], *, at_once: bool = False) -> Decided: ...


class Change(NamedTuple):
    """What a change came to; `difference` None where the network is the same."""

    difference: Difference | None
    taken: Taken


async def change(exchange: Exchange, network: Network) -> Change:
    """Raises ChangeError where the network is refused: unharmed if it has other customers, halted if it cannot carry them.

    The network that is in force already ends the halt of a change that failed.
    """
    area, why = exchange.plan.area, difference(exchange.plan.network, network)
    is_back = why is None and bool(resumptions(exchange.engine, area))
    if why is None and not is_back:
        return Change(None, taken(()))
    why = why or BACK
    if (area, None, None) not in exchange.engine.halts:
        for _ in range(2):  # again, in case an operator's resumption was on its way when the first was decided
            await exchange.submit([Halt(area, None, f"{NETWORK_CHANGE}: {why.detail}")])
    worker = Worker()
    try:
        ready = exchange.plan if is_back else await _planned(exchange, worker, network)
        async with exchange.settling:
            exchange.plan = ready
            events = list((await exchange.submit([ready.opening()[1]])).events)
            while stale := _on_other_rows(exchange):
                events += await _rebase(exchange, worker, stale, why)
            await exchange.submit(resumptions(exchange.engine, area))
    except (WorkerError, WorkerEndedError) as error:
        reason = f"{NETWORK_CHANGE} ({why.detail}) failed: {error}"
        await exchange.submit([Halt(area, None, reason)])
        then = error.consequence if isinstance(error, UnfitError) else ""
        raise ChangeError(f"{reason}; the area is halted, and the old rows and envelopes are still in force{then}") from error
    finally:
        await worker.stop()
    return Change(why, taken(events))


async def _planned(exchange: Exchange, worker: Worker, network: Network) -> Plan:
    ready = exchange.plan
    found = await worker.call(BUILD_PATIENCE_S, planned, network, ready.area, ready.settings, ready.policy)
    if isinstance(found, Unfit):
        raise UnfitError(found)
    return found


def planned(network: Network, area: str, settings: MarketSettings, policy: Policy = MAX_MIN) -> Plan | Unfit:
    """`envelopes.refresh.plan` for the worker: everything that is wrong with a network is a ValueError."""
    try:
        return plan(network, area, settings, policy=policy)
    except (InsecureFloorsError, Insecure) as error:
        return Unfit(str(error), isinstance(error, InsecureFloorsError))
    except InsecureAllocationError as error:
        raise ChangeError(str(error)) from error


def _on_other_rows(exchange: Exchange) -> list[int]:
    live, rows_hash = exchange.engine.areas[exchange.plan.area].intervals, exchange.plan.rows.content_hash
    return [start_ms for start_ms, interval in sorted(live.items()) if interval.rows_hash != rows_hash or interval.settings]


async def _rebase(exchange: Exchange, worker: Worker, stale: list[int], why: Difference) -> tuple[Event, ...]:
    """Moves these intervals to the plan's rows. One that was retired meanwhile is refused, and nobody needs it."""
    ready, live = exchange.plan, exchange.engine.areas[exchange.plan.area].intervals
    holdings = [held_w(live[start_ms]) for start_ms in stale]
    floors = tuple(map(int, ready.network.floors_w()))
    limits = await worker.call(BUILD_PATIENCE_S, limits_w, ready.rows.to_bytes(), holdings, floors)
    rows_hash, pairs = ready.rows.content_hash, zip(stale, limits, strict=True)
    decided = await exchange.submit([change_rows(ready.area, start_ms, rows_hash, limit, why) for start_ms, limit in pairs])
    still = set(_on_other_rows(exchange)) & set(stale)
    assert not still, f"intervals {sorted(still)} could not be moved to the new rows: {decided.refused}"
    return decided.events


def held_w(interval: Interval) -> tuple[int, ...]:
    """Holdings by customers' right. Headroom that the operator withholds is nobody's power."""
    return tuple(interval.ledger.holding_w[: interval.ledger.customers_rights])


def resumptions(engine: Engine, area: str) -> list[Command]:
    """Takes back the halt of a change that is done."""
    reason = engine.halts.get((area, None, None))
    is_ours = reason is not None and reason.startswith(NETWORK_CHANGE)
    return [Resume(area, None, f"{NETWORK_CHANGE} done")] if is_ours else []


def settle(engine: Engine, ready: Plan, now_ms: int, carried: Container[str] = ()) -> list[Command]:
    """At a start, before anything trades: intervals that an older network's rows admitted are moved to the plan's.

    Rows that are tighter than the network's (the auditor's) stay, and so do settings whose rows are the network's with them. `carried` are
    hashes of rows that the network carries with the forecasts of their interval.
    What was delivered already is left alone.
    """
    known, length_ms = engine.areas[ready.area], engine.areas[ready.area].settings.interval_ms
    live = [(at, one) for at, one in sorted(known.intervals.items()) if now_ms < at + length_ms]
    rows = {(one.rows_hash, one.settings): one.headroom.polytope for _, one in live if one.rows_hash not in carried}
    stale = {key for key, polytope in rows.items() if not _is_carried(ready, polytope, key[1])}
    commands: list[Command] = []
    for start_ms, interval in live:
        if (interval.rows_hash, interval.settings) not in stale:
            continue
        limit = limit_w(ready.rows, held_w(interval), ready.network.floors_w())
        commands.append(change_rows(ready.area, start_ms, ready.rows.content_hash, limit, AT_START))
    return commands + resumptions(engine, ready.area)


def _is_carried(ready: Plan, rows: Polytope, settings: Settings) -> bool:
    """Whether the plan's network, with these settings, carries whatever the rows call secure."""
    if not settings:
        return is_within(rows, ready.rows)
    try:
        return is_within(rows, build(in_force(ready.network, settings)))
    except ValueError:  # it has no such device, or no room for anybody with it
        return False

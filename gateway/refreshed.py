"""Results of the periodic job (`limex refresh`) in a running exchange: what intervals open with, and how live ones follow new forecasts.

    store -> opening                an interval opens on the rows and with the envelopes that were made for it
    store -> look -> worker -> ChangeRows       a newer outcome re-bases a live one: less room takes back, more is shared out on top

* An outcome counts only for the network in force and the same customers, and only if it is secure in its own rows, in integers. Else
  the interval has the plan's own rows and envelopes, and the operator is told.
* Where the job found no secure envelopes and there are none of before, the interval opens with the failsafe envelopes, and its books
  are halted: what could be traded above them is not known to be secure. The first outcome that is good resumes them.
* An outcome that failed and keeps the last envelopes changes nothing; the operator is told.
* Each outcome is given to an interval once. So rows that an audit tightened since stay as they are until there are newer ones; in books
  that an audit has halted, newer rows lower and raise nobody. Recourse's settings are taken back, as by a network change.
* Raises are computed from holdings of a while ago. Where they no longer fit, the rows go in force without them at once, and are
  shared out again from there.

`forecasts` says which forecasts rows were made for, by their hash. The auditor judges an interval on the network with these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from envelopes.change import is_within, taken
from envelopes.forecasts import Forecast, Key
from envelopes.job import Outcome, Store
from envelopes.share import Bounds, Standing, refresh_intervals, without_raises
from exchange.commands import ChangeRows, Command, Halt, InstallRows, OpenInterval, Resume
from exchange.engine import Engine
from exchange.events import Raised
from exchange.rejects import Reason
from gateway.changing import Decided, held_w
from gateway.worker import Worker, WorkerEndedError, WorkerError
from replay.tape import interval_name
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from envelopes.refresh import Plan
    from gateway.changing import Exchange

MINUTE_MS = 60_000
LOOK_S = 1.0
RETRY_S = 10.0
PATIENCE_S = 600.0
SHARED_AGAIN_MAX = 3
LATE = (Reason.INSECURE_RAISE, Reason.INVALID_RAISE)
NO_ENVELOPES = "refresh: no secure envelopes are known"
AUDIT = "audit:"


class UnfitError(ValueError):
    """The outcome is not for this network and these customers, or cannot be believed."""


class Fresh(NamedTuple):
    """An outcome that counts, with its rows."""

    outcome: Outcome
    raw: bytes
    rows: Polytope


class Opening(NamedTuple):
    """What opens an interval: its rows, if they are not there yet, the command, and what follows it at once."""

    rows: Polytope
    command: OpenInterval
    then: tuple[Command, ...] = ()


class Refreshed:
    """Give `opening` to the clock and `run` a task of its own; `say` tells the operator."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._worker = Worker()
        self._seen: dict[int, tuple[int, str]] = {}
        self._given: dict[int, str] = {}
        self._told: dict[int, str] = {}
        self.forecasts: dict[str, tuple[Forecast, ...]] = {}

    # --- intervals that open --------------------------------------------------------------------------------------

    def recall(self, engine: Engine, plan: Plan) -> None:
        """At a start: which live intervals stand on rows of the job's, or on such as an audit tightened since."""
        for interval_ms in engine.intervals(plan.area):
            interval = engine.areas[plan.area].intervals[interval_ms]
            if interval.rows_hash == plan.rows.content_hash or interval.settings:
                continue
            try:
                fresh = self._fresh(plan, interval_ms)
            except UnfitError:
                continue
            if interval.rows_hash == fresh.rows.content_hash or is_within(interval.headroom.polytope, fresh.rows):
                self.forecasts[interval.rows_hash] = fresh.outcome.forecasts
                self._given[interval_ms] = fresh.rows.content_hash

    def opening(self, plan: Plan, interval_ms: int) -> Opening:
        outcome = self._store.outcome(Key(plan.area, interval_ms))
        if outcome is not None and outcome.keeps == "failsafe":
            return self._opened_at_failsafe(plan, interval_ms, outcome.problem)
        try:
            fresh = self._fresh(plan, interval_ms)
        except UnfitError as error:
            self._tell(interval_ms, f"it opens with the envelopes of the network file: {error}")
            return Opening(plan.rows, plan.open_interval(interval_ms))
        outcome = fresh.outcome
        self.forecasts[outcome.rows_hash] = outcome.forecasts
        self._given[interval_ms] = outcome.rows_hash
        opened = OpenInterval(plan.area, interval_ms, outcome.rows_hash, outcome.export_w, outcome.import_w)
        return Opening(fresh.rows, opened)

    def _opened_at_failsafe(self, plan: Plan, interval_ms: int, problem: str) -> Opening:
        self._tell(interval_ms, f"it opens halted, with the failsafe envelopes: {problem}")
        floor, n = tuple(map(int, plan.network.floors_w())), len(plan.network.customers)
        opened = OpenInterval(plan.area, interval_ms, plan.rows.content_hash, floor[:n], floor[n:])
        return Opening(plan.rows, opened, (Halt(plan.area, interval_ms, f"{NO_ENVELOPES}: {problem}"),))

    def _fresh(self, plan: Plan, interval_ms: int) -> Fresh:
        """Raises UnfitError."""
        outcome = self._store.outcome(Key(plan.area, interval_ms))
        if outcome is None:
            raise UnfitError("there are none of the job's for it")
        if outcome.keeps == "failsafe":
            raise UnfitError(f"the job found none that are secure: {outcome.problem}")
        if outcome.keeps == "last":
            self._tell(interval_ms, f"it keeps its last envelopes: {outcome.problem}")
        if outcome.customers != tuple(customer.id for customer in plan.network.customers):
            raise UnfitError("the job's are for other customers")
        if outcome.network_hash != plan.network.content_hash:
            raise UnfitError("the job's are for another network than the one in force")
        if outcome.length_ms != plan.settings.interval_ms:
            minutes = [length_ms // MINUTE_MS for length_ms in (outcome.length_ms, plan.settings.interval_ms)]
            raise UnfitError(f"the job's are for intervals of {minutes[0]} minutes, not {minutes[1]}")
        try:
            raw = self._store.rows(plan.area, outcome.rows_hash)
            rows = Polytope.from_bytes(raw)
        except (OSError, ValueError) as error:
            raise UnfitError(f"the job's rows cannot be read: {error}") from error
        if rows.content_hash != outcome.rows_hash or not _is_secure(plan, rows, outcome):
            raise UnfitError("the job's envelopes are not secure in their own rows")
        return Fresh(outcome, raw, rows)

    # --- live intervals -------------------------------------------------------------------------------------------

    async def run(self, exchange: Exchange) -> None:
        """Looks until cancelled."""
        try:
            while True:
                try:
                    await self.look(exchange)
                except WorkerEndedError as error:
                    self._say(f"REFRESH: new forecasts could not be put in force and are tried again: the process {error}")
                    await asyncio.sleep(RETRY_S)
                await asyncio.sleep(LOOK_S)
        finally:
            await self._worker.stop()

    async def look(self, exchange: Exchange) -> None:
        """Puts in force what is newer in the store. Nobody else changes rows meanwhile."""
        live = exchange.engine.intervals(exchange.plan.area)
        changed = [at for at in live if self._seen.get(at) != self._stamp(exchange, at)]
        if not changed:
            return
        async with exchange.settling:
            for interval_ms in changed:
                stamp = self._stamp(exchange, interval_ms)
                fresh = self._newer(exchange, interval_ms) if stamp[0] else None
                if fresh is not None:
                    await self._put_in_force(exchange, interval_ms, fresh)
                self._seen[interval_ms] = stamp  # only now: what could not be put in force is tried again
            self._forget(exchange)

    def _stamp(self, exchange: Exchange, interval_ms: int) -> tuple[int, str]:
        """Another one when there is another outcome or another network."""
        return self._store.changed_ns(Key(exchange.plan.area, interval_ms)), exchange.plan.network.content_hash

    def _forget(self, exchange: Exchange) -> None:
        """What is over; an interval that is about to open is not."""
        live = exchange.engine.areas[exchange.plan.area].intervals
        for kept in (self._seen, self._given, self._told):
            for gone in [at for at in kept if at < min(live, default=0)]:
                del kept[gone]
        used = {interval.rows_hash for interval in live.values()} | set(self._given.values())
        for rows_hash in self.forecasts.keys() - used:
            del self.forecasts[rows_hash]

    def _newer(self, exchange: Exchange, interval_ms: int) -> Fresh | None:
        """None where nothing is to be done."""
        interval = exchange.engine.areas[exchange.plan.area].intervals.get(interval_ms)
        try:
            fresh = self._fresh(exchange.plan, interval_ms)
        except UnfitError as error:
            self._tell(interval_ms, f"it keeps its envelopes: {error}")
            return None
        if interval is None:
            return None
        own, stands, given = exchange.plan.rows.content_hash, interval.rows_hash, self._given.get(interval_ms)
        is_given = given == fresh.outcome.rows_hash and (stands == given or stands != own)  # a network change takes it back
        return None if is_given else fresh

    async def _put_in_force(self, exchange: Exchange, interval_ms: int, fresh: Fresh) -> None:
        """Raises that come too late are left out, and made anew from what is held then."""
        area = exchange.plan.area
        self.forecasts[fresh.outcome.rows_hash] = fresh.outcome.forecasts
        for _ in range(SHARED_AGAIN_MAX):
            try:
                command = await self._command(exchange, interval_ms, fresh)
            except WorkerError as error:
                self._tell(interval_ms, f"it keeps its envelopes: {error}")
                return
            if command is None:
                return
            decided = await exchange.submit([InstallRows(area, fresh.raw), command])
            if late := any(refused.reason in LATE for refused in decided.refused):
                decided = await exchange.submit([InstallRows(area, fresh.raw), without_raises(command)], at_once=True)
            self._say(f"REFRESH: interval {interval_name(interval_ms)} of area {area}: {_outcome(decided)}")
            if not late:
                break
        self._given[interval_ms] = fresh.outcome.rows_hash
        if not decided.refused:
            await exchange.submit(_resumption(exchange.engine, area, interval_ms))

    async def _command(self, exchange: Exchange, interval_ms: int, fresh: Fresh) -> ChangeRows | None:
        """None where the interval is over."""
        engine, name = exchange.engine, exchange.plan.area
        area = engine.areas[name]
        interval = area.intervals.get(interval_ms)
        if interval is None:
            return None
        wanted_w = tuple(interval.ledger.wanted_w[: interval.ledger.customers_rights])
        standing = Standing(interval_ms, held_w(interval), wanted_w, interval.rows_hash)
        bounds = Bounds(name, tuple(area.failsafe_w), tuple(area.rating_w))
        (command,) = await self._worker.call(PATIENCE_S, refresh_intervals, fresh.raw, bounds, [standing])
        is_audited = engine.halts.get((name, interval_ms, None), "").startswith(AUDIT)
        return without_raises(command) if is_audited else command

    def _tell(self, interval_ms: int, what: str) -> None:
        """The same is said once."""
        if self._told.get(interval_ms) != what:
            self._told[interval_ms] = what
            self._say(f"REFRESH: interval {interval_name(interval_ms)}: {what}")


def _is_secure(plan: Plan, rows: Polytope, outcome: Outcome) -> bool:
    limit = np.array(outcome.export_w + outcome.import_w, dtype=np.int64)
    if limit.shape != (rows.n_rights,) or limit.shape != plan.network.caps_w().shape:
        return False
    is_between = (plan.network.floors_w() <= limit) & (limit <= plan.network.caps_w())
    return bool(is_between.all()) and rows.is_secure(limit)


def _outcome(decided: Decided) -> str:
    raised_w = sum(event.quantity_w for event in decided.events if isinstance(event, Raised))
    refused = "; ".join(f"refused: {one.detail}" for one in decided.refused)
    return refused or f"{taken(decided.events)}, {raised_w} W shared out"


def _resumption(engine: Engine, area: str, interval_ms: int) -> list[Command]:
    """Ends the halt of an interval that opened without envelopes, and no other."""
    reason = engine.halts.get((area, interval_ms, None), "")
    return [Resume(area, interval_ms, "refresh: secure envelopes are known")] if reason.startswith(NO_ENVELOPES) else []

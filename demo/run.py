"""The main job, end to end: network -> rows -> envelopes -> certificate -> broker -> exchange -> homes -> report -> replay.

Every part is the real one: the exchange with its journal on the disk, a broker with an account per customer, the homes in a
process of their own that talks MQTT only. Market time runs faster than real time; nothing else differs from `limex serve`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from demo import figures, hand, page, report
from demo.board import Board
from demo.errand import GRACE_S, Fleet, errand
from demo.errand import FleetError as FleetError  # who runs a demo catches it
from demo.homes import connections
from demo.pictures import Feeder
from demo.timetable import Clock, FleetResult
from envelopes import files
from envelopes.refresh import Plan, plan
from exchange.bounds import MarketSettings
from exchange.events import Event
from exchange.journal import JournalError
from exchange.recovery import Batch, ReplayMismatchError
from gateway.auditor import Auditor, Audits
from gateway.broker import Broker, start_broker
from gateway.host import Host
from gateway.session import SessionSettings
from gateway.show import counting, summary_table, working
from replay import whatif
from replay.outcome import Outcome
from replay.variants import Variant
from replay.verify import EventLog, verify
from riskcheck.certify import Certificate, Certifier
from riskcheck.network import Network

AREA = "lv"
START_MS = 1_777_298_400_000  # 2026-04-27, a Monday, 14:00 UTC: the sun is still high and the first cars come home
MINUTE_MS = 60_000
AUDIT_GRACE_S = 10.0  # the last holdings are certified once more after the run, whatever the auditor came to
ONE_TO_ONE = Variant("one to one", rule="one_to_one")
OURS = (
    "journal.sqlite*", "report.json", "summary.md", "index.html", "trades.csv", "homes.csv", "certificate.json", "envelopes.json",
    *page.PICTURES,
)  # fmt: skip


@dataclass(frozen=True)
class DemoSettings:
    """`interval_s` is wall-clock seconds per interval; `quiet` prints nothing but what is asked for."""

    network: str
    seed: int = 1
    intervals: int = 16
    interval_s: float = 4.5
    broker_url: str | None = None
    broker_kind: Literal["mosquitto", "amqtt"] | None = None
    passwords: Mapping[str, str] | None = None
    out: Path = Path("limex-report")
    quiet: bool = False


@dataclass
class Market:
    """What the run left: all events in order, the log to compare a replay with, the homes' own account."""

    events: list[Event]
    log: EventLog
    fleet: FleetResult
    broker: str
    seconds: float
    audits: Audits
    notes: list[str]


def run(network: Network, settings: DemoSettings) -> dict[str, Any]:
    """Plans, trades and reports; the summary's `problems` are empty if all promises held."""
    _prepare(settings.out)
    return trade(prepare(network, settings.quiet), settings)


def prepare(network: Network, quiet: bool) -> Plan:
    """Rows, envelopes and their certificate: what any number of demos on this network can start from."""
    say = _quiet if quiet else _say
    say("Homes trade how many watts they may export and import. A trade happens only if no voltage and no current can leave its")
    say("limits, whatever everybody does inside the limits they hold.")
    say(f"{network.name}: {network.n_buses} buses, {len(network.customers)} customers, {network.phases}-phase")
    with working(quiet) as progress:
        ready = plan(network, AREA, hand.RULES, progress)
    exports, imports = ready.allocation.export_w, ready.allocation.import_w
    say(f"{ready.rows.rows_given} rows from AC sensitivities, {ready.rows.n_rows} of them matter; margins searched for in AC")
    say(f"max-min envelopes: export {min(exports)}..{max(exports)} W, import {min(imports)}..{max(imports)} W")
    tried, confirmed = ready.certificate.points_tried, ready.certificate.points_confirmed
    say(f"secure in AC at the worst of {tried} corners, phase-mixed ones included; {confirmed} runs of power-grid-model agree")
    return ready


def trade(ready: Plan, settings: DemoSettings) -> dict[str, Any]:
    """The market, the proofs and the report, from a plan."""
    say = _quiet if settings.quiet else _say
    started = time.monotonic()
    _prepare(settings.out)
    _write_plan(ready, settings.out)
    names = [customer.id for customer in ready.network.customers]
    passwords = settings.passwords
    with start_broker(settings.broker_url, AREA, names, kind=settings.broker_kind, passwords=passwords) as broker:
        minutes = (settings.intervals + hand.LEAD_INTERVALS) * settings.interval_s / 60
        say(f"broker: {broker.kind} on {broker.host}:{broker.port}; {len(names)} homes connect and trade for {minutes:.1f} minutes")
        market = asyncio.run(_trade(ready, settings, broker))
    certificates = [ready.certificate, *_certify_holdings(ready, market, settings.quiet)]
    replayed = _replay(settings.out / "journal.sqlite", market, settings.quiet)
    compared = _compare(settings.out / "journal.sqlite", settings.quiet)
    facts = _facts(ready, settings, market, certificates, replayed, compared, time.monotonic() - started)
    summary = report.write(facts, settings.out)
    if not settings.quiet:
        summary_table(page.rows(summary), summary["problems"])
    say(f"report: {settings.out / 'index.html'}")
    return summary


def _prepare(out: Path) -> None:
    """A folder without an older report of ours; anything else in it is left alone."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for pattern in OURS:
            for stale in out.glob(pattern):
                stale.unlink()
    except OSError as error:
        raise JournalError(f"cannot use {out} for the report: {error.strerror}") from error


def _write_plan(ready: Plan, out: Path) -> None:
    (out / "envelopes.json").write_bytes(files.encode(files.of(ready.network, ready.allocation)))
    (out / "certificate.json").write_bytes(msgspec.json.format(msgspec.json.encode(ready.certificate), indent=2))


# --- the market ---------------------------------------------------------------------------------------------------


async def _trade(ready: Plan, settings: DemoSettings, broker: Broker) -> Market:
    """From the first gate opening to the end of the last delivery."""
    length = ready.settings.interval_ms
    schedule = hand.schedule(START_MS, settings.intervals, length)
    before_ms = START_MS - schedule.first_lead_ms
    notes: list[str] = []
    clock: Clock | None = None
    events: list[Event] = []
    log = EventLog()

    def market_ms() -> int:
        return before_ms - 1 if clock is None else clock.market(time.time() * 1000)

    with Board(AREA, settings.quiet) as board:

        def listen(batch: Batch) -> None:
            events.extend(event for of_command in batch.events for event in of_command)
            log.keep(batch)
            board.take(batch, host.node.engine)

        hurried = SessionSettings(rate_per_s=200.0, burst=400)  # a home's requests per interval, in seconds instead of minutes
        auditor = Auditor(_quiet if settings.quiet else _say)
        host = Host(settings.out / "journal.sqlite", broker, ready, schedule, market_ms, listen, hurried, auditor)
        started = time.monotonic()
        async with host, Fleet(errand(ready, settings.seed, broker, schedule)) as fleet:
            await _unless(host, fleet.ready())
            clock = Clock(before_ms, time.time() * 1000, length / 1000 / settings.interval_s)
            fleet.tell(clock)
            limit_s = (schedule.first_lead_ms / length + settings.intervals) * settings.interval_s + GRACE_S
            operating = asyncio.create_task(hand.operate(host, schedule, _wait_s(clock), notes.append))
            try:
                result = await _unless(host, fleet.result(limit_s))
                await operating
            finally:
                operating.cancel()
            await _unless(host, board.delivered(settings.intervals))
            await _unless(host, auditor.caught_up(AUDIT_GRACE_S))
    return Market(events, log, result, broker.kind, time.monotonic() - started, auditor.audits, notes)


def _wait_s(clock: Clock) -> Callable[[int], float]:
    return lambda at_ms: (clock.wall(at_ms) - time.time() * 1000) / 1000


async def _unless(host: Host, awaited: Any) -> Any:
    """The result of `awaited`, unless the exchange fails first."""
    work, failure = asyncio.ensure_future(awaited), asyncio.ensure_future(host.failed())
    try:
        await asyncio.wait((work, failure), return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            failure.result()
        return work.result()
    finally:
        work.cancel()
        failure.cancel()


# --- proof --------------------------------------------------------------------------------------------------------


def _certify_holdings(ready: Plan, market: Market, quiet: bool) -> Iterator[Certificate]:
    """An AC certificate of what was held after trading, interval by interval."""
    folded = figures.fold(market.events, ready.settings.interval_ms)
    names = [customer.id for customer in ready.network.customers]
    certifier = Certifier(ready.network)
    intervals = folded.intervals_ms()
    with counting("certifying traded envelopes", quiet) as tell:
        for done, interval_ms in enumerate(intervals):
            tell(done, len(intervals))
            export_w, import_w = zip(*folded.envelopes(interval_ms, names, traded=True), strict=True)
            yield certifier.certify(export_w, import_w, seed=done, rows_hash=ready.rows.content_hash)


def _replay(journal: Path, market: Market, quiet: bool) -> report.Replay:
    started = time.monotonic()
    with counting("replaying the journal", quiet) as tell:

        def compare(batch: Batch, total: int) -> None:
            market.log.compare(batch, total)
            tell(batch.number, total)

        try:
            verdict = verify(journal, on_batch=compare)
        except ReplayMismatchError as error:
            return report.Replay(0, 0, str(error), False, time.monotonic() - started)
    same = verdict.events == len(market.events)
    return report.Replay(verdict.commands, verdict.events, verdict.digest, same, time.monotonic() - started)


def _compare(journal: Path, quiet: bool) -> list[Outcome]:
    """The same requests as they came, and one to one, pair by pair."""
    tape = whatif.tape_of_journal(journal)
    with working(quiet) as progress:
        return list(whatif.compare(tape, [Variant(), ONE_TO_ONE], _no_plan, progress))


def _no_plan(_network: str, _settings: MarketSettings) -> Plan:
    raise AssertionError("nothing is compared with another network")


# --- report -------------------------------------------------------------------------------------------------------


def _facts(
    ready: Plan, settings: DemoSettings, market: Market, certificates: Sequence[Certificate], replayed: report.Replay,
    compared: Sequence[Outcome], wall_s: float,
) -> report.Run:  # fmt: skip
    network, length = ready.network, ready.settings.interval_ms
    subjects = ["the allocation"] + [f"the interval at {_hhmm(START_MS + i * length)}" for i in range(len(certificates) - 1)]
    distances = _distances_ohm(network)
    return report.Run(
        network=network.name,
        seed=settings.seed,
        interval_ms=length,
        speed=length / 1000 / settings.interval_s,
        wall_s=wall_s,
        machine=_machine(),
        broker=market.broker,
        connections=connections(network),
        places=[report.Place(c.id, c.phase, float(distances[c.bus])) for c in network.customers],
        events=market.events,
        fleet=market.fleet,
        certificates=[_evidence(network, subject, found) for subject, found in zip(subjects, certificates, strict=True)],
        replay=replayed,
        audits=_audited(market.audits),
        feeder=_feeder(network, certificates),
        compared=compared,
        notes=market.notes,
    )


def _evidence(network: Network, subject: str, found: Certificate) -> report.Certificate:
    corner = f"{found.worst_corner.description}, interface at {found.worst_corner.interface_pu:.3f} pu"
    return report.Certificate(
        subject=subject,
        corners=found.points_tried,
        voltage_min_pu=tuple(v.voltage_pu for v in found.lowest_voltages),
        voltage_max_pu=tuple(v.voltage_pu for v in found.highest_voltages),
        limits_pu=(network.voltage_min_pu, network.voltage_max_pu),
        worst_branch=f"{found.worst_branch.name} phase {found.worst_branch.phase}",
        worst_loading=found.worst_branch.loading_percent / 100,
        worst_corner=corner,
        violations=0 if found.secure else 1,
    )


def _audited(audits: Audits) -> report.Audits:
    return report.Audits(audits.made, audits.intervals, audits.broken, audits.tightened, audits.restarts, audits.margins_in_words())


def _feeder(network: Network, certificates: Sequence[Certificate]) -> Feeder:
    """The worst of all certificates at each bus and branch."""
    margins = {bus: [min(c.bus_margin_pu[bus] for c in certificates)] * 3 for bus in range(network.n_buses)}
    loadings = [1 - min(c.branch_margin[index] for c in certificates) for index in range(len(network.branches))]
    return Feeder(
        xy={bus: (float(x), float(y)) for bus, (x, y) in enumerate(network.bus_xy)},
        branches=[(branch.from_bus, branch.to_bus, loading) for branch, loading in zip(network.branches, loadings, strict=True)],
        margin_pu=margins,
        homes=[(c.bus, "abc".find(c.phase)) for c in network.customers],
        transformer_bus=network.sources[0],
    )


def _distances_ohm(network: Network) -> list[float]:
    """Electrical distance of each bus from the interface, to sort homes from near to far."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    ends = [(b.from_bus, b.to_bus) for b in network.branches]
    weights = [max(abs(b.z1_ohm), 1e-9) for b in network.branches]
    graph = coo_array((weights, tuple(zip(*ends, strict=True))), shape=(network.n_buses,) * 2).tocsr()
    return [float(ohm) for ohm in dijkstra(graph, directed=False, indices=network.sources[0])]


def _hhmm(at_ms: int) -> str:
    return time.strftime("%H:%M", time.gmtime(at_ms / 1000))


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(_text: str) -> None:
    """For scripts."""

"""The figures as people read them: one table per part, every figure with its peer, its bound or its target beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

if TYPE_CHECKING:
    from benchmarks.check import CheckFigures
    from benchmarks.engine import EngineFigures
    from benchmarks.engine import Figures as EngineTable
    from benchmarks.false_accepts import Tally
    from benchmarks.measure import Spread
    from benchmarks.order_to_ack import Figures
    from benchmarks.replay_speed import ReplayFigures

FREE_TARGET_PER_S, BINDING_TARGET_PER_S = 250_000, 100_000
CALL_TARGET_US = 1.0
LOOP_TARGET_US = 0.25
BOUND_TARGET = 1.5
WIDTH = 130


def printer(*, quiet: bool) -> Callable[[RenderableType], None]:
    if quiet:
        return lambda _: None
    return Console(width=WIDTH, highlight=False).print


def heading(found: dict[str, Any]) -> RenderableType:
    machine = found["machine"]
    return (
        f"$ {found['command']}\n{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}\n"
        f"{machine['packages']}\nload average before: {found['load']}\nfeeder: {found['feeder']}\n"
    )


def engine(figures: EngineTable) -> RenderableType:
    table = _table(
        f"Engine, one Python process (targets: {FREE_TARGET_PER_S:,} commands/s unconstrained with network check, "
        f"{BINDING_TARGET_PER_S:,} where rows bind; p99 20 us, 5 ms with a solver's proposal; no collection over 1 ms)",
        "stream", "way", "network check", "commands/s", "best round", "per CPU s", "p50 us", "p99 us", "max us", "longest pause",
        "collector",
    )  # fmt: skip
    for one in figures.engine:
        table.add_row(
            one.stream, one.way, _switch(one), f"{one.per_s_median:,}", f"{one.per_s_best:,}", f"{one.per_cpu_s:,}",
            f"{one.command.p50_us:.1f}", f"{one.command.p99_us:.1f}", f"{one.command.max_us:.0f}", f"{one.pause_us / 1000:.1f} ms",
            f"{one.collector_us / 1000:.1f} ms",
        )  # fmt: skip
    note = (
        "p50, p99, max: each command's least time over the rounds (live: one round). Longest pause: the worst single time seen, whatever "
        "caused it. Live: the solver is asked as the node asks it; journal: the engine decides what was journaled."
    )
    return Group(table, note, "", _beside(figures), "", *(_mix(one) for one in figures.engine), "")


def _beside(figures: EngineTable) -> RenderableType:
    """Bare order books on the requests of the unconstrained stream, and ours."""
    table = _table(
        "The unconstrained requests in order books that pip installs", "book", "requests/s", "best round", "per CPU s", "trades", "ours"
    )
    ours = figures.engine[0]
    for one in figures.peers:
        ratio = f"{ours.per_cpu_s / one.per_cpu_s:.2f} times"
        table.add_row(
            f"{one.name} {one.version}", f"{one.per_s_median:,}", f"{one.per_s_best:,}", f"{one.per_cpu_s:,}", f"{one.trades:,}", ratio
        )  # fmt: skip
    note = "Plain price-time books: no holdings, bounds, receipts or network. Ours: with network check, by processor time."
    return Group(table, note if figures.peers else "No peer is installed: pip install 'limex\\[benchmarks]'")


def _mix(one: EngineFigures) -> str:
    slowest = ", ".join(f"{kind} {us:.0f} us" for kind, us in one.slowest.items())
    return (
        f"{one.stream}, {one.way}, network check {_switch(one)}: {_counts(one.mix.commands)}\n  led to {_counts(one.mix.events)}\n"
        f"  refused: {_counts(one.mix.rejects) or 'none'}; {one.mix.fills_per_command:.2f} trades per request\n  slowest: {slowest}"
    )  # fmt: skip


def _switch(one: EngineFigures) -> str:
    return f"{one.rows} rows" if one.rows else "off"


def check(figures: CheckFigures) -> RenderableType:
    table = _table(f"One trade's check on {figures.feeder}", "way", "us", "times the closed form", "what it gives")
    shares = f"whole {figures.whole_share:.0%}, part {figures.part_share:.0%}, nothing {figures.nothing_share:.0%}"
    asked = f"{shares} of {figures.trades:,} trades"
    flows = "two AC power flows (pandapower)"
    solver = f"within 1 % for {figures.osqp_within_one_percent:.0%}, more over for {figures.osqp_insecure:.0%}, eps 1e-3"
    rows: list[tuple[str, float | None, str]] = [
        ("an empty call of compiled code", figures.empty_call_us, "nothing: the floor of a call"),
        (
            f"closed form, inside compiled code (target {LOOP_TARGET_US:g} us)",
            figures.loop_us,
            "exact quantity and blocking row, committed",
        ),
        (f"closed form, per Python call (target {CALL_TARGET_US:g} us)", figures.call_us, f"the same; {asked}"),
        ("blocking row alone, per Python call", figures.blocking_row_us, "which row stops a pair"),
        ("OSQP, set up once, updated per trade", figures.osqp_us, solver),
        (flows, figures.power_flows_us, "yes or no, for one corner"),
    ]
    for name, us, gives in rows:
        table.add_row(name, "not measured" if us is None else f"{us:,.2f}", "" if us is None else f"{us / figures.call_us:,.2f}", gives)
    ratio = figures.large_loop_us / figures.large_bound_us
    note = (
        f"{figures.large_rows:,} rows x {figures.large_rights:,} rights, inside compiled code: {figures.large_loop_us:.2f} us; streaming "
        f"the same bytes alone {figures.large_bound_us:.2f} us; ratio {ratio:.2f} (target {BOUND_TARGET:g})\n"
    )
    return Group(table, note)


def mqtt(figures: list[Figures]) -> RenderableType:
    groups: list[RenderableType] = []
    for one in figures:
        title = f"Order to acknowledgement over MQTT, QoS 1, {one.broker}"
        table = _table(title, "loop", "what", "p50 us", "p99 us", "max us", "p50 / echo")
        _pair(table, "closed", one.echo, one.exchange)
        for rate, (echo, exchange) in one.open_loop.items():
            _pair(table, f"open, {rate}/s", echo, exchange)
        table.add_row("", "the journal's commit alone", *_us(one.commit), f"{one.commit.p50_us / one.echo.p50_us:.2f}")
        ratio = one.taken_us / one.allowed_us
        note = f"closed loop, best blocks: {one.taken_us:.0f} us; target 2 echoes + commit = {one.allowed_us:.0f} us; ratio {ratio:.2f}\n"
        groups += [table, note]
    return Group(*groups)


def replay(figures: ReplayFigures) -> RenderableType:
    title = f"Replay of {figures.commands:,} commands ({figures.stream}) in {figures.batches} batches"
    table = _table(title, "what", "commands/s", "of verify")
    rows = (
        ("replay.verify: read, decide, encode, digest, compare", figures.verify_per_s),
        ("reading and decoding the journal alone", figures.read_per_s),
        ("deciding alone", figures.decide_per_s),
        ("the node, writing it to the disk", figures.node_per_s),
    )
    for name, per_s in rows:
        table.add_row(name, f"{per_s:,}", f"{per_s / figures.verify_per_s:.2f}")
    return Group(table, f"{figures.journal_bytes_per_command} bytes of journal per command; digest {figures.digest}\n")


def fuzz(figures: dict[str, Any], tallies: list[Tally]) -> RenderableType:
    title = "Trades that the rows accept, and what two adversaries find in AC"
    table = _table(
        title, "network", "customers", "buses", "rows", "trades", "accepted", "corners", "blind", "over", "under", "load", "false"
    )
    for one in tallies:
        margins = [f"{one.margins['voltage_max']:+.5f}", f"{one.margins['voltage_min']:+.5f}", f"{one.margins['thermal']:+.3%}"]
        counts = (one.customers, one.buses, one.rows, one.trades, one.accepted, one.corners, one.corners_blind)
        table.add_row(one.network.removeprefix("simbench:"), *(f"{count:,}" for count in counts), *margins, f"{one.false_accepts}")
    states, false = sum(one.states for one in tallies), sum(one.false_accepts for one in tallies)
    trades, accepted = sum(one.trades for one in tallies), sum(one.accepted for one in tallies)
    corners = sum(one.corners + one.corners_blind for one in tallies)
    kinds = sum((Counter(one.kinds) for one in tallies), Counter[str]())
    longest, memory = max(one.seconds for one in tallies), max(one.process_mb for one in tallies)
    note = (
        "over, under: smallest margins to the voltage limits, pu; load: to the ratings; both adversaries, all states.\n"
        f"{trades:,} trades, {accepted:,} accepted, {states:,} states certified, {corners:,} corners: {false} false accepts\n"
        f"accepted: {_counts(dict(kinds.most_common()))}\n"
        f"$ {figures['command']}\n{figures['seconds']:.0f} s (the slowest network {longest:.0f} s), at most {memory:,} MB a process, "
        f"load average {figures['load']}, {figures['machine']['processor']}"
    )
    return Group(table, note, *(f"{one.network}, {kind}: {where}" for one in tallies if false for kind, where in one.worst.items()))


def _pair(table: Table, loop: str, echo: Spread, ack: Spread) -> None:
    table.add_row(loop, "bare echo, same broker and client", *_us(echo), "1.00")
    table.add_row(loop, "order to acknowledgement", *_us(ack), f"{ack.p50_us / echo.p50_us:.2f}")


def _us(times: Spread) -> tuple[str, str, str]:
    return f"{times.p50_us:,.0f}", f"{times.p99_us:,.0f}", f"{times.max_us:,.0f}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        is_figure = any(unit in column for unit in ("us", "/s", "round", "CPU", "pause", "collector", "of verify", "closed form", "echo"))
        table.add_column(column, justify="right" if number and is_figure else "left")
    return table


TABLES: dict[str, Callable[[Any], RenderableType]] = {"engine": engine, "check": check, "mqtt": mqtt, "replay": replay}

"""What the command line draws: progress, tables. Only looks; rich is imported when something is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from envelopes.allocate import Allocation
    from riskcheck.certify import Certificate
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

PIPED_COLUMNS = 120  # where there is no terminal to tell its width

@contextmanager
def working(quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr for `progress(phrase, share done)`."""
    if quiet:
        yield lambda _phrase, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<44}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda phrase, share: bar.update(task, description=phrase, completed=share)


@contextmanager
def counting(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """The same for `tell(done, total)`."""
    with working(quiet) as progress:
        yield lambda done, total: progress(f"{what}: {done} of {total} batches", done / max(total, 1))


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPED_COLUMNS)


def envelope_table(network: Network, rows: Polytope, allocation: Allocation) -> None:
    """One line per customer: limits, ratings, and what stops each."""
    from rich.table import Table

    n = len(network.customers)
    table = Table(title=f"Max-min envelopes of {network.name}: {n} customers, {rows.n_rows} rows of {rows.rows_given}")
    table.add_column("customer")
    for heading in ("export W", "import W"):
        table.add_column(heading, justify="right")
    table.add_column("export stopped by", no_wrap=True)
    table.add_column("import stopped by", no_wrap=True)
    for i, customer in enumerate(network.customers):
        limits = str(allocation.export_w[i]), str(allocation.import_w[i])
        table.add_row(f"{customer.id} {customer.phase}", *limits, *(_stop(rows, allocation.stopping_row[right]) for right in (i, n + i)))
    _console().print(table)


def certificate_table(network: Network, certificate: Certificate) -> None:
    """The certificate as a person reads it; the breaking corner when there is one."""
    from rich.table import Table

    console = _console()
    table = Table(title=f"AC certificate of {network.name}: {certificate.points_tried} points tried")
    for heading in ("limit", "smallest margin", "where", "corner"):
        table.add_column(heading)
    lowest = min(certificate.lowest_voltages, key=lambda v: v.voltage_pu)
    highest = max(certificate.highest_voltages, key=lambda v: v.voltage_pu)
    for name, margin, v in (
        ("over-voltage", certificate.margin_voltage_max_pu, highest),
        ("under-voltage", certificate.margin_voltage_min_pu, lowest),
    ):
        table.add_row(name, f"{margin:+.5f} pu", f"bus {v.bus} phase {v.phase}: {v.voltage_pu:.4f} pu ({v.voltage_v:.1f} V)", v.corner)
    branch = certificate.worst_branch
    where = f"{branch.name} phase {branch.phase}: {branch.loading_percent:.1f} %"
    table.add_row("thermal", f"{100 * certificate.margin_thermal:+.2f} %", where, branch.corner)
    console.print(table)
    verdict = "[green]secure[/green]: the search found no point that breaks a limit" if certificate.secure else "[red]NOT secure[/red]"
    console.print(f"{verdict} (seed {certificate.seed}, {certificate.effort} search, network {certificate.network_hash[:16]})")
    if not certificate.secure:
        corner = certificate.worst_corner
        console.print(f"breaking corner ({certificate.worst_kind}): {corner.description}, interface at {corner.interface_pu} pu")
        powers = ", ".join(f"{c.id} {watts:+d} W" for c, watts in zip(network.customers, corner.power_w, strict=True))
        console.print(powers, highlight=False)


def summary_table(rows: Iterable[tuple[str, str]], problems: Sequence[str]) -> None:
    """What a run came to, on stderr, and whether it kept every promise."""
    from rich.table import Table

    console = _console(stderr=True)
    table = Table(show_header=False)
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)
    for problem in problems:
        console.print(f"[red]PROBLEM[/red] {problem}")
    if not problems:
        console.print("[green]no violation, no lost acknowledgement, no difference in replay[/green]")


def moment_tables(found: dict[str, Any]) -> None:
    """The state of `replay.rebuild.moment`: a table of holdings per area, the best of each book."""
    from rich.table import Table

    from replay.tape import cents, interval_name

    console = _console()
    console.print(f"after batch {found['batch']}, event {found['sequence']}, market time {interval_name(found['market_time_ms'])} UTC")
    for name, area in found["areas"].items():
        table = Table(title=f"area {name}: holdings, export / import W")
        table.add_column("customer")
        for start_ms, interval in area["intervals"].items():
            table.add_column(f"{interval_name(start_ms)} {interval['gate']}", justify="right")
        table.add_column("cash ct", justify="right")
        for who, cash in area["cash_mct"].items():
            held = [interval["holdings"][who] for interval in area["intervals"].values()]
            table.add_row(who, *(f"{h['export_w']} / {h['import_w']}" for h in held), f"{cash / 1000:+.3f}")
        console.print(table)
        for start_ms, interval in area["intervals"].items():
            for direction, book in interval["books"].items():
                best = [f"{side[0][1]} W @ {cents(side[0][0])}" if side else "nothing" for side in (book["bids"], book["asks"])]
                console.print(f"{interval_name(start_ms)} {direction}: bid {best[0]}, asked {best[1]}", highlight=False)


def _stop(rows: Polytope, row: int | None) -> str:
    if row is None:
        return "its rating"
    return str(rows.labels[row])

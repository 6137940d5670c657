"""What the command line draws: progress, tables. Only looks; rich is imported when something is drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from envelopes.allocate import Allocation
    from gateway import wire
    from replay.verify import Verdict
    from riskcheck.certificate import Certificate, Corner, KindMargin
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

PIPED_COLUMNS = 120  # where there is no terminal to tell its width
NO_POINT = "no operating point: voltage collapse"
LISTED_MAX = 60  # customers of a breaking corner
RULE_WORDS = {"max_min": "Max-min", "proportional": "Proportionally fair", "total": "Greatest-total", "equal": "Equal"}
KINDS = {"voltage_max": "over-voltage", "voltage_min": "under-voltage", "thermal": "thermal", "interface": "interface power"}


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


def rows_are(network: Network) -> str:
    """Which kind of rows `build` makes for it; docs/security.md says what each promises."""
    from riskcheck.linearise import is_proven

    return "proven" if is_proven(network) else "verified"


def envelope_document(network: Network, allocation: Allocation) -> bytes:
    """The envelopes as indented JSON that `envelopes.files` reads, with the kind of rows they were made with."""
    import msgspec

    from envelopes import files

    document = msgspec.to_builtins(files.of(network, allocation)) | {"rows_are": rows_are(network)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def envelope_table(network: Network, rows: Polytope, allocation: Allocation) -> None:
    """One line per customer: limits, ratings, and what stops each."""
    from rich.table import Table

    n = len(network.customers)
    kind = "proven" if rows_are(network) == "proven" else "verified by search (docs/security.md)"
    counted = f"{n} customers, {rows.n_rows} rows of {rows.rows_given}"
    rule = RULE_WORDS.get(allocation.rule, allocation.rule)
    table = Table(title=f"{rule} envelopes of {network.name}: {counted}\nrows: {kind}")
    table.add_column("customer")
    for heading in ("export W", "import W"):
        table.add_column(heading, justify="right")
    table.add_column("export stopped by", no_wrap=True)
    table.add_column("import stopped by", no_wrap=True)
    for i, customer in enumerate(network.customers):
        limits = str(allocation.export_w[i]), str(allocation.import_w[i])
        table.add_row(f"{customer.id} {customer.phase}", *limits, *(_stop(rows, allocation.stopping_row[right]) for right in (i, n + i)))
    _console().print(table)


def note_other_network(network: Network, path: Path) -> None:
    """Says on stderr when an envelope file, already found readable, carries the hash of another network."""
    import msgspec

    from envelopes import files

    if path.suffix.lower() == ".csv" or not path.is_file():  # a pipe is read once
        return
    made_for = msgspec.json.decode(path.read_bytes(), type=files.EnvelopeFile).network_hash
    if made_for not in ("", network.content_hash):
        print(f"note: these envelopes were computed for another network (hash {made_for[:16]})", file=sys.stderr)


def certificate_table(network: Network, certificate: Certificate) -> None:
    """The certificate as a person reads it: the smallest margin of each kind of limit; the breaking corner when there is one."""
    from rich.table import Table

    console = _console()
    table = Table(title=f"AC certificate of {network.name}: {certificate.points_tried} points tried")
    for heading in ("limit", "smallest margin", "where", "corner", "found by"):
        table.add_column(heading)
    for one in certificate.kinds:
        found = ("none", NO_POINT) if _is_collapsed(one) else (_amount(one.margin, one.unit, "+"), _where(network, one))
        table.add_row(KINDS[one.kind], *found, _corner(one.corner), one.strategy)
    console.print(table)
    console.print("tried: " + ", ".join(f"{points} {name}" for name, points in certificate.points_by_strategy.items()), highlight=False)
    verdict = "[green]secure[/green]: the search found no point that breaks a limit" if certificate.secure else "[red]NOT secure[/red]"
    console.print(f"{verdict} (seed {certificate.seed}, {certificate.effort} search, network {certificate.network_hash[:16]})")
    if not certificate.secure:
        corner = certificate.worst_corner
        is_collapsed = any(one.kind == certificate.worst_kind and _is_collapsed(one) for one in certificate.kinds)
        broken = NO_POINT if is_collapsed else certificate.worst_kind
        console.print(f"breaking corner ({broken}): {_corner(corner)}", highlight=False)
        console.print(_powers(network, corner), highlight=False)


def _is_collapsed(one: KindMargin) -> bool:
    """Whether its corner has no power flow: then its value and element stand for nothing."""
    from riskcheck.certify import COLLAPSED

    return one.margin == COLLAPSED


def _where(network: Network, one: KindMargin) -> str:
    phase = f" phase {one.phase}" if network.phases == 3 and one.phase else ""
    volts = f" ({one.value_v:.1f} V)" if one.value_v is not None else ""
    return f"{one.element}{phase}: {_amount(one.value, one.unit, '')}{volts}"


def _amount(value: float, unit: str, sign: str) -> str:
    return f"{value:{sign}.5f} pu" if unit == "pu" else f"{100 * value:{sign}.2f} % {unit}"


def _corner(corner: Corner) -> str:
    return f"{corner.description}, interface at {corner.interface_pu} pu"


def _powers(network: Network, corner: Corner) -> str:
    """Who does what in a corner, the largest powers first where there are too many to list."""
    names = [*(customer.id for customer in network.customers), *(passive.id for passive in network.passives)]
    powers = sorted(zip(names, corner.power_w + corner.passive_w, strict=True), key=lambda one: -abs(one[1]))
    shown = powers if len(powers) > LISTED_MAX else zip(names, corner.power_w + corner.passive_w, strict=True)
    listed = ", ".join(f"{name} {watts:+d} W" for name, watts in list(shown)[:LISTED_MAX])
    return listed if len(powers) <= LISTED_MAX else f"{listed} and {len(powers) - LISTED_MAX} more (all with --json)"


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


def tell_verdict(verdict: Verdict, stderr: bool) -> None:
    """What a replay proved; on stderr where stdout has the tape, which is written out first."""
    lines = [
        f"{verdict.commands} commands in {verdict.batches} batches led to {verdict.events} events again, byte for byte",
        f"{verdict.snapshots} snapshots met, invariants hold, digest {verdict.digest}",
    ]
    if verdict.undigested:
        why = "the process that wrote them was killed right after, or is still writing"
        lines.append(f"{verdict.undigested} batch(es) had no stored digest: {why}")
    sys.stdout.flush()
    print("\n".join(lines), file=sys.stderr if stderr else sys.stdout)


def moment_tables(found: dict[str, Any]) -> None:
    """The state of `replay.rebuild.moment`: a table of holdings per area, the best of each book."""
    from rich.table import Table

    from replay.tape import cents, interval_name, printable

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
            table.add_row(printable(who), *(f"{h['export_w']} / {h['import_w']}" for h in held), f"{cash / 1000:+.3f}")
        console.print(table)
        for start_ms, interval in area["intervals"].items():
            for direction, book in interval["books"].items():
                best = [f"{side[0][1]} W @ {cents(side[0][0])}" if side else "nothing" for side in (book["bids"], book["asks"])]
                console.print(f"{interval_name(start_ms)} {direction}: bid {best[0]}, asked {best[1]}", highlight=False)


def happened_line(happened: wire.Happened) -> str:
    """An event of the operator's as one line: its name, and what of its facts says something."""
    from replay.tape import interval_name, printable

    facts = {name: value for name, value in happened.facts.items() if name not in ("sequence", "note") and value not in (None, "")}
    if "interval_ms" in facts:
        facts["interval"] = interval_name(facts.pop("interval_ms"))
    facts |= facts.pop("settings", {})
    return printable(f"{happened.event}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))


def view_table(home: str, view: wire.ViewReport) -> None:
    """What a right may buy and sell at which effective price, best first."""
    from rich.table import Table

    from replay.tape import cents, interval_name

    console = _console()
    title = f"{interval_name(view.interval_ms)} UTC as {home}'s {view.direction} right sees it, at {view.sequence}"
    table = Table(title=f"{title}\nleft over for nothing: {view.left_over_w} W")
    for heading in ("", "price", "secure W", "from"):
        table.add_column(heading, justify="left" if heading in ("", "from") else "right")
    for name, quotes in (("offered", view.offers[::-1]), ("wanted", view.bids)):
        for quote in quotes:
            table.add_row(name, cents(quote.price_mct), str(quote.secure_w), quote.direction)
    console.print(table)


def _stop(rows: Polytope, row: int | None) -> str:
    if row is None:
        return "its rating"
    return str(rows.labels[row])

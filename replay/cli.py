"""`limex replay`, `import`, `export`, `settle` and `whatif`: parses, checks, calls, prints; decides nothing.

`gateway/cli.py` adds these to its own with `add_parsers`, and their failures with `expected_failures`. Exit codes are its own: 0
done, 1 the answer is no (a replay that differs, accounts that do not add up), 2 wrong arguments or bad input, 3 the surroundings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import arguments as given
from gateway.arguments import BAD_INPUT, NO, OK, SURROUNDINGS, UsageError
from replay import options

if TYPE_CHECKING:
    from envelopes.refresh import Plan, Progress
    from exchange.bounds import MarketSettings
    from exchange.commands import Command
    from exchange.recovery import Batch
    from gateway.clock import Schedule
    from replay.orderlog import Log
    from replay.script import Told
    from replay.settlement import Statement
    from replay.tabular import Value
    from riskcheck.network import Network

LOG_SUFFIXES = (".csv", ".parquet")
MINUTE_MS = 60_000


def expected_failures() -> dict[type[Exception], int]:
    """Failures that have a message for people, and their exit codes."""
    from replay.orderlog import BadLogError
    from replay.tabular import MissingExtraError, OutputError, UnreadableTableError
    from replay.variants import VariantError

    return {
        BadLogError: BAD_INPUT, UnreadableTableError: BAD_INPUT, VariantError: BAD_INPUT,
        MissingExtraError: SURROUNDINGS, OutputError: SURROUNDINGS,
    }  # fmt: skip


# --- replay -------------------------------------------------------------------------------------------------------


def _replay(arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.show import counting, tell_verdict
    from replay import tape
    from replay.pace import Pace
    from replay.verify import verify

    journal = _journal(arguments.journal)
    if arguments.at is not None:
        return _moment(arguments)
    until, pace, reached = _until(arguments, journal), Pace(arguments.speed, _tell_wait), 0
    with counting("replaying", quiet=arguments.json or arguments.tape) as tell:

        def hear(batch: Batch, total: int) -> None:
            nonlocal reached
            pace.wait(batch.at_ms)
            reached = batch.number
            if arguments.tape:
                print("\n".join(tape.lines(batch)), flush=arguments.speed is not None)
            tell(batch.number, total)

        try:
            verdict = verify(journal, until=until, on_batch=hear)
        except KeyboardInterrupt:
            print(f"stopped after batch {reached}", file=sys.stderr)
            raise
    if arguments.json:
        print(msgspec.json.encode(verdict).decode())
    else:
        tell_verdict(verdict, stderr=arguments.tape)
    return OK


def _moment(arguments: argparse.Namespace) -> int:
    """The state at a moment."""
    from gateway.show import moment_tables
    from replay.moments import batch_of
    from replay.rebuild import moment, rebuild

    idle = [name for name in ("tape", "until", "speed") if getattr(arguments, name)]
    if idle:
        raise UsageError(f"--at shows one moment and takes no --{' and no --'.join(idle)}")
    engine, number = rebuild(arguments.journal, batch=batch_of(arguments.journal, arguments.at))
    found = moment(engine, number)
    if arguments.json:
        print(json.dumps(found))
    else:
        moment_tables(found)
    return OK


def _tell_wait(seconds: float) -> None:
    print(f"nothing was recorded here for a while: waiting {seconds:.0f} s", file=sys.stderr)


def _until(arguments: argparse.Namespace, journal: Path) -> int | None:
    """The batch of `--until`; None: the last one."""
    from replay.moments import batch_of

    return None if arguments.until is None else batch_of(journal, arguments.until)


# --- import, export -----------------------------------------------------------------------------------------------


def _import(arguments: argparse.Namespace) -> int:
    from gateway.show import working
    from replay.importer import into_journal, refuse_existing
    from replay.show import tell_rejects
    from replay.tape import printable

    refuse_existing(arguments.journal)
    told, log = _told(arguments)
    with working(quiet=arguments.json) as progress:
        done = into_journal(arguments.journal, told, lambda count: progress("deciding", count / len(told)))
    if arguments.json:
        found = {"journal": str(arguments.journal), "lines": len(log.entries), "skipped": len(log.problems), **done._asdict()}
        print(json.dumps(found))
        return OK
    print(f"{len(log.entries)} lines imported, {len(log.problems)} mistakes skipped; {done.commands} commands in {arguments.journal}")
    again = f", {done.repeated} repeated and answered as before" if done.repeated else ""
    print(f"{done.accepted} orders accepted{again}, {done.trades} trades; rejects: {tell_rejects(done.rejects)}")
    for refused in done.refused:
        print(f"REFUSED {printable(refused)}")
    return OK


def _export(arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.show import counting
    from replay.export import export
    from replay.tables import TABLES
    from replay.tape import printable

    names = list(TABLES) if arguments.tables is None else list(dict.fromkeys(arguments.tables.split(",")))
    unknown = [repr(name) for name in names if name not in TABLES]
    if unknown:
        raise UsageError(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    journal = _journal(arguments.journal)
    until = _until(arguments, journal)
    with counting("exporting", quiet=arguments.json) as tell:
        done = export(journal, arguments.out, arguments.format, names, until=until, on_batch=lambda batch, total: tell(batch.number, total))
    if arguments.json:
        print(json.dumps({"rows": done.rows, "problems": done.problems, "verdict": msgspec.to_builtins(done.verdict)}))
    else:
        for name, rows in done.rows.items():
            print(f"{rows:>9} rows  {arguments.out / name}.{arguments.format}: {TABLES[name].one_row}")
        for problem in done.problems:
            print(f"PROBLEM {printable(problem)}")
    return NO if done.problems else OK


# --- settle -------------------------------------------------------------------------------------------------------


def _settle(arguments: argparse.Namespace) -> int:
    from replay.settlement import SETTLEMENT, totals
    from replay.show import customer_table, tell_balance, totals_table
    from replay.tabular import pyarrow, write

    if arguments.parquet is not None:
        pyarrow(str(arguments.parquet))  # whether it is installed is said now, not after the replay
    statements, problems = _statements(arguments)
    names = sorted({account.customer for statement in statements for account in statement.accounts})
    if arguments.customer is not None and names and arguments.customer not in names:
        raise UsageError(f"{arguments.journal} has no customer {arguments.customer}; it has {len(names)}, like {', '.join(names[:3])}")
    rows = [row for statement in statements for row in statement.rows()]
    for path in filter(None, (arguments.csv, arguments.parquet)):
        write(path, SETTLEMENT, rows)
    if arguments.json:
        print(json.dumps({"settlement": _as_objects(rows), "problems": problems}))
        return NO if problems else OK
    if arguments.customer is not None:
        customer_table(arguments.customer, statements)
    else:
        totals_table(statements, totals(statements))
    tell_balance(statements, problems)
    return NO if problems else OK


def _statements(arguments: argparse.Namespace) -> tuple[list[Statement], list[str]]:
    """Every interval's account, those still open last, from a replay that is verified; and what does not add up."""
    from gateway.show import counting
    from replay.settlement import Books
    from replay.verify import verify

    journal = _journal(arguments.journal)
    until, books = _until(arguments, journal), Books()
    found: list[Statement] = []
    with counting("settling", quiet=arguments.json) as tell:

        def take(batch: Batch, total: int) -> None:
            for events in batch.events:
                found.extend(statement for event in events if (statement := books.take(event)) is not None)
            tell(batch.number, total)

        verify(journal, until=until, on_batch=take)
    return found + books.open(), books.problems


def _as_objects(rows: Iterable[tuple[Value, ...]]) -> list[dict[str, Value]]:
    """Rows of SETTLEMENT with the names of its columns."""
    from replay.settlement import SETTLEMENT
    from replay.tabular import iso

    names = [column.name for column in SETTLEMENT.columns]
    listed = [dict(zip(names, row, strict=True)) for row in rows]
    return [one | {"interval": iso(int(one["interval"] or 0))} for one in listed]


# --- what if ------------------------------------------------------------------------------------------------------


def _whatif(arguments: argparse.Namespace) -> int:
    from gateway.show import working
    from replay.outcome import as_builtins
    from replay.show import outcomes_table
    from replay.variants import RULES, Variant, parse
    from replay.whatif import compare, tape_of_journal
    from replay.whatif_report import write

    asked = [parse(text) for text in arguments.against or [f"rule={rule}" for rule in RULES]]
    tape: list[Command]
    if arguments.source.suffix.lower() in LOG_SUFFIXES:
        arguments.log = arguments.source
        tape = [command for _, command in _told(arguments)[0]]
        variants = asked
    else:
        _refuse_options_of_logs(arguments)
        tape = tape_of_journal(_journal(arguments.source))
        variants = [Variant(), *asked]
    with working(quiet=arguments.json) as progress:
        outcomes = list(compare(tape, variants, _plan, progress))
    if arguments.out is not None:
        page = write(outcomes, arguments.source.name, arguments.out)
    if arguments.json:
        print(json.dumps(as_builtins(outcomes)))
    else:
        outcomes_table(outcomes)
        if arguments.out is not None:
            print(f"report: {page}")
    return NO if any(one.problems for one in outcomes) else OK


def _refuse_options_of_logs(arguments: argparse.Namespace) -> None:
    idle = [name for name, usual in options.LOG_DEFAULTS.items() if getattr(arguments, name) != usual]
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UsageError(f"{names}: of an order log; a journal has its own. --against network=NETWORK compares it with another network")


# --- shared -------------------------------------------------------------------------------------------------------


def _journal(path: Path) -> Path:
    """A journal that can be read. Raises UsageError: what cannot be is bad input here, not a failure to write."""
    from exchange.journal import Journal, JournalError

    try:
        Journal(path, readonly=True).close()
    except JournalError as error:
        raise UsageError(str(error)) from error
    return path


def _told(arguments: argparse.Namespace) -> tuple[list[Told], Log]:
    """What an exchange on the given network is told by an order log; its mistakes and its gates are said on stderr."""
    from exchange.bounds import MarketSettings
    from gateway.show import working
    from replay.orderlog import load
    from replay.script import commands, schedule_of

    rule = getattr(arguments, "rule", "one_to_one")
    settings = MarketSettings(interval_ms=arguments.interval_minutes * MINUTE_MS, matching=rule)
    network = given.network(arguments.network)
    names = [customer.id for customer in network.customers]
    log = load(arguments.log, arguments.area, names, skip_bad=arguments.skip_bad)
    for problem in log.problems:
        print(f"skipped {problem}", file=sys.stderr)
    if not log.entries:
        raise UsageError(f"{arguments.log}: no line of it can be used")
    schedule = _schedule(arguments, schedule_of(log.entries, settings.interval_ms))
    if not arguments.json:
        opens, closes = schedule.open_lead_ms / MINUTE_MS, schedule.close_lead_ms / MINUTE_MS
        print(f"gates open {opens:g} and close {closes:g} minutes before delivery", file=sys.stderr)
    with working(quiet=arguments.json) as progress:
        ready = _plan_of(network, arguments.area, settings, progress)
    return list(commands(log.entries, ready, schedule)), log


def _schedule(arguments: argparse.Namespace, read_off: Schedule) -> Schedule:
    """The schedule of the log, with the leads that were asked for."""
    import msgspec

    leads = {"open_lead_ms": arguments.open_lead_minutes, "close_lead_ms": arguments.close_lead_minutes}
    schedule = msgspec.structs.replace(read_off, **{name: int(lead * MINUTE_MS) for name, lead in leads.items() if lead is not None})
    if schedule.problems():
        raise UsageError("; ".join(schedule.problems()))
    return schedule


def _plan(source: str, settings: MarketSettings) -> Plan:
    return _plan_of(given.network(source), "lv", settings)


def _plan_of(network: Network, area: str, settings: MarketSettings, progress: Progress | None = None) -> Plan:
    from envelopes.refresh import plan

    return plan(network, area, settings, progress)


# --- parsers ------------------------------------------------------------------------------------------------------


def add_parsers(commands: given.Commands) -> None:
    """The five commands, with their options and handlers."""
    add = partial(given.command, commands)
    options.replay_options(add("replay", _replay, options.REPLAY_TEXT, "limex replay limex-report/journal.sqlite --tape | less"))
    options.import_options(
        add("import", _import, options.IMPORT_TEXT, "limex import orders.csv --network cigre-lv --journal orders.sqlite")
    )
    options.export_options(
        add("export", _export, options.EXPORT_TEXT, "limex export limex-report/journal.sqlite --out tables --format parquet")
    )
    options.settle_options(add("settle", _settle, options.SETTLE_TEXT, "limex settle limex-report/journal.sqlite --csv settlement.csv"))
    options.whatif_options(
        add("whatif", _whatif, options.WHATIF_TEXT, "limex whatif limex-report/journal.sqlite --against rule=joint --out whatif")
    )

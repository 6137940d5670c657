"""`limex compare`: parses, checks, calls, prints; decides nothing. `gateway/cli.py` adds it to its own commands with `add_parsers`."""

from __future__ import annotations

import argparse
import json
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import arguments as given
from gateway.arguments import OK, SURROUNDINGS, OutputError
from riskcheck.network import DEFAULT_NETWORK

if TYPE_CHECKING:
    from compare.run import Comparison, Task

MARKS = "*: best of those that keep the limits, or not to be told from it; !: a limit is broken"
LOOKS = {"best": "[bold green]{} *[/]", "broken": "[red]{} ![/]", "": "{}"}
INTERVALS_MAX = 96
NETWORK_HELP = "a builtin network (default: %(default)s), simbench:CODE with its year of profiles, or the path of a pandapower JSON file"


class WorkersError(Exception):
    """A process that lived days is gone."""


def expected_failures() -> dict[type[Exception], int]:
    """Failures that have a message for people, and their exit codes."""
    return {WorkersError: SURROUNDINGS}


def _compare(arguments: argparse.Namespace) -> int:
    from compare.page import facts, write
    from compare.run import Task, compare
    from gateway.show import working

    seeds = tuple(range(arguments.seed, arguments.seed + arguments.days))
    task = Task(given.network(arguments.network), seeds, arguments.intervals, arguments.processes, arguments.out)
    try:
        with working(quiet=arguments.json) as progress:
            found = compare(task, progress)
        page = write(task, found)
    except BrokenExecutor as error:
        raise WorkersError("a process that lived a day was ended from outside, maybe for want of memory; run again to go on") from error
    except OSError as error:
        raise OutputError(f"cannot use {error.filename or arguments.out}: {error.strerror or error}") from error
    if arguments.json:
        print(json.dumps(facts(task, found)))
    else:
        _tell(task, found, page)
    return OK


def _tell(task: Task, found: Comparison, page: Path) -> None:
    """The table, and what it says."""
    from rich.console import Console
    from rich.table import Table

    from compare.page import subject
    from compare.paradigms import NAMES
    from compare.verdict import headline, ranked, table, temptation, verdict

    console = Console()
    console = console if console.is_terminal else Console(width=150)
    drawn = Table(title=subject(task, found), title_justify="left", caption=MARKS, caption_justify="left")
    drawn.add_column("a day, ± 95 %")
    for name in ranked(found.days):
        drawn.add_column(NAMES[name], justify="right")
    for what, cells in table(found.days):
        drawn.add_row(what, *(LOOKS[cell.mark].format(cell.text) for cell in cells))
    console.print(drawn)
    console.print(f"[bold]{headline(found.days)}[/]", *filter(None, [temptation(found.days)]), sep="\n", highlight=False)
    for line in verdict(found.days):
        console.print(f"- {line}", highlight=False)
    console.print(f"report: {page}", highlight=False)


def _intervals(text: str) -> int:
    count = int(given.positive(int)(text))
    if count > INTERVALS_MAX:
        raise argparse.ArgumentTypeError(f"a day has {INTERVALS_MAX} quarter hours, not {text}")
    return count


def add_parsers(commands: given.Commands) -> None:
    """The one command, with its options and handler."""
    parser = given.command(commands, "compare", _compare, COMPARE_TEXT, "limex compare --days 20 --out comparison")
    parser.add_argument("--network", default=DEFAULT_NETWORK, metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--days", type=given.positive(int), default=20, metavar="N", help="how many days (default: %(default)s)")
    parser.add_argument("--seed", type=given.seed, default=1, metavar="N", help="of the first day, then one by one (default: %(default)s)")
    parser.add_argument("--intervals", type=_intervals, default=INTERVALS_MAX, metavar="N", help="only so many quarter hours from 06:00 on")
    parser.add_argument("--processes", type=given.positive(int), default=2, metavar="N", help="days at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("limex-comparison"), metavar="FOLDER", help="of the report (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object on stdout")


COMPARE_TEXT = """Compares paradigms on the same network, homes and days: static limits, curtailment, envelopes, envelopes with the market.

Every paradigm lives through the same days. AC power flow of every minute says which limits are broken; the homes' own valuations say
what they lost. Writes report.json, three pictures and index.html. A run that was stopped goes on where it was."""

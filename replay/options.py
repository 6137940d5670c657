"""What the commands of replay can be told: options, their help, and the texts that open it. No handler is here."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.arguments import NETWORK_HELP, area, file_out, folder_out, lead, positive
from riskcheck.network import DEFAULT_NETWORK

MOMENT_HELP = (
    "a batch number, a time by the clock of the exchange that recorded, like 2026-11-22T16:29:30, or market time, like "
    "market:2026-04-27T14:05:00 (UTC unless it says another zone)"
)
LOG_DEFAULTS = {
    "network": DEFAULT_NETWORK, "area": "lv", "interval_minutes": 15, "open_lead_minutes": None, "close_lead_minutes": None,
    "skip_bad": False,
}  # fmt: skip


def _parquet(text: str) -> Path:
    if not text.lower().endswith(".parquet"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .parquet")
    return file_out(text)


def replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="a journal of `limex serve`, of `limex import` or of a demo's report")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tape", action="store_true", help="print every event as a sentence, and the verdict on stderr")
    shape.add_argument("--json", action="store_true", help="the verdict, or the moment, as one JSON object")
    parser.add_argument("--until", metavar="MOMENT", help=f"stop after it: {MOMENT_HELP}")
    parser.add_argument(
        "--speed", type=positive(float), metavar="N", help="1: as fast as it was recorded, 10: ten times; default: full speed"
    )
    parser.add_argument("--at", metavar="MOMENT", help="show books, holdings and cash after it, and nothing else")


def _log_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(**LOG_DEFAULTS)
    parser.add_argument("--network", metavar="NETWORK", help=f"of an order log: {NETWORK_HELP}")
    parser.add_argument("--area", type=area, help="of an order log: name of the area (default: %(default)s)")
    parser.add_argument("--interval-minutes", type=int, choices=(5, 15, 30), help="(default: %(default)s)")
    gates = "before delivery; default: so that no order of the log comes too {}"
    parser.add_argument("--open-lead-minutes", type=positive(float), metavar="N", help=f"gates open {gates.format('early')}")
    parser.add_argument("--close-lead-minutes", type=lead, metavar="N", help=f"gates close {gates.format('late')}")
    parser.add_argument("--skip-bad", action="store_true", help="leave out lines with mistakes, which are listed on stderr")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", type=Path, metavar="LOG", help="CSV, or Parquet where the name ends in .parquet; columns: docs/replay.md")
    parser.add_argument("--journal", type=file_out, required=True, help="the journal to make; refused where there is such a file")
    parser.add_argument("--rule", choices=("one_to_one", "exchange_rate"), default="one_to_one", help="matching (default: %(default)s)")
    _log_options(parser)


def export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", type=Path, metavar="JOURNAL")
    parser.add_argument("--out", type=folder_out, default="limex-tables", help="folder of the tables (default: %(default)s)")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="(default: %(default)s)")
    parser.add_argument("--tables", metavar="A,B", help="only these; default: all")
    parser.add_argument("--until", metavar="MOMENT", help=f"stop after it: {MOMENT_HELP}")
    parser.add_argument("--json", action="store_true", help="rows by table and the verdict as JSON on stdout")


def settle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", type=Path, metavar="JOURNAL")
    parser.add_argument("--csv", type=file_out, metavar="FILE", help="a row per customer and interval")
    parser.add_argument("--parquet", type=_parquet, metavar="FILE", help="the same; its name ends in .parquet")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--customer", help="show one customer, interval by interval")
    parser.add_argument("--until", metavar="MOMENT", help=f"as it stood after it: {MOMENT_HELP}")
    shape.add_argument("--json", action="store_true", help="every row as JSON on stdout")


def whatif_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="JOURNAL_OR_LOG", help="a journal, or an order log (.csv, .parquet)")
    parser.add_argument("--against", action="append", metavar="WHAT", help="what differs; may be given often; default: each rule")
    parser.add_argument("--out", type=folder_out, metavar="FOLDER", help="also write whatif.html, whatif.png and whatif.json there")
    _log_options(parser)


REPLAY_TEXT = """Replays a journal and proves that it leads to the same events and states, byte for byte.

Exits with 1 at the first batch or snapshot that comes out different."""
IMPORT_TEXT = """Reads an order log that anyone made, decides it on a network and keeps it as a journal.

Every mistake of every line is listed with what would be right; with one mistake nothing is imported, unless --skip-bad."""
EXPORT_TEXT = """Writes a journal as tables: commands, orders, trades, blocked, settlement, phases, orderlog.

CSV, or Parquet with the extra limex[parquet]. The columns and their units are in docs/replay.md."""
SETTLE_TEXT = """Settles a journal: who was given, bought, sold and lost how many watts, and who owes whom.

Sums to zero with the operator's account, which is checked; exits with 1 where it does not."""
WHATIF_TEXT = """Runs the same customers' requests against other rules, rows or networks, side by side.

  --against rule=one_to_one      pair by pair, watts against as many watts
  --against rule=exchange_rate   pair by pair, at network exchange rates
  --against rule=joint           the same, with joint fills proposed by the solver
  --against rule=auction         orders collect until the gate, then all are matched at once
  --against rows=tightened:20    20 per mille more on every coefficient; rows=none: no network limit; rows=FILE
  --against network=NETWORK      another network, with its own envelopes
Several at once with commas: --against rule=auction,rows=tightened:20"""

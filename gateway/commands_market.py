"""`limex demo` and `limex serve`: their options, and what they hand to the market at work."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import arguments as given
from gateway.arguments import NETWORK_HELP, NO, OK, PASSWORDS_HELP, UsageError
from riskcheck.network import DEFAULT_NETWORK

if TYPE_CHECKING:
    from exchange.bounds import MarketSettings
    from gateway.clock import Schedule
    from riskcheck.network import Network

MINUTE_MS = 60_000


def run_demo(arguments: argparse.Namespace) -> int:
    from demo.run import DemoSettings, run

    network = given.network(arguments.network)
    settings = DemoSettings(
        network=arguments.network, seed=arguments.seed, intervals=arguments.intervals, interval_s=arguments.interval_seconds,
        broker_url=arguments.broker, broker_kind=arguments.broker_kind, passwords=_passwords(arguments, network), out=arguments.out,
        quiet=arguments.json,
    )  # fmt: skip
    summary = run(network, settings)
    if arguments.json:
        print(json.dumps(summary))
    return NO if summary["problems"] else OK


def _passwords(arguments: argparse.Namespace, network: Network) -> dict[str, str]:
    """The homes', each of which has its own account on a configured broker. Raises UsageError with those that have none."""
    from gateway.accounts import read_passwords

    passwords = read_passwords(arguments.passwords)
    missing = [customer.id for customer in network.customers if customer.id not in passwords]
    if arguments.broker is not None and missing:
        raise UsageError(f"a configured broker needs --passwords with every home's; {len(missing)} have none, like {missing[0]}")
    return passwords


def run_serve(arguments: argparse.Namespace) -> int:
    from envelopes.audit import Alarm
    from gateway.auditor import AuditSettings
    from gateway.serve import ServeSettings, serve

    alarm = Alarm(voltage_pu=arguments.alarm_voltage_pu, loading=arguments.alarm_loading_percent / 100)
    settings = ServeSettings(
        source=arguments.network, area=arguments.area, journal=arguments.journal, schedule=schedule_of(arguments),
        broker_url=arguments.broker, passwords=arguments.passwords, credentials=arguments.credentials,
        operator_account=arguments.operator_account, audit=AuditSettings(alarm), recourse=arguments.recourse, market=market_of(arguments),
        refreshed=arguments.refreshed,
    )  # fmt: skip
    serve(given.network(arguments.network), settings)
    return OK


def schedule_of(arguments: argparse.Namespace) -> Schedule:
    from gateway.clock import Schedule

    auction_lead = arguments.open_lead_minutes + arguments.auction_minutes if arguments.call_auctions else 0
    schedule = Schedule(
        interval_ms=arguments.interval_minutes * MINUTE_MS,
        open_lead_ms=int(arguments.open_lead_minutes * MINUTE_MS),
        close_lead_ms=int(arguments.close_lead_minutes * MINUTE_MS),
        announce_lead_ms=int(arguments.announce_lead_minutes * MINUTE_MS),
        auction_lead_ms=int(auction_lead * MINUTE_MS),
        pause_ms=int(arguments.pause_minutes * MINUTE_MS),
    )
    if schedule.problems():
        raise UsageError("; ".join(schedule.problems()))
    return schedule


def market_of(arguments: argparse.Namespace) -> MarketSettings:
    from exchange.bounds import MarketSettings

    settings = MarketSettings(
        interval_ms=arguments.interval_minutes * MINUTE_MS, matching=arguments.matching, sweeps=arguments.sweeps,
        call_auctions=arguments.call_auctions, auction_pricing=arguments.auction_pricing, collar_mct=arguments.collar_mct,
        pause_mct=arguments.pause_mct, requests_free=arguments.requests_free, requests_per_trade=arguments.requests_per_trade,
        requests_max=arguments.requests_max,
    )  # fmt: skip
    if settings.problems():
        raise UsageError("; ".join(settings.problems()))
    return settings


def demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default=DEFAULT_NETWORK, metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--seed", type=given.seed, default=1, help="of the homes: the same seed, the same homes (default: %(default)s)")
    parser.add_argument("--intervals", type=given.positive(int), default=16, help="how many 15-minute intervals (default: %(default)s)")
    parser.add_argument(
        "--interval-seconds", type=given.positive(float), default=4.5, help="wall-clock seconds per interval (default: %(default)s)"
    )
    parser.add_argument("--out", type=given.folder_out, default="limex-report", help="folder of the report (default: %(default)s)")
    parser.add_argument("--broker", metavar="URL", type=given.broker_url, help="mqtt://user:password@host:port instead of a private broker")
    parser.add_argument("--passwords", type=Path, help=PASSWORDS_HELP)
    parser.add_argument("--broker-kind", choices=("mosquitto", "amqtt"), help="insist on one private broker")
    parser.add_argument("--json", action="store_true", help="no progress; the summary as one JSON object on stdout")


def serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default=DEFAULT_NETWORK, metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--area", type=given.area, default="lv", help="name of the area in topics (default: %(default)s)")
    parser.add_argument("--journal", type=given.file_out, default="limex.sqlite", help="made if it is not there (default: %(default)s)")
    parser.add_argument("--broker", metavar="URL", type=given.broker_url, help="mqtt://user:password@host:port; default: a private broker")
    parser.add_argument("--passwords", type=Path, help=PASSWORDS_HELP)
    parser.add_argument(
        "--credentials", type=Path, default=Path("limex-credentials.json"),
        help="where a private broker's address and passwords are written, for the homes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--operator-account", type=Path, default=Path("limex-operator.json"),
        help="where the operator's own account on it is written, for `limex operator` (default: %(default)s)",
    )  # fmt: skip
    _time_options(parser.add_argument_group("the life of an interval, in minutes before its delivery"))
    _rule_options(parser.add_argument_group("the rules of a new market; one that has a journal keeps its own, as amended"))
    alarm = "audited {} margin below which rows are tightened (default: %(default)s)"
    parser.add_argument("--alarm-voltage-pu", type=given.positive(float), default=0.0003, help=alarm.format("voltage"))
    parser.add_argument("--alarm-loading-percent", type=given.positive(float), default=0.3, help=alarm.format("current"))
    parser.add_argument("--recourse", action="store_true", help="set inverters and taps where that makes a blocked trade secure")
    parser.add_argument("--refreshed", type=Path, metavar="DIR", help="where `limex refresh` keeps envelopes made from new forecasts")


def _time_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--interval-minutes", type=int, choices=(5, 15, 30), default=15, help="its length (default: %(default)s)")
    group.add_argument("--announce-lead-minutes", type=given.lead, default=0, help="its envelopes are published (default: when it opens)")
    group.add_argument("--open-lead-minutes", type=given.positive(float), default=60, help="trading begins (default: %(default)s)")
    group.add_argument("--close-lead-minutes", type=given.positive(float), default=5, help="trading ends (default: %(default)s)")
    group.add_argument(
        "--auction-minutes",
        type=given.positive(float),
        default=10,
        help="with --call-auctions: orders collect before (default: %(default)s)",
    )
    group.add_argument("--pause-minutes", type=given.positive(float), default=1, help="a volatility pause lasts (default: %(default)s)")


def _rule_options(group: argparse._ArgumentGroup) -> None:
    from exchange.bounds import MarketSettings

    group.add_argument(
        "--matching", choices=("exchange_rate", "one_to_one"), default="exchange_rate",
        help="watts at network exchange rates, or against as many watts (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--sweeps", action=argparse.BooleanOptionalAction, default=True, help="the solver proposes joint fills (default: %(default)s)"
    )
    group.add_argument(
        "--call-auctions", action=argparse.BooleanOptionalAction, default=False,
        help="trading begins, and goes on after a halt or a pause, with an auction (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--auction-pricing", choices=("pay_as_bid", "uniform"), default="pay_as_bid",
        help="everybody at its own limit, or a price per right (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--collar-mct", type=given.whole, default=0, help="an order's price may be so far from the last trade's (0: any)")
    group.add_argument("--pause-mct", type=given.whole, default=0, help="trading pauses when its price moved by more (0: never)")
    group.add_argument(
        "--requests-free", type=given.whole, default=0, help="orders and replacements per customer and interval (0: any number)"
    )
    group.add_argument(
        "--requests-per-trade", type=given.whole, default=0, help="and so many more for each of its trades (default: %(default)s)"
    )
    group.add_argument(
        "--requests-max", type=given.whole, default=MarketSettings().requests_max,
        help="requests of a customer that an interval remembers; it decides no more (default: %(default)s)",
    )  # fmt: skip


DEMO_TEXT = """Homes trade their limits over MQTT on a real feeder, end to end.

Computes secure rows, fair envelopes and their AC certificate; starts broker, exchange and one MQTT client per home; runs the
market faster than real time; ends with a report, an AC certificate of every interval and a replay of its own journal.
Exits with 1 on any AC violation, lost acknowledgement or difference in the replay."""
SERVE_TEXT = """Runs the exchange in real time until it is interrupted.

Commands are on the disk before anything is answered; started again on the same journal it continues where it was.
An auditor in a process of its own certifies all holdings in AC power flow while they trade; what it finds insecure is halted.

  SIGHUP   reads NETWORK again and puts it in force: holdings that no longer fit are lowered and compensated
  SIGUSR1  resumes trading that an audit has halted
  `limex operator` halts, suspends, amends and withholds while it runs.
  docs/operators.md says more."""

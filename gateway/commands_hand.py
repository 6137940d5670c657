"""`limex operator` and `limex view`: orders to a running exchange, and the market as a home sees it, over MQTT.

An order is a command in the exchange's journal, with its reason; what is printed is what came of it. Exit code 1 where the exchange
refused, 3 where it did not answer. `view` uses the home's reader, so the home's own client stays connected.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import arguments as given
from gateway.arguments import BAD_INPUT, NO, OK, UsageError

if TYPE_CHECKING:
    from gateway import wire

PATIENCE_S = 10.0
Subparsers = Any  # argparse names the type of `add_subparsers` with an underscore


def run_operator(arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway import topics, wire
    from gateway.accounts import operator_account
    from gateway.message import Message
    from gateway.once import ask

    account = operator_account(arguments.broker, arguments.area, arguments.account)
    order = order_of(arguments)

    def read(payload: bytes) -> wire.AnyOutcome | None:
        outcome = wire.decode_outcome(payload)
        return outcome if outcome.id == order.id else None

    question = Message(topics.operator_request(account.area), wire.encode(order), 1, False)
    outcome = ask(account, question, topics.operator_response(account.area), read, arguments.patience_seconds)
    assert isinstance(outcome, wire.Outcome | wire.Refusal)
    if arguments.json:
        print(msgspec.json.encode(outcome).decode())
    else:
        _tell(outcome)
    if isinstance(outcome, wire.Refusal):
        return BAD_INPUT if outcome.reason == "malformed" else NO
    return OK


def order_of(arguments: argparse.Namespace) -> wire.AnyOrder:
    """The order that the arguments make. Raises UsageError with what is out of bounds."""
    from gateway import wire

    fields = {name: getattr(arguments, name) for name in arguments.fields}
    whole = {"v": 1, "type": arguments.order, "id": arguments.id or f"op-{secrets.token_hex(6)}", "reason": arguments.reason, **fields}
    order = wire.decode_order(json.dumps({name: value for name, value in whole.items() if value is not None}).encode())
    if isinstance(order, wire.Malformed):
        raise UsageError(f"{order.field}: {order.reason}" if order.field else order.reason)
    return order


def _tell(outcome: wire.AnyOutcome) -> None:
    from gateway import wire
    from gateway.show import happened_line
    from replay.tape import printable

    if isinstance(outcome, wire.Refusal):
        print(f"limex: refused: {outcome.reason}: {printable(outcome.detail)}", file=sys.stderr)
        return
    for happened in outcome.happened:
        print(happened_line(happened))
        if "note" in happened.facts:
            print(f"note: {printable(str(happened.facts['note']))}", file=sys.stderr)
    counted = [(outcome.orders_cancelled, "orders cancelled"), (outcome.trades, "trades")]
    told = ", ".join(f"{count} {what}" for count, what in counted if count)
    print(f"in force and in the journal at {outcome.sequence} (order {outcome.id}){': ' + told if told else ''}")


def run_view(arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway import topics, wire
    from gateway.accounts import reader_account
    from gateway.message import Message
    from gateway.once import ask
    from gateway.show import view_table
    from replay.tape import printable

    account = reader_account(arguments.broker, arguments.area, arguments.credentials, arguments.home)
    request = wire.View(v=1, id=f"view-{secrets.token_hex(6)}", interval_ms=arguments.interval, direction=arguments.direction)

    def read(payload: bytes) -> wire.AnyReport | None:
        report = wire.decode_report(payload)
        return report if report.id == request.id else None

    question = Message(topics.ask(account.area, arguments.home), wire.encode(request), 1, False)
    report = ask(account, question, topics.told(account.area, arguments.home), read, arguments.patience_seconds)
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    elif isinstance(report, wire.ViewReport):
        view_table(arguments.home, report)
    else:
        told = f"{getattr(report, 'reason', type(report).__name__)}: {getattr(report, 'detail', '')}"
        print(f"limex: refused: {printable(told)}", file=sys.stderr)
    return OK if isinstance(report, wire.ViewReport) else NO


# --- options ------------------------------------------------------------------------------------------------------


def view_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("home", metavar="HOME", help="its name in the credentials file")
    parser.add_argument("interval", type=given.interval, metavar="INTERVAL", help=INTERVAL_HELP)
    parser.add_argument("direction", choices=("export", "import"), help="of the right that looks")
    parser.add_argument(
        "--credentials", type=Path, default=Path("limex-credentials.json"), help="that `limex serve` wrote (default: %(default)s)"
    )
    _connection_options(parser, "the home's reader")


def operator_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, order: str, fields: tuple[str, ...], text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text)
        added.set_defaults(order=order, fields=fields)
        return added

    for add in (_halt_options, _suspend_options, _amend_options, _phase_options, _withhold_options):
        add(action)
    for added in dict.fromkeys(actions.choices.values()):
        added.add_argument("--reason", required=True, help="why; it is kept in the journal and told to whom it concerns")
        added.add_argument("--id", help="of the order: the same id again does nothing twice (default: a fresh one)")
        added.add_argument(
            "--account", type=Path, default=Path("limex-operator.json"), help="that `limex serve` wrote (default: %(default)s)"
        )
        _connection_options(added, "the operator")


Action = Callable[[str, str, tuple[str, ...], str], argparse.ArgumentParser]


def _halt_options(action: Action) -> None:
    scope = ("interval_ms", "direction")
    for name, text in (
        ("halt", "stops an area, an interval or one of its books; cancels still work"),
        ("resume", "takes back the halt of the same scope"),
    ):
        parser = action(name, name, scope, text)
        parser.add_argument("--interval", dest="interval_ms", type=given.interval, metavar="INTERVAL", help=INTERVAL_HELP)
        parser.add_argument("--book", dest="direction", choices=("export", "import"), help="of the interval; default: both")


def _suspend_options(action: Action) -> None:
    for name, text in (
        ("suspend", "the kill switch: cancels a customer's orders and takes no new ones"),
        ("reinstate", "takes back the suspension of the same scope"),
    ):
        parser = action(name, name, ("customer",), text)
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--customer", help="its name")
        whom.add_argument("--all", dest="everybody", action="store_true", help="all customers of the area")


def _amend_options(action: Action) -> None:
    parser = action("terms", "terms", ("customer", "order_w_max", "open_orders_max"), "other bounds for a customer's orders")
    parser.add_argument("--customer", required=True, help="its name")
    parser.add_argument("--order-w-max", type=given.whole, metavar="W", help="of one order")
    parser.add_argument("--open-orders-max", type=given.whole, metavar="N", help="at rest at once")
    rules = tuple(RULES)
    parser = action("settings", "settings", (*rules, "sweeps", "call_auctions", "auction_pricing"), "other rules; what is not given stays")
    for name, text in RULES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=given.whole, metavar="N", help=text)
    parser.add_argument("--sweeps", action=argparse.BooleanOptionalAction, help="joint fills proposed by the solver")
    parser.add_argument("--call-auctions", action=argparse.BooleanOptionalAction, help="after halts, freezes and pauses")
    parser.add_argument("--auction-pricing", choices=("pay_as_bid", "uniform"))


def _phase_options(action: Action) -> None:
    for name, phase, text in (
        ("freeze", "frozen", "stops an interval's trading and placing, without a halt"),
        ("open", "continuous", "lets an announced or frozen interval trade"),
        ("auction", "auction", "collects orders; the auction ends by itself after the pause"),
    ):
        parser = action(name, "phase", ("interval_ms", "phase"), text)
        parser.set_defaults(phase=phase)
        _interval_option(parser)


def _withhold_options(action: Action) -> None:
    fields = ("interval_ms", "kind", "element", "phase", "side", "quantity_w", "price_mct")
    parser = action("withhold", "withhold", fields, "offers headroom of a row, or buys some back; --id names it for release")
    _interval_option(parser)
    parser.add_argument("--kind", required=True, help="of the row, as the public topic `rows` names it: thermal, voltage_max, ...")
    parser.add_argument("--element", required=True, help="of the row")
    parser.add_argument("--phase", default="", help="of the row; none where the network is balanced")
    parser.add_argument("--side", choices=("sell", "buy"), required=True)
    parser.add_argument("--quantity-w", type=given.whole, required=True, metavar="W", help="watts of the right that uses the row most")
    parser.add_argument("--price-mct", type=given.whole, required=True, metavar="P", help="milli-cents per kWh")
    parser = action("release", "release", ("interval_ms", "order_id"), "gives back what a withhold took")
    _interval_option(parser)
    parser.add_argument("--order-id", required=True, help="the id of the withhold")


def _interval_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--interval", dest="interval_ms", type=given.interval, required=True, metavar="INTERVAL", help=INTERVAL_HELP)


def _connection_options(parser: argparse.ArgumentParser, whose: str) -> None:
    parser.add_argument("--broker", metavar="URL", type=given.broker_url, help=f"mqtt://user:password@host:port of {whose}")
    parser.add_argument("--area", type=given.area, default="lv", help="with --broker (default: %(default)s)")
    parser.add_argument("--patience-seconds", type=given.positive(float), default=PATIENCE_S, help="for the answer (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")


INTERVAL_HELP = "its start, like 2026-04-27T14:00 (UTC), or in milliseconds"
RULES = {
    "price_mct_min": "least price of an order", "price_mct_max": "greatest price of an order",
    "compensation_mct": "most that is paid for a limit that has to be lowered", "collar_mct": "distance from the last trade; 0: any",
    "pause_mct": "movement of the price that pauses trading; 0: none", "requests_free": "requests per customer and interval; 0: any number",
    "requests_per_trade": "more of them for each trade",
    "requests_max": "requests of a customer that an interval remembers; it decides no more",
}  # fmt: skip
OPERATOR_TEXT = """Gives the operator's orders to a running exchange: each a command in its journal, with a reason.

Every ACTION has its own --help. Prints what came of it; exits with 1 where the exchange refused, 3 where it did not answer."""
VIEW_TEXT = """The market of an interval as one home's right sees it: effective prices and secure watts.

At network exchange rates a watt of one right costs another number of watts of another: so everybody has a view of their own."""

"""`limex csip`: a home's envelope as a running exchange publishes it in the words of CSIP-AUS. Uses the home's reader."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from gateway import arguments as given
from gateway.arguments import OK

PATIENCE_S = 10.0


def run_csip(arguments: argparse.Namespace) -> int:
    from gateway import csip, topics, wire
    from gateway.accounts import reader_account
    from gateway.message import Message
    from gateway.once import ask

    account = reader_account(arguments.broker, arguments.area, arguments.credentials, arguments.home)
    topic = (topics.csip_default if arguments.default else topics.csip)(account.area, arguments.home)
    heartbeat = wire.Heartbeat(v=1, id=f"csip-{secrets.token_hex(6)}")
    question = Message(topics.ask(account.area, arguments.home), wire.encode(heartbeat), 1, False)
    print(csip.indented(ask(account, question, topic, lambda payload: payload or None, arguments.patience_seconds)))
    return OK


def csip_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("home", metavar="HOME", help="its name in the credentials file")
    parser.add_argument("--default", action="store_true", help="the DefaultDERControl (failsafe) instead of the DERControlList")
    parser.add_argument(
        "--credentials", type=Path, default=Path("limex-credentials.json"), help="that `limex serve` wrote (default: %(default)s)"
    )
    parser.add_argument("--broker", metavar="URL", type=given.broker_url, help="mqtt://user:password@host:port of the home's reader")
    parser.add_argument("--area", type=given.area, default="lv", help="with --broker (default: %(default)s)")
    parser.add_argument("--patience-seconds", type=given.positive(float), default=PATIENCE_S, help="for the answer (default: %(default)s)")


CSIP_TEXT = """A home's envelope as CSIP-AUS (IEEE 2030.5) controls, from a running exchange: XML on stdout.

For utility servers and devices that speak it; docs/homes.md says what is in it."""

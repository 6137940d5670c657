"""`limex`: one command for everything, thin on purpose. Parses, checks, calls, prints; decides nothing.

The commands are in files of their own: the market at work, networks, the operator's hand, and replay (`replay/cli.py`).
Exit codes: 0 done; 1 the answer is no (insecure, refused, a violation, a replay that differs); 2 wrong arguments or bad input;
3 the surroundings failed (no broker, no answer, journal not writable); 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from functools import partial

from gateway.arguments import BAD_INPUT, INTERRUPTED, NO, OK, SURROUNDINGS, UsageError, command


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code. Expected failures are one message on stderr, never a stack trace."""
    assert __debug__, "limex's checks are assertions: do not run it with python -O"
    code: int = OK
    try:
        given = _given(argv)
        code = given.run(given)
        sys.stdout.flush()  # here, where a failure has a message, and not when the process ends
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return code
    except tuple(_expected_failures()) as error:
        print(f"limex: {error}", file=sys.stderr)
        return next(code for kind, code in _expected_failures().items() if isinstance(error, kind))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        print(f"limex: cannot write: {error.strerror}", file=sys.stderr)
        return SURROUNDINGS
    return code


def _given(argv: list[str] | None) -> argparse.Namespace:
    """Ends the process where arguments are wrong. Raises OutputError where a result could not be written."""
    parser = _parser()
    given, rest = parser.parse_known_args(argv)
    if rest and given.command != "bench":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    given.rest = rest
    return given


def _drop_output() -> None:
    """Nobody can take the rest of stdout: what is still buffered would fail again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _expected_failures() -> dict[type[Exception], int]:
    """Failures that have a message for people, the narrower kind first. Anything else is our bug and keeps its trace."""
    from compare import cli as commands_compare
    from demo.run import FleetError
    from envelopes.allocate import InsecureFloorsError
    from envelopes.refresh import InsecureAllocationError
    from exchange.journal import JournalError
    from exchange.recovery import ReplayMismatchError
    from gateway.broker import BrokerError
    from gateway.host import RefusedError
    from gateway.link import LinkError
    from replay import cli as commands_replay
    from riskcheck.linearise import Insecure

    return {
        UsageError: BAD_INPUT, Insecure: BAD_INPUT, InsecureFloorsError: BAD_INPUT, InsecureAllocationError: NO, ReplayMismatchError: NO,
        JournalError: SURROUNDINGS, BrokerError: SURROUNDINGS, LinkError: SURROUNDINGS, FleetError: SURROUNDINGS,
        RefusedError: SURROUNDINGS,
        **commands_replay.expected_failures(), **commands_compare.expected_failures(),
    }  # fmt: skip


def _bench(given: argparse.Namespace) -> int:
    from benchmarks.run import main as bench

    return bench(given.rest)


def _parser() -> argparse.ArgumentParser:
    """What the commands need is imported here, where ctrl-C has an answer, and not with this file."""
    from importlib.metadata import version

    from compare import cli as commands_compare
    from gateway import commands_csip, commands_hand, commands_market, commands_network, commands_reconfigure, commands_refresh
    from replay import cli as commands_replay

    parser = argparse.ArgumentParser(prog="limex", description=LIMEX_TEXT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"limex {version('limex')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = partial(command, commands)
    market, network, hand = commands_market, commands_network, commands_hand
    market.demo_options(add("demo", market.run_demo, market.DEMO_TEXT, "limex demo --seed 7 --intervals 8 --out /tmp/report"))
    serve = "limex serve --network my-feeder.json --broker mqtt://exchange:secret@broker.lan"
    market.serve_options(add("serve", market.run_serve, market.SERVE_TEXT, serve))
    halt = 'limex operator halt --interval 2026-04-27T14:00 --book export --reason "line 3 is being inspected"'
    hand.operator_options(add("operator", hand.run_operator, hand.OPERATOR_TEXT, halt))
    hand.view_options(add("view", hand.run_view, hand.VIEW_TEXT, "limex view home-07 2026-04-27T14:00 import"))
    commands_csip.csip_options(add("csip", commands_csip.run_csip, commands_csip.CSIP_TEXT, "limex csip home-07"))
    envelopes = "limex envelopes cigre-lv --out envelopes.json"
    network.envelopes_options(add("envelopes", network.run_envelopes, network.ENVELOPES_TEXT, envelopes))
    certify = "limex certify ieee-european-lv envelopes.json --effort full"
    network.certify_options(add("certify", network.run_certify, network.CERTIFY_TEXT, certify))
    refresh = "limex refresh areas.toml --forecasts forecasts.csv --out refreshed --every 15"
    commands_refresh.refresh_options(add("refresh", commands_refresh.run_refresh, commands_refresh.REFRESH_TEXT, refresh))
    moved, text = commands_reconfigure, commands_reconfigure.RECONFIGURE_TEXT
    moved.reconfigure_options(add("reconfigure", moved.run_reconfigure, text, "limex reconfigure cigre-mv --no-taps"))
    commands_replay.add_parsers(commands)
    commands_compare.add_parsers(commands)
    add("bench", _bench, BENCH_TEXT, "limex bench --quick --only engine")
    return parser


LIMEX_TEXT = """limex: a real-time exchange on which homes trade the power limits of their electricity network.

Start with `limex demo`. Every command has its own --help with an example.

Exit codes: 0 done; 1 the answer is no (insecure, refused, a violation, a replay that differs); 2 wrong arguments or bad input;
3 the surroundings failed (no broker, no answer, journal not writable); 130 interrupted."""
BENCH_TEXT = """Measures this machine: engine, check, MQTT and replay, each beside a peer or a physical limit.

Options: --quick (within a minute), --only PARTS (some of engine,check,mqtt,replay), --json, --broker mosquitto|amqtt,
--network NETWORK, --disk DIRECTORY (where journals are written)."""


if __name__ == "__main__":
    sys.exit(main())

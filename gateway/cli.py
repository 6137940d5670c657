"""`limex`: one command for everything, thin on purpose. Parses, checks, calls, prints; decides nothing.

Exit codes: 0 done; 1 the answer is no (insecure, a violation, a replay that differs); 2 wrong arguments or bad input;
3 the surroundings failed (no broker, journal not writable); 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from riskcheck.network import DEFAULT_NETWORK

if TYPE_CHECKING:
    from riskcheck.network import Network

OK, NO, BAD_INPUT, SURROUNDINGS, INTERRUPTED = 0, 1, 2, 3, 130
PASSWORDS_HELP = "JSON object of customer -> password, for a configured broker"
NETWORK_HELP = "a builtin network (default: %(default)s), simbench:CODE or the path of a pandapower JSON file"


class UsageError(Exception):
    """Arguments or input that cannot be used; the message says what to do."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code. Expected failures are one message on stderr, never a stack trace."""
    assert __debug__, "limex's checks are assertions: do not run it with python -O"
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "bench":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except tuple(_expected_failures()) as error:
        print(f"limex: {error}", file=sys.stderr)
        return next(code for kind, code in _expected_failures().items() if isinstance(error, kind))
    return code


def _expected_failures() -> dict[type[Exception], int]:
    """Failures that have a message for people, the narrower kind first. Anything else is our bug and keeps its trace."""
    from demo.run import FleetError
    from envelopes.allocate import InsecureFloorsError
    from envelopes.refresh import InsecureAllocationError
    from exchange.journal import JournalError
    from exchange.recovery import ReplayMismatchError
    from gateway.broker import BrokerError
    from gateway.host import RefusedError
    from gateway.link import LinkError
    from riskcheck.linearise import Insecure

    return {
        UsageError: BAD_INPUT, Insecure: BAD_INPUT, InsecureFloorsError: BAD_INPUT, InsecureAllocationError: NO, ReplayMismatchError: NO,
        JournalError: SURROUNDINGS, BrokerError: SURROUNDINGS, LinkError: SURROUNDINGS, FleetError: SURROUNDINGS,
        RefusedError: SURROUNDINGS, OutputError: SURROUNDINGS,
    }  # fmt: skip


class OutputError(Exception):
    """A result cannot be written where it was asked for."""


# --- demo ---------------------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    from demo.run import DemoSettings, run
    from gateway.broker import read_passwords

    settings = DemoSettings(
        network=arguments.network, seed=arguments.seed, intervals=arguments.intervals, interval_s=arguments.interval_seconds,
        broker_url=arguments.broker, broker_kind=arguments.broker_kind, passwords=read_passwords(arguments.passwords), out=arguments.out,
        quiet=arguments.json,
    )  # fmt: skip
    summary = run(_network(arguments.network), settings)
    if arguments.json:
        print(json.dumps(summary))
    return NO if summary["problems"] else OK


# --- serve --------------------------------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> int:
    from envelopes.audit import Alarm
    from gateway.auditor import AuditSettings
    from gateway.clock import Schedule
    from gateway.serve import ServeSettings, serve

    minute_ms = 60_000
    schedule = Schedule(
        interval_ms=arguments.interval_minutes * minute_ms,
        open_lead_ms=int(arguments.open_lead_minutes * minute_ms),
        close_lead_ms=int(arguments.close_lead_minutes * minute_ms),
    )
    if schedule.problems():
        raise UsageError("; ".join(schedule.problems()))
    alarm = Alarm(voltage_pu=arguments.alarm_voltage_pu, loading=arguments.alarm_loading_percent / 100)
    settings = ServeSettings(
        source=arguments.network, area=arguments.area, journal=arguments.journal, schedule=schedule, broker_url=arguments.broker,
        passwords=arguments.passwords, credentials=arguments.credentials, audit=AuditSettings(alarm), recourse=arguments.recourse,
    )  # fmt: skip
    serve(_network(arguments.network), settings)
    return OK


# --- envelopes, certify -------------------------------------------------------------------------------------------


def _envelopes(arguments: argparse.Namespace) -> int:
    from envelopes.refresh import allocate
    from gateway.show import envelope_document, envelope_table, working
    from riskcheck.linearise import build

    network = _network(arguments.network)
    with working(quiet=arguments.json) as progress:
        rows = build(network, progress=progress)
    allocation = allocate(network, rows)
    document = envelope_document(network, allocation)
    if arguments.out is not None:
        _write(arguments.out, document)
    if arguments.json:
        print(document.decode())
    else:
        envelope_table(network, rows, allocation)
    return OK


def _certify(arguments: argparse.Namespace) -> int:
    import msgspec

    from envelopes import files
    from gateway.show import certificate_table, note_other_network, working
    from riskcheck.certify import certify

    network = _network(arguments.network)
    try:
        export_w, import_w = files.read(arguments.envelopes, [customer.id for customer in network.customers])
    except files.BadEnvelopesError as error:
        raise UsageError(str(error)) from error
    note_other_network(network, arguments.envelopes)
    with working(quiet=arguments.json) as progress:
        certificate = certify(network, export_w, import_w, seed=arguments.seed, effort=arguments.effort, progress=progress)
    if arguments.json:
        print(msgspec.json.encode(certificate).decode())
    else:
        certificate_table(network, certificate)
    return OK if certificate.secure else NO


# --- replay, bench ------------------------------------------------------------------------------------------------


def _replay(arguments: argparse.Namespace) -> int:
    import msgspec

    from exchange.recovery import Batch
    from gateway.show import counting, tell_verdict
    from replay import tape
    from replay.verify import verify

    if not arguments.journal.is_file():
        raise UsageError(f"{arguments.journal}: no such journal, or not a file")
    if arguments.at is not None:
        return _replay_moment(arguments)

    def print_tape(batch: Batch, _total: int) -> None:
        if arguments.until is None or batch.number <= arguments.until:
            print("\n".join(tape.lines(batch)))

    if arguments.tape:
        verdict = verify(arguments.journal, on_batch=print_tape)
    else:
        with counting("replaying", quiet=arguments.json) as tell:
            verdict = verify(arguments.journal, on_batch=lambda batch, total: tell(batch.number, total))
    if arguments.json:
        print(msgspec.json.encode(verdict).decode())
    else:
        tell_verdict(verdict, stderr=arguments.tape)
    return OK


def _replay_moment(arguments: argparse.Namespace) -> int:
    """The state at a moment: `--at` is a batch number or a time."""
    from gateway.show import moment_tables
    from replay.rebuild import batch_at, moment, rebuild

    batch = int(arguments.at) if arguments.at.isdigit() else batch_at(arguments.journal, _time_ms(arguments.at))
    engine, number = rebuild(arguments.journal, batch=batch)
    found = moment(engine, number)
    if arguments.json:
        print(json.dumps(found))
    else:
        moment_tables(found)
    return OK


def _time_ms(text: str) -> int:
    from datetime import UTC, datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--at takes a batch number or a time like 2026-04-27T14:05:00, not {text!r}") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _bench(arguments: argparse.Namespace) -> int:
    from benchmarks.run import main as bench

    return bench(arguments.rest)


# --- shared -------------------------------------------------------------------------------------------------------


def _network(source: str) -> Network:
    from riskcheck.network import load

    try:
        return load(source)
    except ValueError as error:  # BadNetwork among them: its message lists every finding
        raise UsageError(str(error)) from error


def _write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not 0 < value < 1e9:
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return value

    return parse


def _broker_url(text: str) -> str:
    from gateway.broker import BrokerError, parse_url

    try:
        parse_url(text)
    except BrokerError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _area(text: str) -> str:
    from gateway import topics

    if not topics.NAME.match(text) or ":" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits and ._-, at most 64")
    return text


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in [0, 2^32)")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="limex", description=LIMEX_TEXT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"limex {version('limex')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text.splitlines()[0], description=text, epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        return added

    _demo_options(command("demo", _demo, DEMO_TEXT, "limex demo --seed 7 --intervals 8 --out /tmp/report"))
    _serve_options(command("serve", _serve, SERVE_TEXT, "limex serve --network my-feeder.json --broker mqtt://exchange:secret@broker.lan"))
    _envelopes_options(command("envelopes", _envelopes, ENVELOPES_TEXT, "limex envelopes cigre-lv --out envelopes.json"))
    _certify_options(command("certify", _certify, CERTIFY_TEXT, "limex certify ieee-european-lv envelopes.json --effort full"))
    _replay_options(command("replay", _replay, REPLAY_TEXT, "limex replay limex-report/journal.sqlite --tape | less"))
    command("bench", _bench, BENCH_TEXT, "limex bench --quick --only engine")
    return parser


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default=DEFAULT_NETWORK, metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--seed", type=_seed, default=1, help="of the homes: the same seed, the same homes (default: %(default)s)")
    parser.add_argument("--intervals", type=_positive(int), default=16, help="how many 15-minute intervals (default: %(default)s)")
    parser.add_argument(
        "--interval-seconds", type=_positive(float), default=4.5, help="wall-clock seconds per interval (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("limex-report"), help="folder of the report (default: %(default)s)")
    parser.add_argument("--broker", metavar="URL", type=_broker_url, help="mqtt://user:password@host:port instead of a private broker")
    parser.add_argument("--passwords", type=Path, help=PASSWORDS_HELP)
    parser.add_argument("--broker-kind", choices=("mosquitto", "amqtt"), help="insist on one private broker")
    parser.add_argument("--json", action="store_true", help="no progress; the summary as one JSON object on stdout")


def _serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", default=DEFAULT_NETWORK, metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--area", type=_area, default="lv", help="name of the area in topics (default: %(default)s)")
    parser.add_argument("--journal", type=Path, default=Path("limex.sqlite"), help="made if it is not there (default: %(default)s)")
    parser.add_argument("--broker", metavar="URL", type=_broker_url, help="mqtt://user:password@host:port; default: a private broker")
    parser.add_argument("--passwords", type=Path, help=PASSWORDS_HELP)
    parser.add_argument(
        "--credentials", type=Path, default=Path("limex-credentials.json"),
        help="where a private broker's address and passwords are written, for the homes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--interval-minutes", type=int, choices=(5, 15, 30), default=15, help="(default: %(default)s)")
    parser.add_argument("--open-lead-minutes", type=_positive(float), default=60, help="gate opens before delivery (default: %(default)s)")
    parser.add_argument("--close-lead-minutes", type=_positive(float), default=5, help="gate closes before delivery (default: %(default)s)")
    alarm = "audited {} margin below which rows are tightened (default: %(default)s)"
    parser.add_argument("--alarm-voltage-pu", type=_positive(float), default=0.0003, help=alarm.format("voltage"))
    parser.add_argument("--alarm-loading-percent", type=_positive(float), default=0.3, help=alarm.format("current"))
    parser.add_argument("--recourse", action="store_true", help="set inverters and taps where that makes a blocked trade secure")


def _envelopes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", default=DEFAULT_NETWORK, nargs="?", metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--out", type=Path, help="also write them to this JSON file, which `limex certify` reads")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")


def _certify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="a builtin network, simbench:CODE or the path of a pandapower JSON file")
    parser.add_argument("envelopes", type=Path, metavar="ENVELOPES", help="JSON of `limex envelopes`, or CSV: customer,export_w,import_w")
    parser.add_argument("--effort", choices=("quick", "full"), default="full", help="how hard to search (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, default=0, help="of the random part of the search (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the certificate as JSON on stdout")


def _replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="a journal of `limex serve` or of a demo's report folder")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tape", action="store_true", help="print every event as a sentence, and the verdict on stderr")
    shape.add_argument("--json", action="store_true", help="the verdict, or the moment, as one JSON object")
    parser.add_argument("--until", type=_positive(int), metavar="BATCH", help="with --tape: stop printing after this batch")
    parser.add_argument("--at", metavar="MOMENT", help="show books, holdings and cash after this batch number, or at this UTC time")


LIMEX_TEXT = """limex: a real-time exchange on which homes trade the power limits of their electricity network.

Start with `limex demo`. Every command has its own --help with an example.

Exit codes: 0 done; 1 the answer is no (insecure, a violation, a replay that differs); 2 wrong arguments or bad input;
3 the surroundings failed (no broker, journal not writable); 130 interrupted."""
DEMO_TEXT = """Homes trade their limits over MQTT on a real feeder, end to end.

Computes secure rows, fair envelopes and their AC certificate; starts broker, exchange and one MQTT client per home; runs the
market faster than real time; ends with a report, an AC certificate of every interval and a replay of its own journal.
Exits with 1 on any AC violation, lost acknowledgement or difference in the replay."""
SERVE_TEXT = """Runs the exchange in real time until it is interrupted.

Commands are on the disk before anything is answered; started again on the same journal it continues where it was.
An auditor in a process of its own certifies all holdings in AC power flow while they trade; what it finds insecure is halted.

  SIGHUP   reads NETWORK again and puts it in force: holdings that no longer fit are lowered and compensated
  SIGUSR1  resumes trading that an audit has halted
  docs/operators.md says more."""
ENVELOPES_TEXT = """Max-min fair dynamic operating envelopes of a network.

The smallest envelope is made as large as possible first, then the next; each customer is shown the network element that stops it."""
CERTIFY_TEXT = """Searches for a point inside the given envelopes that breaks a limit in AC power flow.

Works on envelopes that anyone made. Exits with 0 if the search found none, with 1 and the corner that breaks them otherwise."""
REPLAY_TEXT = """Replays a journal and proves that it leads to the same events and states, byte for byte.

Exits with 1 at the first batch or snapshot that comes out different."""
BENCH_TEXT = """Measures this machine: engine, check, MQTT and replay, each beside a peer or a physical limit.

Options: --quick (within a minute), --only PARTS (some of engine,check,mqtt,replay), --json, --broker mosquitto|amqtt,
--network NETWORK, --disk DIRECTORY (where journals are written)."""


if __name__ == "__main__":
    sys.exit(main())

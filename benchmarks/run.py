"""`limex bench`: measures this machine and prints each figure beside a peer or a bound that was run beside it.

Four parts: engine (commands per second, pauses), check (one trade's network check), mqtt (order to acknowledgement), replay.
Nothing here passes or fails on time; a target is printed beside the figure, with the machine and the command. Exit codes: 0
measured; 2 wrong arguments or a network that cannot be traded on; 3 a broker that was asked for is not there.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmarks import measure, tables
from gateway.show import working

if TYPE_CHECKING:
    from benchmarks.feeder import Feeder, Progress
    from benchmarks.order_to_ack import Figures

PARTS = ("engine", "check", "mqtt", "replay")
Broker = Literal["mosquitto", "amqtt"]
BROKERS: tuple[Broker, ...] = ("mosquitto", "amqtt")
OK, BAD_INPUT, SURROUNDINGS = 0, 2, 3


def main(argv: list[str] | None = None) -> int:
    """Runs the parts that were asked for and prints them; progress goes to stderr."""
    given = [argument for argument in (sys.argv[1:] if argv is None else argv) if argument != "--"]
    arguments = _parser().parse_args(given)
    try:
        feeder = _feeder(arguments)
    except ValueError as error:
        print(f"limex bench: {error}", file=sys.stderr)
        return BAD_INPUT
    command = shlex.join(["limex", "bench", *given])
    found: dict[str, Any] = {"command": command, "machine": measure.machine(), "load": measure.load_average(), "feeder": feeder.size}
    show = tables.printer(quiet=arguments.json)
    show(tables.heading(found))
    code = OK
    for part in arguments.only:
        with working(quiet=arguments.json) as progress, tempfile.TemporaryDirectory(prefix="limex-bench-", dir=arguments.disk) as disk:
            figures, trouble = _measure(part, feeder, arguments, Path(disk), progress)
        found[part] = _plain(figures)
        show(tables.TABLES[part](figures))
        for line in trouble:
            print(f"limex bench: {line}", file=sys.stderr)
        if trouble and arguments.broker:
            code = SURROUNDINGS
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    return code


def _feeder(arguments: argparse.Namespace) -> Feeder:
    """Raises ValueError for a network that cannot be traded on (BadNetwork and Insecure are such)."""
    from benchmarks import feeder
    from riskcheck.network import load

    with working(quiet=arguments.json) as progress:
        progress("reading the network", 0.0)
        return feeder.load(load(arguments.network), progress)


def _measure(part: str, feeder: Feeder, arguments: argparse.Namespace, disk: Path, progress: Progress) -> tuple[Any, list[str]]:
    """(figures, what could not be measured and why)."""
    from benchmarks import check, engine, replay_speed

    if part == "engine":
        return engine.measure(feeder, quick=arguments.quick, progress=progress), []
    if part == "check":
        return check.measure(feeder, arguments.network, quick=arguments.quick, progress=progress), []
    if part == "replay":
        return replay_speed.measure(feeder, disk, quick=arguments.quick, progress=progress), []
    return _mqtt(arguments, disk, progress)


def _mqtt(arguments: argparse.Namespace, disk: Path, progress: Progress) -> tuple[list[Figures], list[str]]:
    from benchmarks import order_to_ack
    from gateway.broker import BrokerError
    from gateway.link import LinkError

    kinds: tuple[Broker, ...] = (arguments.broker,) if arguments.broker else BROKERS
    requests, rates = (300, [100]) if arguments.quick else (2000, [100, 500])
    found, trouble = [], []
    for place, kind in enumerate(kinds):
        progress(f"mqtt: orders and echoes in turns, over {kind}", place / len(kinds))
        try:
            found.append(order_to_ack.compare(kind, requests, rates, disk))
        except (BrokerError, LinkError) as error:
            trouble.append(f"mqtt over {kind} was not measured: {error}")
    return found, trouble


def _plain(figures: Any) -> Any:
    """For JSON; with what the acknowledgement may take and took, where there is a target."""
    if isinstance(figures, list):
        return [_plain(one) for one in figures]
    plain = msgspec.to_builtins(figures, str_keys=True)
    if hasattr(figures, "allowed_us"):
        plain |= {"allowed_us": figures.allowed_us, "taken_us": figures.taken_us}
    return plain


def _parts(text: str) -> list[str]:
    asked = text.split(",")
    unknown = [part for part in asked if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part named {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return [part for part in PARTS if part in asked]


def _parser() -> argparse.ArgumentParser:
    from riskcheck.network import DEFAULT_NETWORK

    parser = argparse.ArgumentParser(
        prog="limex bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  limex bench -- --quick --only engine,check",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer rounds: figures are rougher, and there within 45 s")
    parser.add_argument("--json", action="store_true", help="no progress and no tables; one JSON object on stdout")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--broker", choices=BROKERS, help="only this private broker (default: each that is installed)")
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="a builtin network or a pandapower JSON file (default: %(default)s)")
    parser.add_argument("--disk", type=Path, metavar="DIRECTORY", help="where journals are written (default: the temporary directory)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What the command line's options can be: numbers, names, times, networks, files. A mistake is named, and nothing is guessed."""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from replay.tabular import OutputError as OutputError  # who writes a result raises it

if TYPE_CHECKING:
    from riskcheck.network import Network

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  it has no public name

OK, NO, BAD_INPUT, SURROUNDINGS, INTERRUPTED = 0, 1, 2, 3, 130
PASSWORDS_HELP = "JSON object of customer -> password, for a configured broker"
NETWORK_HELP = "a builtin network (default: %(default)s), simbench:CODE or the path of a pandapower JSON file"


class UsageError(Exception):
    """Arguments or input that cannot be used; the message says what to do."""


def command(commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> argparse.ArgumentParser:
    """A command of `limex`: its handler, a help whose first line is its sentence in the list, and an example."""
    parser = commands.add_parser(
        name, help=text.splitlines()[0], description=text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def network(source: str) -> Network:
    from riskcheck.network import load

    try:
        return load(source)
    except ValueError as error:  # BadNetwork among them: its message lists every finding
        raise UsageError(str(error)) from error
    finally:
        signal.siginterrupt(signal.SIGINT, True)  # polars, which pandapower loads, lets waiting go on after ctrl-C


def heed_sigterm() -> None:
    """From now on SIGTERM ends what is being done as ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def file_out(text: str) -> Path:
    """A file to write, tried before the work begins; one that is there stays as it is. Raises OutputError."""
    path = Path(text)
    try:
        if path.exists():
            path.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return path


def folder_out(text: str) -> Path:
    """A folder to write into, or what there is of the way to it, tried before the work begins. Raises OutputError."""
    path = Path(text)
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise OutputError(f"cannot write into {path}: {error.strerror}") from error
    return path


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not 0 < value < 1e9:
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return value

    return parse


def broker_url(text: str) -> str:
    from gateway.broker import BrokerError, parse_url

    try:
        parse_url(text)
    except BrokerError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def area(text: str) -> str:
    from gateway import topics

    if not topics.NAME.match(text) or ":" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits and ._-, at most 64")
    return text


def seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in [0, 2^32)")
    return int(text)


def interval(text: str) -> int:
    """An interval's start: milliseconds, or a time like 2026-04-27T14:00 (UTC unless it says another zone)."""
    if text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-04-27T14:00, nor milliseconds") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def lead(text: str) -> float:
    """Minutes from 0 on."""
    return 0.0 if text == "0" else positive(float)(text)

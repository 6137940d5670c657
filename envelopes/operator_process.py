"""An operator as a process: messages in on stdin, answers out on stdout, one JSON message a line.

    python -m envelopes.operator_process lv1 lv1.json
    python -m envelopes.operator_process mv mv.json --below 3=lv1:lv1.json --below 4=lv2:lv2.json

A file is the operator's own network, as `envelopes.interface.split` cuts it. The process above starts those below, each with
its own file, which it never opens: all that passes between them is messages (`envelopes/operator_messages.py`). `--below
BUS=NAME:FILE` says at which bus of the own network an area begins. A line that is no message is answered with `refused`, and the
process goes on; at the end of its input it ends, and those below with it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from envelopes.cascade import own_base
from envelopes.interface import Area
from envelopes.operator import Link, Operator
from envelopes.operator_messages import Any_, Malformed, Refused, decode, encode, schema
from riskcheck.intake import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDS_WITHIN_S = 10.0


class Remote:
    """An operator at the other end of a pipe. `send` is that of `envelopes.operator.Operator`."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        command = [sys.executable, "-m", "envelopes.operator_process", name, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module

    def send(self, message: Any_) -> Any_:
        """Its answer; a refusal in its name if it has gone."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        if to.closed:
            return Refused(operator=self.name, reason="its process has ended")
        try:
            to.write(encode(message) + b"\n")
            to.flush()
        except BrokenPipeError:
            return Refused(operator=self.name, reason="its process has ended")
        line = back.readline()
        return decode(line) if line else Refused(operator=self.name, reason="its process has ended")

    def close(self) -> int:
        """Ends the process; its exit code."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(ENDS_WITHIN_S)
        self._process.stdout.close()
        return code


def serve(operator: Operator, lines: IO[bytes], out: IO[bytes]) -> None:
    """Answers every line until there are no more."""
    for line in lines:
        try:
            answer = operator.send(decode(line))
        except Malformed as error:
            answer = Refused(operator=operator.name, reason=str(error))
        out.write(encode(answer) + b"\n")
        out.flush()


def area_of(name: str, path: Path, interfaces: dict[str, int]) -> Area:
    """The area that a file holds."""
    return Area(name, name, None, None, (), read_json(path), interfaces)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("network", type=Path, nargs="?")
    parser.add_argument("--below", action="append", default=[], metavar="BUS=NAME:FILE", help="an area below and its file")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of all messages and stop")
    asked = parser.parse_args(arguments)
    if asked.schema or asked.network is None:
        print(json.dumps(schema(), indent=1))
        return 0 if asked.schema else 2
    below = [_below(text, parser) for text in asked.below]
    base, at = own_base(area_of(asked.name, asked.network, {name: bus for bus, name, _ in below}))
    remotes = {name: Remote(name, [file]) for _, name, file in below}
    try:
        serve(
            Operator(asked.name, base, {name: Link(at[name], remote) for name, remote in remotes.items()}),
            sys.stdin.buffer,
            sys.stdout.buffer,
        )
    finally:
        for remote in remotes.values():
            remote.close()
    return 0


def _below(text: str, parser: argparse.ArgumentParser) -> tuple[int, str, str]:
    bus, _, rest = text.partition("=")
    name, _, file = rest.partition(":")
    if not (bus.isdigit() and name and file):
        parser.error(f"--below takes BUS=NAME:FILE, not {text!r}")
    return int(bus), name, file


if __name__ == "__main__":
    sys.exit(main())

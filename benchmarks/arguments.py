"""What seeded benchmarks are asked alike, and what was typed: figures are printed beside the command that gives them again."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence


def parser(benchmark: str, head: str | None) -> argparse.ArgumentParser:
    """Its help is the head of the benchmark's file."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{benchmark}", description=head, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return made


def command(benchmark: str, arguments: Sequence[str] | None) -> str:
    """As it was typed; without arguments these are the process's own."""
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *(sys.argv[1:] if arguments is None else arguments)])

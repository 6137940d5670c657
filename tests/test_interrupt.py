"""Ctrl-C before a command has begun: while the files it needs are still being read."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "riskcheck.network":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from gateway.cli import main
sys.exit(main(["replay", "--help"]))
"""


def test_ctrl_c_while_files_are_imported_is_no_stack_trace() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ninterrupted\n")

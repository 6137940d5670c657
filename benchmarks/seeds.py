"""The demo again and again, with other homes each time: any violation, lost acknowledgement or replay mismatch counts.

    python -m benchmarks.seeds --seeds 20 --interval-seconds 1

One plan serves all seeds, since rows and envelopes do not depend on the homes; everything else runs anew each time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from demo.run import DemoSettings, prepare, trade
from riskcheck.network import DEFAULT_NETWORK, load


def main() -> int:
    """Exit code 0 when no seed had a problem, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20, help="seeds 1 to N (default: %(default)s)")
    parser.add_argument("--intervals", type=int, default=16, help="per seed (default: %(default)s)")
    parser.add_argument("--interval-seconds", type=float, default=1.0, help="wall clock per interval (default: %(default)s)")
    arguments = parser.parse_args()
    ready = prepare(load(DEFAULT_NETWORK), quiet=True)
    bad = 0
    print("seed  orders  trades  blocked AC corners violations  lost  p50 ms  replay  gain EUR")
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory(prefix="limex-seed-") as folder:
            settings = DemoSettings(ready.network.name, seed, arguments.intervals, arguments.interval_seconds, out=Path(folder), quiet=True)
            found = trade(ready, settings)
        market, requests, certificates = found["market"], found["requests"], found["certificates"]
        corners, violations = (sum(certificate[key] for certificate in certificates) for key in ("corners", "violations"))
        same = "same" if found["replay"]["same"] else "DIFFERS"
        print(
            f"{seed:>4} {market['orders']:>7} {market['trades']:>7} {market['blocked_crossings']:>8} {corners:>10} {violations:>10} "
            f"{requests['lost']:>5} {requests['p50_ms']:>7}  {same:>6}  {found['welfare_gain_eur']:>8.2f}",
            flush=True,
        )
        for problem in found["problems"]:
            print(f"     problem: {problem}")
        bad += bool(found["problems"])
    print(f"{arguments.seeds} seeds, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

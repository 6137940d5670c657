"""What every benchmark needs: spreads of times, rounds without the garbage collector, and the machine in one line.

A machine has other things to do, and they only ever add time. So a throughput is the median of several rounds beside the
best, and the time of one command is the least of its times in all rounds; what the worst moment was is told as well.
"""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

PACKAGES = ("limex", "numba", "numpy", "msgspec", "osqp", "pandapower", "aiomqtt", "paho-mqtt", "amqtt")


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of `count` times, in microseconds."""

    count: int
    p50_us: float
    p99_us: float
    max_us: float

    def __str__(self) -> str:
        return f"p50 {_short(self.p50_us)}, p99 {_short(self.p99_us)}, max {_short(self.max_us)}"


def spread(times_ns: npt.ArrayLike) -> Spread:
    """Spread of times in nanoseconds. An empty list is the caller's bug."""
    times = np.asarray(times_ns, dtype=np.float64) / 1000
    p50, p99 = np.percentile(times, [50, 99])
    return Spread(len(times), round(float(p50), 3), round(float(p99), 3), round(float(times.max()), 3))


def _short(us: float) -> str:
    return f"{us:.2f} us" if us < 10 else f"{us:.0f} us" if us < 1000 else f"{us / 1000:.2f} ms"


@contextmanager
def no_collector() -> Iterator[None]:
    """The garbage collector as `exchange.node` has it while it decides: what lives is frozen, the collector is off."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def machine() -> dict[str, str]:
    """Processor, cores, system, Python and the packages that are measured."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := version_of(name)))
    return {
        "processor": _processor(), "cores": str(os.cpu_count()), "system": platform.platform(),
        "python": platform.python_version(), "packages": versions,
    }  # fmt: skip


def load_average() -> str:
    """How busy the machine was already, where that is known."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def peak_mb() -> int:
    """Most memory that this process ever had; 0 where that is not known."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024 if platform.system() == "Darwin" else 1024)


def version_of(name: str) -> str:
    """Of an installed package; empty where it is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

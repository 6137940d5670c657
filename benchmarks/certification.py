"""How long does it take to certify a day of envelopes? 1,000 corners of 96 boxes, at both ends of the interface range, in AC.

    python -m benchmarks.certification
    python -m benchmarks.certification --network ieee-european-lv --corners 200 --json

limex screens all sets (`Certifier.screen`), which is measured whole: corners, power flows and the search for the smallest margin of
each kind of limit. Beside it, on the same corners, run power-grid-model (the library that confirms certificates, in batches over two
threads) and pandapower (runpp or runpp_3ph as shipped), power flows only and on a sample; what the whole day would take
them is the time of a power flow times their number, and marked as such. All must agree on the voltages of the sample to 1e-6 pu.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.arguments import command
from benchmarks.measure import load_average, machine
from benchmarks.opinions import Pandapower
from gateway.show import working
from riskcheck import catalogue, intake
from riskcheck.certify import Certifier
from riskcheck.powerflow import PowerFlow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.network import Network
    from riskcheck.screen import Screening

    Floats = NDArray[np.float64]
    Watts = NDArray[np.int64]

NETWORK = "simbench:1-LV-rural3--0-sw"
AGREEMENT_PU = 1e-6
TARGET_S, TARGET_RATIO = 10.0, 100.0
SEED = 7
LARGEST_W = 1_500  # of any envelope: what rural homes hold, so that every corner has an operating point


@dataclass(frozen=True)
class Figures:
    """Times of one power flow in microseconds, and of the whole day in seconds: limex's measured, the others' extrapolated."""

    command: str
    machine: dict[str, str]
    load: str
    network: str
    buses: int
    customers: int
    sets: int
    corners: int
    flows: int
    prepared_s: float
    limex_s: float
    limex_us: float
    library_sample: int
    library_us: float
    pandapower_sample: int
    pandapower_us: float
    smallest_margins: dict[str, float]

    @property
    def library_s(self) -> float:
        return self.library_us * self.flows / 1e6

    @property
    def pandapower_s(self) -> float:
        return self.pandapower_us * self.flows / 1e6


class Timed(Pandapower):
    """pandapower with its defaults, timed without the tables that carry powers in and voltages out."""

    def seconds(self, power_w: Floats, interface_pu: float) -> tuple[float, Floats]:
        import pandapower

        voltage_pu = self.answer(power_w, interface_pu).voltage_pu
        run = pandapower.runpp_3ph if self._network.phases == 3 else pandapower.runpp
        began = time.perf_counter()
        run(self._net)
        return time.perf_counter() - began, voltage_pu


def main(argv: list[str] | None = None) -> int:
    """Prints the figures. Exit codes: 0 measured; 2 a network that cannot be read."""
    arguments = _parser().parse_args(argv)
    net = catalogue.make(arguments.network)
    if net is None:
        print(f"certification: no builtin network {arguments.network!r}", file=sys.stderr)
        return 2
    found = measure(arguments, net, command("certification", argv))
    print(json.dumps(asdict(found), indent=2) if arguments.json else text(found))
    return 0


def measure(arguments: argparse.Namespace, net: Any, command: str) -> Figures:
    network = intake.from_pandapower(net, name=arguments.network)
    with working(quiet=arguments.json) as progress:
        progress("preparing the network", 0.0)
        began = time.perf_counter()
        certifier = Certifier(network)
        prepared_s = time.perf_counter() - began
        export_w, import_w = _envelopes(network, arguments.sets)
        certifier.screen(export_w[:1], import_w[:1], corners=20)  # compiles
        progress("limex", 0.1)
        limex_s, screened = _screened(certifier, export_w, import_w, arguments.corners)
        points = _sample(screened, arguments.sample)
        progress("power-grid-model", 0.5)
        library_us, voltages = _library(network, points)
        _agree(certifier, points, voltages)
        progress("pandapower", 0.6)
        few = points[: max(2, len(points) // 40)]
        pandapower_us = _pandapower(net, network, few, voltages)
    return Figures(
        command, machine(), load_average(), network.name, network.n_buses, len(network.customers), arguments.sets, screened.corners,
        screened.flows, prepared_s, limex_s, limex_s / screened.flows * 1e6, len(points), library_us, len(few), pandapower_us,
        {kind: float(margin) for kind, margin in screened.smallest().items()},
    )  # fmt: skip


def _envelopes(network: Network, sets: int) -> tuple[Watts, Watts]:
    """Envelopes of a day, different for every customer and interval."""
    random, shape = np.random.default_rng(SEED), (sets, len(network.customers))
    return random.integers(LARGEST_W // 3, LARGEST_W, shape), random.integers(LARGEST_W // 3, LARGEST_W, shape)


def _screened(certifier: Certifier, export_w: Watts, import_w: Watts, corners: int) -> tuple[float, Screening]:
    began = time.perf_counter()
    screened = certifier.screen(export_w, import_w, corners=corners, seed=SEED)
    return time.perf_counter() - began, screened


def _sample(screened: Screening, count: int) -> Floats:
    """Points like those of the screening: its worst ones, and mixtures of them."""
    worst = screened.worst_w[:, :3].reshape(-1, screened.worst_w.shape[2])
    pick = np.random.default_rng(SEED).integers(0, len(worst), (count, worst.shape[1]))
    return np.asarray(np.take_along_axis(worst, pick, axis=0))


def _library(network: Network, points: Floats) -> tuple[float, Floats]:
    flow = PowerFlow(network)
    flow.run(points[:2], network.interface_min_pu)
    began = time.perf_counter()
    voltage_pu = flow.run(points, network.interface_min_pu).voltage_pu
    return (time.perf_counter() - began) / len(points) * 1e6, voltage_pu


def _agree(certifier: Certifier, points: Floats, voltage_pu: Floats) -> None:
    monitors, interface_pu = certifier.model.monitors, certifier.network.interface_min_pu
    volts = np.flatnonzero(monitors.is_voltage)
    ours = certifier.engine.values(certifier.engine.solve(points, interface_pu), interface_pu, volts)
    gap = np.abs(ours - voltage_pu[:, monitors.element[volts], monitors.phase[volts]]).max()
    assert gap < AGREEMENT_PU, f"limex and power-grid-model differ by {gap:.1e} pu"


def _pandapower(net: Any, network: Network, points: Floats, voltage_pu: Floats) -> float:
    """The median, in microseconds; the first run compiles."""
    timed, times = Timed(net, network), []
    for number, point in enumerate([points[0], *points]):
        seconds, theirs = timed.seconds(point, network.interface_min_pu)
        gap = float(np.abs(theirs - voltage_pu[max(number - 1, 0)]).max())
        assert gap < AGREEMENT_PU or network.phases == 3, f"pandapower differs by {gap:.1e} pu"
        times.append(seconds)
    return float(np.median(times[1:])) * 1e6


def text(found: Figures) -> str:
    """The figures as a person reads them."""
    lines = [
        f"{found.command}",
        f"{found.machine['processor']}, {found.machine['cores']} cores, load {found.load}",
        f"{found.network}: {found.buses} buses, {found.customers} customers",
        f"{found.sets} sets of envelopes x {found.corners} corners, both ends of the interface range: {found.flows} AC power flows",
        "",
        f"{'':<18}{'us per flow':>12}{'s for all':>12}{'times limex':>13}",
        f"{'limex, measured':<18}{found.limex_us:>12.1f}{found.limex_s:>12.2f}{1:>13}",
        _extrapolated("power-grid-model", found.library_us, found.library_s, found),
        _extrapolated("pandapower", found.pandapower_us, found.pandapower_s, found),
        "",
        f"extrapolated from {found.library_sample} flows of power-grid-model and {found.pandapower_sample} of pandapower, power flows only",
        f"smallest margins: {', '.join(f'{kind} {margin:+.5f}' for kind, margin in found.smallest_margins.items())}",
        f"targets: {TARGET_S:.0f} s, {TARGET_RATIO:.0f} times pandapower",
    ]
    return "\n".join(lines)


def _extrapolated(name: str, us: float, seconds: float, found: Figures) -> str:
    return f"{name:<18}{us:>12.1f}{seconds:>12.1f}{seconds / found.limex_s:>13.1f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default=NETWORK, help="a builtin network or simbench:CODE (default: %(default)s)")
    parser.add_argument("--sets", type=int, default=96, help="of envelopes, one per interval (default: %(default)s)")
    parser.add_argument("--corners", type=int, default=1000, help="of each set (default: %(default)s)")
    parser.add_argument(
        "--sample", type=int, default=2000, help="points for power-grid-model, a fortieth for pandapower (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())

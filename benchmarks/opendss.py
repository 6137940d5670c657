"""A pandapower net as an OpenDSS circuit, straight from pandapower's tables: nothing of limex takes part, so its intake is tested too.

Always three phases; a balanced net gets balanced elements and answers with phase a. What is needed to make it the same model
* the source is ideal: its impedance is 1e-6 ohm;
* loads are constant power between phase and earth at any voltage (`vminpu`, `vmaxpu` opened wide);
* a transformer is a leakage impedance in ohms at its low-voltage side behind an ideal ratio. An odd clock hour is a delta winding on
  the high side (Lag or Lead), the rest of the hour the order of the low side's nodes; other angles are made by a quadrature
  booster before it: V cos t + (Vb - Vc)/sqrt(3) sin t = V exp(-jt) for phase a;
* magnetising current and iron losses are shunts, half at each end as in a pi model. OpenDSS's own %imag and %noloadloss stand wholly
  at the last winding (`magnetising="low side"`), and pandapower's default is a T model.

Not built: anything but buses, lines, two-winding transformers, closed bus-bus switches, external grids and the loads given to it.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Complexes = NDArray[np.complex128]

SOURCE_OHM = 1e-6
TOLERANCE = 1e-11
UNBUILT = ("trafo3w", "shunt", "ward", "xward", "impedance", "gen", "dcline", "motor")
NODES = {"a": "1", "b": "2", "c": "3"}
LOW_NODES = {0: "1.2.3", 4: "3.1.2", 8: "2.3.1"}  # by the hours that the order of the low side's nodes adds
IDEAL_PERCENT = 1e-5  # leakage of the booster's windings, which should have none


class Connection(NamedTuple):
    """Where a customer is: pandapower's bus, and its phase (a, b, c or abc)."""

    bus: int
    phase: str


class Circuit:
    """One net in OpenDSS. There is one OpenDSS per process: a new Circuit ends the one before."""

    def __init__(self, net: Any, phases: int, customers: Sequence[Connection], magnetising: str = "both ends") -> None:
        from dss import DSS

        unbuilt = [table for table in UNBUILT if len(net[table])]
        assert not unbuilt, f"this circuit would lack {unbuilt}"
        self.net, self.phases, self._dss = net, phases, DSS
        self._magnetising = magnetising
        self._bus_of, self._open_ends = _fused(net), _open_ends(net)
        self._sources: list[str] = []
        self._shifted: dict[int, str] = {}  # the bus behind a transformer's quadrature booster
        self._tell("clear", f"set defaultbasefrequency={net.f_hz}")
        for command in (*self._source_commands(), *self._line_commands(), *self._transformer_commands()):
            self._tell(command)
        for number, customer in enumerate(customers):
            self._tell(self._load_command(number, customer))
        self._tell(f"set tolerance={TOLERANCE} maxiterations=2000 controlmode=off")

    def solve(self, power_va: Complexes, interface_pu: float) -> None:
        """power_va: drawn by each customer. Raises RuntimeError where OpenDSS does not converge."""
        for source in self._sources:
            self._tell(f"edit {source} pu={interface_pu:.16g}")
        for number, power in enumerate(power_va):
            self._tell(f"edit load.{number} kW={float(power.real) / 1e3:.16g} kvar={float(power.imag) / 1e3:.16g}")
        self._tell("solve")
        circuit = self._dss.ActiveCircuit
        if not circuit.Solution.Converged:
            raise RuntimeError("OpenDSS did not converge")
        volts = _complex(circuit.YNodeVarray)
        self._volts = {name.lower(): v for name, v in zip(circuit.YNodeOrder, volts, strict=True)}

    def voltage_v(self, bus: int) -> Complexes:
        """Phase to earth [phases] of one of pandapower's buses."""
        return self._voltage_v(self._bus_of[bus])

    def _voltage_v(self, bus: str) -> Complexes:
        return np.array([self._volts[f"{bus}.{phase + 1}"] for phase in range(self.phases)])

    def current_a(self, kind: str, number: int) -> Complexes:
        """Into a branch [2 ends, phases]; kind is line or transformer, number pandapower's index."""
        circuit = self._dss.ActiveCircuit
        circuit.SetActiveElement(f"{kind}.{number}")
        element = circuit.ActiveCktElement
        currents = _complex(element.Currents).reshape(2, -1)
        nodes = np.array(element.NodeOrder).reshape(2, -1)
        currents = np.array(
            [[end[list(order).index(p + 1)] for p in range(self.phases)] for end, order in zip(currents, nodes, strict=True)]
        )
        return currents + self._magnetising_current(kind, number)

    def _magnetising_current(self, kind: str, number: int) -> Complexes:
        if kind != "transformer" or self._magnetising != "both ends":
            return np.zeros((2, self.phases), dtype=complex)
        row = self.net.trafo.loc[number]
        ends = self._shifted.get(number, self._bus_of[row.hv_bus]), self._bus_of[row.lv_bus]
        return np.array([y * self._voltage_v(bus) for y, bus in zip(_shunt_siemens(row), ends, strict=True)])

    def _tell(self, *commands: str) -> None:
        for command in commands:
            self._dss.Text.Command = command

    def _source_commands(self) -> Iterator[str]:
        for number, row in self.net.ext_grid[self.net.ext_grid.in_service].iterrows():
            kv, bus = self.net.bus.vn_kv[row.bus], self._bus_of[row.bus]
            first = not self._sources
            self._sources.append("vsource.source" if first else f"vsource.{number}")
            values = f"bus1={bus} basekv={kv:.16g} pu=1 phases=3 z1=[0 {SOURCE_OHM}] z0=[0 {SOURCE_OHM}]"
            yield f"new circuit.net {values}" if first else f"new {self._sources[-1]} {values}"

    def _line_commands(self) -> Iterator[str]:
        zero = "0" if self.phases == 3 else ""
        for number, row in self.net.line[self.net.line.in_service].iterrows():
            assert not row.get("g_us_per_km", 0.0), "OpenDSS lines have no shunt conductance"
            ends = " ".join(f"bus{end}={self._line_end(number, bus)}" for end, bus in ((1, row.from_bus), (2, row.to_bus)))
            z = row.length_km / row.parallel
            ohms = f"r1={row.r_ohm_per_km * z:.16g} x1={row.x_ohm_per_km * z:.16g} "
            ohms += f"r0={row[f'r{zero}_ohm_per_km'] * z:.16g} x0={row[f'x{zero}_ohm_per_km'] * z:.16g}"
            y = row.length_km * row.parallel
            nanofarads = f"c1={row.c_nf_per_km * y:.16g} c0={row[f'c{zero}_nf_per_km'] * y:.16g}"
            yield f"new line.{number} phases=3 {ends} {ohms} {nanofarads} length=1 units=none"

    def _line_end(self, number: int, bus: int) -> str:
        return f"open{number}-{bus}" if (number, bus) in self._open_ends else self._bus_of[bus]

    def _transformer_commands(self) -> Iterator[str]:
        for number, row in self.net.trafo[self.net.trafo.in_service].iterrows():
            high, low = self._bus_of[row.hv_bus], self._bus_of[row.lv_bus]
            kva = row.sn_mva * 1e3 * row.parallel
            hour, rest_degree = _clock(row)
            delta = hour % 2 == 1
            order, lag = _order(hour)
            star = _star_ohm(row) if self.phases == 3 else 0j
            order += ".4" if star else ""
            if rest_degree:
                yield from _booster(str(number), high, row.vn_hv_kv, kva, rest_degree)
                high = self._shifted[number] = f"shifted{number}"
            taps = " ".join(f"{tap:.16g}" for tap in _taps(row))
            leakage = _leakage(row.vk_percent, row.vkr_percent)
            own = _own_magnetising(row) if self._magnetising == "low side" else ""
            yield (
                f"new transformer.{number} phases=3 windings=2 buses=[{high} {low}.{order}] conns=[{'delta' if delta else 'wye'} wye] "
                f"kvs=[{row.vn_hv_kv:.16g} {row.vn_lv_kv:.16g}] kvas=[{kva:.16g} {kva:.16g}] taps=[{taps}] mintap=0.5 maxtap=1.5 "
                f"%rs=[{leakage.real / 2:.16g} {leakage.real / 2:.16g}] xhl={leakage.imag:.16g} leadlag={lag} ppm_antifloat=0 {own}"
            )
            if not own:
                yield from _shunts(number, row, high, low)
            if star:
                yield f"new reactor.star{number} phases=1 bus1={low}.4 r={star.real:.16g} x={star.imag:.16g}"

    def _load_command(self, number: int, customer: Connection) -> str:
        single = len(customer.phase) == 1
        bus = self._bus_of[customer.bus] + (f".{NODES[customer.phase]}" if single else "")
        kv = self.net.bus.vn_kv[customer.bus] / (math.sqrt(3) if single else 1.0)
        return f"new load.{number} phases={1 if single else 3} bus1={bus} kv={kv:.16g} kw=0 kvar=0 model=1 vminpu=0 vlowpu=0 vmaxpu=10"


def _complex(pairs: Any) -> Complexes:
    flat = np.asarray(pairs, dtype=float)
    return np.asarray(flat[::2] + 1j * flat[1::2])


def _fused(net: Any) -> dict[int, str]:
    """OpenDSS bus of every bus of the net; pandapower itself decides which buses a closed switch joins."""
    import pandapower

    solved = copy.deepcopy(net)
    pandapower.runpp(solved, init="dc", numba=False)
    lookup = solved._pd2ppc_lookups["bus"]  # noqa: SLF001 - the only place where pandapower keeps it
    return {int(bus): f"bus{lookup[bus]}" for bus in solved.bus.index}


def _open_ends(net: Any) -> set[tuple[int, int]]:
    """Lines, and the bus at which an open switch lets them hang."""
    opened = net.switch[(net.switch.et == "l") & ~net.switch.closed]
    return set(zip(opened.element, opened.bus, strict=True))


def _taps(row: Any) -> tuple[float, float]:
    """Of the high and of the low winding, as multiples of their rated voltages."""
    steps = np.nan_to_num(row.get("tap_pos", 0.0)) - np.nan_to_num(row.get("tap_neutral", 0.0))
    tap = 1 + steps * np.nan_to_num(row.get("tap_step_percent", 0.0)) / 100 if steps else 1.0
    side = row.get("tap_side")
    return (tap if side == "hv" else 1.0), (tap if side == "lv" else 1.0)


def _clock(row: Any) -> tuple[int, float]:
    """Clock hour that windings can make, and the degrees that are left."""
    hour = round(row.shift_degree / 30) % 12
    if hour in (2, 6, 10):
        hour = (hour + 1) % 12
    rest = (row.shift_degree - 30 * hour + 180) % 360 - 180
    return hour, rest


def _order(hour: int) -> tuple[str, str]:
    """Order of the low side's nodes, and whether the delta makes it lag or lead by one hour."""
    first, lag = {0: (0, "lag"), 1: (1, "lag"), 3: (-1, "lead")}[hour % 4]
    return LOW_NODES[(hour - first) % 12], lag


def _booster(name: str, high: str, kv: float, kva: float, degree: float) -> Iterator[str]:
    """Six single-phase ideal windings that turn the voltage of `high` by `degree` (lagging) into that of the bus `shifted`."""
    turn, phase_kv = math.radians(degree), kv / math.sqrt(3)
    aligned, shifted = f"aligned{name}", f"shifted{name}"
    common = f"phases=1 windings=2 kvas=[{kva:.16g} {kva:.16g}] %rs=[0 0] xhl={IDEAL_PERCENT} ppm_antifloat=0"
    for p in (1, 2, 3):
        across = f"{p % 3 + 1}.{(p + 1) % 3 + 1}" if degree > 0 else f"{(p + 1) % 3 + 1}.{p % 3 + 1}"
        kvs = f"{phase_kv:.16g} {phase_kv * math.cos(turn):.16g}"
        yield f"new transformer.{aligned}-{p} {common} buses=[{high}.{p} {aligned}.{p}] kvs=[{kvs}]"
        kvs = f"{kv:.16g} {phase_kv * abs(math.sin(turn)):.16g}"
        yield f"new transformer.{shifted}-{p} {common} buses=[{high}.{across} {shifted}.{p}.{10 + p}] kvs=[{kvs}]"
        yield f"new line.{shifted}-{p} phases=1 bus1={shifted}.{10 + p} bus2={aligned}.{p} r1=0 x1=1e-6 r0=0 x0=1e-6 c1=0 c0=0 length=1"


def _magnetising_va(row: Any) -> complex:
    """Drawn at rated voltage, all phases."""
    apparent, iron = float(row.i0_percent / 100 * row.sn_mva * 1e6), float(row.pfe_kw * 1e3)
    return complex(iron, math.sqrt(max(apparent**2 - iron**2, 0.0))) * int(row.parallel)


def _shunt_siemens(row: Any) -> tuple[complex, complex]:
    """Per phase, at the high and at the low side."""
    low_v = row.vn_lv_kv * 1e3
    tap_high, tap_low = _taps(row)
    half = _magnetising_va(row).conjugate() / low_v**2 / tap_low**2 / 2
    ratio = row.vn_hv_kv * tap_high / (row.vn_lv_kv * tap_low)
    return half / ratio**2, half


def _shunts(number: int, row: Any, high: str, low: str) -> Iterator[str]:
    for end, bus, y in zip(("h", "l"), (high, low), _shunt_siemens(row), strict=True):
        if y.real:
            yield f"new reactor.iron{end}{number} phases=3 bus1={bus} r={1 / y.real:.16g} x=0"
        if y.imag:
            yield f"new reactor.magnet{end}{number} phases=3 bus1={bus} r=0 x={-1 / y.imag:.16g}"


def _star_ohm(row: Any) -> complex:
    """Between the low side's star point and earth: (z0 - z1)/3 gives the transformer the zero sequence that the net states."""
    base_ohm = float((row.vn_lv_kv * _taps(row)[1]) ** 2 / (row.sn_mva * row.parallel))
    return (_leakage(row.vk0_percent, row.vkr0_percent) - _leakage(row.vk_percent, row.vkr_percent)) / 300 * base_ohm


def _leakage(whole_percent: float, real_percent: float) -> complex:
    return complex(real_percent, math.sqrt(whole_percent**2 - real_percent**2))


def _own_magnetising(row: Any) -> str:
    share = _magnetising_va(row) / (row.sn_mva * 1e6 * row.parallel) * 100
    return f"%noloadloss={share.real:.16g} %imag={share.imag:.16g}"

"""Physics derived by hand: each test draws its network and derives what must come out, before any engine is asked.

Voltages in volts phase to neutral, powers per phase unless a name ends in `total`. Both engines answer every question: the dense
model, from which rows come, and power-grid-model, which certificates trust.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from benchmarks.opinions import Dense, GridModel
from riskcheck.linearise import build
from riskcheck.network import Network, load
from riskcheck.powerflow import NoSolution, PowerFlow
from riskcheck.reduced import Reduced
from tests import grids

V0 = 400 / math.sqrt(3)
TURN = cmath.exp(2j * math.pi / 3)


def both_engines(network: Network, power_w: list[float]) -> list[tuple[Any, Any]]:
    """(voltage_v [buses, phases], loading [branches, phases]) of each engine, at 1 pu of the interface."""
    answers = [engine(network).answer(np.array(power_w, dtype=float), 1.0) for engine in (Dense, GridModel)]
    return [(a.voltage_pu * network.bus_nominal_v[:, None], a.loading) for a in answers]


# Ring
#
#                 interface 0                 equal reactances x, no resistance to speak of: a flow divides in inverse
#                   /     \                   proportion to the reactance of its two ways.
#      rated 1     /       \     rated 1      p1 runs 2/3 over 1-0 and 1/3 over 1-2-0; p2 likewise from its side, so
#                 /         \
#      plant p1  1 --------- 2  plant p2      flow 1-2 = p1/3 - p2/3
#                 rated 0.5
#                                             corners (+1,+1) and (-1,-1): 0.  (+1,-1): 2/3, a third above the rating.


def test_opposite_plants_of_a_ring_meet_on_the_line_between_them() -> None:
    """Loading of line 1-2 is flow/0.5 in direct current; in AC within half a percent, for a ring whose losses are as small."""
    network = load(grids.ring())
    for p1_mw, p2_mw, flow_mw in ((1, 1, 0), (-1, -1, 0), (1, -1, 2 / 3), (-1, 1, 2 / 3), (1, 0, 1 / 3), (0.75, -0.75, 0.5)):
        for _, loading in both_engines(network, [p1_mw * 1e6, p2_mw * 1e6]):
            assert loading[2, 0] == pytest.approx(flow_mw / 0.5, rel=5e-3, abs=1e-9)


@pytest.mark.parametrize(("p1_mw", "p2_mw"), [(1, 1), (-1, -1), (1, -1), (-2, 0.3)])
def test_the_ring_in_ac_is_two_equations(p1_mw: float, p2_mw: float) -> None:
    """Kirchhoff at buses 1 and 2 with y = 1/z:  2y V1 - y V2 = y V0 + I1,  -y V1 + 2y V2 = y V0 + I2,  Ik = conj(Sk/Vk).

    The 2x2 inverse of [[2, -1], [-1, 2]] is [[2, 1], [1, 2]]/3, so V = V0 + z/3 [[2, 1], [1, 2]] I: a fixed point of two numbers.
    """
    z, v0, s = 0.01 + 0.1j, 20e3 / math.sqrt(3), np.array([p1_mw, p2_mw]) * 1e6 / 3
    v = np.full(2, v0, dtype=complex)
    for _ in range(50):
        v = v0 + z / 3 * np.array([[2, 1], [1, 2]]) @ np.conj(s / v)
    rating_a = 1e6 / (math.sqrt(3) * 20e3) * np.array([1.0, 1.0, 0.5])
    current_a = np.abs([v[0] - v0, v[1] - v0, v[0] - v[1]]) / abs(z)
    for voltage_v, loading in both_engines(load(grids.ring()), [p1_mw * 1e6, p2_mw * 1e6]):
        assert voltage_v[1:, 0] == pytest.approx(np.abs(v), rel=1e-9)
        assert loading[:, 0] == pytest.approx(current_a / rating_a, abs=1e-6)


# Two buses
#
#      interface V0 ---- z = r + jx ---- V, home draws s = p + jq (p < 0: it exports)
#
#      V0 = V + z conj(s/V). Times conj(V):  V0 conj(V) = |V|^2 + z conj(s), and the squared size of both sides is
#      |V0|^2 |V|^2 = |V|^4 + 2 |V|^2 Re(z conj(s)) + |z s|^2,  with Re(z conj(s)) = rp + xq:
#
#      |V|^4 + (2(rp + xq) - |V0|^2) |V|^2 + |z|^2 |s|^2 = 0          the upper root is the operating point


def upper_root_v(z: complex, s: complex) -> float:
    half = V0**2 / 2 - (z * s.conjugate()).real
    return math.sqrt(half + math.sqrt(half**2 - abs(z * s) ** 2))


@pytest.mark.parametrize(("z", "power_factor"), [(0.2 + 0.1j, 1.0), (0.05 + 0.3j, 0.85), (0.4 + 0.01j, 0.95)])
def test_two_buses_are_a_quadratic(z: complex, power_factor: float) -> None:
    """Exports are made at unity power factor, so it counts for imports only."""
    network = load(grids.two_buses(z, power_factor=power_factor))
    for total_w in (-24_000, 0, 24_000):
        p = -total_w / 3
        s = complex(p, p * math.tan(math.acos(power_factor)) if p > 0 else 0.0)
        expected_v = upper_root_v(z, s)
        for voltage_v, loading in both_engines(network, [total_w]):
            assert voltage_v[1, 0] == pytest.approx(expected_v, rel=1e-9)
            assert loading[0, 0] == pytest.approx(abs(s) / expected_v / 400, abs=1e-8)


def test_beyond_the_nose_of_the_curve_there_is_no_solution() -> None:
    """The root is real while |V0|^2/2 - rp >= |z| p, so no line carries more than p = |V0|^2 / (2 (r + |z|)) at unity."""
    z = 0.2 + 0.1j
    most_w = 3 * V0**2 / (2 * (z.real + abs(z)))
    network = load(grids.two_buses(z))
    at_the_nose = PowerFlow(network).run([[-0.9999 * most_w]], 1.0).voltage_pu[0, 1, 0] * 230
    assert at_the_nose == pytest.approx(upper_root_v(z, 0.9999 * most_w / 3 + 0j), rel=1e-6)
    with pytest.raises(NoSolution):
        PowerFlow(network).run([[-1.0001 * most_w]], 1.0)
    assert np.isnan(Reduced(network).solve(np.array([-1.0001 * most_w]), 1.0)).all()


# Two buses in three phases
#
#      a ----)|(---- home a        a current in one phase induces a voltage in the other two: with sequence impedances z1 and z0
#      b ----)|(---- (idle)            zs = (z0 + 2 z1)/3 of its own phase,   zm = (z0 - z1)/3 between any two
#      c ----)|(---- (idle)        Z = [[zs, zm, zm], [zm, zs, zm], [zm, zm, zs]],   V = V0 (1, a^2, a) - Z I


Z1, Z0 = 0.2 + 0.1j, 0.8 + 0.4j
ZS, ZM = (Z0 + 2 * Z1) / 3, (Z0 - Z1) / 3


def test_a_load_on_phase_a_lifts_b_and_less_so_c() -> None:
    """To first order I = p/V0 on phase a alone, and a phasor's size changes by the part along it:

        d|Va| = -Re(zs) p/V0
        d|Vb| = -Re(zm e^(+j120)) p/V0 = +(rm + sqrt(3) xm)/2 p/V0        rm + j xm = zm
        d|Vc| = -Re(zm e^(-j120)) p/V0 = +(rm - sqrt(3) xm)/2 p/V0

    With zm = 0.2 + 0.1j, one kilowatt lifts b by 0.81 V, c by 0.06 V and lowers a by 1.73 V.
    """
    watts = 100.0
    volts_per_ohm = watts / V0
    by_hand = volts_per_ohm * np.array([-ZS.real, (ZM.real + math.sqrt(3) * ZM.imag) / 2, (ZM.real - math.sqrt(3) * ZM.imag) / 2])
    assert by_hand * 1000 / watts == pytest.approx([-1.73, 0.81, 0.06], abs=0.005)
    for voltage_v, _ in both_engines(load(grids.three_phase_line(Z1, Z0)), [-watts, 0, 0]):
        assert voltage_v[1] - V0 == pytest.approx(by_hand, abs=0.01 * volts_per_ohm * abs(ZM))


@pytest.mark.parametrize("power_w", [(-6_000, 0, 0), (-6_000, 4_000, 4_000), (9_000, -5_000, -2_000), (-3_000, -3_000, -3_000)])
def test_three_phases_are_a_fixed_point_of_three_numbers(power_w: tuple[float, ...]) -> None:
    """V = V0 (1, a^2, a) + Z conj(S/V), iterated here. Equal loads see z1 alone; the sum of currents runs back in the neutral."""
    impedance = np.full((3, 3), ZM) + np.eye(3) * (ZS - ZM)
    idle = V0 * np.array([1, TURN**2, TURN])
    v = idle
    for _ in range(100):
        v = idle + impedance @ np.conj(np.array(power_w) / v)
    current_a = np.abs(np.array(power_w) / v)
    for voltage_v, loading in both_engines(load(grids.three_phase_line(Z1, Z0)), list(power_w)):
        assert voltage_v[1] == pytest.approx(np.abs(v), rel=1e-8)
        assert loading[0] == pytest.approx(current_a / 400, abs=1e-8)
    if len(set(power_w)) == 1:
        assert np.abs(v) == pytest.approx(upper_root_v(Z1, -power_w[0] + 0j), rel=1e-12)


# Transformer
#
#      20 kV ---(D)(yn)--- 0.4 kV, home        E = V1 / n behind z: n = 20 (1 + 2 x 0.025) / 0.4 with two taps up on the high side,
#              tap +2, hour h                  z = vk 0.4^2/sn at the low side; E lags V1 by 30 h degrees


def transformer(hour: int, *, three_phase: bool) -> Network:
    net = grids.source(vn_kv=20.0)
    low = pp.create_bus(net, vn_kv=0.4)
    pp.create_transformer_from_parameters(
        net, 0, low, sn_mva=0.4, vn_hv_kv=20.0, vn_lv_kv=0.4, vk_percent=6.0, vkr_percent=1.2, pfe_kw=0.0, i0_percent=0.0,
        shift_degree=30.0 * hour, vector_group="Dyn", tap_side="hv", tap_neutral=0, tap_pos=2, tap_step_percent=2.5,
        tap_changer_type="Ratio", vk0_percent=6.0, vkr0_percent=1.2, mag0_percent=1e9, mag0_rx=0.0, si0_hv_partial=0.5,
    )  # fmt: skip
    if three_phase:
        pp.create_asymmetric_load(net, low, p_a_mw=0.01, name="home")
        net.asymmetric_load["power_factor"] = 1.0
    else:
        pp.create_load(net, low, p_mw=0.01, name="home")
        net.load["power_factor"] = 1.0
    return load(net)


RATIO = 20 * 1.05 / 0.4
LEAKAGE_OHM = complex(0.012, math.sqrt(0.06**2 - 0.012**2)) * 400**2 / 400e3


@pytest.mark.parametrize("hour", [1, 5, 11])
def test_a_tap_divides_the_voltage_and_the_clock_turns_it(hour: int) -> None:
    """E = 20 kV/sqrt(3) / 52.5 = 219.9 V, then two buses again; idle, the low side lags by 30 degrees for each hour."""
    network = transformer(hour, three_phase=False)
    idle = Reduced(network)
    assert cmath.phase(idle.w[0] * cmath.exp(1j * math.pi / 6 * hour)) == pytest.approx(0.0, abs=1e-12)
    e, s = 20e3 / math.sqrt(3) / RATIO, 100e3 / 3
    half = e**2 / 2 - LEAKAGE_OHM.real * s
    expected_v = math.sqrt(half + math.sqrt(half**2 - abs(LEAKAGE_OHM * s) ** 2))
    for voltage_v, _ in both_engines(network, [-100e3]):
        assert voltage_v[1, 0] == pytest.approx(expected_v, rel=1e-9)


@pytest.mark.parametrize(("hour", "partner"), [(1, "c"), (5, "b"), (7, "c"), (11, "b")])
def test_a_load_on_phase_a_of_a_delta_star_transformer_is_drawn_by_two_phases(hour: int, partner: str) -> None:
    """The winding of low-voltage phase a stands between two high-voltage phases: the pair whose difference points where a points.

        hour 1 (-30): A - C      hour 5 (-150): B - A      hour 7 (+150): C - A      hour 11 (+30): A - B

    The winding's turns are n sqrt(3) to one, so both phases carry I/(n sqrt(3)): 1/sqrt(3) of what the low side carries by its rating.
    """
    watts = 20e3
    v = complex(20e3 / math.sqrt(3) / RATIO)
    for _ in range(50):
        v = 20e3 / math.sqrt(3) / RATIO - LEAKAGE_OHM * np.conj(watts / v)
    on_a = watts / abs(v) / (400e3 / (math.sqrt(3) * 400))
    expected = {"a": on_a, partner: on_a / math.sqrt(3)}
    for voltage_v, loading in both_engines(transformer(hour, three_phase=True), [-watts]):
        assert voltage_v[1, 0] == pytest.approx(abs(v), rel=1e-8)
        assert loading[0] == pytest.approx([expected.get(phase, 0.0) for phase in "abc"], abs=1e-7)


# The largest secure power of two buses
#
#      voltage: put |V| = 207 V (import) or 253 V (export) into the quadratic and solve it for p: with t = tan(phi), q = t p,
#          |z|^2 (1 + t^2) p^2 + 2 (r + x t) |V|^2 p + |V|^2 (|V|^2 - |V0|^2) = 0
#      current: at |I| = rating, w = z I e^(-j phi):  |V| = sqrt(|V0|^2 - Im(w)^2) - Re(w),   p = |V| |I| cos(phi)
#
#      The smaller is the answer; where p has no root, no power reaches that voltage. An export is an import with p < 0: its current
#      is turned around, and phi = 0.


def largest_w(z: complex, rating_a: float, limit_v: float, sign: int, power_factor: float) -> float:
    phi = math.acos(power_factor)
    t = math.tan(phi)
    square, linear = abs(z) ** 2 * (1 + t**2), (z.real + z.imag * t) * limit_v**2
    root = cmath.sqrt(linear**2 - square * limit_v**2 * (limit_v**2 - V0**2))
    by_voltage = math.inf if root.imag else sign * (root.real - linear) / square
    w = sign * z * rating_a * cmath.exp(-1j * phi)
    by_current = (math.sqrt(V0**2 - w.imag**2) - w.real) * rating_a * power_factor
    return 3 * min(by_voltage, by_current)


@pytest.mark.parametrize(
    ("z", "rating_a", "power_factor", "binding", "least"),
    [
        (0.2 + 0.05j, 300.0, 0.9, "voltage", 0.95),
        (0.2 + 0.1j, 300.0, 1.0, "voltage", 0.95),
        (0.2 + 0.2j, 300.0, 0.9, "voltage", 0.95),
        (0.2 + 0.3j, 300.0, 0.9, "voltage", 0.93),  # rows give away more where reactance is large
        (0.02 + 0.01j, 80.0, 1.0, "thermal", 0.95),
        (0.01 + 0.04j, 150.0, 0.9, "thermal", 0.95),
    ],
)
def test_rows_allow_at_most_what_the_closed_form_allows_and_nearly_all_of_it(
    z: complex, rating_a: float, power_factor: float, binding: str, least: float
) -> None:
    """Both rights of the home, the export at unity."""
    rows = build(load(grids.two_buses(z, rating_a=rating_a, power_factor=power_factor, rating_w=600_000)))
    cases = ((0, 253.0, -1, 1.0, "voltage_max"), (1, 207.0, 1, power_factor, "voltage_min"))
    for right, limit_v, sign, factor, kind in cases:
        exact_w = largest_w(z, rating_a, limit_v, sign, factor)
        column = rows.columns[right].astype(np.int64)
        assert least * exact_w <= rows.slack // column.max() <= exact_w
        assert rows.labels[int(column.argmax())].kind == (kind if binding == "voltage" else "thermal")

"""Proven rows: the equations are exact, their bounds hold, and no power within any admitted envelope breaks a limit in AC."""

from __future__ import annotations

import math

import numpy as np
import pandapower as pp
import pytest

from riskcheck.distflow import Bounded, Equations, _settled
from riskcheck.islands import islands
from riskcheck.limits import Limits
from riskcheck.linearise import Insecure, build, is_proven
from riskcheck.network import Branch, Customer, Network, Passive, load
from riskcheck.polytope import Polytope
from riskcheck.radial import tree
from riskcheck.reduced import Reduced
from tests import grids

SEEDS = range(60)


def random_tree(seed: int) -> Network:
    """Balanced, radial, 20/0.4 kV, everything at random: shape, lines with charging, tap, ratings, power factors, set points, shunts,
    passives, interface range. Meant to be tight: some limits bind within the customers' ratings."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 14))
    low = 400.0 / math.sqrt(3)
    branches = [
        Branch(
            "transformer", 0, 0, 1, complex(0.004, 0.012) * rng.uniform(0.5, 3), 0j, complex(2e-4, -2e-3) * rng.random(), 0j,
            rating_a=float(rng.uniform(150, 900)), rating_va=4e5, ratio=50.0 * rng.uniform(0.97, 1.03), shift_degree=150.0,
        )
    ]  # fmt: skip
    for bus in range(2, n):
        z = complex(rng.uniform(0.01, 0.2), rng.uniform(0.005, 0.1))
        parent = int(rng.integers(1, bus))
        ends = (parent, bus) if rng.random() < 0.5 else (bus, parent)
        branches.append(Branch("line", bus, *ends, z, z, 1j * rng.uniform(0, 1e-4), 0j, rating_a=float(rng.uniform(60, 400))))
    customers = tuple(
        Customer(
            f"home{k}", int(rng.integers(1, n)), "abc", 30_000, 42_000, 0, 0, float(rng.uniform(0.85, 1)),
            export_power_factor=float(rng.choice([1.0, rng.uniform(0.9, 1)])), reactive_var=int(rng.choice([0, rng.integers(-2000, 2000)])),
        )
        for k in range(int(rng.integers(2, 9)))
    )  # fmt: skip
    ends = np.sort(rng.integers(-4_000, 4_000, (int(rng.integers(0, 3)), 2)), axis=1)
    passives = tuple(Passive(f"lamp{k}", int(rng.integers(1, n)), "abc", int(a), int(b), 0.95) for k, (a, b) in enumerate(ends))
    base = np.array([20e3 / math.sqrt(3)] + [low] * (n - 1))
    limited = rng.random() < 0.3
    return Network(
        name=f"random {seed}", phases=1, bus_names=tuple(map(str, range(n))), bus_xy=np.zeros((n, 2)), bus_base_v=base,
        bus_nominal_v=base.copy(), bus_min_v=0.9 * base, bus_max_v=1.1 * base, branches=tuple(branches), sources=(0,),
        customers=customers, voltage_min_pu=0.9, voltage_max_pu=1.1, interface_min_pu=0.98, interface_max_pu=1.02,
        interface_export_w_max=60_000.0 if limited else math.inf, interface_import_w_max=50_000.0 if limited else math.inf,
        passives=passives, bus_shunt_siemens=((1, complex(1e-4, 5e-3)),) if rng.random() < 0.3 else (),
    )  # fmt: skip


def saturated(polytope: Polytope, caps_w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Holdings raised right by right, in random order, until rows or ratings stop each."""
    x = np.zeros(len(caps_w), dtype=np.int64)
    for depth in (rng.random(), 1.0):
        for right in rng.permutation(len(x)):
            residual, column = polytope.residual(x), polytope.columns[right].astype(np.int64)
            room = int(np.min(residual[column > 0] // column[column > 0], initial=2**31))
            x[right] += int(depth * min(room, caps_w[right] - x[right]))
    return x


def corners(network: Network, x: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Powers of all injectors within the envelopes and forecasts: corners, and points between them."""
    n = len(network.customers)
    low = np.concatenate([-x[n:], [p.low_w for p in network.passives]])
    high = np.concatenate([x[:n], [p.high_w for p in network.passives]])
    share = (rng.random((count, len(low))) < rng.random((count, 1))).astype(float)
    share[count // 2 :] *= rng.random((count - count // 2, 1))
    share[:2] = [[0.0], [1.0]]
    return low + share * (high - low)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_power_within_admitted_envelopes_breaks_a_limit(seed: int) -> None:
    network = random_tree(seed)
    assert is_proven(network)
    polytope, rng = build(network), np.random.default_rng(seed)
    model = Reduced(network)
    limits = Limits.of(model, extremal_only=False, both_ends=True)
    for _ in range(8):
        x = saturated(polytope, network.caps_w(), rng)
        assert limits.measure(model, corners(network, x, rng, 400)).max() < 1e-9


def test_the_rows_admit_nearly_all_that_ac_allows() -> None:
    """Along random rays, in the mean over networks whose set points and power factors are nastier than real ones."""
    shares = []
    for seed in SEEDS[:30]:
        network = random_tree(seed)
        polytope, rng = build(network), np.random.default_rng(seed)
        model = Reduced(network)
        limits = Limits.of(model, both_ends=True)
        x = saturated(polytope, network.caps_w(), rng)
        low, high = 1.0, 1.4
        for _ in range(7):
            middle = np.minimum((low + high) / 2 * x, network.caps_w())
            broken = limits.measure(model, corners(network, middle, np.random.default_rng(1), 100)).max() > 0
            low, high = (low, (low + high) / 2) if broken else ((low + high) / 2, high)
        shares.append(x.sum() / np.minimum(low * x, network.caps_w()).sum())
    assert 0.93 < np.mean(shares) <= 1.0


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_the_equations_are_exact_and_the_losses_within_their_bounds(seed: int) -> None:
    """With the losses of the AC solution, base + K.powers - H.losses are its squared voltages, referred to the source."""
    network = random_tree(seed)
    shape = tree(network)
    assert shape is not None
    equations = Equations(shape)
    bounded, rng = _settled(equations, network), np.random.default_rng(seed)
    power = corners(network, saturated(build(network), network.caps_w(), rng), rng, 50)
    model = Reduced(network)
    for p in power:
        current = model.solve(p[None], network.interface_min_pu)
        v, losses = referred(network, bounded, model, current)
        affine = equations.voltages(network.interface_min_pu)
        exports, imports = np.maximum(p, 0)[shape.injector], np.maximum(-p, 0)[shape.injector]
        assert np.allclose(v, affine.export @ exports + affine.imports @ imports + affine.constant - equations.H @ losses, atol=1e-9)
        assert (losses <= bounded.current**2 + 1e-12).all()


def referred(network: Network, bounded: Bounded, model: Reduced, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared voltages and squared series currents of an AC solution, per unit of the source, by position in the tree."""
    shape = bounded.tree
    v = np.full(len(shape.bus), network.interface_min_pu, dtype=complex)
    phasors = model.phasors(current, network.interface_min_pu)[0]
    level = np.sqrt(shape.v_max) * network.bus_base_v[shape.bus] / network.bus_max_v[shape.bus]  # of 1 pu of the bus
    for monitor in np.flatnonzero(model.monitors.is_voltage):
        where = np.flatnonzero(shape.bus == model.monitors.element[monitor])
        v[where] = phasors[monitor]
    v = v * level
    clocked = v * np.exp(1j * np.pi / 180 * 150.0 * (np.arange(len(v)) > 0))  # behind the transformer, back in the source's phase
    series = np.zeros(len(v))
    for j in range(1, len(v)):
        series[j] = abs((clocked[shape.parent[j]] - clocked[j]) / shape.z[j]) ** 2
    return np.abs(v) ** 2, series


def test_limits_of_interface_power_are_rows_and_hold_with_losses() -> None:
    net = grids.two_buses(z=0.05 + 0.02j, rating_a=1_000.0)
    net.ext_grid["interface_import_w_max"], net.ext_grid["interface_export_w_max"] = 30_000, 20_000
    network = load(net)
    polytope = build(network)
    assert {str(label) for label in polytope.labels} >= {"interface power of import phase abc", "interface power of export phase abc"}
    most_w = [int(polytope.slack // int(polytope.columns[right].max())) for right in (0, 1)]
    assert 19_900 <= most_w[0] <= 20_000
    current_a = most_w[1] / 3 / 230.94
    assert 29_800 <= most_w[1] + 3 * 0.05 * current_a**2 <= 30_000


def test_islands_and_equal_branches_side_by_side_are_still_proven() -> None:
    single, double = grids.two_buses(rating_a=100.0), grids.two_buses(rating_a=50.0)
    grids.line(double, 0, 1, 0.2 + 0.1j, 0.8 + 0.4j, 50.0)
    double.line["r_ohm_per_km"] *= 2
    double.line["x_ohm_per_km"] *= 2
    one, two = load(single), load(double)
    assert is_proven(two)
    assert np.allclose(build(one).columns / build(one).slack, build(two).columns / build(two).slack, rtol=1e-6)
    assert [len(part.customers) for part in islands(two)] == [1]


def test_loops_phases_and_voltage_control_are_left_to_the_search() -> None:
    assert not is_proven(load(grids.ring()))
    assert not is_proven(load(grids.three_phase_line()))


def worst_of(network: Network, power_w: list[float]) -> float:
    """The measure of the limit nearest to breaking, at these powers of all injectors; positive where one breaks."""
    model = Reduced(network)
    return float(Limits.of(model, extremal_only=False, both_ends=True).measure(model, np.array([power_w])).max())


def test_exports_that_absorb_vars_beside_a_reactor_stay_within_the_rating() -> None:
    """The reactor's current leans towards theirs: the two add up, although exports and losses oppose each other elsewhere."""
    net = grids.two_buses(z=0.005 + 0.005j, rating_a=100.0)
    net.load["export_power_factor"] = 0.8
    pp.create_shunt(net, 1, q_mvar=0.06 * 100 * 231 * 3 / 1e6, p_mw=0)
    network = load(net)
    rows = build(network)
    assert is_proven(network)
    assert -0.1 < worst_of(network, [float(rows.slack // int(rows.columns[0].max()))]) < 0


def with_a_passive_island(rating_a: float) -> Network:
    """Beside two buses with one home, an interface, a line and a lamp of 20 kW, where nobody trades."""
    net = grids.two_buses(z=0.05 + 0.02j, rating_a=1_000.0)
    source, lamp = pp.create_bus(net, vn_kv=0.4), pp.create_bus(net, vn_kv=0.4)
    pp.create_ext_grid(net, source, vm_pu=1.0)
    net.ext_grid["interface_min_pu"] = net.ext_grid["interface_max_pu"] = 1.0
    net.ext_grid["interface_import_w_max"], net.ext_grid["interface_export_w_max"] = 30_000, 20_000
    grids.line(net, source, lamp, 0.05 + 0.02j, 0.2 + 0.1j, rating_a)
    pp.create_load(net, lamp, p_mw=0.02, name="lamp", power_factor=1.0)
    net.load["passive"] = [False, True]
    return load(net)


def test_an_island_without_customers_takes_its_part_of_the_interface() -> None:
    network = with_a_passive_island(rating_a=200.0)
    rows = build(network)
    most_w = rows.slack // int(rows.columns[1].max())
    assert 8_000 < most_w < 10_000
    assert worst_of(network, [-float(most_w), -20_000.0]) < 0


def test_an_island_without_customers_must_hold_by_itself() -> None:
    with pytest.raises(Insecure, match="overload of line 1"):
        build(with_a_passive_island(rating_a=20.0))


def test_what_hangs_on_the_source_draws_at_the_highest_interface_voltage() -> None:
    """The source's own bus limit is nobody's to guard: the interface range says how high it is."""
    net = grids.two_buses(z=0.05 + 0.02j, rating_a=1_000.0)
    net.bus["max_vm_pu"], net.bus["min_vm_pu"] = 1.3, 0.7
    net.bus.loc[0, "max_vm_pu"] = 1.05
    net.ext_grid["interface_max_pu"], net.ext_grid["interface_import_w_max"] = 1.15, 30_000
    pp.create_shunt(net, 0, q_mvar=0.0, p_mw=0.008)
    network = load(net)
    rows = build(network)
    assert -0.2 < worst_of(network, [-float(rows.slack // int(rows.columns[1].max()))]) < 0


def test_exports_that_lower_the_voltage_are_not_refused() -> None:
    """With x/r = 20 and power factor 0.9 absorbed vars outweigh the watts: no over-voltage row may stop anybody."""
    net = grids.two_buses(z=0.005 + 0.1j, rating_a=3_000.0, rating_w=300_000)
    net.load["export_power_factor"] = 0.9
    assert "voltage_max" not in {label.kind for label in build(load(net)).labels}

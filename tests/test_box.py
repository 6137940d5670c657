"""The adversary against the truth: every kind of worst point that a box can have is found, also where trying all is not possible."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from riskcheck import box
from riskcheck.corners import Box, phases
from riskcheck.limits import KINDS, Limits
from riskcheck.network import Branch, Customer, Network, Passive, load
from riskcheck.reduced import Reduced
from tests import grids, random_grids

RANDOM_NETWORKS = 20


def adversary(network: Network, export_w: Any, import_w: Any, effort: str = "quick", **changed: int) -> box.Adversary:
    model = Reduced(network)
    where = Box.of(network, np.asarray(export_w, dtype=float), np.asarray(import_w, dtype=float))
    harder = dataclasses.replace(box.EFFORTS[effort], **changed)
    return box.Adversary(model, model, Limits.of(model, both_ends=True), where, harder, seed=0)


def worst(search: box.Adversary, kind: str) -> tuple[float, Any, str, float]:
    """The greatest f of one kind, its point, the strategy that found it and the interface voltage."""
    limits, found = search.limits, search.found
    which = np.flatnonzero(limits.kind == KINDS.index(kind))
    limit = int(which[found.f[which].argmax()])
    row = found.row[limit]
    return float(found.f[limit]), found.points[row], found.strategy[row], float(limits.interface_pu[limit])


def test_without_trying_all_the_search_finds_the_worst_of_all_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random networks, balanced and three-phase, radial and meshed, with and without forecasts; 12 injectors, so 4,096 corners."""
    misses = []
    for seed in range(RANDOM_NETWORKS):
        passives = 3 * (seed // 4 % 2)
        network = random_grids.network(
            seed, customers=12 - passives, phases=(3, 1)[seed % 2], passives=passives, loops=(0, 0, 1, 2)[seed % 4]
        )
        rng = np.random.default_rng(1_000 + seed)
        export_w, import_w = rng.uniform(0, 1, (2, 12 - passives)) * rng.choice([500, 1_500, 4_000], (2, 1))
        truth = adversary(network, export_w, import_w)
        truth.strike_every_corner()
        monkeypatch.setattr(box, "EXHAUSTIVE_INJECTORS_MAX", 0)
        search = adversary(network, export_w, import_w)
        found = search.search()
        monkeypatch.undo()
        for kind in range(3):
            which = search.limits.kind == kind
            misses.append(truth.found.f[which].max() > found.f[which].max() + 1e-9)
    assert len(misses) == 3 * RANDOM_NETWORKS
    assert not any(misses)


def test_customers_of_one_phase_against_the_others_are_found_among_too_many_to_try_all() -> None:
    network = grids.feeder()
    search = adversary(network, [1_800] * 55, [1_800] * 55)
    search.search()
    f, point, _, _ = worst(search, "voltage_max")
    assert f > 0.005
    phase = phases(network)
    directions = [{bool(watts > 0) for watts in point[phase == p]} for p in range(3)]
    assert {True} in directions
    assert {False} in directions


@pytest.mark.parametrize(("low_w", "high_w", "kind"), [(0, 9_000, "voltage_max"), (-9_000, 0, "voltage_min")])
def test_a_forecast_breaks_what_customers_alone_do_not(low_w: int, high_w: int, kind: str) -> None:
    network = load(grids.two_buses(z=0.6 + 0.3j))
    passive = Passive("street light", 1, "abc", low_w, high_w, 1.0)
    uncertain = dataclasses.replace(network, passives=(passive,))
    for one, breaks in ((network, False), (uncertain, True)):
        search = adversary(one, [20_000], [20_000])
        search.search()
        f, point, _, _ = worst(search, kind)
        assert (f > 0) is breaks, (one.passives, f)
    assert point[1] == (high_w or low_w)


def test_a_forecast_that_cannot_be_zero_keeps_to_its_range() -> None:
    network = dataclasses.replace(load(grids.two_buses()), passives=(Passive("pump", 1, "abc", -9_000, -4_000, 0.9),))
    search = adversary(network, [5_000], [5_000])
    points = search.search().points
    assert points[:, 1].min() >= -9_000
    assert points[:, 1].max() <= -4_000


def test_both_ends_of_the_interface_range_are_tried() -> None:
    """The charging current of a long cable grows with the voltage, so it is worst at the upper end; loads are worst at the lower."""
    network = load(grids.two_buses(z=0.1 + 0.1j, rating_a=100.0))
    (line,) = network.branches
    cable = dataclasses.replace(
        network, interface_min_pu=0.95, interface_max_pu=1.05, branches=(dataclasses.replace(line, y1_siemens=0.9j),)
    )
    search = adversary(cable, [1_000], [1_000])
    search.search()
    assert worst(search, "thermal")[3] == 1.05
    loaded = adversary(dataclasses.replace(cable, branches=(line,)), [30_000], [30_000])
    loaded.search()
    assert worst(loaded, "thermal")[3] == 0.95


def mv_plant() -> Network:
    """A plant at the end of a line with much reactance: more export first raises, then lowers the voltage."""
    base_v = np.full(2, 20_000 / 3**0.5)
    line = Branch("line", 0, 0, 1, 2.0 + 12j, 8 + 30j, 0j, 0j, rating_a=2_000.0)
    plant = Customer("plant", 1, "abc", 40_000_000, 1_000, 0, 0, 1.0)
    return Network(
        name="plant", phases=1, bus_names=("0", "1"), bus_xy=np.zeros((2, 2)), bus_base_v=base_v, bus_nominal_v=base_v.copy(),
        bus_min_v=0.5 * base_v, bus_max_v=1.01 * base_v, branches=(line,), sources=(0,), customers=(plant,),
        voltage_min_pu=0.5, voltage_max_pu=1.01, interface_min_pu=1.0, interface_max_pu=1.0,
    )  # fmt: skip


def test_a_limit_that_only_a_point_inside_the_box_breaks_is_found() -> None:
    """|V|^2 = 1 + 2rp - |z|^2 p^2 / |V|^2 rises, peaks and falls: at 16 MW the voltage is below its limit, at the peak above."""
    search = adversary(mv_plant(), [16_000_000], [0], draws=0)
    corners = np.array([[16e6], [0.0]])
    assert search.limits.measure(search.model, corners)[:, search.limits.kind == 0].max() < 0
    search.search()
    f, point, strategy, _ = worst(search, "voltage_max")
    grid = np.linspace(0, 16e6, 20_001)[:, None]
    truth = search.limits.measure(search.model, grid)[:, search.limits.kind == 0].max()
    assert truth > 0.001
    assert f == pytest.approx(truth, abs=1e-6)
    assert (strategy, 0 < point[0] < 16e6) == ("climb", True)


def test_what_is_behind_a_branch_stands_against_the_rest() -> None:
    """In a ring of four homes the line between two of them is worst when one side exports and the other imports."""
    network = random_grids.network(6, customers=10, phases=1, loops=2)
    search = adversary(network, [3_000] * 10, [3_000] * 10)
    search.strike_every_corner()
    truth = search.found.f[search.limits.kind == 2]
    other = adversary(network, [3_000] * 10, [3_000] * 10)
    other.strike_branches()
    assert other.found.f[other.limits.kind == 2].max() == pytest.approx(truth.max(), abs=1e-9)


def test_slopes_of_many_limits_at_points_of_their_own_are_the_gradients_there() -> None:
    network = random_grids.network(4, passives=2)
    model = Reduced(network)
    limits = Limits.of(model, both_ends=True)
    points = np.random.default_rng(0).uniform(-2_000, 2_000, (len(limits.monitor), model.n_injectors))
    slopes = limits.slopes(model, points)
    for limit in range(0, len(limits.monitor), 17):
        _, gradient = limits.one(model, limit, points[limit])
        assert slopes[limit] == pytest.approx(gradient, abs=1e-6 * np.abs(gradient).max())


def test_the_same_seed_tries_the_same_points() -> None:
    network = random_grids.network(8, customers=14)
    first, second = (adversary(network, [2_000] * 14, [2_000] * 14).search() for _ in range(2))
    assert first.tried == second.tried
    assert (first.points == second.points).all()

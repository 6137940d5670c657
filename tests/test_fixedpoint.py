"""The sparse fixed point is the same power flow as the dense model and as power-grid-model, and says where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from riskcheck.fixedpoint import FixedPoint, engine
from riskcheck.network import Network, VoltVar, load
from riskcheck.powerflow import PowerFlow
from riskcheck.reduced import Reduced
from tests import grids, random_grids


def networks() -> dict[str, Network]:
    limited = dataclasses.replace(random_grids.network(3), interface_export_w_max=20_000.0, interface_import_w_max=10_000.0)
    return {
        "ring": load(grids.ring()),
        "village": grids.village(),
        "three phases, rings and forecasts": random_grids.network(2, passives=3, loops=2),
        "interface limits and shunts": dataclasses.replace(limited, bus_shunt_siemens=((2, 0.01 - 0.02j),)),
    }


@pytest.mark.parametrize("name", networks())
def test_it_equals_the_dense_model_in_every_monitor(name: str) -> None:
    model = Reduced(networks()[name])
    fast, every = FixedPoint(model), np.arange(len(model.scale))
    points = np.random.default_rng(1).uniform(-2_000, 2_000, (37, model.n_injectors))
    for interface_pu in (0.97, 1.03):
        expected = model.values(model.solve(points, interface_pu), interface_pu)
        assert fast.values(fast.solve(points, interface_pu), interface_pu, every) == pytest.approx(expected, abs=2e-9)


def test_it_equals_power_grid_model_at_every_bus() -> None:
    network = random_grids.network(5, customers=8, loops=1)
    fast = FixedPoint(Reduced(network))
    points = np.random.default_rng(2).uniform(-3_000, 3_000, (20, 8))
    theirs = PowerFlow(network).run(points, 1.01).voltage_pu[:, 1:].reshape(20, -1)
    ours = np.abs(fast.solve(points, 1.01)) * random_grids.BASE_V / 230
    assert ours == pytest.approx(theirs, abs=2e-9)


def test_a_collapse_is_not_a_number_and_leaves_its_neighbours_alone() -> None:
    model = Reduced(load(grids.two_buses(z=2 + 1j)))
    fast = FixedPoint(model)
    voltage = fast.solve(np.array([[1_000.0], [-200_000.0], [-1_000.0]]), 1.0)
    assert np.isnan(voltage).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(fast.values(voltage, 1.0, np.arange(2))[1]).all()


def test_the_cheaper_engine_is_taken_and_never_with_curves() -> None:
    many = random_grids.network(1, customers=60, phases=1)
    assert isinstance(engine(Reduced(many)), FixedPoint)
    assert isinstance(engine(Reduced(grids.feeder())), Reduced), "55 customers on 906 buses: dense is cheaper"
    curve = VoltVar((0.9, 1.0, 1.1), (1.0, 0.0, -1.0), 2_000.0)
    with_curve = dataclasses.replace(many, customers=(dataclasses.replace(many.customers[0], volt_var=curve), *many.customers[1:]))
    assert isinstance(engine(Reduced(with_curve)), Reduced)

"""limex, pandapower and OpenDSS agree. The whole comparison is `python -m benchmarks.validation`; this is its quick part."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.opinions import OpenDSS, Opinion
from benchmarks.specimens import points, same_model, street
from benchmarks.validation import TOLERANCE_PU, Comparison, compare, page
from riskcheck.network import load


def shown(comparison: Comparison) -> str:
    return ", ".join(f"{one} - {other}: {found.voltage_pu:.1e} pu" for (one, other), found in comparison.pairs.items())


@pytest.mark.parametrize(("name", "n_points"), [("ieee-european-lv", 1), ("cigre-mv", 2), ("street, no magnetising", 3)])
def test_all_four_power_flows_agree_at_every_bus_branch_and_phase(name: str, n_points: int) -> None:
    found = compare(name, n_points)
    assert found.worst_pu < TOLERANCE_PU, shown(found)
    assert max(difference.current_percent for difference in found.pairs.values()) < 0.01
    assert f"| {name} | {found.network.n_buses} |" in page([found], {})


def test_a_wrong_vector_group_does_not_pass_unseen() -> None:
    """Dyn1 instead of Dyn5 draws an unbalanced load from other phases: the comparison must tell."""
    net, turned = same_model(street()), same_model(street())
    turned.trafo["shift_degree"] = 30.0
    network = load(net)
    opposed = points(net, network)[-1]
    right, wrong = (ask(OpenDSS(one, network), opposed.power_w) for one in (net, turned))
    assert np.abs(right - wrong).max() > 100 * TOLERANCE_PU


def ask(opinion: Opinion, power_w: np.ndarray) -> np.ndarray:
    return opinion.answer(power_w, 1.0).loading

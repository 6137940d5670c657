"""DC rows with outages: the ring by hand, every corner by brute force, what is violated already, and what screening may not drop."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandapower
import pytest
from pandapower.networks import case9, case118
from scipy.optimize import linprog

from envelopes.allocate import allocate
from envelopes.redispatch import Generators, NoRedispatchError, redispatch
from envelopes.transmission import BaseCaseViolatedError, Flows, Grid, read_dc, secured

if TYPE_CHECKING:
    from collections.abc import Iterator


def ring(rating: float = 0.5) -> Grid:
    """Three buses, equal reactances, balance at bus 0; MW."""
    return Grid(
        names=("0-1", "0-2", "1-2"),
        from_bus=np.array([0, 0, 1]),
        to_bus=np.array([1, 2, 2]),
        susceptance_mw=np.full(3, 100.0),
        shift_rad=np.zeros(3),
        rating_mw=np.array([1.0, 1.0, rating]),
        injection_mw=np.zeros(3),
        balance=np.array([1.0, 0.0, 0.0]),
    )


def flows_at(grid: Grid, buses: list[int], power_mw: list[float]) -> np.ndarray:
    injection = np.zeros(len(grid.injection_mw))
    np.add.at(injection, buses, power_mw)
    return Flows(grid).base_mw + Flows(grid).to_balance @ injection


def test_joint_corners_see_nothing_on_the_ring_and_the_box_sees_two_thirds() -> None:
    for joint in ([1.0, 1.0], [-1.0, -1.0]):
        assert flows_at(ring(), [1, 2], joint)[2] == pytest.approx(0.0)
    assert flows_at(ring(), [1, 2], [1.0, -1.0])[2] == pytest.approx(2 / 3)


def test_the_ring_gives_everybody_what_the_worst_corner_leaves() -> None:
    """With line 0-1 or 0-2 out, everything passes 1-2 of rating 0.5: each area may have 0.5 there, its own only."""
    found = secured(ring(), [1, 2], [1_000_000] * 4)
    envelopes = allocate(found.polytope(), [1_000_000] * 4).limits_w / 1e6
    assert found.parting == () and found.violated == ()
    for corner in itertools.product(*zip(-envelopes[2:], envelopes[:2], strict=True)):
        for outage in (None, 0, 1, 2):
            left = [i for i in range(3) if i != outage]
            assert (np.abs(by_hand(corner, outage))[left] <= ring().rating_mw[left] + 1e-9).all()
    assert envelopes.min() == pytest.approx(0.5, abs=1e-5)


def by_hand(power: tuple[float, ...], outage: int | None) -> np.ndarray:
    a, b = power
    if outage is None:
        return np.array([-(2 * a + b) / 3, -(a + 2 * b) / 3, (a - b) / 3])
    return np.array({0: [0.0, -(a + b), a], 1: [-(a + b), 0.0, -b], 2: [-a, -b, 0.0]}[outage])


def test_flows_are_those_of_pandapower() -> None:
    net = case118()
    grid, _ = read_dc(net, at_buses=net.load.bus.to_numpy())
    expected = np.concatenate([net.res_line.p_from_mw, net.res_trafo.p_hv_mw])
    np.testing.assert_allclose(Flows(grid).base_mw, expected, atol=1e-8)


def test_an_outage_moves_what_pandapower_says_it_moves() -> None:
    net = case9()
    grid, _ = read_dc(net, at_buses=[0])
    flows = Flows(grid)
    for k in np.flatnonzero(~flows.parts):
        net.line.in_service = True
        net.line.loc[net.line.index[k], "in_service"] = False
        pandapower.rundcpp(net)
        expected = net.res_line.p_from_mw.fillna(0.0).to_numpy()
        np.testing.assert_allclose(flows.base_mw + flows.lodf[:, k] * flows.base_mw[k], expected, atol=1e-8)


def test_what_parts_the_network_is_listed_and_not_secured() -> None:
    grid = replace(ring(), from_bus=np.array([0, 0, 0]), to_bus=np.array([1, 2, 2]), names=("0-1", "0-2 a", "0-2 b"))
    assert secured(grid, [1, 2], [1_000_000] * 4).parting == ("0-1",)


def test_rows_violated_in_the_base_case_are_reported_and_stop_everything_until_accepted() -> None:
    grid = replace(ring(rating=0.1), injection_mw=np.array([0.0, 0.6, -0.6]))
    found = secured(grid, [1, 2], [1_000_000] * 4)
    assert {(v.branch, v.outage) for v in found.violated} >= {("1-2", None)}
    with pytest.raises(BaseCaseViolatedError, match="1-2 at"):
        found.polytope()
    assert found.polytope(accept_violated=True).n_rights == 4


@pytest.mark.parametrize(("left_w", "is_row"), [(0.5, False), (1.0, False), (2.0, True)])
def test_what_leaves_less_than_a_watt_is_no_row_but_violated(left_w: float, is_row: bool) -> None:
    """With 0-1 out, all that bus 1 puts in passes 1-2, of rating 0.5."""
    grid = replace(ring(), injection_mw=np.array([0.0, 0.5 - left_w / 1e6, 0.0]))
    found = secured(grid, [1, 2], [1_000_000] * 4, loss=0.0)
    assert [(one.branch, one.outage) for one in found.violated] == ([] if is_row else [("1-2", "0-1")])
    assert found.violated or found.rows.slack.min() == pytest.approx(left_w, rel=1e-6)


@pytest.mark.parametrize("wrong", [{"rating_mw": np.array([1.0, 0.0, 1.0])}, {"susceptance_mw": np.array([100.0, np.inf, 100.0])}])
def test_a_branch_without_rating_or_reactance_is_named(wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="0-2 has no reactance or no rating"):
        replace(ring(), **wrong)


def test_screening_drops_no_row_that_could_bind() -> None:
    """All rows of case9 by brute force, against those that are left: the same limits are secure."""
    net = case9()
    grid, at = read_dc(net, at_buses=net.load.bus.to_numpy())
    grid = replace(grid, rating_mw=np.abs(Flows(grid).base_mw) * 1.6 + 120)
    caps = np.full(6, 120_000_000)
    found = secured(grid, at, caps, loss=0.0)
    rows, slack = brute_force(grid, at)
    rng = np.random.default_rng(3)
    polytope = found.polytope()
    agreed = 0
    for scale in rng.uniform(0, 1.5, 400):
        limits = np.minimum(caps, caps * scale * rng.random(6)).astype(np.int64)
        secure = bool((rows @ (limits / 1e6) <= slack).all())
        near = bool(np.abs(rows @ (limits / 1e6) - slack).min() < 1e-3)
        assert near or polytope.is_secure(limits) == secure
        agreed += secure
    assert 20 < agreed < 380
    assert len(found.rows.slack) < found.considered


def meshed(seed: int) -> tuple[Grid, np.ndarray, np.ndarray]:
    """A random grid of 8 buses and 15 branches, loaded by half before anybody moves, with areas at 5 buses and their caps."""
    rng = np.random.default_rng(seed)
    tree = [(int(rng.integers(0, bus)), bus) for bus in range(1, 8)]
    ends = np.array(tree + [tuple(rng.choice(8, 2, replace=False)) for _ in range(8)])
    injection = np.append(rng.normal(0, 30, 7), 0.0)
    injection[7] = -injection.sum()
    bare = Grid(
        tuple(f"line {i}" for i in range(15)), ends[:, 0], ends[:, 1], rng.uniform(50, 200, 15), np.zeros(15), np.full(15, 1e6), injection,
        np.eye(8)[0],
    )  # fmt: skip
    worst = np.max([np.abs(loading * 1e6).max(axis=1) for _, loading in Flows(bare).loading()], axis=0)
    at = rng.choice(8, 5, replace=False)
    return replace(bare, rating_mw=1.5 * worst + 10), at, rng.integers(20, 80, 10) * 1_000_000


@pytest.mark.parametrize("seed", range(6))
def test_without_loss_the_rows_that_are_left_say_what_all_rows_say(seed: int) -> None:
    grid, at, caps = meshed(seed)
    found, (rows, slack) = secured(grid, at, caps, loss=0.0), brute_force(grid, at)
    assert found.lost == 0.0 and len(found.rows.slack) < found.binding < found.considered
    for x in points(caps, rows, slack, seed):
        fullest = float((rows @ x / slack).max())
        assert (found.rows.coefficient @ (x * 1e6) / found.rows.slack).max() == pytest.approx(fullest, abs=1e-9) or fullest < 1


@pytest.mark.parametrize("loss", [1e-3, 1e-2])
@pytest.mark.parametrize("seed", range(6))
def test_with_a_loss_what_is_given_is_secure_in_every_row_and_a_secure_point_loses_no_more(seed: int, loss: float) -> None:
    grid, at, caps = meshed(seed)
    found, exact, (rows, slack) = secured(grid, at, caps, loss=loss), secured(grid, at, caps, loss=0.0), brute_force(grid, at)
    assert found.lost <= loss and len(found.rows.slack) <= len(exact.rows.slack)
    for x in points(caps, rows, slack, seed):
        left = (found.rows.coefficient @ (x * 1e6) / found.rows.slack).max()
        fullest = (rows @ x / slack).max()
        assert fullest <= max(left, 1.0) + 1e-9 and left * (1 - loss) <= max(fullest, 1.0) + 1e-9
    limits, most = (allocate(one.polytope(), caps).limits_w for one in (found, exact))
    assert (rows @ (limits / 1e6) <= slack).all()
    assert most.min() * (1 - loss) - 1 <= limits.min() <= most.min()


@pytest.mark.parametrize("loss", [0.0, 1e-2])
@pytest.mark.parametrize(("seed", "areas", "tight"), [(1, 5, 5), (3, 5, 5), (18, 3, 0), (52, 3, 0)])
def test_no_point_that_the_rows_allow_fills_any_row_of_all(seed: int, areas: int, tight: int, loss: float) -> None:
    """The fullest that each row can be at secure limits, by linear programs: exact, where drawn points only try.

    At 18 and 52 the most that a row stands for is reached; every third cap is a sixth where it is tight.
    """
    grid, at, caps = meshed(seed)
    at, caps = at[:areas], np.concatenate([caps[:areas], caps[5 : 5 + areas]])
    caps //= 1 + tight * (np.arange(2 * areas) % 3 == 1)
    found, (rows, slack) = secured(grid, at, caps, loss=loss), brute_force(grid, at)
    left = found.rows.coefficient / found.rows.slack[:, None] * 1e6
    for row in (rows / slack[:, None])[rows @ caps / 1e6 > slack]:
        fullest = linprog(-row, A_ub=left, b_ub=np.ones(len(left)), bounds=[(0, cap) for cap in caps / 1e6], method="highs")
        assert -fullest.fun <= 1 + 1e-7


def points(caps: np.ndarray, rows: np.ndarray, slack: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Limits in MW within the caps, drawn to the edge of what is secure, as far as the caps go."""
    rng = np.random.default_rng(seed)
    for _ in range(300):
        x = caps / 1e6 * rng.random(10) ** rng.choice([0.3, 1.0, 4.0])
        yield np.minimum(caps / 1e6, x / (rows @ x / slack).max() * rng.choice([0.9, 1.0, 1.1]))


def test_a_loss_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a loss of 0.5 is outside"):
        secured(ring(), [1, 2], [1_000_000] * 4, loss=0.5)


def brute_force(grid: Grid, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flows, rows, slack = Flows(grid), [], []
    for k in [-1, *np.flatnonzero(~flows.parts)]:
        for branch in range(len(grid.names)):
            if branch == k:
                continue
            factor = 0.0 if k < 0 else flows.lodf[branch, k]
            coefficient = flows.to_balance[branch, at] + factor * flows.to_balance[k, at]
            flow = flows.base_mw[branch] + factor * flows.base_mw[k]
            for sign in (1, -1):
                rows.append(np.concatenate([np.maximum(sign * coefficient, 0), np.maximum(-sign * coefficient, 0)]))
                slack.append(grid.rating_mw[branch] - sign * flow)
    return np.array(rows), np.array(slack)


# ------------------------------------------------------------------------------------------------------------ redispatch


def both_ends() -> Generators:
    return Generators(np.array([1, 2]), np.full(2, -1.0), np.full(2, 1.0), np.array([1.0, 2.0]), np.array([3.0, 4.0]))


def test_redispatch_clears_what_is_violated_at_least_cost() -> None:
    """Flow 1-2 is a third of the difference of both ends: 0.4 of 0.1 (in) and 0.6 (an outage) need the ends within 0.1 of zero."""
    grid = replace(ring(rating=0.1), injection_mw=np.array([0.0, 0.6, -0.6]))
    offer = redispatch(grid, both_ends())
    np.testing.assert_allclose(offer.change_mw, [-0.5, 0.5], atol=1e-6)
    assert offer.cost == pytest.approx(0.5 * 1 + 0.5 * 4)
    assert secured(offer.grid.rated(1.0001), [1, 2], [1_000_000] * 4).violated == ()


def test_redispatch_keeps_room_where_it_is_asked_to() -> None:
    grid = replace(ring(rating=0.1), injection_mw=np.array([0.0, 0.6, -0.6]))
    after = redispatch(grid, both_ends(), room=0.2)
    assert max(np.abs(loading).max() for _, loading in Flows(after.grid).loading()) == pytest.approx(0.8)


def test_what_generators_cannot_clear_is_said() -> None:
    grid = replace(ring(rating=0.1), injection_mw=np.array([0.0, 0.6, -0.6]))
    small = replace(both_ends(), down_mw=np.full(2, -0.01), up_mw=np.full(2, 0.01))
    with pytest.raises(NoRedispatchError, match="no change of 2 generator"):
        redispatch(grid, small)

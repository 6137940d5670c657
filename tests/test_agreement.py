"""The cascade on a small network: the level that is agreed on, what is granted, that it nests, and that the whole holds in AC."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache, partial
from pathlib import Path

import msgspec
import numpy as np
import pandapower as pp
import pytest

from benchmarks.cascade import _sampled
from benchmarks.whole_network import WholeNetwork
from envelopes.agreement import RESOLUTION, NoAgreement, agree
from envelopes.cascade import Cascade, Outcome, cascade, granted_from_the_top, own_base
from envelopes.interface import opened, split
from envelopes.operator import Link, Operator
from envelopes.operator_messages import Answer, Ask, Grant, Malformed, Range, ReactiveBand, Refused, decode, encode, schema
from envelopes.operator_process import Remote
from envelopes.outage_rows import outage_rows
from riskcheck.network import load
from tests.grids import ring
from tests.test_interface import looped, village

TOP = Range(1.0, 1.04)


@lru_cache(maxsize=1)
def agreed() -> tuple[Cascade, Outcome]:
    found = cascade(narrow(), "zone")
    return found, found.run()["mv"]


def narrow() -> object:
    """A village whose second feeder is long: it decides what everybody can have."""
    net = village()
    net.line.loc[net.line.index[-1], "length_km"] = 1.5
    return net


def test_the_level_agreed_on_is_the_greatest_that_is_feasible() -> None:
    operators, outcome = agreed()
    level, top = outcome.agreement.level, operators.operators["mv"]
    assert 0 < level < 1
    assert top.at_level(level, fixed=TOP).range is not None
    assert top.at_level(min(1.0, level + RESOLUTION), fixed=TOP).range is None


def test_what_is_feasible_at_a_level_is_feasible_at_every_lower_one_and_at_wider_ranges() -> None:
    operators, outcome = agreed()
    level, feeder = outcome.agreement.level, operators.operators["lv1"]
    ranges = [feeder.at_level(share * level).range for share in (0.4, 0.7, 1.0)]
    assert all(one is not None for one in ranges)
    assert ranges[0].contains(ranges[1]) and ranges[1].contains(ranges[2])


def test_no_other_range_serves_a_higher_level() -> None:
    """Wider: the feeder below cannot. Narrower: the area above has less room. Tried on a grid of ranges around the one agreed on."""
    operators, outcome = agreed()
    feeder, higher = operators.operators["lv1"], outcome.agreement.level + 2 * RESOLUTION
    found = operators.operators["mv"].grants["lv1"].range
    for wider in (Range(found.min_pu - 0.004, found.max_pu), Range(found.min_pu, found.max_pu + 0.004)):
        limits = feeder._at(higher, [])
        assert not feeder._admits(wider, [], limits)


def test_nobody_gets_less_than_was_agreed_on_and_everything_nests() -> None:
    operators, outcome = agreed()
    operators.check()
    assert outcome.report.secure, outcome.report.problems
    assert outcome.report.customers == 5
    assert outcome.report.smallest_share >= outcome.agreement.level - 1e-4
    assert set(operators.envelopes_w()) == {"plant", "home00", "home01", "home10", "home11"}


def test_a_grant_that_does_not_nest_is_noticed() -> None:
    operators, _ = agreed()
    top = operators.operators["mv"]
    whole = top.grants["lv1"]
    top.grants["lv1"] = msgspec.structs.replace(whole, export_w=whole.export_w + 1)
    with pytest.raises(AssertionError, match="another grant"):
        operators.check()
    top.grants["lv1"] = whole


def test_the_whole_network_holds_in_ac_at_corners_of_all_homes() -> None:
    operators, _ = agreed()
    grants = {child: grant for operator in operators.operators.values() for child, grant in operator.grants.items()}
    tally = _sampled(WholeNetwork(operators, narrow()), operators.envelopes_w(), grants, 1_000, 3, lambda _done: None)
    assert tally.samples == 1_000 and tally.broken == 0, tally


def test_an_area_opened_between_its_two_feeds_holds_in_ac() -> None:
    """The loop is long, so its voltage decides; the operator `lv0` has two areas then, with an interface each."""
    net = looped()
    net.line.loc[net.line.index[2:], "length_km"] *= 5
    net, points = opened(net, "zone")
    operators = cascade(net, "zone")
    outcome = operators.run()["mv"]
    operators.check()
    assert points == ("line 3",) and outcome.report.secure and 0.1 < outcome.agreement.level < 1
    grants = {child: grant for operator in operators.operators.values() for child, grant in operator.grants.items()}
    assert set(grants) == {"lv0-1", "lv0-2"}
    tally = _sampled(WholeNetwork(operators, net), operators.envelopes_w(), grants, 1_000, 3, lambda _done: None)
    assert tally.samples == 1_000 and tally.broken == 0, tally


def test_envelopes_twice_as_large_are_seen_to_break_limits() -> None:
    operators, _ = agreed()
    grants = {child: grant for operator in operators.operators.values() for child, grant in operator.grants.items()}
    doubled = {name: (2 * high, 2 * low) for name, (high, low) in operators.envelopes_w().items()}
    tally = _sampled(WholeNetwork(operators, narrow()), doubled, grants, 200, 3, lambda _done: None)
    assert tally.by_kind["interface power"] > 0 and tally.broken > 0


def test_a_top_that_can_serve_no_level_says_so() -> None:
    net = narrow()
    net.ext_grid["interface_min_pu"], net.ext_grid["interface_max_pu"] = 1.2, 1.25
    with pytest.raises(NoAgreement, match="cannot serve"):
        agree(cascade(net, "zone").operators["mv"], Range(1.2, 1.25), resolution=0.3)


def test_volt_var_has_no_band_yet_and_is_refused() -> None:
    net = narrow()
    net.load["volt_var"] = "0.92:1, 0.98:0, 1.02:0, 1.08:-1 @ 3000"
    with pytest.raises(ValueError, match="Volt-VAr"):
        cascade(net, "zone")


# -------------------------------------------------------------------------------------------------------------- messages


def test_messages_survive_the_wire() -> None:
    band = ReactiveBand(-1.0, 2.0, 0.0, 0.1, 0.2, 0.3)
    grant = Grant(operator="lv1", export_w=5, import_w=7, range=Range(0.95, 1.05), reactive=band)
    assert decode(encode(grant)) == grant
    assert {"Ask", "Answer", "Offer", "Request", "Grant", "Report", "Refused"} <= set(schema()["$defs"])


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense",
        b'{"type": "ask", "operator": "x", "level": 2}',
        b'{"type": "ask", "operator": "x", "level": 0.5, "version": 9}',
        b'{"type": "offer", "operator": "x", "level": 0.5, "range": {"min_pu": 1.1, "max_pu": 1.0}}',
        b'{"type": "grant", "operator": "x", "export_w": -1, "import_w": 1, "range": {"min_pu": 0.9, "max_pu": 1.1}, "reactive": {}}',
    ],
)
def test_what_is_no_message_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode(raw)


def test_messages_name_no_element_of_a_network() -> None:
    operators, outcome = agreed()
    said = [encode(grant) for operator in operators.operators.values() for grant in operator.grants.values()]
    said.append(encode(outcome.report))
    assert not any(word in message for message in said for word in (b"bus", b"line", b"trafo", b"home"))


def test_an_operator_refuses_what_only_it_may_say() -> None:
    refused = agreed()[0].operators["lv0"].send(Answer(operator="lv0", level=0.5, range=None))
    assert isinstance(refused, Refused)


# -------------------------------------------------------------------------------------------------------------- processes


def test_two_operators_in_two_processes_come_to_what_one_process_does(tmp_path: Path) -> None:
    areas = split(village(feeders=1), "zone")
    for name, area in areas.items():
        pp.to_json(area.net, str(tmp_path / f"{name}.json"))
    together = cascade(village(feeders=1), "zone")
    expected = together.run()["mv"]
    below = Remote("lv0", [str(tmp_path / "lv0.json")])
    base, at = own_base(areas["mv"])
    top = Operator("mv", base, {"lv0": Link(at["lv0"], below)})
    try:
        outcome = granted_from_the_top(top)
    finally:
        assert below.close() == 0
    assert outcome == expected
    np.testing.assert_array_equal(top.envelopes_w, together.operators["mv"].envelopes_w)
    assert isinstance(below.send(Ask(operator="lv0", level=0.1)), Refused)


@pytest.mark.slow
def test_a_process_answers_lines_and_refuses_what_is_none(tmp_path: Path) -> None:
    areas = split(village(feeders=1), "zone")
    for name, area in areas.items():
        pp.to_json(area.net, str(tmp_path / f"{name}.json"))
    lines = b"hello\n" + encode(Ask(operator="mv", level=0.01)) + b"\n"
    command = [sys.executable, "-m", "envelopes.operator_process", "mv", "mv.json", "--below", "2=lv0:lv0.json"]
    done = subprocess.run(command, input=lines, capture_output=True, cwd=tmp_path, env=_environment(), check=True, timeout=120)
    first, second = (decode(line) for line in done.stdout.splitlines())
    assert isinstance(first, Refused)
    assert isinstance(second, Answer) and second.range is not None


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


# ------------------------------------------------------------------------------------------------------------ outages too


def ring_of_feeders() -> object:
    """The 20 kV ring of `tests/grids.py`'s kind: source at bus 0, plants at 1 and 2, line 1-2 of half the rating."""
    net = ring()
    net.bus["zone"] = "top"
    return net


def test_outage_rows_hold_the_ring_to_what_one_line_carries_alone() -> None:
    """With 0-1 out everything of plant 1 passes 1-2, rated 0.5 MW."""
    network = load(ring_of_feeders())
    rows = outage_rows(network, 1.0)
    assert (rows.slack / np.maximum(rows.coefficient.max(axis=1), 1e-9)).min() == pytest.approx(500_000, rel=1e-3)


def test_an_operator_with_outage_rows_gives_less() -> None:
    plain, careful = (cascade(ring_of_feeders(), "zone", more_rows=more) for more in (None, {"top": partial(outage_rows, share=0.9)}))
    levels = [one.run()["top"].agreement.level for one in (plain, careful)]
    assert levels[1] < levels[0]
    assert max(max(pair) for pair in careful.envelopes_w().values()) <= 450_000

"""What settings mean for a network, what audits make of them, and what `ask` finds: no exchange runs here.

The line with the inverter is drawn in tests/levered.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from envelopes.audit import Alarm, audit
from envelopes.audit import prepare as prepare_audit
from envelopes.recourse import NOT_AS_BUILT, Found, Question, ask, in_force, in_words, merged, prepare
from envelopes.refresh import allocate
from exchange.commands import DeviceSetting
from riskcheck.certify import certify
from riskcheck.linearise import build
from riskcheck.network import load
from riskcheck.polytope import Polytope
from riskcheck.recourse import Proposal, apply
from tests import grids
from tests.levered import WATTS, network, ready


def test_an_audit_judges_holdings_on_the_network_with_their_settings() -> None:
    held = tuple(map(int, ready().allocation.limits_w))
    after = (held[0] - WATTS, held[1] + WATTS, *held[2:])
    prepare(network())
    found = ask(network().content_hash, Question((), ready().rows.content_hash, held, after, WATTS))
    assert isinstance(found, Found)
    network_hash = prepare_audit(network(), Alarm())
    assert audit(network_hash, after, 1).broken == ("voltage_max",)
    assert audit(network_hash, after, 1, found.settings).broken == ()
    for var in range(1, 7):
        assert audit(network_hash, after, 1, (DeviceSetting("ben", "reactive_var", var),)).broken == ("voltage_max",)
    with pytest.raises(ValueError, match="anna is nothing that the operator may set"):
        audit(network_hash, after, 1, (DeviceSetting("anna", "reactive_var", 1),))


def test_rows_that_an_audit_tightened_are_not_loosened_by_recourse() -> None:
    held = tuple(map(int, ready().allocation.limits_w))
    prepare(network())
    question = Question((), ready().rows.tightened(5).content_hash, held, (held[0] - 10, held[1] + 10, *held[2:]), 10)
    assert ask(network().content_hash, question) == NOT_AS_BUILT


def test_a_tap_that_was_moved_for_one_trade_is_moved_on_for_the_next() -> None:
    """Without the inverter. A step of 1 % is a tenth of the room below 1.1 pu; each trade takes a twentieth, and a little more."""
    first = dataclasses.replace(network().branches[0], kind="transformer", rating_va=300_000.0, tap_step=0.01, tap_low=-5, tap_high=5)
    able = dataclasses.replace(network(reactive_var_max=0), branches=(first, *network().branches[1:]))
    rows, settings = build(able), ()
    held = tuple(map(int, allocate(able, rows).limits_w))
    prepare(able)
    positions = []
    for _ in range(2):
        after = (held[0] - 6_000, held[1] + 6_000, *held[2:])
        found = ask(able.content_hash, Question(settings, rows.content_hash, held, after, 6_000))
        assert isinstance(found, Found)
        held, rows, settings = after, Polytope.from_bytes(found.rows), found.settings
        positions += [(setting.device, setting.kind, setting.value) for setting in settings]
        assert certify(in_force(able, settings), *np.split(np.array(held), 2), effort="full").secure
    assert positions == [("transformer 0", "tap", 1), ("transformer 0", "tap", 2)]


def test_settings_hold_what_is_held_now_too_or_they_are_not_found() -> None:
    """Three phases, everything full: vars that make room for phase c lift the others, so the settings must be those for both."""
    drawn = load(grids.three_phase_line(rating_a=1_000.0, homes="aabbcc"))
    able = dataclasses.replace(drawn, customers=tuple(dataclasses.replace(one, reactive_var_max=13_200) for one in drawn.customers))
    rows = build(able)
    held = tuple(map(int, allocate(able, rows).limits_w))
    prepare(able)

    def answer(buyer: int, seller: int) -> tuple[Found | str, list[int]]:
        after = [watts + 500 * (right == buyer) - 500 * (right == seller) for right, watts in enumerate(held)]
        assert not rows.is_secure(after)
        return ask(able.content_hash, Question((), rows.content_hash, held, tuple(after), 500)), after

    found, after = answer(8, 0)
    assert isinstance(found, Found)
    changed = Polytope.from_bytes(found.rows)
    assert changed.is_secure(held)
    assert changed.is_secure(after)
    assert answer(2, 0)[0] == "with these settings what is held now breaks over-voltage of bus 1 phase a"


def test_a_tap_s_position_counts_from_where_the_network_file_has_it() -> None:
    """Steps proposed on top of others add up, and the sum is the same network as one after the other."""
    first = dataclasses.replace(network().branches[0], kind="transformer", rating_va=300_000.0, tap_step=0.02, tap_low=-2, tap_high=3)
    able = dataclasses.replace(network(), branches=(first, *network().branches[1:]))
    one, two = Proposal(1, {"ben": -500}, {"transformer 0": 2}, 0.0), Proposal(1, {"ben": -700}, {"transformer 0": 1}, 0.0)
    settings = merged(merged((), one), two)
    assert settings == (DeviceSetting("ben", "reactive_var", -700), DeviceSetting("transformer 0", "tap", 3))
    assert in_words(settings) == "ben injects -700 var, tap of transformer 0 at +3"
    whole, steps = in_force(able, settings), apply(apply(able, one), two)
    assert whole.branches[0].ratio == pytest.approx(steps.branches[0].ratio)
    assert (whole.branches[0].tap_low, whole.branches[0].tap_high) == (-5, 0)
    assert whole.customers == steps.customers
    assert in_force(able, ()) is able
    with pytest.raises(ValueError, match=r"transformer 0 can be set to -2..3, not to 4"):
        in_force(able, merged(settings, two))

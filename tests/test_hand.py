"""The operator's orders: each becomes one command with its reason, is answered when it is durable, and acts once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchange import commands as c
from gateway import topics, wire
from gateway.commands_hand import _tell
from gateway.message import Message
from gateway.show import happened_line
from tests.exchange_at_work import AREA, NAMES, SETTINGS, T0, T1
from tests.noise import ALLOCATION_W, STARTS, WIDE
from tests.test_glance import Bench
from tests.test_session import Bench as AmpleBench

WHY = {"reason": "a storm"}


def admit(bench: Any, **body: Any) -> Any:
    return bench.session.admit(topics.operator_request(AREA), json.dumps({"v": 1, "id": "o1", **WHY, **body}).encode(), 0, 0)


def answer(messages: list[Message]) -> Any:
    (found,) = [wire.decode_outcome(message.payload) for message in messages if message.topic == topics.operator_response(AREA)]
    return found


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ({"type": "halt"}, c.Halt(AREA, None, "a storm")),
        ({"type": "halt", "interval_ms": T0, "direction": "export"}, c.Halt(AREA, T0, "a storm", "export")),
        ({"type": "resume", "interval_ms": T1}, c.Resume(AREA, T1, "a storm")),
        ({"type": "suspend", "customer": "bob"}, c.Suspend(AREA, "bob", "a storm")),
        ({"type": "suspend"}, c.Suspend(AREA, None, "a storm")),
        ({"type": "reinstate", "customer": "bob"}, c.Reinstate(AREA, "bob", "a storm")),
        ({"type": "terms", "customer": "bob", "order_w_max": 500}, c.AmendTerms(AREA, "bob", 500, 200, "a storm")),
        ({"type": "phase", "interval_ms": T0, "phase": "frozen"}, c.EnterPhase(AREA, T0, "frozen", "a storm")),
        ({"type": "release", "interval_ms": T0, "order_id": "w1"}, c.Release(AREA, "w1", T0, "a storm")),
        (
            {
                "type": "withhold",
                "interval_ms": T0,
                "kind": "thermal",
                "element": "line 1",
                "side": "sell",
                "quantity_w": 10,
                "price_mct": 5,
            },
            c.Withhold(AREA, "o1", T0, "thermal", "line 1", "", "sell", 10, 5, "a storm"),
        ),
    ],
)
def test_an_order_becomes_its_command(body: dict[str, Any], command: c.Command) -> None:
    assert admit(AmpleBench(), **body) == command


def test_rules_that_are_not_given_stay_as_they_are() -> None:
    amended = admit(AmpleBench(), type="settings", collar_mct=500, sweeps=True)
    assert isinstance(amended, c.AmendSettings)
    assert (amended.settings.collar_mct, amended.settings.sweeps) == (500, True)
    assert amended.settings.price_mct_max == SETTINGS.price_mct_max


def test_the_answer_has_the_rules_by_name() -> None:
    bench = AmpleBench()
    outcome = answer(bench.apply(admit(bench, type="settings", collar_mct=500)))
    assert outcome.happened[0].facts["settings"]["collar_mct"] == 500
    assert "collar_mct 500, " in happened_line(outcome.happened[0])


def test_an_order_is_answered_when_it_is_durable_and_once_more_when_it_comes_again() -> None:
    bench = AmpleBench()
    bench.place("alice", "sell", 12_300)
    command = admit(bench, type="suspend", customer="alice")
    assert admit(bench, type="suspend", customer="alice") == [], "it is on its way"
    outcome = answer(bench.apply(command))
    assert [happened.event for happened in outcome.happened] == ["suspended"]
    assert outcome.happened[0].facts["customer"] == "alice"
    assert outcome.orders_cancelled == 1
    assert answer(admit(bench, type="suspend", customer="alice")) == outcome
    assert answer(admit(bench, type="suspend", customer="bob")).reason == "id_reused"


def test_a_refusal_has_the_engine_s_reason() -> None:
    bench = AmpleBench()
    assert answer(bench.apply(admit(bench, type="resume"))).reason == "not_halted"
    assert answer(admit(bench, type="dance", id="o2")).reason == "malformed"
    assert answer(admit(bench, type="halt", id="o3", reason="")).reason == "malformed"


def test_the_halt_of_a_network_change_is_not_the_operator_s_to_end() -> None:
    bench = AmpleBench()
    bench.apply(c.Halt(AREA, None, "network change: line 1"))
    assert answer(admit(bench, type="resume")).reason == "network_change"
    assert isinstance(admit(bench, type="resume", id="o2", interval_ms=T0), c.Resume), "another scope is"


def test_a_halt_of_an_interval_to_come_says_so_and_one_that_can_never_come_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    bench = AmpleBench()
    to_come, length_ms = T0 + 50 * SETTINGS.interval_ms, SETTINGS.interval_ms
    outcome = answer(bench.apply(admit(bench, type="halt", interval_ms=to_come)))
    assert outcome.happened[0].facts["note"] == "no such interval is announced or open now: it is halted as soon as it is"
    _tell(outcome)
    said = capsys.readouterr()
    assert said.err == "note: no such interval is announced or open now: it is halted as soon as it is\n"
    assert "halted: area lv, reason a storm, interval 15 Nov 10:45" in said.out
    assert "note" not in said.out
    assert "note" not in answer(bench.apply(admit(bench, type="halt", id="o2", interval_ms=T0))).happened[0].facts
    refused = [answer(admit(bench, type="halt", id="o3", interval_ms=at)) for at in (T0 + 1, 2**52 // length_ms * length_ms + 1)]
    assert [one.reason for one in refused] == ["off_grid"] * 2
    assert refused[0].detail.startswith("no interval begins at 14 Nov ")
    bench.apply(c.Advance(T1 + 90 * length_ms))
    late = answer(admit(bench, type="halt", id="o4", interval_ms=T1 + 80 * length_ms))
    assert (late.reason, late.detail.endswith(" is over")) == ("unknown_interval", True)


def test_whom_it_concerns_is_told_and_nobody_else() -> None:
    bench = AmpleBench()
    sent = bench.apply(c.Suspend(AREA, "bob", "a storm"), c.AmendTerms(AREA, "carol", 500, 3, "a storm"), c.Suspend(AREA, None, "a flood"))
    told = {name: [wire.decode_report(m.payload) for m in sent if m.topic == topics.response(AREA, name)] for name in NAMES}
    assert [type(report).__name__ for report in told["alice"]] == ["Suspended"]
    assert [type(report).__name__ for report in told["bob"]] == ["Suspended", "Suspended"]
    assert [type(report).__name__ for report in told["carol"]] == ["TermsAmended", "Suspended"]


def test_headroom_that_the_operator_trades_is_in_nobody_s_book_or_report() -> None:
    """Of a trade with it the public sees watts received and none given."""
    bench, at = Bench(), STARTS[0]
    wide = c.ChangeRows("lv", at, WIDE.content_hash, (ALLOCATION_W,) * 6, "limits", "a switch")
    offer = c.Withhold("lv", "w1", at, "voltage_max", "bus 1", "a", "sell", 60_000, 50, "for sale")
    sent = bench.apply(wide, offer, c.Place("lv", "ann", "a1", at, "export", "buy", 300, 10_000))
    traded = [wire.decode_report(message.payload) for message in sent if message.topic == topics.response("lv", "ann")]
    assert [report.cash_mct < 0 for report in traded if isinstance(report, wire.Filled)] == [True]
    assert [(trade.received_w, trade.given_w) for trade in bench.session.marketdata.book(("lv", at, "export")).trades] == [(300, 0)]
    assert not [message for message in sent + bench.session.marketdata.render() if b"~operator" in message.payload]
    bench.session.mirror.check(bench.engine)

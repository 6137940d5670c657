"""The gate: what is looked at in which order, who is told what, and that nothing else changes. No broker, no event loop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.fuzz_payloads import fuzz
from exchange import commands as c
from exchange.engine import Engine
from exchange.recovery import Batch, run_batch
from gateway import topics, wire
from gateway.message import Message
from gateway.rate import Bucket
from gateway.session import Session, SessionSettings
from tests.exchange_at_work import ALLOCATION_W, AREA, FAILSAFE_W, NAMES, T0, T1, opening

NOW = T0 - 1000


class Bench:
    """A session over an engine: what is admitted is applied and routed, as node and gateway do it."""

    def __init__(self, **settings: Any) -> None:
        self.engine = Engine()
        self.session = Session(self.engine, SessionSettings(**settings))
        self.number = 0
        self.sent: list[Message] = self.apply(*opening(T0, T1))

    def apply(self, *commands: c.Command) -> list[Message]:
        self.number += 1
        batch = run_batch(self.engine, self.number, NOW, commands, b"")
        return self.route(batch)

    def route(self, batch: Batch) -> list[Message]:
        return self.session.route(batch.commands, batch.events, NOW)

    def admit(self, customer: str, market_ms: int = NOW, elapsed_ms: int = 0, **body: Any) -> c.Command | list[wire.AnyReport]:
        admitted = self.session.admit(topics.request(AREA, customer), json.dumps({"v": 1, **body}).encode(), market_ms, elapsed_ms)
        return [wire.decode_report(message.payload) for message in admitted] if isinstance(admitted, list) else admitted

    def place(self, customer: str, side: str, price: int, quantity: int = 1000, **more: Any) -> list[Message]:
        body = {"type": "place", "direction": "export", "interval_ms": T0, "side": side, "price_mct": price, "quantity_w": quantity}
        command = self.admit(customer, **{"id": f"{customer}-{self.number}", **body, **more})
        assert not isinstance(command, list), command
        return self.apply(command)


def reports(messages: list[Message], customer: str) -> list[wire.AnyReport]:
    return [wire.decode_report(m.payload) for m in messages if m.topic == topics.response(AREA, customer)]


def envelopes(messages: list[Message]) -> dict[str, wire.Envelope]:
    return {m.topic.split("/")[4]: wire.decode_envelope(m.payload) for m in messages if m.topic.endswith("/envelope")}


PLACE = {"type": "place", "id": "a1", "interval_ms": T0, "direction": "export", "side": "sell", "quantity_w": 1000, "price_mct": 12_300}


# --- admit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "content"),
    [
        (PLACE, c.Place, ("a1", T0, "export", "sell", 1000, 12_300)),
        ({**PLACE, "time_in_force": "until", "until_ms": T0}, c.Place, ("a1", T0, "export", "sell", 1000, 12_300, "until", T0)),
        ({"type": "replace", "id": "a2", "order_id": "a1", "quantity_w": 500, "price_mct": 10}, c.Replace, ("a2", "a1", 500, 10)),
        ({"type": "cancel", "id": "a3", "order_id": "a1"}, c.Cancel, ("a3", "a1")),
        ({"type": "mass_cancel", "id": "a4"}, c.MassCancel, ("a4",)),
        ({"type": "mass_cancel", "id": "a5", "interval_ms": T1, "cause": "disconnect"}, c.MassCancel, ("a5", T1, "disconnect")),
    ],
)
def test_a_request_becomes_the_command_of_its_topic_s_customer(body: dict[str, Any], kind: Any, content: tuple[Any, ...]) -> None:
    assert Bench().admit("alice", **body) == kind(AREA, "alice", *content)


@pytest.mark.parametrize(
    ("topic", "count"),
    [
        ("limex/v1/lv/c/alice/rsp", "foreign_topic"),
        ("other", "foreign_topic"),
        ("limex/v1/lv/c/mallory/req", "unknown_customer"),
        ("limex/v1/mv/c/alice/req", "unknown_customer"),
    ],
)
def test_a_message_without_a_known_sender_is_counted_and_not_answered(topic: str, count: str) -> None:
    bench = Bench()
    assert bench.session.admit(topic, json.dumps({"v": 1, **PLACE}).encode(), NOW, 0) == []
    assert bench.session.counts == {count: 1}


def test_a_customer_cannot_name_another_in_the_payload() -> None:
    payload = json.dumps({"v": 1, **PLACE, "customer": "bob"}).encode()
    (reply,) = Bench().session.admit(topics.request(AREA, "alice"), payload, NOW, 0)  # type: ignore[misc]
    answer = wire.decode_report(reply.payload)
    assert reply.topic == topics.response(AREA, "alice")
    assert isinstance(answer, wire.Malformed)
    assert (answer.field, answer.id) == ("customer", "a1")


def test_an_oversized_payload_is_answered_and_not_decoded() -> None:
    (answer,) = Bench().admit("alice", **PLACE, padding="x" * 5000)  # type: ignore[misc]
    assert isinstance(answer, wire.Malformed)
    assert "bytes" in answer.reason


def test_what_arrives_after_its_expiry_is_late_and_what_arrives_at_it_is_not() -> None:
    bench = Bench()
    (answer,) = bench.admit("alice", market_ms=NOW + 1, **PLACE, expires_ms=NOW)  # type: ignore[misc]
    assert isinstance(answer, wire.Late)
    assert (answer.id, answer.expires_ms, answer.market_ms) == ("a1", NOW, NOW + 1)
    assert isinstance(bench.admit("alice", market_ms=NOW, **PLACE, expires_ms=NOW), c.Place)


def test_over_the_rate_orders_are_throttled_first_and_cancels_last() -> None:
    bench = Bench(rate_per_s=10, burst=5, reserve=2)
    outcomes = [bench.admit("alice", **{**PLACE, "id": f"a{n}"}) for n in range(5)]
    assert [type(o).__name__ for o in outcomes] == ["Place"] * 3 + ["list"] * 2
    (throttled,) = outcomes[-1]  # type: ignore[misc]
    assert isinstance(throttled, wire.Throttled)
    assert (throttled.id, throttled.retry_ms) == ("a4", 100)
    assert [isinstance(bench.admit("alice", type="cancel", id=f"c{n}", order_id="a0"), c.Cancel) for n in range(3)] == [True, True, False]
    assert isinstance(bench.admit("bob", **PLACE), c.Place), "another customer's rate is its own"
    assert isinstance(bench.admit("alice", elapsed_ms=300, **PLACE), c.Place), "tokens come back with time"


@pytest.mark.parametrize(
    ("takes_at_ms", "waits_ms"),
    [
        ([0, 0, 0], [0, 0, 500]),
        ([0, 0, 499, 500], [0, 0, 1, 0]),
        ([0, 0, 10_000, 10_000, 10_000], [0, 0, 0, 0, 500]),
        ([1000, 1000, 0, 1500], [0, 0, 500, 0]),
    ],
    ids=["burst, then one for each half second", "never early", "never more than the burst", "time running backwards fills nothing"],
)
def test_the_bucket_of_two_a_second_with_a_burst_of_two(takes_at_ms: list[int], waits_ms: list[int]) -> None:
    bucket = Bucket(2.0, 2, takes_at_ms[0])
    assert [bucket.take(at_ms) for at_ms in takes_at_ms] == waits_ms


def test_malformed_payloads_over_the_rate_are_not_even_answered() -> None:
    bench = Bench(rate_per_s=1, burst=2, reserve=0)
    answers = [bench.session.admit(topics.request(AREA, "alice"), b"{", NOW, 0) for _ in range(5)]
    assert [len(answer) for answer in answers if isinstance(answer, list)] == [1, 1, 0, 0, 0]
    assert bench.session.counts == {"malformed": 2, "malformed_over_rate": 3}


def test_refused_messages_leave_the_engine_untouched() -> None:
    bench = Bench()
    before = bench.engine.sequence
    for payload in (b"", b"{}", b"\xff", b"x" * 9000, json.dumps({"v": 1, **PLACE, "expires_ms": 1}).encode()):
        assert isinstance(bench.session.admit(topics.request(AREA, "alice"), payload, NOW, 0), list)
    assert bench.engine.sequence == before


def test_a_heartbeat_is_answered_with_the_last_sequence() -> None:
    (alive,) = Bench().admit("alice", type="heartbeat", id="h1")  # type: ignore[misc]
    assert isinstance(alive, wire.Alive)
    assert (alive.id, alive.sequence, alive.market_ms) == ("h1", 5, NOW)


def test_status_tells_what_is_open_and_held_as_of_a_sequence() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300, id="a1")
    bench.place("bob", "buy", 12_300, 400, id="b1")
    (status,) = bench.admit("alice", type="status", id="s1")  # type: ignore[misc]
    assert isinstance(status, wire.StatusReport)
    assert status.open_orders == (wire.OpenOrder("a1", T0, "export", "sell", 600, 12_300, 600),)
    assert status.holdings == (wire.Holding(T0, ALLOCATION_W - 400, ALLOCATION_W), wire.Holding(T1, ALLOCATION_W, ALLOCATION_W))
    assert status.sequence == bench.engine.sequence


# --- silence ----------------------------------------------------------------------------------------------------------


def test_who_holds_open_orders_and_is_silent_is_cancelled_once() -> None:
    bench = Bench(silence_ms=30_000)
    bench.place("alice", "sell", 12_300)
    assert bench.session.silent(29_999) == []
    (command,) = bench.session.silent(30_000)
    assert (command.customer, command.cause, command.interval_ms) == ("alice", "silence", None)
    assert bench.session.silent(60_000) == [], "it was cancelled; the answer may still be on its way"
    (cancelled, _) = reports(bench.apply(command), "alice")
    assert isinstance(cancelled, wire.Cancelled)
    assert cancelled.cause == "silence"
    assert bench.session.silent(90_000) == []


def test_any_message_breaks_the_silence_even_a_malformed_one() -> None:
    bench = Bench(silence_ms=30_000)
    bench.place("alice", "sell", 12_300)
    bench.session.admit(topics.request(AREA, "alice"), b"?", NOW, 20_000)
    assert bench.session.silent(49_999) == []
    assert len(bench.session.silent(50_000)) == 1


def test_the_exchange_s_own_request_ids_cannot_be_used_up_by_a_customer() -> None:
    bench = Bench(silence_ms=1)
    bench.place("alice", "sell", 12_300)
    (command,) = bench.session.silent(10)
    (answer,) = bench.admit("alice", type="cancel", id=command.request_id, order_id="x")  # type: ignore[misc]
    assert isinstance(answer, wire.Malformed)


def test_after_a_restart_everyone_has_time_to_speak_up_again() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300)
    again = Session(bench.engine, SessionSettings(silence_ms=30_000), "boot2", elapsed_ms=1_000_000)
    assert again.silent(1_000_000) == []
    assert len(again.silent(1_030_000)) == 1


def test_while_the_exchange_could_hear_nobody_nobody_was_silent() -> None:
    bench = Bench(silence_ms=30_000)
    bench.place("alice", "sell", 12_300)
    bench.session.resume_hearing(40_000)
    assert bench.session.silent(69_999) == []
    assert len(bench.session.silent(70_000)) == 1


# --- route ------------------------------------------------------------------------------------------------------------


def test_a_trade_tells_each_party_its_own_leg_and_no_name() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300, id="a1")
    sent = bench.place("bob", "buy", 12_400, 600, id="b1")
    (filled,) = reports(sent, "alice")
    assert isinstance(filled, wire.Filled)
    assert (filled.order_id, filled.side, filled.quantity_w, filled.price_mct, filled.open_w, filled.holding_w) == (
        "a1", "sell", 600, 12_300, 400, ALLOCATION_W - 600,
    )  # fmt: skip
    accepted, bought = reports(sent, "bob")
    assert isinstance(accepted, wire.Accepted)
    assert isinstance(bought, wire.Filled)
    assert filled.cash_mct + bought.cash_mct == 0
    assert not any(b"bob" in m.payload for m in sent if "/alice/" in m.topic)
    assert not any(b"alice" in m.payload or b"bob" in m.payload for m in sent + bench.session.marketdata.render() if "/c/" not in m.topic)


def test_reports_are_at_least_once_and_envelopes_are_retained() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300)
    for message in bench.place("bob", "buy", 12_400):
        assert message.qos == 1
        assert message.retain == message.topic.endswith("/envelope")


def test_the_drop_copy_repeats_what_counts_in_order_with_a_number_of_its_own() -> None:
    bench = Bench()
    sent = bench.place("alice", "sell", 12_300, id="a1") + bench.place("bob", "buy", 12_400, 400, id="b1")
    sent += bench.apply(c.CloseGate(AREA, T0), c.RetireInterval(AREA, T0))
    copies = {name: [wire.decode_drop(m.payload) for m in sent if m.topic == topics.drop(AREA, name)] for name in NAMES}
    kinds = {name: [type(entry.report).__name__ for entry in entries] for name, entries in copies.items()}
    assert kinds == {"alice": ["Filled", "Cancelled", "Settled"], "bob": ["Filled", "Settled"], "carol": ["Settled"]}
    assert [entry.number for entry in copies["alice"]] == [1, 2, 3]
    assert len({entry.run for entries in copies.values() for entry in entries}) == 1
    told = [report for report in reports(sent, "alice") if not isinstance(report, wire.Accepted)]
    assert [entry.report for entry in copies["alice"]] == told, "word for word what the customer was told"


def test_a_settlement_adds_up_and_is_each_customer_s_own() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300, id="a1")
    bench.place("bob", "buy", 12_400, 400, id="b1")
    sent = bench.apply(c.CloseGate(AREA, T0), c.RetireInterval(AREA, T0))
    settled = {name: report for name in NAMES for report in reports(sent, name) if isinstance(report, wire.Settled)}
    assert settled["alice"].exports == wire.RightAccount(ALLOCATION_W, 0, 0, 400, 0, ALLOCATION_W - 400)
    assert settled["bob"].exports == wire.RightAccount(ALLOCATION_W, 0, 400, 0, 0, ALLOCATION_W + 400)
    assert settled["carol"].imports == wire.RightAccount(ALLOCATION_W, 0, 0, 0, 0, ALLOCATION_W)
    assert sum(report.cash_mct for report in settled.values()) == 0
    assert settled["alice"].cash_mct == 12_300 * 400 // 4000


def test_the_envelope_holds_every_live_interval_and_the_failsafe() -> None:
    bench = Bench()
    first = envelopes(bench.sent)
    assert first.keys() == set(NAMES)
    assert first["alice"].default == wire.Limits(FAILSAFE_W, FAILSAFE_W)
    assert [control.start_ms for control in first["alice"].controls] == [T0, T1]
    bench.place("alice", "sell", 12_300, 1000)
    changed = envelopes(bench.place("bob", "buy", 12_300, 1000))
    assert changed.keys() == {"alice", "bob"}, "carol's is as it was"
    assert [c.opModExpLimW for c in changed["alice"].controls] == [ALLOCATION_W - 1000, ALLOCATION_W]
    assert [c.opModExpLimW for c in changed["bob"].controls] == [ALLOCATION_W + 1000, ALLOCATION_W]


def test_many_trades_in_a_batch_give_one_envelope() -> None:
    bench = Bench()
    commands: list[c.Command] = [c.Place(AREA, "alice", f"a{n}", T0, "export", "sell", 100, 10) for n in range(5)]
    commands += [c.Place(AREA, "bob", f"b{n}", T0, "export", "buy", 100, 10) for n in range(5)]
    sent = bench.apply(*commands)
    assert sum(m.topic == topics.envelope(AREA, "alice") for m in sent) == 1
    assert envelopes(sent)["alice"].sequence == bench.engine.sequence


def test_an_interval_stays_in_the_envelope_until_it_is_retired() -> None:
    bench = Bench()
    assert envelopes(bench.apply(c.CloseGate(AREA, T0))) == {}
    retired = envelopes(bench.apply(c.RetireInterval(AREA, T0)))
    assert [control.start_ms for control in retired["carol"].controls] == [T1]


def test_a_repeated_request_is_answered_with_the_first_answer() -> None:
    bench = Bench()
    (first,) = reports(bench.place("alice", "sell", 12_300, id="a1"), "alice")
    (again,) = reports(bench.place("alice", "sell", 12_300, id="a1"), "alice")
    assert isinstance(again, wire.Repeated)
    assert again.first == first
    assert again.sequence == first.sequence + 1


def test_a_rejection_reaches_its_sender_by_name() -> None:
    (answer,) = reports(Bench().place("alice", "sell", 12_305), "alice")
    assert isinstance(answer, wire.Rejected)
    assert answer.reason == "off_tick"


def test_a_batch_released_again_gives_the_same_reports_and_changes_nothing() -> None:
    bench = Bench()
    bench.place("alice", "sell", 12_300, id="a1")
    command = c.Place(AREA, "bob", "b1", T0, "export", "buy", 600, 12_300)
    batch = run_batch(bench.engine, 99, NOW, (command,), b"")
    restarted = Session(bench.engine)  # after a crash between commit and publish: the engine knows, the broker does not
    sent = restarted.route(batch.commands, batch.events, NOW)
    assert [type(r).__name__ for r in reports(sent, "bob")] == ["Accepted", "Filled"]
    assert envelopes(sent) == {}, "refresh published what holds now"
    restarted.mirror.check(bench.engine)


def test_refresh_has_all_that_a_forgetful_broker_should_retain() -> None:
    bench = Bench()
    sent = bench.session.refresh(NOW)
    assert all(message.retain for message in sent)
    kinds = [message.topic.split("/")[3] for message in sent]
    assert (kinds.count("c"), kinds.count("md"), kinds.count("state")) == (3 + 3 * 9, 4, 1), "envelope, seven numbers, two documents each"


def test_settings_that_make_no_sense_are_refused_by_name() -> None:
    assert SessionSettings(rate_per_s=0).problems() == ["rate_per_s 0 is outside (0, 1e6]"]
    assert SessionSettings(burst=10, reserve=10).problems() == ["reserve 10 and burst 10 are not 0 <= reserve < burst"]
    assert SessionSettings(silence_ms=0).problems() == ["silence_ms 0 must be positive"]


# --- hostile ----------------------------------------------------------------------------------------------------------


def test_hostile_payloads_raise_nothing_and_change_nothing() -> None:
    """The short form of `python -m benchmarks.fuzz_payloads --payloads 1000000`."""
    outcomes = fuzz(payloads=20_000, seed=7, check=5_000)
    assert outcomes["Malformed"] > 5_000
    assert outcomes["place"] > 1_000
    assert outcomes["Late"] > 10

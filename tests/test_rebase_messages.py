"""What leaves when rows change: limits that fall first, then the devices' settings, then what was decided, then limits that rise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from exchange import commands as c
from exchange.recovery import run_batch
from gateway import topics, wire
from gateway.broker import start_broker
from gateway.client import Home
from gateway.message import Message
from gateway.session import Session
from riskcheck.polytope import Polytope, RowLabel
from tests.exchange_at_work import ALLOCATION_W, AREA, NAMES, T0, T1, run, trading, until
from tests.test_session import NOW, Bench, envelopes, reports

LENGTH_MS = T1 - T0
ROWS = Polytope(np.ones((2 * len(NAMES), 1), dtype=np.int32), 2**40, [RowLabel("thermal", "trafo", "abc")])
SETTINGS = (c.DeviceSetting("alice", "reactive_var", -700), c.DeviceSetting("trafo", "tap", 2))


def change(lower_w: int = 0, settings: tuple[c.DeviceSetting, ...] = (), wake: tuple[c.OrderRef, ...] = ()) -> c.ChangeRows:
    """Every export limit but bob's falls by so much; bob may hold more."""
    export_w = tuple(ALLOCATION_W + (500 if name == "bob" else -lower_w) for name in NAMES)
    limit_w = export_w + (ALLOCATION_W,) * len(NAMES)
    return c.ChangeRows(AREA, T0, ROWS.content_hash, limit_w, "recourse", "inverter of alice", settings, wake)


def bench() -> Bench:
    made = Bench()
    made.apply(c.InstallRows(AREA, ROWS.to_bytes()))
    return made


def devices(messages: list[Message]) -> dict[str, tuple[wire.SetPoint, ...]]:
    found = [message for message in messages if message.topic.endswith("/device")]
    assert all(message.retain and message.qos == 1 for message in found)
    return {message.topic.split("/")[4]: wire.decode_device(message.payload).controls for message in found}


def kind(message: Message) -> str:
    return message.topic.split("/")[5 if "/c/" in message.topic else 3]


def taps(message: Message) -> dict[int, list[wire.Tap]]:
    return {interval.interval_ms: interval.taps for interval in wire.decode_state(message.payload).intervals}


def test_a_home_whose_limit_was_lowered_is_told_and_by_whom_it_was_paid() -> None:
    made = bench()
    sent = made.apply(change(400))
    (rebased,) = reports(sent, "alice")
    assert isinstance(rebased, wire.Rebased)
    assert (rebased.direction, rebased.quantity_w, rebased.holding_w, rebased.cause) == ("export", 400, ALLOCATION_W - 400, "recourse")
    assert rebased.cash_mct == 400 * rebased.price_mct * LENGTH_MS // 3_600_000_000
    assert reports(sent, "bob") == []
    assert [control.opModExpLimW for control in envelopes(sent)["alice"].controls] == [ALLOCATION_W - 400, ALLOCATION_W]
    made.session.mirror.check(made.engine)


def test_limits_fall_before_anything_else_is_told_and_rise_after_it() -> None:
    """In one batch carol sells to bob, and everybody but bob is lowered."""
    made = bench()
    made.place("carol", "sell", 12_300, 300, id="c1")
    buy = c.Place(AREA, "bob", "b1", T0, "export", "buy", 300, 12_300)
    sent = made.apply(buy, change(400, SETTINGS))
    order = [kind(message) for message in sent if kind(message) != "drop"]
    assert order == ["envelope"] * 2 + ["device"] * 3 + ["state"] + ["rsp"] * 5 + ["envelope"]
    assert [message.topic for message in sent if kind(message) == "envelope"] == [
        topics.envelope(AREA, name) for name in ("alice", "carol", "bob")
    ]
    assert envelopes(sent)["bob"].controls[0].opModExpLimW == ALLOCATION_W + 300


def test_a_sale_that_no_longer_fits_is_cancelled_by_name_and_leaves_the_public_book() -> None:
    made = bench()
    made.place("alice", "sell", 12_300, ALLOCATION_W - 1_500, id="a1")
    (cancelled, rebased) = reports(made.apply(change(400)), "alice")
    assert isinstance(cancelled, wire.Cancelled) and isinstance(rebased, wire.Rebased)
    assert (cancelled.order_id, cancelled.cause, cancelled.id) == ("a1", "rebased", "")
    books = [message for message in made.session.marketdata.render() if message.topic == topics.book(AREA, T0, "export")]
    assert wire.decode_book(books[0].payload).offers == ()
    made.session.mirror.check(made.engine)


def test_the_books_and_the_state_of_a_changed_interval_are_published_again() -> None:
    made = bench()
    made.session.marketdata.render()
    made.apply(change())
    assert {message.topic for message in made.session.marketdata.render()} == {
        topics.book(AREA, T0, "export"), topics.book(AREA, T0, "import"), topics.state(AREA),
    }  # fmt: skip


def test_set_points_are_private_retained_and_whole_and_taps_are_in_the_state() -> None:
    made = bench()
    sent = made.apply(change(settings=SETTINGS))
    assert devices(sent) == {"alice": (wire.SetPoint(T0, LENGTH_MS, -700),), "bob": (), "carol": ()}
    (state,) = [message for message in sent if message.topic == topics.state(AREA)]
    assert taps(state) == {T0: [wire.Tap("trafo", 2)], T1: []}
    assert topics.device(AREA, "alice") in [message.topic for message in made.session.refresh(NOW)]


def test_the_next_change_or_the_end_of_the_interval_takes_the_set_points_back() -> None:
    made = bench()
    made.apply(change(settings=SETTINGS))
    assert devices(made.apply(change()))["alice"] == ()
    assert devices(made.apply(change())) == {}, "nothing was set, nothing is said"
    made.apply(change(settings=SETTINGS))
    assert devices(made.apply(c.CloseGate(AREA, T0))) == {}
    assert devices(made.apply(c.RetireInterval(AREA, T0)))["alice"] == ()


def test_set_points_that_a_lost_batch_took_back_are_taken_back_when_it_is_released_again() -> None:
    made = bench()
    made.apply(change(settings=SETTINGS))
    batch = run_batch(made.engine, 99, NOW, (change(),), b"")
    restarted = Session(made.engine)
    assert devices(restarted.refresh(NOW)) == {}, "what is no longer set is not known any more"
    assert devices(restarted.route(batch.commands, batch.events, NOW)) == {"alice": (), "bob": (), "carol": ()}


def test_a_home_reads_the_set_point_of_the_moment_and_never_goes_back() -> None:
    made, topic = bench(), topics.device(AREA, "alice")
    older, newer = made.apply(change(settings=SETTINGS)), made.apply(change())
    payloads = [message.payload for message in older + newer if message.topic == topic]

    async def read() -> list[int | None]:
        home = Home("nowhere", 1, AREA, "alice", "")
        told = [home.reactive_var(T0)]
        home.receive(topic, payloads[0], True)
        told += [home.reactive_var(at_ms) for at_ms in (T0 - 1, T0, T1 - 1, T1)]
        for payload in (payloads[1], payloads[0]):
            home.receive(topic, payload, True)
            told.append(home.reactive_var(T0))
        return told

    assert asyncio.run(read()) == [None, None, -700, -700, None, None, None], "the last one is the older message, come late"


def test_over_a_broker_the_lowered_limit_arrives_and_then_its_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        with start_broker(None, AREA, NAMES) as broker:
            async with trading(tmp_path / "journal.sqlite", broker, "alice") as (exchange, (home,)):
                told: list[str] = []
                home.on_envelope(lambda envelope: told.append(f"envelope {envelope.controls[0].opModExpLimW}"))
                home.on_report(lambda report: told.append(f"{type(report).__name__}"))
                for command in (c.InstallRows(AREA, ROWS.to_bytes()), change(400, SETTINGS)):
                    exchange.node.submit(command)
                await until(lambda: len(told) == 2)
                assert told == [f"envelope {ALLOCATION_W - 400}", "Rebased"]
                assert home.limits(T0) == (ALLOCATION_W - 400, ALLOCATION_W)

    run(scenario)

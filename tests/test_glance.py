"""What is seen in the engine's books leaves when what led to it is durable: rows, auctions, and the views that belong to one home."""

from __future__ import annotations

from typing import Any

import pytest

from exchange import commands as c
from exchange.engine import Engine
from exchange.proposer import Proposer
from exchange.recovery import run_batch
from gateway import topics, wire
from gateway.message import Message
from gateway.session import Session
from tests import noise
from tests.noise import AREA, STARTS

T0, T1 = STARTS[:2]


class Bench:
    """Engine and session; `decide` without `release` is the engine running ahead of the journal."""

    def __init__(self, matching: str = "exchange_rate") -> None:
        self.engine = Engine()
        self.session = Session(self.engine)
        self.number = 0
        self.apply(*noise.opening(matching))
        self.look()

    def decide(self, *commands: c.Command) -> Any:
        self.number += 1
        return run_batch(self.engine, self.number, 0, commands, b"")

    def release(self, batch: Any) -> list[Message]:
        return self.session.route(batch.commands, batch.events, 0)

    def apply(self, *commands: c.Command) -> list[Message]:
        return self.release(self.decide(*commands))

    def look(self) -> dict[str, bytes]:
        return {message.topic: message.payload for message in self.session.glance.render(self.engine)}

    def ask(self, customer: str, direction: str = "export", at: int = T0) -> list[Message]:
        payload = wire.encode(wire.View(v=1, id="v1", interval_ms=at, direction=direction))  # type: ignore[arg-type]
        admitted = self.session.admit(topics.request(AREA, customer), payload, 0, 0)
        assert isinstance(admitted, list)
        return admitted


def place(customer: str, order_id: str, side: Any, watts: int, price: int, at: int = T0) -> c.Place:
    return c.Place(AREA, customer, order_id, at, "export", side, watts, price)


def test_the_fullest_rows_are_shown_first_in_watts_of_the_right_that_uses_them_most() -> None:
    bench = Bench()
    bench.session.glance.mark_all()
    rows = wire.decode_rows(bench.look()[topics.rows(AREA, T0)])
    headrooms = [row.headroom_w for row in rows.rows]
    assert headrooms == sorted(headrooms)
    assert {(row.kind, row.element) for row in rows.rows} == {(label.kind, label.element) for label in noise.LABELS}
    interval = bench.engine.areas[AREA].intervals[T0]
    for row in rows.rows:
        index = [str(label) for label in interval.headroom.polytope.labels].index(str(_label(row)))
        assert row.headroom_w == interval.headroom.residual[index] // interval.headroom.polytope.columns[:, index].max()


def _label(row: wire.Row) -> Any:
    return noise.RowLabel(row.kind, row.element, row.phase)


def test_nothing_that_is_not_durable_leaves() -> None:
    bench = Bench()
    ahead = bench.decide(place("ann", "a1", "sell", 500, 100), place("ben", "b1", "buy", 300, 200))
    assert bench.look() == {}, "nothing has changed for the public yet"
    durable = bench.decide(place("cas", "c1", "buy", 50, 10))
    bench.release(ahead)
    assert bench.look() == {}, "the engine has decided more: what is seen is held"
    bench.release(durable)
    assert topics.rows(AREA, T0) in bench.look()


def test_a_view_answers_who_asked_and_then_follows_the_market_until_the_gate_closes() -> None:
    bench = Bench()
    bench.apply(place("ann", "a1", "sell", 500, 100))
    assert bench.ask("ben") == []
    seen = bench.look()
    answer = wire.decode_report(seen[topics.response(AREA, "ben")])
    assert isinstance(answer, wire.ViewReport)
    assert (answer.id, answer.interval_ms, answer.direction) == ("v1", T0, "export")
    expected = bench.engine.local_view(AREA, T0, "ben", "export")
    assert [(quote.price_mct, quote.secure_w) for quote in answer.offers] == [offer[:2] for offer in expected.offers]
    topic = topics.view(AREA, "ben", T0, "export")
    assert wire.decode_view(seen[topic]).update == 1
    bench.apply(place("cas", "c1", "buy", 10, 10, T1))
    assert topic not in bench.look(), "another interval is none of its business"
    bench.apply(place("ann", "a2", "sell", 500, 90))
    assert wire.decode_view(bench.look()[topic]).update == 2
    bench.apply(c.CloseGate(AREA, T0))
    assert bench.look()[topic] == b""
    bench.apply(c.EnterPhase(AREA, T0, "delivery", "test"))
    assert topic not in bench.look()


def test_a_view_of_a_closed_or_unknown_interval_is_refused_by_name() -> None:
    bench = Bench()
    bench.apply(c.CloseGate(AREA, T0))
    for at, reason in ((T0, "gate_closed"), (12345, "unknown_interval")):
        (reply,) = bench.ask("ben", at=at)
        answer = wire.decode_report(reply.payload)
        assert isinstance(answer, wire.Rejected)
        assert answer.reason == reason


def test_an_auction_is_indicated_while_it_lasts_and_taken_back_when_it_ends() -> None:
    bench = Bench()
    bench.apply(c.EnterPhase(AREA, T0, "auction", "test"))
    bench.apply(place("ann", "a1", "sell", 500, 100), place("ben", "b1", "buy", 300, 20_000))
    proposer, glance = Proposer(), bench.session.glance
    assert glance.unpriced() == (AREA, T0), "auctions come first"
    question = proposer.question(bench.engine, AREA, T0)
    assert question is not None
    found = proposer.indication(bench.engine, question, question.answer())
    assert found is not None
    glance.price(bench.engine, (AREA, T0), found)
    auction = wire.decode_auction(bench.look()[topics.auction(AREA, T0)])
    assert auction.exports.received_w == found.matched[0].bought_w > 0
    assert auction.welfare_mct == found.welfare_mct > 0
    assert bench.look() == {}
    bench.apply(c.Uncross(AREA, T0, bench.engine.areas[AREA].intervals[T0].rows_hash, (), True))
    assert bench.look()[topics.auction(AREA, T0)] == b""


def test_a_retired_interval_s_rows_leave_the_broker() -> None:
    bench = Bench()
    bench.apply(c.CloseGate(AREA, T0), c.RetireInterval(AREA, T0))
    assert bench.look()[topics.rows(AREA, T0)] == b""


@pytest.mark.parametrize("kind", ["place", "cancel"])
def test_a_reader_asks_and_never_acts(kind: str) -> None:
    bench = Bench()
    body: wire.Request = wire.Cancel(v=1, id="x", order_id="o")
    if kind == "place":
        body = wire.Place(v=1, id="x", interval_ms=T0, direction="export", side="sell", quantity_w=10, price_mct=10)
    (reply,) = bench.session.admit(topics.ask(AREA, "ann"), wire.encode(body), 0, 0)  # type: ignore[misc]
    assert reply.topic == topics.told(AREA, "ann")
    assert isinstance(wire.decode_report(reply.payload), wire.Malformed)
    (reply,) = bench.session.admit(topics.ask(AREA, "ann"), wire.encode(wire.Status(v=1, id="s")), 0, 0)  # type: ignore[misc]
    assert isinstance(wire.decode_report(reply.payload), wire.StatusReport)

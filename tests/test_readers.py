"""Who may read along and who may order, tested by delivery on both brokers: the drop copy, views, and the operator's topic."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

from exchange.commands import CloseGate, RetireInterval
from gateway import topics, wire
from gateway.broker import OPERATOR, READER, Broker
from gateway.client import Home
from tests.exchange_at_work import ALLOCATION_W, AREA, T0, each_broker, run, trading, until
from tests.peer import Peer

broker = each_broker


def test_a_drop_copy_is_complete_in_order_and_its_customer_s_alone(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        drop = topics.drop(AREA, "alice")
        async with trading(tmp_path / "j.sqlite", broker, "alice", "bob") as (_, (alice, bob)), AsyncExitStack() as stack:
            reader = await stack.enter_async_context(Peer(broker, "alice" + READER).subscribed("#", drop))
            others = [
                await stack.enter_async_context(Peer(broker, who).subscribed("#", drop)) for who in ("carol", "bob" + READER, OPERATOR)
            ]
            await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1")
            await bob.place("buy", "export", T0, 300, 12_300, order_id="b1")
            await alice.cancel("a1")
            await bob.place("sell", "export", T0, 10, 90_000, order_id="b2")
            await until(lambda: len(reader.payloads(drop)) == 2)
            entries = [wire.decode_drop(payload) for payload in reader.payloads(drop)]
            assert [entry.number for entry in entries] == [1, 2]
            assert [type(entry.report).__name__ for entry in entries] == ["Filled", "Cancelled"]
            assert {entry.customer for entry in entries} == {"alice"}
            heard = {topic for topic, _ in reader.received if "/c/" in topic}
            assert {topic for topic in heard if topic.startswith(f"limex/v1/{AREA}/c/alice/")} == heard, "of no other"
            assert topics.response(AREA, "alice") not in heard, "and no answers"
            assert not [topic for other in others for topic, _ in other.received if "/c/alice/" in topic]

    run(scenario)


def test_a_view_goes_to_its_owner_and_its_reader_until_the_gate_closes(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trading(tmp_path / "j.sqlite", broker, "alice", "bob", watch_market=True) as (exchange, (alice, bob)):
            await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1")
            first = await bob.view(T0, "export")
            assert isinstance(first, wire.ViewReport)
            assert first.offers == (wire.Quote(12_300, 1000, "export"),)
            await until(lambda: (T0, "export") in bob.views)
            async with Peer(broker, "bob" + READER).subscribed(topics.views(AREA, "bob")) as reader, Peer(broker, "carol").subscribed("#"):
                await alice.place("sell", "export", T0, 500, 12_200, order_id="a2")
                await until(lambda: len(bob.views[T0, "export"].offers) == 2 or bob.views[T0, "export"].offers[0].price_mct == 12_200)
                await until(lambda: len(reader.received) > 0)
            assert alice.views == {}
            assert bob.gaps == 0
            exchange.node.submit(CloseGate(AREA, T0))
            await until(lambda: bob.views == {})

    run(scenario)


def test_only_the_operator_s_account_can_order_and_read_the_answer(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        asked, told = topics.operator_request(AREA), topics.operator_response(AREA)
        halt = {"v": 1, "type": "halt", "reason": "a storm"}
        async with trading(tmp_path / "j.sqlite", broker, "alice") as (exchange, (alice,)), AsyncExitStack() as stack:
            carol = await stack.enter_async_context(Peer(broker, "carol").subscribed("#", told))
            reader = await stack.enter_async_context(Peer(broker, "alice" + READER).subscribed("#", told))
            operator = await stack.enter_async_context(Peer(broker, OPERATOR).subscribed(told))
            for forger in (carol, reader):
                forger.publish(asked, json.dumps({**halt, "id": "forged"}).encode())
                forger.publish(topics.request(AREA, "alice"), b"{}")
                await forger.settled()
            operator.publish(asked, json.dumps({**halt, "id": "real"}).encode())
            await until(lambda: bool(operator.payloads(told)))
            outcomes = [wire.decode_outcome(payload) for payload in operator.payloads(told)]
            assert [(type(outcome).__name__, outcome.id) for outcome in outcomes] == [("Outcome", "real")]
            refused = await alice.place("sell", "export", T0, 1000, 12_300)
            assert isinstance(refused, wire.Rejected)
            assert refused.reason == "halted"
            assert list(exchange.node.engine.halts.values()) == ["a storm"]
            assert carol.payloads(told) == reader.payloads(told) == []

    run(scenario)


def test_a_home_notices_that_an_update_is_missing_and_has_the_state_all_the_same() -> None:
    def book(update: int, shown_w: int) -> bytes:
        return wire.encode(
            wire.Book(
                update=update, sequence=update, interval_ms=T0, direction="export", bids=(), offers=(), trades=(), shown_buy_w=shown_w,
                shown_sell_w=0, traded_w=0, trade_count=0, blocked_count=0, blocked_buy_w=0, blocked_sell_w=0,
            )
        )  # fmt: skip

    async def scenario() -> None:
        alice, topic, gaps = Home("nowhere", 1, AREA, "alice", ""), topics.book(AREA, T0, "export"), []
        for update, shown_w in ((7, 10), (8, 20), (8, 20), (10, 30), (11, 40), (1, 50), (2, 60)):
            alice.receive(topic, book(update, shown_w), True)
            gaps.append(alice.gaps)
            assert alice.market[T0, "export"].shown_buy_w == shown_w
        assert gaps == [0, 0, 0, 1, 1, 2, 2], "one was missed; the last two are of an exchange that was started anew"
        alice.receive(topic, b"", True)
        assert alice.market == {}
        alice.receive(topic, book(5, 0), True)
        assert alice.gaps == 2, "what was removed and comes again has nothing before it"

    run(scenario)


def test_icebergs_blocks_and_the_settlement_reach_their_owner(broker: Broker, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with trading(tmp_path / "j.sqlite", broker, "alice", "bob", watch_market=True) as (exchange, (alice, bob)):
            heard = alice.reports()
            iceberg = await alice.place("sell", "export", T0, 1000, 12_300, order_id="ice", display_w=300)
            assert isinstance(iceberg, wire.Accepted)
            assert iceberg.shown_w == 300
            await until(lambda: (T0, "export") in bob.market and bob.market[T0, "export"].offers == (wire.Level(12_300, 300, 1),))
            await bob.place("buy", "export", T0, 300, 12_300)
            kinds = [type(await anext(heard)).__name__ for _ in range(3)]
            assert kinds == ["Accepted", "Filled", "Shown"]
            block = await alice.place("buy", "import", T0, 100, 10, order_id="both", intervals=2)
            assert isinstance(block, wire.Accepted)
            assert block.intervals == 2
            status = await alice.status()
            assert {(order.order_id, order.shown_w, order.intervals) for order in status.open_orders} == {("ice", 300, 1), ("both", 0, 2)}
            exchange.node.submit(CloseGate(AREA, T0))
            exchange.node.submit(RetireInterval(AREA, T0))
            settled = [report async for report in _until_settled(heard)][-1]
            assert isinstance(settled, wire.Settled)
            assert settled.exports == wire.RightAccount(ALLOCATION_W, 0, 0, 300, 0, ALLOCATION_W - 300)
            assert settled.cash_mct == 12_300 * 300 // 4000

    run(scenario)


async def _until_settled(heard):  # type: ignore[no-untyped-def]
    async for report in heard:
        yield report
        if isinstance(report, wire.Settled):
            return

"""Homes at a real exchange over real brokers: they disconnect, freeze and come back. Nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from exchange import commands as c
from gateway import topics, wire
from gateway.broker import Broker
from gateway.client import Home, Limits
from gateway.message import Message
from gateway.session import SessionSettings
from tests.exchange_at_work import ALLOCATION_W, AREA, T0, T1, Exchange, each_broker, home, new_journal, run, trading, until

broker, journal = each_broker, new_journal


def test_a_retained_request_is_not_an_order(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        place = wire.Place(v=1, id="old", interval_ms=T0, direction="export", side="sell", quantity_w=1000, price_mct=12_300)
        async with trading(journal, broker, "alice") as (exchange, (alice,)):
            alice._link.send(Message(topics.request(AREA, "alice"), wire.encode(place), 1, True))
            await until(lambda: any(isinstance(command, c.Place) for command in exchange.commands))
            await alice.mass_cancel()
            seen = len(exchange.commands)
            exchange.gateway.link.abort()
            await until(lambda: exchange.gateway.link.connections == 2)
            await alice.heartbeat()
            assert len(exchange.commands) == seen, "what the broker retained came again, and was not taken"

    run(scenario)


def test_a_duplicate_is_answered_with_the_first_answer_and_acts_once(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice") as (_, (alice,)):
            place = wire.Place(v=1, id="twice", interval_ms=T0, direction="export", side="sell", quantity_w=1000, price_mct=12_300)
            heard = alice.reports()
            for _ in range(3):
                alice._link.send(Message(topics.request(AREA, "alice"), wire.encode(place), 1, False))
            first, second, third = [await anext(heard) for _ in range(3)]
            assert isinstance(first, wire.Accepted)
            assert isinstance(second, wire.Repeated)
            assert isinstance(third, wire.Repeated)
            assert second.first == third.first == first
            again = await alice.place("sell", "export", T0, 1000, 12_300, order_id="twice")
            assert again == first
            assert len((await alice.status()).open_orders) == 1
            assert isinstance(await alice.place("sell", "export", T0, 900, 12_300, order_id="twice"), wire.Rejected)

    run(scenario)


def test_reordered_cancel_before_place_is_refused_and_then_works(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice") as (_, (alice,)):
            early, placed = await asyncio.gather(alice.cancel("o1"), alice.place("sell", "export", T0, 1000, 12_300, order_id="o1"))
            assert isinstance(early, wire.Rejected)
            assert isinstance(placed, wire.Accepted)
            assert isinstance(await alice.cancel("o1"), wire.Cancelled)

    run(scenario)


def test_a_lost_connection_cancels_all_orders_by_the_last_will(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice", "bob") as (exchange, (alice, bob)):
            await alice.place("sell", "export", T0, 1000, 12_300)
            await alice.place("buy", "import", T1, 500, 100)
            await bob.place("sell", "export", T0, 1000, 13_000)
            heard = alice.reports()
            alice.abort()
            causes = {(await anext(heard)).cause for _ in range(2)}  # type: ignore[union-attr]
            assert causes == {"disconnect"}
            await until(lambda: alice.connections == 2)
            assert (await alice.status()).open_orders == ()
            assert len((await bob.status()).open_orders) == 1
            placed = await alice.place("sell", "export", T0, 1000, 12_300)
            alice.abort()
            await until(lambda: alice.connections == 3)
            assert isinstance(placed, wire.Accepted)
            await until(lambda: not exchange.gateway.session.mirror.areas[AREA].orders["alice"], "each connection's will has its own id")

    run(scenario)


def test_a_will_that_was_sent_while_the_exchange_was_away_is_obeyed_on_its_return(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with home(broker, "alice") as alice:
            async with Exchange(journal, broker) as exchange:
                await exchange.open(T0)
                await alice.place("sell", "export", T0, 1000, 12_300)
            alice.abort()
            await until(lambda: alice.connections == 2)
            async with Exchange(journal, broker) as exchange:
                await until(lambda: not exchange.gateway.session.mirror.areas[AREA].orders["alice"])

    run(scenario)


def test_a_silent_home_is_cancelled_and_a_beating_one_is_not(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        quick = SessionSettings(silence_ms=600)
        async with Exchange(journal, broker, quick) as exchange:
            await exchange.open(T0)
            async with home(broker, "alice", heartbeat_s=0.1) as alice, home(broker, "bob", heartbeat_s=60) as bob:
                heard = bob.reports()
                await alice.place("sell", "export", T0, 1000, 12_300)
                await bob.place("sell", "export", T0, 1000, 12_300)
                causes = [report.cause async for report in _first(heard, wire.Cancelled)]
                assert causes == ["silence"]
                assert len((await alice.status()).open_orders) == 1

    run(scenario)


async def _first(reports: Any, kind: type[Any]) -> Any:
    async for report in reports:
        if isinstance(report, kind):
            yield report
            return


def test_requests_during_a_broken_connection_are_answered_once_it_is_back(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice", cancel_on_disconnect=False, resend_s=0.2) as (exchange, (alice,)):
            answers = []
            for n in range(30):
                if n % 10 == 5:
                    alice.abort()
                if n % 10 == 8:
                    exchange.gateway.link.abort()
                answers.append(await alice.place("sell", "export", T0, 10, 12_300, order_id=f"o{n}"))
            assert all(isinstance(answer, wire.Accepted) for answer in answers)
            assert [order.order_id for order in (await alice.status()).open_orders] == [f"o{n}" for n in range(30)]
            assert alice.connections > 1
            assert exchange.gateway.link.connections > 1
            assert alice.unanswered == 0

    run(scenario)


def test_fills_during_an_absence_are_told_on_return(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "bob") as (_, (bob,)):
            async with home(broker, "alice") as alice:
                await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1")
            await bob.place("buy", "export", T0, 600, 12_300)  # alice has said goodbye; her order stays
            async with home(broker, "alice") as alice:
                heard = alice.fills()
                await until(lambda: alice.envelope.get(T0) == Limits(ALLOCATION_W - 600, ALLOCATION_W))
                if alice.last_sequence == 0:
                    await anext(heard)
                assert (await alice.status()).open_orders == (wire.OpenOrder("a1", T0, "export", "sell", 400, 12_300, 400),)

    run(scenario)


def test_a_restarted_exchange_has_every_order_and_answers_what_it_answered(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with home(broker, "alice", cancel_on_disconnect=False, resend_s=0.2) as alice:
            async with Exchange(journal, broker) as exchange:
                await exchange.open(T0)
                first = await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1")
            waiting = asyncio.create_task(alice.place("sell", "export", T0, 500, 12_400, order_id="a2"))  # nobody is there
            async with Exchange(journal, broker) as exchange:
                second = await waiting
                assert isinstance(second, wire.Accepted)
                assert await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1") == first
                assert {order.order_id for order in (await alice.status()).open_orders} == {"a1", "a2"}
                exchange.gateway.session.mirror.check(exchange.node.engine)

    run(scenario)


def test_a_restarted_broker_is_given_everything_again(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice", cancel_on_disconnect=False) as (exchange, (alice,)):
            await alice.place("sell", "export", T0, 1000, 12_300, order_id="a1")
            broker.restart()
            await until(lambda: exchange.gateway.link.connections == 2 and alice.connections == 2)
            assert [order.order_id for order in (await alice.status()).open_orders] == ["a1"]
            async with home(broker, "bob") as bob:
                await until(lambda: T1 in bob.envelope)

    run(scenario)


def start_exchange(broker: Broker, journal: Path) -> subprocess.Popen[str]:
    """In a process of its own, ready."""
    arguments = [broker.host, str(broker.port), *broker.exchange, str(journal)]
    command = [sys.executable, "-m", "tests.exchange_at_work", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_an_exchange_that_is_killed_loses_no_acknowledged_order_and_doubles_none(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        process = await asyncio.to_thread(start_exchange, broker, journal)
        try:
            async with home(broker, "alice", cancel_on_disconnect=False, resend_s=0.3, timeout_s=30) as alice, home(broker, "bob") as bob:
                accepted, fills = set(), alice.fills()
                for number in range(60):
                    asking = asyncio.create_task(alice.place("sell", "export", T0, 10, 12_300, order_id=f"o{number}"))
                    if number in (15, 40):
                        await asyncio.sleep(0.002 * (number // 15))
                        process.kill()
                        process.wait()
                        process = await asyncio.to_thread(start_exchange, broker, journal)
                    answer = await asking
                    assert isinstance(answer, wire.Accepted)
                    accepted.add(answer.order_id)
                status = await alice.status()
                assert [order.order_id for order in status.open_orders] == [f"o{number}" for number in range(60)]
                assert accepted == {order.order_id for order in status.open_orders}
                assert isinstance(await bob.place("buy", "export", T0, 600, 12_300), wire.Accepted)
                sold = [await anext(fills) for _ in range(60)]
                assert [filled.order_id for filled in sold] == [f"o{number}" for number in range(60)]
                assert (await alice.status()).holdings[0].export_w == ALLOCATION_W - 600
        finally:
            process.kill()
            process.wait()

    run(scenario)


def test_an_older_envelope_that_arrives_later_is_ignored() -> None:
    async def scenario() -> None:
        alice = Home("nowhere", 1, AREA, "alice", "")
        for sequence, export_w in ((5, 5000), (9, 3000), (7, 4000), (9, 3000)):
            control = wire.Control(T0, 900_000, export_w, 0)
            envelope = wire.Envelope(customer="alice", sequence=sequence, issued_ms=0, default=wire.Limits(1, 2), controls=(control,))
            alice.receive(topics.envelope(AREA, "alice"), wire.encode(envelope), False)
        assert alice.limits(T0) == Limits(3000, 0)

    run(scenario)


def test_a_report_that_is_delivered_twice_or_out_of_order_counts_once() -> None:
    async def scenario() -> None:
        alice, seen = Home("nowhere", 1, AREA, "alice", ""), []
        alice.on_fill(lambda filled: seen.append((filled.sequence, filled.leg)))
        for sequence, leg in ((3, 0), (3, 1), (5, 0), (4, 0), (3, 0), (5, 0), (4, 0), (3, 1)):
            filled = wire.Filled(
                sequence=sequence, leg=leg, order_id="o", interval_ms=T0, direction="export", side="buy", quantity_w=10, price_mct=1,
                cash_mct=0, open_w=0, holding_w=0, shown_w=0, kind="pair",
            )  # fmt: skip
            alice.receive(topics.response(AREA, "alice"), wire.encode(filled), False)
        await asyncio.sleep(0)  # callbacks are the event loop's to call
        assert seen == [(3, 0), (3, 1), (5, 0), (4, 0)]
        assert alice.duplicates == 4

    run(scenario)


def test_only_what_the_broker_has_is_confirmed_to_the_node(broker: Broker, journal: Path) -> None:
    async def scenario() -> None:
        async with trading(journal, broker, "alice") as (exchange, (alice,)):
            await alice.place("sell", "export", T0, 1000, 12_300)
            await until(lambda: exchange.node._confirmed == exchange.batches[-1].number)

    run(scenario)

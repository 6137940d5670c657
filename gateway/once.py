"""One question over MQTT and its answer, for a command line: connects, asks, waits, leaves. Leaves no session behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gateway.accounts import Account
from gateway.link import Link, LinkError, end
from gateway.message import Message

T = TypeVar("T")


def ask(account: Account, question: Message, answer_topic: str, read: Callable[[bytes], T | None], patience_s: float) -> T:
    """`read` gives the answer that a payload is, or None where it is another's. Raises LinkError where nothing comes of it."""
    return asyncio.run(_ask(account, question, answer_topic, read, patience_s))


async def _ask(account: Account, question: Message, answer_topic: str, read: Callable[[bytes], T | None], patience_s: float) -> T:
    answered: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def receive(_topic: str, payload: bytes, _retained: bool) -> None:
        answer = read(payload)
        if answer is not None and not answered.done():
            answered.set_result(answer)

    host, port, _, user, password = account
    link = Link(host, port, user, password, f"limex-{user}", receive, is_passing=True)

    async def connected() -> None:
        await link.subscribe(answer_topic, qos=1)
        link.send(question)

    keeping = asyncio.create_task(link.keep(connected))
    try:
        await asyncio.wait((answered, keeping), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end([keeping])
    if not answered.done():
        raise LinkError(f"no answer within {patience_s:g} s from {link.address}: is the exchange of area {account.area} running there?")
    return answered.result()

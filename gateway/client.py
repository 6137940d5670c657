"""A home's client: place and cancel orders, obey the envelope, hear of fills. Needs only aiomqtt and msgspec.

    async with Home(host, port, "lv", "home-07", password) as home:
        print(home.limits(now_ms))                       # Limits(export_w, import_w) to obey now
        fills = home.fills()                             # before the order: it hears from now on
        answer = await home.place("buy", "export", interval_ms, 1000, 12_300)
        if isinstance(answer, wire.Rejected): print(answer.reason, answer.detail)
        async for filled in fills: ...

What it takes care of: TCP_NODELAY; reconnects; a Last Will that cancels all orders when the connection dies; heartbeats; resending
what was not answered, under the same id, which the exchange answers with the first answer; and what arrives (`heard.py`). After each
reconnect `status()` is asked, so `last_status` says what is really open and held.

What it cannot know: whether the exchange acted, or will act, on a request that was never answered (`NoAnswerError`): ask `status()`,
and give `expires_ms` to what must not act late.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

import msgspec

from gateway import topics, wire
from gateway.answers import HomeError, LateError, MalformedError, NoAnswerError, ThrottledError, answer_of
from gateway.heard import NOTHING, Heard, Limits
from gateway.link import Link, LinkError, end
from gateway.message import Message

FIRST_S = 30.0
LATENCIES_MAX = 200_000
__all__ = ["Home", "HomeError", "LateError", "Limits", "MalformedError", "NoAnswerError", "ThrottledError"]


class Home(Heard):
    """One customer's connection and what it has heard.

    `failsafe` holds until an envelope has arrived; set a callback (`on_...`) before entering.
    """

    def __init__(
        self,
        host: str,
        port: int,
        area: str,
        customer: str,
        password: str,
        *,
        user: str | None = None,
        failsafe: Limits = NOTHING,
        watch_market: bool = False,
        cancel_on_disconnect: bool = True,
        heartbeat_s: float = 5.0,
        timeout_s: float = 10.0,
        resend_s: float = 2.0,
        keepalive_s: int = 10,
        silent_s: float = 60.0,
    ) -> None:
        super().__init__(area, customer, failsafe, silent_s)
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_MAX)
        self.resent = 0
        self.unanswered = 0
        self._watch_market = watch_market
        self._cancel_on_disconnect = cancel_on_disconnect
        self._heartbeat_s = heartbeat_s
        self._timeout_s = timeout_s
        self._resend_s = resend_s
        self._prefix = secrets.token_hex(4)
        self._numbered = 0
        self._pending: dict[str, tuple[asyncio.Future[wire.AnyReport], type[wire.Report] | None]] = {}
        self._link = Link(host, port, user or customer, password, f"limex-{area}-{customer}", self.receive, keepalive_s)
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- connection -----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Returns when connected and subscribed. Raises LinkError for a wrong password, or when nobody answers for FIRST_S."""
        self._tasks = [asyncio.create_task(self._link.keep(self._connected, self._set_will)), asyncio.create_task(self._beat())]
        ready = asyncio.create_task(self._ready.wait())
        done, _ = await asyncio.wait((ready, *self._tasks), return_when=asyncio.FIRST_COMPLETED, timeout=FIRST_S)
        if not ready.done():
            ready.cancel()
            await self._leave()
            if not done:
                raise LinkError(f"nobody answers at {self._link.address} within {FIRST_S:.0f} s")
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        await self._leave()

    async def _leave(self) -> None:
        for future, _ in self._pending.values():
            future.cancel()
        await end(self._tasks)

    @property
    def is_connected(self) -> bool:
        return self._link.is_connected

    @property
    def connections(self) -> int:
        """How many times it has connected: one more than it has reconnected."""
        return self._link.connections

    def abort(self) -> None:
        """Cuts the connection without a goodbye, for tests of what happens then; it reconnects by itself."""
        self._link.abort()

    def _set_will(self) -> None:
        if self._cancel_on_disconnect:
            will = wire.MassCancel(v=1, id=self._next_id("will"), cause="disconnect")
            self._link.will(Message(topics.request(self.area, self.customer), wire.encode(will), 1, False))

    async def _connected(self) -> None:
        wanted = [(topic, 1) for topic in self._private]
        wanted.append((topics.views(self.area, self.customer), 1))
        if self._watch_market:
            wanted += [(topics.state(self.area), 0), (topics.market(self.area), 0)]
        await self._link.subscribe(wanted)
        if self._link.connections > 1:
            self._send(wire.Status(v=1, id=self._next_id("status")))
        self._ready.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self._link.is_connected:
                self._send(wire.Heartbeat(v=1, id=self._next_id("beat")), qos=0)  # none waits in a queue for an absent exchange

    # --- requests -------------------------------------------------------------------------------------------------

    async def place(
        self,
        side: wire.Side,
        direction: wire.Direction,
        interval_ms: int,
        quantity_w: int,
        price_mct: int,
        time_in_force: str = "gate",
        order_id: str | None = None,
        *,
        until_ms: int = 0,
        display_w: int = 0,
        intervals: int = 1,
        expires_ms: int | None = None,
    ) -> wire.Accepted | wire.Rejected:
        """Places a limit order and returns the exchange's first answer; `order_id` (else a fresh one) is the order's id.

        `display_w` > 0: so much of it is shown at a time. `intervals` > 1: the same watts in all of so many intervals, or in none.
        """
        body = {
            "interval_ms": interval_ms, "side": side, "direction": direction, "quantity_w": quantity_w, "price_mct": price_mct,
            "time_in_force": time_in_force, "until_ms": until_ms, "display_w": display_w, "intervals": intervals,
        }  # fmt: skip
        answer: wire.Accepted | wire.Rejected = await self._ask(wire.Place, body, wire.Accepted, order_id, expires_ms)
        return answer

    async def replace(
        self, order_id: str, quantity_w: int, price_mct: int, *, expires_ms: int | None = None
    ) -> wire.Replaced | wire.Cancelled | wire.Rejected:
        """New price and new total quantity, fills included; a total at or below what has traded cancels the rest."""
        body = {"order_id": order_id, "quantity_w": quantity_w, "price_mct": price_mct}
        answer: wire.Replaced | wire.Cancelled | wire.Rejected = await self._ask(wire.Replace, body, None, None, expires_ms)
        return answer

    async def cancel(self, order_id: str) -> wire.Cancelled | wire.Rejected:
        answer: wire.Cancelled | wire.Rejected = await self._ask(wire.Cancel, {"order_id": order_id}, wire.Cancelled)
        return answer

    async def mass_cancel(self, interval_ms: int | None = None) -> wire.MassCancelled | wire.Rejected:
        answer: wire.MassCancelled | wire.Rejected = await self._ask(wire.MassCancel, {"interval_ms": interval_ms}, wire.MassCancelled)
        return answer

    async def status(self) -> wire.StatusReport:
        """Open orders, holdings and the last sequence, as the exchange has them."""
        answer: Any = await self._ask(wire.Status, {}, wire.StatusReport)
        assert isinstance(answer, wire.StatusReport)
        return answer

    async def view(self, interval_ms: int, direction: wire.Direction) -> wire.ViewReport | wire.Rejected:
        """The interval's market as one's own right sees it; from now on `views` keeps it up to date, until the gate closes."""
        body = {"interval_ms": interval_ms, "direction": direction}
        answer: wire.ViewReport | wire.Rejected = await self._ask(wire.View, body, wire.ViewReport)
        return answer

    async def heartbeat(self) -> wire.Alive:
        """Asks whether the exchange is there; heartbeats are also sent by themselves."""
        answer: Any = await self._ask(wire.Heartbeat, {}, wire.Alive)
        assert isinstance(answer, wire.Alive)
        return answer

    async def _ask(
        self, kind: type[wire.Request], body: dict[str, Any], wanted: Any, request_id: str | None = None, expires_ms: int | None = None
    ) -> Any:
        """Sends, resends under the same id until answered, and measures. `wanted` None takes any answer that quotes the id."""
        request_id = request_id or self._next_id("r")
        fields = {"v": 1, "type": kind.__struct_config__.tag, "id": request_id, "expires_ms": expires_ms, **body}
        try:
            request = msgspec.convert(fields, kind)
        except msgspec.ValidationError as error:
            raise MalformedError(str(error)) from error
        if request_id in self._pending:
            raise HomeError(f"request {request_id} is waiting for its answer already")
        future: asyncio.Future[wire.AnyReport] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = (future, wanted)
        payload = Message(topics.request(self.area, self.customer), wire.encode(request), 1, False)
        started_ns, give_up = time.perf_counter_ns(), time.monotonic() + self._timeout_s
        try:
            self._link.send(payload)
            while not (await asyncio.wait((future,), timeout=max(0.0, min(self._resend_s, give_up - time.monotonic()))))[0]:
                if time.monotonic() >= give_up:
                    self.unanswered += 1
                    raise NoAnswerError(f"no answer to {request_id} in {self._timeout_s:g} s")
                self.resent += 1
                self._link.send(payload)
        finally:
            del self._pending[request_id]
        self.latencies_ns.append(time.perf_counter_ns() - started_ns)
        return answer_of(future.result())

    def _send(self, request: wire.Request, qos: int = 1) -> None:
        self._link.send(Message(topics.request(self.area, self.customer), wire.encode(request), qos, False))

    def _next_id(self, kind: str) -> str:
        self._numbered += 1
        return f"{kind}-{self._prefix}-{self._numbered}"

    def answered(self, report: wire.AnyReport) -> None:
        future, wanted = self._pending.get(report.id, (None, None))
        if future is None or future.done():
            return
        answer = report.first if isinstance(report, wire.Repeated) else report
        is_refusal = isinstance(answer, wire.Rejected | wire.Malformed | wire.Throttled | wire.Late)
        if is_refusal or wanted is None or isinstance(answer, wanted):  # a mass cancel's `cancelled` reports quote its id, too
            future.set_result(report)

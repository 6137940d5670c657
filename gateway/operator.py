"""The operator's hand over MQTT: orders become commands of the engine, and what the engine made of each is the answer. Pure.

Who writes to the operator's topic is the operator: the broker's access rules say so. An order is answered when it is durable. The same
id with the same bytes is answered again and does nothing; with other bytes it is refused. That memory is this process's: after a
restart an order that was not answered may be sent again under its id, and acts where it had not.

The halt of a network change is not the operator's to end: rows of the old network would accept trades that the new one cannot
carry. The change itself ends it. An interval may be halted before it is announced, and the answer says so; not one that can never come.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import msgspec

from exchange import commands as c
from exchange.events import Cancelled, Event, Halted, Refused, Traded
from exchange.rejects import Reason
from gateway import topics, wire
from gateway.message import Message
from gateway.mirror import Mirror
from replay.tape import interval_name

KEPT_MAX = 1000
MINUTE_MS = 60_000
NETWORK_CHANGE = "network change"  # begins the reason of the halts that a change makes, and ends itself
TO_COME = "no such interval is announced or open now: it is halted as soon as it is"
CUSTOMERS_OWN = ("replaced", "traded", "blocked", "shown", "cancelled", "raised", "rebased")  # counted, or told to whom they concern


class Kept(NamedTuple):
    """An order that was taken in; `answer` is None until it is decided."""

    payload: bytes
    answer: Message | None


class OperatorDesk:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._kept: dict[tuple[str, str], Kept] = {}
        self._undecided: dict[int, tuple[c.Command, str, str]] = {}

    def admit(self, area: str, payload: bytes) -> c.OperatorCommand | list[Message]:
        """A command for the engine, or the answer (none while the same order waits to be decided)."""
        order = wire.decode_order(payload, self._mirror.sequence)
        if isinstance(order, wire.Malformed):
            return [self._refuse(area, order.id, "malformed", f"{order.field}: {order.reason}" if order.field else order.reason)]
        if area not in self._mirror.areas:
            return [self._refuse(area, order.id, Reason.UNKNOWN_AREA, f"there is no area {area}")]
        kept = self._kept.get((area, order.id))
        if kept is not None and kept.payload != payload:
            return [self._refuse(area, order.id, Reason.ID_REUSED, f"order {order.id} was another one")]
        if kept is not None:
            return [kept.answer] if kept.answer is not None else []
        if isinstance(order, wire.ResumeOrder) and self._is_changing(area, order):
            return [self._refuse(area, order.id, "network_change", "the network is being changed: the change ends its halt itself")]
        never = self._never(area, order.interval_ms) if isinstance(order, wire.HaltOrder) and order.interval_ms is not None else None
        if never is not None:
            return [self._refuse(area, order.id, *never)]
        command = to_command(self._mirror, area, order)
        self._kept[area, order.id] = Kept(payload, None)
        self._undecided[id(command)] = (command, area, order.id)
        return command

    def _is_changing(self, area: str, order: wire.ResumeOrder) -> bool:
        return self._mirror.halts.get((area, order.interval_ms, order.direction), "").startswith(NETWORK_CHANGE)

    def _never(self, area: str, start_ms: int) -> tuple[Reason, str] | None:
        """Why no interval with this start is there or to come; None where one is."""
        live, length_ms = self._mirror.areas[area].intervals, self._mirror.areas[area].settings.interval_ms
        if start_ms % length_ms:
            return Reason.OFF_GRID, f"no interval begins at {interval_name(start_ms)}: they begin every {length_ms // MINUTE_MS} minutes"
        if start_ms not in live and start_ms + length_ms <= self._mirror.market_ms:
            return Reason.UNKNOWN_INTERVAL, f"the interval of {interval_name(start_ms)} is over"
        return None

    def answer(self, command: c.Command, events: Sequence[Event]) -> list[Message]:
        """The answer to an order of ours, once it is durable."""
        found = self._undecided.pop(id(command), None)
        if found is None:
            return []
        _, area, order_id = found
        message = self._outcome(area, order_id, events)
        self._kept[area, order_id] = self._kept[area, order_id]._replace(answer=message)
        done = [key for key, kept in self._kept.items() if kept.answer is not None]
        for oldest in done[: max(0, len(self._kept) - KEPT_MAX)]:
            del self._kept[oldest]
        return [message]

    def _outcome(self, area: str, order_id: str, events: Sequence[Event]) -> Message:
        for event in events:
            if isinstance(event, Refused):
                return self._refuse(area, order_id, event.reason, event.detail)
        cancelled = sum(isinstance(event, Cancelled) for event in events)
        trades = sum(isinstance(event, Traded) for event in events)
        live = self._mirror.areas[area].intervals
        happened = tuple(told for event in events if (told := _happened(event, live)) is not None)
        outcome = wire.Outcome(
            id=order_id, sequence=self._mirror.sequence, happened=happened, orders_cancelled=cancelled, trades=trades
        )  # fmt: skip
        return Message(topics.operator_response(area), wire.encode(outcome), 1, False)

    def _refuse(self, area: str, order_id: str, reason: str, detail: str) -> Message:
        refusal = wire.Refusal(id=order_id, sequence=self._mirror.sequence, reason=reason, detail=detail)
        return Message(topics.operator_response(area), wire.encode(refusal), 1, False)


def _happened(event: Event, live: Container[int]) -> wire.Happened | None:
    """An event of the operator's own by name, with its fields; what customers are told is not repeated here."""
    name = str(event.__struct_config__.tag)
    if name in CUSTOMERS_OWN:
        return None
    facts = {field: _by_name(value) for field, value in msgspec.structs.asdict(event).items()}
    if isinstance(event, Halted) and event.interval_ms is not None and event.interval_ms not in live:
        facts["note"] = TO_COME
    return wire.Happened(name, facts)


def _by_name(value: object) -> object:
    """Plain JSON; the rules of a market with their names, where the journal has only their order."""
    return msgspec.to_builtins(msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value)


def to_command(mirror: Mirror, area: str, order: wire.AnyOrder) -> c.OperatorCommand:
    match order:
        case wire.HaltOrder():
            return c.Halt(area, order.interval_ms, order.reason, order.direction)
        case wire.ResumeOrder():
            return c.Resume(area, order.interval_ms, order.reason, order.direction)
        case wire.SuspendOrder():
            return c.Suspend(area, order.customer, order.reason)
        case wire.ReinstateOrder():
            return c.Reinstate(area, order.customer, order.reason)
        case wire.TermsOrder():
            return _amend_terms(mirror, area, order)
        case wire.SettingsOrder():
            return _amend_settings(mirror, area, order)
        case wire.PhaseOrder():
            return c.EnterPhase(area, order.interval_ms, order.phase, order.reason)
        case wire.WithholdOrder():
            return c.Withhold(
                area, order.id, order.interval_ms, order.kind, order.element, order.phase, order.side, order.quantity_w, order.price_mct,
                order.reason,
            )  # fmt: skip
        case wire.ReleaseOrder():
            return c.Release(area, order.order_id, order.interval_ms, order.reason)


def _amend_terms(mirror: Mirror, area: str, order: wire.TermsOrder) -> c.AmendTerms:
    """What is not given stays as it is; for a customer who is none the engine has the answer."""
    mirrored = mirror.areas[area]
    position = mirrored.position.get(order.customer, 0)
    known = mirrored.terms[position]
    order_w_max = known.order_w_max if order.order_w_max is None else order.order_w_max
    open_orders_max = known.open_orders_max if order.open_orders_max is None else order.open_orders_max
    return c.AmendTerms(area, order.customer, order_w_max, open_orders_max, order.reason)


def _amend_settings(mirror: Mirror, area: str, order: wire.SettingsOrder) -> c.AmendSettings:
    """The rules that are given, and the others as they are."""
    rules = {field: getattr(order, field) for field in wire.SettingsOrder.__struct_fields__ if field not in ("v", "id", "reason")}
    given = {field: value for field, value in rules.items() if value is not None}
    return c.AmendSettings(area, msgspec.structs.replace(mirror.areas[area].settings, **given), order.reason)

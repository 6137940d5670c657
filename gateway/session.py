"""The gate between customers and the engine: which bytes become a command, and who is told what of each event. Pure.

`admit` looks in this order, and the first thing that is wrong is what is answered:
    1. the topic's form, 2. its area and customer are known   - else counted, for there is nobody to answer
    3. payload size and 4. decoding                           - `malformed`, with field and reason
    5. the customer's rate                                    - `throttled`, with the time after which to retry
    6. expiry, against the market's clock                     - `late`
What passes is a command for the engine, or is answered here (status, heartbeat) or by a look at the books (view). Nothing else
changes state, and a message that is refused never reaches the engine or the journal. The customer is the topic's, which the broker's
access rules vouch for; a payload cannot name another. A customer's reader has a topic and a rate of its own, and only asks. What the
operator sends goes to its own desk (`operator.py`).

Two clocks come in as arguments: `market_ms`, which orders and expiries live by, and `elapsed_ms`, a steady clock of real time,
which rate and silence live by (a market's clock may run faster than real time).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from exchange.commands import Cancel, Command, CustomerCommand, MassCancel, OperatorCommand, Place, Replace
from exchange.events import AreaOpened, Event, IntervalOpened, IntervalRetired, Raised, Rebased, RowsChanged, Traded
from exchange.rejects import Reason
from gateway import topics, wire
from gateway.device import device_message
from gateway.dropcopy import DropCopy
from gateway.envelope import envelope_message
from gateway.glance import Glance, Seen
from gateway.marketdata import MarketData
from gateway.message import Message
from gateway.mirror import Mirror, MirroredArea, Resting
from gateway.operator import OperatorDesk
from gateway.outlets import Outlets
from gateway.rate import Bucket
from gateway.reports import private
from replay.tape import interval_name

if TYPE_CHECKING:
    from exchange.engine import Engine

SILENCE = "~silence"  # `~` is in no client's alphabet: nobody can use up an id of this kind


class SessionSettings(msgspec.Struct, frozen=True):
    """`rate_per_s` requests per customer on average and `burst` at once, of which the last `reserve` only for cancels and
    heartbeats; a customer with open orders that says nothing for `silence_ms` has them cancelled."""

    rate_per_s: float = 10.0
    burst: int = 200
    reserve: int = 40
    silence_ms: int = 30_000

    def problems(self) -> list[str]:
        found = []
        if not 0 < self.rate_per_s <= 1e6:
            found.append(f"rate_per_s {self.rate_per_s} is outside (0, 1e6]")
        if not 0 <= self.reserve < self.burst:
            found.append(f"reserve {self.reserve} and burst {self.burst} are not 0 <= reserve < burst")
        if self.silence_ms <= 0:
            found.append(f"silence_ms {self.silence_ms} must be positive")
        return found


class Contact:
    """What is known of one customer's connection: its rate, and when it was last heard."""

    __slots__ = ("bucket", "heard_ms", "is_silenced")

    def __init__(self, settings: SessionSettings, elapsed_ms: int) -> None:
        self.bucket = Bucket(settings.rate_per_s, settings.burst, elapsed_ms)
        self.heard_ms = elapsed_ms
        self.is_silenced = False


class Session:
    """One per exchange process. `boot` makes the exchange's own request ids unique over restarts."""

    def __init__(self, engine: Engine | None = None, settings: SessionSettings | None = None, boot: str = "0", elapsed_ms: int = 0) -> None:
        self.settings = settings or SessionSettings()
        assert not self.settings.problems(), self.settings.problems()
        self.mirror = Mirror.of(engine) if engine is not None else Mirror()
        self.marketdata = MarketData(self.mirror)
        self.glance = Glance(self.mirror, self.marketdata.updates)
        self.operator = OperatorDesk(self.mirror)
        self.outlets = Outlets(self.mirror)
        self._dropcopy = DropCopy(boot)
        self.counts: Counter[str] = Counter()
        self._boot = boot
        self._silenced = 0
        self._elapsed_ms = elapsed_ms
        self._contacts: dict[tuple[str, str, bool], Contact] = {}

    # --- in: bytes to commands ------------------------------------------------------------------------------------

    def admit(self, topic: str, payload: bytes, market_ms: int, elapsed_ms: int) -> CustomerCommand | OperatorCommand | list[Message]:
        """A command for the engine, or the replies that settle the matter (none where there is nobody to answer, or not yet)."""
        self._elapsed_ms = max(self._elapsed_ms, elapsed_ms)
        operated = topics.parse_operator_request(topic)
        if operated is not None:
            return self.operator.admit(operated, payload)
        sender = topics.parse_request(topic)
        if sender is None:
            return self._ignore("foreign_topic")
        mirrored = self.mirror.areas.get(sender.area)
        if mirrored is None or sender.customer not in mirrored.position:
            return self._ignore("unknown_customer")
        contact = self._contact(sender.area, sender.customer, sender.is_reader)
        contact.heard_ms = max(contact.heard_ms, elapsed_ms)
        contact.is_silenced = False
        request = wire.decode_request(payload, self.mirror.sequence)
        is_urgent = isinstance(request, wire.Cancel | wire.MassCancel | wire.Heartbeat)
        wait_ms = contact.bucket.take(elapsed_ms, 0 if is_urgent else self.settings.reserve)
        if isinstance(request, wire.Malformed):
            return self._reply(sender, request) if not wait_ms else self._ignore("malformed_over_rate")
        if wait_ms:
            return self._reply(sender, wire.Throttled(sequence=self.mirror.sequence, id=request.id, retry_ms=wait_ms))
        if request.expires_ms is not None and market_ms > request.expires_ms:
            late = wire.Late(sequence=self.mirror.sequence, id=request.id, expires_ms=request.expires_ms, market_ms=market_ms)
            return self._reply(sender, late)
        return self._take(sender, request, market_ms)

    def _take(self, sender: topics.Sender, request: wire.AnyRequest, market_ms: int) -> CustomerCommand | list[Message]:
        """What a request in good order comes to."""
        match request:
            case wire.Status():
                return self._reply(sender, self._status(sender.area, sender.customer, request.id, market_ms))
            case wire.Heartbeat():
                return self._reply(sender, wire.Alive(sequence=self.mirror.sequence, id=request.id, market_ms=market_ms))
            case wire.View():
                return self._view(sender, request)
            case _ if sender.is_reader:
                reason = "a reader asks status, view and heartbeat, and nothing that acts"
                return self._reply(sender, wire.Malformed(sequence=self.mirror.sequence, id=request.id, field="type", reason=reason))
            case _:
                self.counts["admitted"] += 1
                return to_command(sender.area, sender.customer, request)

    def _view(self, sender: topics.Sender, request: wire.View) -> list[Message]:
        """Answered by the next look at the engine's books (`glance`)."""
        interval = self.mirror.areas[sender.area].intervals.get(request.interval_ms)
        if interval is None or interval.is_closed:
            reason = Reason.UNKNOWN_INTERVAL if interval is None else Reason.GATE_CLOSED
            detail = f"the interval of {interval_name(request.interval_ms)} is {'not open' if interval is None else 'no longer traded'}"
            return self._reply(sender, wire.Rejected(sequence=self.mirror.sequence, id=request.id, reason=reason, detail=detail))
        self.counts["view"] += 1
        self.glance.ask(Seen(sender.area, sender.customer, request.interval_ms, request.direction), request.id, _answer_topic(sender))
        return []

    def _contact(self, area: str, customer: str, is_reader: bool = False) -> Contact:
        contact = self._contacts.get((area, customer, is_reader))
        if contact is None:
            contact = self._contacts[area, customer, is_reader] = Contact(self.settings, self._elapsed_ms)
        return contact

    def _ignore(self, why: str) -> list[Message]:
        self.counts[why] += 1
        return []

    def _reply(self, sender: topics.Sender, report: wire.Report) -> list[Message]:
        self.counts[type(report).__name__.lower()] += 1
        return [Message(_answer_topic(sender), wire.encode(report), 1, False)]

    def _status(self, area: str, customer: str, request_id: str, market_ms: int) -> wire.StatusReport:
        mirrored = self.mirror.areas[area]
        return wire.StatusReport(
            sequence=self.mirror.sequence, id=request_id, market_ms=market_ms,
            open_orders=tuple(_open_order(order_id, order) for order_id, order in mirrored.orders[customer].items()),
            holdings=_holdings(mirrored, mirrored.position[customer]),
        )  # fmt: skip

    # --- silence --------------------------------------------------------------------------------------------------

    def silent(self, elapsed_ms: int) -> list[MassCancel]:
        """Cancellations for those who hold open orders and were not heard for too long; each silence is punished once."""
        self._elapsed_ms = max(self._elapsed_ms, elapsed_ms)
        found = []
        for area, mirrored in self.mirror.areas.items():
            for customer, orders in mirrored.orders.items():
                if not orders:
                    continue
                contact = self._contact(area, customer)
                if contact.is_silenced or elapsed_ms - contact.heard_ms < self.settings.silence_ms:
                    continue
                contact.is_silenced = True
                self._silenced += 1
                found.append(MassCancel(area, customer, f"{SILENCE}/{self._boot}/{self._silenced}", None, "silence"))
        self.counts["silenced"] += len(found)
        return found

    def resume_hearing(self, elapsed_ms: int) -> None:
        """After a time in which nobody could be heard: everyone's silence counts from now."""
        for contact in self._contacts.values():
            contact.heard_ms = max(contact.heard_ms, elapsed_ms)

    # --- out: events to messages ----------------------------------------------------------------------------------

    def route(self, commands: Iterable[Command], events: Iterable[Sequence[Event]], market_ms: int) -> list[Message]:
        """Folds one durable batch and says what leaves: the envelopes that the operator lowered; its devices' settings; every private
        report in order; the other changed envelopes. So limits fall before anything else is told, and rise after it.

        A batch that the mirror already knows (released again after a restart) gives its reports once more, same sequences and all.
        Public books are not in it, nor what devices read beside the envelope: `marketdata` and `outlets` conflate them over batches.
        """
        reports: list[Message] = []
        lowered: dict[tuple[str, str], None] = {}
        changed: dict[tuple[str, str], None] = {}
        areas: dict[str, None] = {}
        for command, derived in zip(commands, events, strict=True):
            for event in derived:
                if self._changes_devices(event):
                    areas[event.area] = None
                if event.sequence > self.mirror.sequence:
                    self._fold(command, event)
                    (lowered if isinstance(event, Rebased) else changed).update(dict.fromkeys(self._changed_holders(event)))
                reports += self._private(event, market_ms)
            reports += self.operator.answer(command, derived)
        devices = [message for area in areas for message in self._devices(area, market_ms)]
        others = [holder for holder in changed if holder not in lowered]
        self.outlets.mark(lowered, others)
        return self._envelopes(lowered, market_ms) + devices + reports + self._envelopes(others, market_ms)

    def _fold(self, command: Command, event: Event) -> None:
        self.marketdata.fold(event)
        self.mirror.fold(command, event)
        self.glance.fold(event)

    def _private(self, event: Event, market_ms: int) -> list[Message]:
        """The reports of an event and, of those that count, the drop copies. A reject may name an area or a customer that there is not."""
        messages = []
        mirrored = self.mirror.areas.get(getattr(event, "area", None) or "")
        for area, customer, report in private(event, mirrored.position if mirrored is not None else ()):
            if mirrored is None or customer not in mirrored.position:
                continue
            messages.append(Message(topics.response(area, customer), wire.encode(report), 1, False))
            copied = self._dropcopy.copy(area, customer, report, market_ms)
            if copied is not None:
                messages.append(copied)
        return messages

    def _envelopes(self, holders: Iterable[tuple[str, str]], market_ms: int) -> list[Message]:
        return [envelope_message(self.mirror, area, customer, market_ms) for area, customer in holders]

    def _devices(self, area: str, market_ms: int) -> list[Message]:
        """Every customer's set points, and the state, which has the tap positions."""
        messages = [device_message(self.mirror, area, customer, market_ms) for customer in self.mirror.areas[area].position]
        return [*messages, self.marketdata.render_state(area, market_ms)]

    def _changes_devices(self, event: Event) -> TypeGuard[RowsChanged | IntervalRetired]:
        """Asked before the mirror folds the event. One that is released again may have ended settings of which nothing is known now."""
        if event.sequence <= self.mirror.sequence:
            return isinstance(event, RowsChanged) and event.area in self.mirror.areas
        if not isinstance(event, RowsChanged | IntervalRetired):
            return False
        had = self.mirror.areas[event.area].intervals[event.interval_ms].settings
        return bool(had) or (isinstance(event, RowsChanged) and bool(event.settings))

    def _changed_holders(self, event: Event) -> list[tuple[str, str]]:
        """Whose envelope an event changes."""
        if isinstance(event, Traded):
            position = self.mirror.areas[event.area].position
            return [(event.area, leg.customer) for leg in event.legs if leg.customer in position]
        if isinstance(event, Rebased | Raised):
            return [(event.area, event.customer)]
        if isinstance(event, AreaOpened | IntervalOpened | IntervalRetired):
            return [(event.area, customer) for customer in self.mirror.areas[event.area].position]
        return []

    def refresh(self, market_ms: int) -> list[Message]:
        """Everything that a broker should retain, for a broker that may have forgotten it."""
        self.marketdata.mark_all()
        self.glance.mark_all()
        self.outlets.mark_all()
        names = [(area, customer) for area, mirrored in self.mirror.areas.items() for customer in mirrored.position]
        return self._envelopes(names, market_ms) + self.outlets.render(market_ms) + self._set_devices(market_ms) + self.marketdata.render()

    def _set_devices(self, market_ms: int) -> list[Message]:
        """The areas in which a device is set; one that is no longer is told when the batch that ended it is released."""
        areas = [area for area, mirrored in self.mirror.areas.items() if any(interval.settings for interval in mirrored.intervals.values())]
        return [message for area in areas for message in self._devices(area, market_ms)]


def _answer_topic(sender: topics.Sender) -> str:
    return (topics.told if sender.is_reader else topics.response)(sender.area, sender.customer)


def _open_order(order_id: str, order: Resting) -> wire.OpenOrder:
    label = order.blocked_by
    row = None if label is None else wire.BlockingRow(label.kind, label.element, label.phase)
    return wire.OpenOrder(
        order_id, order.interval_ms, order.direction, order.side, order.open_w, order.price_mct, order.shown_w, order.intervals, row
    )  # fmt: skip


def _holdings(mirrored: MirroredArea, position: int) -> tuple[wire.Holding, ...]:
    return tuple(
        wire.Holding(start_ms, interval.export_w[position], interval.import_w[position])
        for start_ms, interval in sorted(mirrored.intervals.items())
    )


def to_command(area: str, customer: str, request: wire.Place | wire.Replace | wire.Cancel | wire.MassCancel) -> CustomerCommand:
    match request:
        case wire.Place():
            return Place(
                area, customer, request.id, request.interval_ms, request.direction, request.side, request.quantity_w,
                request.price_mct, request.time_in_force, request.until_ms, request.display_w, request.intervals,
            )  # fmt: skip
        case wire.Replace():
            return Replace(area, customer, request.id, request.order_id, request.quantity_w, request.price_mct)
        case wire.Cancel():
            return Cancel(area, customer, request.id, request.order_id)
        case wire.MassCancel():
            return MassCancel(area, customer, request.id, request.interval_ms, request.cause)

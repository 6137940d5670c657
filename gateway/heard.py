"""What a home has heard: reports, envelope, set points, its views, the market; and what a caller may read of it. No connection.

What it takes care of: dropping what MQTT delivers twice, by sequence; an envelope that only moves forward; the failsafe where no
envelope covers a moment; noticing that an update of a public topic or a view is missing (`gaps`): each message is whole, so the latest
one is the state all the same, and only what happened in between (trades among the last ten) may be lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gateway import topics, wire
from gateway.broadcast import Broadcast, Listener

SEEN_MAX = 4096
NOT_BY_SEQUENCE = (wire.StatusReport, wire.ViewReport, wire.Alive, wire.Malformed, wire.Throttled, wire.Late)  # its last one, not their own


class Limits(NamedTuple):
    """Any power from -import_w to +export_w is allowed."""

    export_w: int
    import_w: int


NOTHING = Limits(0, 0)


class Heard:
    """Everything that arrived for one customer; `answered` is called with each report that is news."""

    def __init__(self, area: str, customer: str, failsafe: Limits, silent_s: float) -> None:
        self.area = area
        self.customer = customer
        self.duplicates = 0
        self.unreadable = 0
        self.gaps = 0
        self.last_sequence = 0
        self.last_envelope: wire.Envelope | None = None
        self.last_status: wire.StatusReport | None = None
        self.last_device: wire.Device | None = None
        self.state: wire.State | None = None
        self.market: dict[tuple[int, str], wire.Book] = {}
        self.auctions: dict[int, wire.Auction] = {}
        self.rows: dict[int, wire.Rows] = {}
        self.views: dict[tuple[int, str], wire.ViewReport] = {}
        self._failsafe = failsafe
        self._silent_s = silent_s
        self._heard_s = time.monotonic()
        self._seen: dict[tuple[int, str, str, int], None] = {}
        self._updates: dict[str, int] = {}
        self._envelopes: Broadcast[wire.Envelope] = Broadcast(1)
        self._devices: Broadcast[wire.Device] = Broadcast(1)
        self._fills: Broadcast[wire.Filled] = Broadcast()
        self._blocks: Broadcast[wire.Blocked] = Broadcast()
        self._views: Broadcast[wire.ViewReport] = Broadcast()
        self._reports: Broadcast[wire.AnyReport] = Broadcast()
        self._private: dict[str, Callable[[bytes], None]] = {
            topics.response(area, customer): lambda payload: self._take_report(wire.decode_report(payload)),
            topics.envelope(area, customer): lambda payload: self._take_envelope(wire.decode_envelope(payload)),
            topics.device(area, customer): lambda payload: self._take_device(wire.decode_device(payload)),
        }
        self._view_prefix = topics.views(area, customer).removesuffix("+/+")

    def answered(self, report: wire.AnyReport) -> None:
        """For who waits for answers."""

    # --- what arrives ---------------------------------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: ARG002  the link's signature
        self._heard_s = time.monotonic()
        try:
            self._take(topic, payload)
        except msgspec.DecodeError:
            self.unreadable += 1  # of a later version, or damaged: what we can read goes on

    def _take(self, topic: str, payload: bytes) -> None:
        private = self._private.get(topic)
        if private is not None:
            private(payload)
        elif topic == topics.state(self.area):
            self.state = wire.decode_state(payload)
            self._note(topic, self.state.update)
        else:
            self._take_numbered(topic, payload)

    def _take_numbered(self, topic: str, payload: bytes) -> None:
        """Of one interval: a view, a book, an auction or rows; an empty one is over."""
        level, what = topic.split("/")[-2:]
        interval_ms = int(level)
        if not payload:
            self._forget(topic, interval_ms, what)
        elif topic.startswith(self._view_prefix):
            view = self.views[interval_ms, what] = wire.decode_view(payload)
            self._note(topic, view.update)
            self._views.publish(view)
        elif what == "auction":
            auction = self.auctions[interval_ms] = wire.decode_auction(payload)
            self._note(topic, auction.update)
        elif what == "rows":
            rows = self.rows[interval_ms] = wire.decode_rows(payload)
            self._note(topic, rows.update)
        else:
            book = self.market[interval_ms, what] = wire.decode_book(payload)
            self._note(topic, book.update)

    def _forget(self, topic: str, interval_ms: int, what: str) -> None:
        self._updates.pop(topic, None)
        if topic.startswith(self._view_prefix):
            self.views.pop((interval_ms, what), None)
        elif what in ("auction", "rows"):
            (self.auctions if what == "auction" else self.rows).pop(interval_ms, None)
        else:
            self.market.pop((interval_ms, what), None)

    def _note(self, topic: str, update: int) -> None:
        """The same number again is the retained message of a new subscription; any but the next means that something was missed."""
        known = self._updates.get(topic)
        self._updates[topic] = update
        if known is not None and update not in (known, known + 1):
            self.gaps += 1

    def _take_report(self, report: wire.AnyReport) -> None:
        if not isinstance(report, NOT_BY_SEQUENCE):
            key = (report.sequence, type(report).__name__, report.id, getattr(report, "leg", 0))
            if key in self._seen:
                self.duplicates += 1
                return
            self._seen[key] = None
            if len(self._seen) > SEEN_MAX:
                del self._seen[next(iter(self._seen))]
        self.last_sequence = max(self.last_sequence, report.sequence)
        if isinstance(report, wire.StatusReport):
            self.last_status = report
        self._reports.publish(report)
        if isinstance(report, wire.Filled):
            self._fills.publish(report)
        elif isinstance(report, wire.Blocked):
            self._blocks.publish(report)
        self.answered(report)

    def _take_envelope(self, envelope: wire.Envelope) -> None:
        known = self.last_envelope
        if known is not None and envelope.sequence < known.sequence:
            return
        self.last_envelope = envelope
        self._envelopes.publish(envelope)

    def _take_device(self, device: wire.Device) -> None:
        if self.last_device is None or device.sequence >= self.last_device.sequence:
            self.last_device = device
            self._devices.publish(device)

    # --- what a home reads ----------------------------------------------------------------------------------------

    @property
    def envelope(self) -> dict[int, Limits]:
        """Start of each live interval -> the limits in it."""
        controls = self.last_envelope.controls if self.last_envelope is not None else ()
        return {control.start_ms: Limits(control.opModExpLimW, control.opModImpLimW) for control in controls}

    def limits(self, at_ms: int) -> Limits:
        """What to obey at this moment of the market's clock: the interval's limits.

        The failsafe where there are none, and when the exchange has not been heard for `silent_s`: what was offered may have been
        sold meanwhile, and no sale reaches below the failsafe.
        """
        if self.last_envelope is None:
            return self._failsafe
        is_silent = time.monotonic() - self._heard_s > self._silent_s
        for control in () if is_silent else self.last_envelope.controls:
            if control.start_ms <= at_ms < control.start_ms + control.duration_ms:
                return Limits(control.opModExpLimW, control.opModImpLimW)
        return Limits(self.last_envelope.default.opModExpLimW, self.last_envelope.default.opModImpLimW)

    def reactive_var(self, at_ms: int) -> int | None:
        """The vars that the inverter is to inject (negative: absorb) at this moment of the market's clock; None: as it is configured.

        Unlike the limits it stands when the exchange is not heard: the limits of others rely on it.
        """
        for control in self.last_device.controls if self.last_device is not None else ():
            if control.start_ms <= at_ms < control.start_ms + control.duration_ms:
                return control.reactive_var
        return None

    def envelopes(self) -> Listener[wire.Envelope]:
        """The envelope as it is known, and every new one; whoever is slow gets the newest."""
        listener = self._envelopes.listen()
        if self.last_envelope is not None:
            listener.put(self.last_envelope)
        return listener

    def fills(self) -> Listener[wire.Filled]:
        return self._fills.listen()

    def blocks(self) -> Listener[wire.Blocked]:
        return self._blocks.listen()

    def view_updates(self) -> Listener[wire.ViewReport]:
        """What the views that were asked for become; `views` has the latest of each."""
        return self._views.listen()

    def reports(self) -> Listener[wire.AnyReport]:
        """Every private report, in the order of arrival, duplicates dropped."""
        return self._reports.listen()

    def on_envelope(self, callback: Callable[[wire.Envelope], None]) -> None:
        self._envelopes.callback = callback

    def on_device(self, callback: Callable[[wire.Device], None]) -> None:
        self._devices.callback = callback

    def on_fill(self, callback: Callable[[wire.Filled], None]) -> None:
        self._fills.callback = callback

    def on_blocked(self, callback: Callable[[wire.Blocked], None]) -> None:
        self._blocks.callback = callback

    def on_report(self, callback: Callable[[wire.AnyReport], None]) -> None:
        self._reports.callback = callback

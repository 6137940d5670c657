"""What a home's request can come to: an answer of the exchange, or one of these errors."""

from __future__ import annotations

from gateway import wire


class HomeError(Exception):
    """A request came to nothing."""


class NoAnswerError(HomeError):
    """No answer in time, resends included: the exchange may or may not have acted."""


class ThrottledError(HomeError):
    """Too many requests; nothing was done. `retry_ms` says when it is worth trying again."""

    def __init__(self, retry_ms: int) -> None:
        super().__init__(f"too many requests; try again in {retry_ms} ms")
        self.retry_ms = retry_ms


class LateError(HomeError):
    """The request arrived after its expiry; nothing was done."""


class MalformedError(HomeError):
    """The exchange could not read the request: a bound was broken, or versions differ."""


def answer_of(report: wire.AnyReport) -> wire.AnyReport:
    """What the caller gets of a report; a refusal at the gate is raised."""
    match report:
        case wire.Repeated():
            return report.first
        case wire.Throttled():
            raise ThrottledError(report.retry_ms)
        case wire.Late():
            raise LateError(f"it arrived at {report.market_ms}, and was to expire at {report.expires_ms}")
        case wire.Malformed():
            raise MalformedError(f"{report.field}: {report.reason}" if report.field else report.reason)
        case _:
            return report

"""What operators say to each other: limits at an interface, never a network. JSON, one message a line.

    above -> below   Ask      could your customers use this share of their connections, and at which voltages?
    below -> above   Answer   yes: this much power each way, this reactive power with it, at this widest range of voltage; or no
    above -> below   Offer    this voltage range is what I would keep: what do you want to have?
    below -> above   Request  at most this much, at least that much (the failsafe), and this reactive power with it
    above -> below   Grant    these limits hold from now on: power, reactive power, voltage
    below -> above   Report   whether everything below keeps within the grant, checked in AC by the operator below

Powers are at the interface bus, in watts: `export` into the network above, `import` out of it. Voltages are per unit of the rated
voltage of that bus. Whoever grants a range of voltage keeps it for *every* power within the grants that it gave; whoever accepts a
grant keeps his power within it for *every* voltage of the range. Nothing else is needed for the whole to hold (docs/cascade.md).

Reactive power follows active power by a *band*. Somebody who may export E and import M is at every moment at a point
P = x - y with 0 <= x <= E, 0 <= y <= M, and draws reactive power between `constant_least + export_least x + import_least y` and
`constant_most + export_most x + import_most y`. So with P = 0 it may still draw: half of its homes may feed the other half.
"""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1


class ReactiveBand(msgspec.Struct, frozen=True):
    """Reactive power drawn, in var: constants, and var for each watt exported and for each watt imported (losses included)."""

    constant_least: float = 0.0
    constant_most: float = 0.0
    export_least: float = 0.0
    export_most: float = 0.0
    import_least: float = 0.0
    import_most: float = 0.0


class Range(msgspec.Struct, frozen=True):
    """A range of voltage, per unit of the interface bus's rated voltage."""

    min_pu: float
    max_pu: float

    def contains(self, other: Range) -> bool:
        return self.min_pu <= other.min_pu and other.max_pu <= self.max_pu


class Message(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """`operator` is the area below the interface, whoever speaks."""

    operator: str
    version: int = VERSION


class Ask(Message, frozen=True, kw_only=True, tag="ask"):
    """`level`: of every customer's connection rating, both ways, 0 to 1."""

    level: float


class Answer(Message, frozen=True, kw_only=True, tag="answer"):
    """The widest range at which everybody below can use the level; None: at no range."""

    level: float
    range: Range | None
    export_w: int = 0
    import_w: int = 0
    reactive: ReactiveBand = ReactiveBand()


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """`level` is the one that was agreed on: what lies below keeps the ranges that it answered to it."""

    level: float
    range: Range


class Request(Message, frozen=True, kw_only=True, tag="request"):
    """`export_w` and `import_w`: what it could use at most. The failsafe is what its homes fall back to: it cannot have less."""

    export_w: int
    import_w: int
    failsafe_export_w: int
    failsafe_import_w: int
    reactive: ReactiveBand


class Grant(Message, frozen=True, kw_only=True, tag="grant"):
    export_w: int
    import_w: int
    range: Range
    reactive: ReactiveBand


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """`secure`: power, reactive power and all own limits hold in AC at every corner searched, here and in all areas below.

    `smallest_share` is the least envelope of a customer over its rating, `customers` how many there are, in all areas below.
    """

    secure: bool
    customers: int
    smallest_share: float
    problems: tuple[str, ...] = ()


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """The message cannot be served: what is wrong, and what would help. Says which kind of limit, not where it stands."""

    reason: str


Any_ = Ask | Answer | Offer | Request | Grant | Report | Refused
_decoder: msgspec.json.Decoder[Any_] = msgspec.json.Decoder(Any_)


class Malformed(ValueError):  # noqa: N818 - as in the exchange: their bytes are wrong
    """Not a message of this schema."""


def encode(message: Any_) -> bytes:
    return msgspec.json.encode(message)


def decode(raw: bytes | str) -> Any_:
    """Raises Malformed for bytes that are no message, for another version, and for figures that cannot be."""
    try:
        message = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not a message between operators: {error}") from error
    if message.version != VERSION:
        raise Malformed(f"speaks version {message.version}, this operator speaks {VERSION}")
    _check(message)
    return message


def _check(message: Any_) -> None:
    limits = [getattr(message, name, 0) for name in ("export_w", "import_w", "failsafe_export_w", "failsafe_import_w")]
    if min(limits) < 0:
        raise Malformed("has a limit below zero")
    around: Range | None = getattr(message, "range", None)
    if around is not None and not 0.5 < around.min_pu <= around.max_pu < 1.5:
        raise Malformed(f"has the voltage range {around.min_pu:g} to {around.max_pu:g} pu")
    if not 0 <= getattr(message, "level", 0.0) <= 1:
        raise Malformed("has a level outside 0 to 1")


def schema() -> dict[str, Any]:
    """JSON schema of every message, by name, with the parts they share."""
    kinds = (Ask, Answer, Offer, Request, Grant, Report, Refused)
    found, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {"$defs": parts, "oneOf": list(found)}

"""Where messages live: the topic tree of one exchange, built and parsed here and nowhere else.

    limex/v1/{area}/c/{customer}/req         customer -> exchange   QoS 1
    limex/v1/{area}/c/{customer}/rsp         exchange -> customer   QoS 1, private
    limex/v1/{area}/c/{customer}/envelope    exchange -> customer   QoS 1, private, retained
    limex/v1/{area}/c/{customer}/device      exchange -> customer   QoS 1, private, retained
    limex/v1/{area}/c/{customer}/limit/{name}, next/{name}, failsafe/{name}, csip, csip/default
                                             exchange -> customer and its reader   QoS 1, private, retained
    limex/v1/{area}/c/{customer}/drop        the same, not retained
    limex/v1/{area}/c/{customer}/view/{interval}/{direction}   the same, retained
    limex/v1/{area}/c/{customer}/ask         reader -> exchange     QoS 1: questions that change nothing
    limex/v1/{area}/c/{customer}/told        exchange -> reader     QoS 1, private
    limex/v1/{area}/md/{interval}/{direction}  public, retained: a book
    limex/v1/{area}/md/{interval}/auction      public, retained
    limex/v1/{area}/md/{interval}/rows         public, retained
    limex/v1/{area}/state                      public, retained
    limex/v1/{area}/op/req                   operator -> exchange   QoS 1
    limex/v1/{area}/op/rsp                   exchange -> operator   QoS 1, private

A name is one topic level: letters, digits and `._:-`, at most 64. So no name can be a wildcard, a separator or empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "limex/v1"
NAME_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$(?!\n)"  # in Python `$` alone would let a final newline pass
NAME = re.compile(NAME_PATTERN)

REQUEST = re.compile(r"limex/v1/([A-Za-z0-9._:-]{1,64})/c/([A-Za-z0-9._:-]{1,64})/(req|ask)\Z")
OPERATOR_REQUEST = re.compile(r"limex/v1/([A-Za-z0-9._:-]{1,64})/op/req\Z")


class Sender(NamedTuple):
    """Whose request it is, and whether its reader asks."""

    area: str
    customer: str
    is_reader: bool


def parse_request(topic: str) -> Sender | None:
    """Who sends to this topic, or None where it has another form."""
    found = REQUEST.match(topic)
    return Sender(found[1], found[2], found[3] == "ask") if found else None


def parse_operator_request(topic: str) -> str | None:
    """The area whose operator sends to this topic."""
    found = OPERATOR_REQUEST.match(topic)
    return found[1] if found else None


def request(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/req"


def requests(area: str) -> str:
    """The filter that receives every customer's requests of one area."""
    return f"{ROOT}/{area}/c/+/req"


def asks(area: str) -> str:
    """The filter that receives what every customer's reader asks."""
    return f"{ROOT}/{area}/c/+/ask"


def response(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/rsp"


def ask(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/ask"


def told(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/told"


def envelope(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/envelope"


def device(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/device"


def of_customer(area: str, customer: str, name: str) -> str:
    """A plain number's topic, by its name below the customer's (`plain`)."""
    return f"{ROOT}/{area}/c/{customer}/{name}"


def plain(area: str, customer: str) -> tuple[str, ...]:
    """The filters of all plain numbers of one customer."""
    return tuple(of_customer(area, customer, f"{when}/+") for when in ("limit", "next", "failsafe"))


def csip(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/csip"


def csip_default(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/csip/default"


def drop(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/drop"


def view(area: str, customer: str, interval_ms: int, direction: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/view/{interval_ms}/{direction}"


def views(area: str, customer: str) -> str:
    """The filter of all views of one customer."""
    return f"{ROOT}/{area}/c/{customer}/view/+/+"


def book(area: str, interval_ms: int, direction: str) -> str:
    return f"{ROOT}/{area}/md/{interval_ms}/{direction}"


def auction(area: str, interval_ms: int) -> str:
    return f"{ROOT}/{area}/md/{interval_ms}/auction"


def rows(area: str, interval_ms: int) -> str:
    return f"{ROOT}/{area}/md/{interval_ms}/rows"


def market(area: str) -> str:
    """The filter of all public books, auctions and rows of one area."""
    return f"{ROOT}/{area}/md/+/+"


def state(area: str) -> str:
    return f"{ROOT}/{area}/state"


def operator_request(area: str) -> str:
    return f"{ROOT}/{area}/op/req"


def operator_response(area: str) -> str:
    return f"{ROOT}/{area}/op/rsp"

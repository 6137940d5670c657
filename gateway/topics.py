"""Where messages live: the topic tree of one exchange, built and parsed here and nowhere else.

    limex/v1/{area}/c/{customer}/req         customer -> exchange   QoS 1
    limex/v1/{area}/c/{customer}/rsp         exchange -> customer   QoS 1, private
    limex/v1/{area}/c/{customer}/envelope    exchange -> customer   QoS 1, private, retained
    limex/v1/{area}/c/{customer}/device      exchange -> customer   QoS 1, private, retained
    limex/v1/{area}/md/{interval}/{direction}  public, retained
    limex/v1/{area}/state                      public, retained

A name is one topic level: letters, digits and `._:-`, at most 64. So no name can be a wildcard, a separator or empty.
"""

from __future__ import annotations

import re

ROOT = "limex/v1"
NAME_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$(?!\n)"  # in Python `$` alone would let a final newline pass
NAME = re.compile(NAME_PATTERN)

REQUEST = re.compile(r"limex/v1/([A-Za-z0-9._:-]{1,64})/c/([A-Za-z0-9._:-]{1,64})/req\Z")


def parse_request(topic: str) -> tuple[str, str] | None:
    """Area and customer of a request topic, or None where the topic has another form."""
    found = REQUEST.match(topic)
    return (found[1], found[2]) if found else None


def request(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/req"


def requests(area: str) -> str:
    """The filter that receives every customer's requests of one area."""
    return f"{ROOT}/{area}/c/+/req"


def response(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/rsp"


def envelope(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/envelope"


def device(area: str, customer: str) -> str:
    return f"{ROOT}/{area}/c/{customer}/device"


def book(area: str, interval_ms: int, direction: str) -> str:
    return f"{ROOT}/{area}/md/{interval_ms}/{direction}"


def books(area: str) -> str:
    """The filter of all public books of one area."""
    return f"{ROOT}/{area}/md/+/+"


def state(area: str) -> str:
    return f"{ROOT}/{area}/state"

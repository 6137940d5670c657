"""A customer's envelope in the words of CSIP-AUS, the Australian profile of IEEE 2030.5, for devices and utility servers that speak it.

Two XML documents, since each of the standard's resources is a document of its own:

    DERControlList      a DERControl for every interval that is not over: its start, duration, and limits at the connection
    DefaultDERControl   the failsafe: what holds where no control covers the moment

Limits are `ActivePower`: a 16-bit value times a power of ten. Above 32,767 W the multiplier takes the lowest digits, and they are
dropped, never rounded up: a device that obeys the document stays inside the envelope. There is no `randomizeStart`: limits of
neighbours begin together, because together they are secure.

A control may not be edited once it is known (IEEE 2030.5-2018, 10.2.3): other limits are another control, with another mRID. The mRID
is a hash of area, customer, interval and limits, so it is the same after a restart and in every copy; its last 32 bits, where a
provider's IANA number belongs, are zero, for limex has none. `creationTime` is when the exchange first said so.

limex serves no HTTP and answers no `Response`: a utility server that has these documents publishes them as its own resources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

from gateway import wire

SEP = "urn:ieee:std:2030.5:ns"
AUS = "https://csipaus.org/ns"
VALUE_MAX = 32_767
SCHEDULED, ACTIVE = 0, 1

ET.register_namespace("", SEP)
ET.register_namespace("csipaus", AUS)


class ActivePower(NamedTuple):
    """`value` times ten to the `multiplier` watts."""

    multiplier: int
    value: int

    @classmethod
    def of(cls, watts: int) -> ActivePower:
        """The greatest that is not above so many watts."""
        multiplier = 0
        while watts > VALUE_MAX:
            watts, multiplier = watts // 10, multiplier + 1
        return cls(multiplier, watts)


def control_list(area: str, envelope: wire.Envelope, market_ms: int, created_ms: Mapping[str, int]) -> bytes:
    """The DERControlList; `created_ms` says when each mRID was first published."""
    live = [control for control in envelope.controls if control.start_ms + control.duration_ms > market_ms]
    root = ET.Element(_sep("DERControlList"), {"all": str(len(live)), "results": str(len(live))})
    for control in live:
        mrid = control_mrid(area, envelope.customer, control)
        _control(root, mrid, control, created_ms[mrid], market_ms)
    return _document(root)


def default_control(area: str, envelope: wire.Envelope) -> bytes:
    root, limits = ET.Element(_sep("DefaultDERControl")), envelope.default
    _text(root, "mRID", _mrid(area, envelope.customer, "default", limits.opModExpLimW, limits.opModImpLimW))
    _text(root, "description", "failsafe")
    _base(root, limits.opModExpLimW, limits.opModImpLimW)
    return _document(root)


def indented(document: bytes) -> str:
    """The same for people."""
    root = ET.fromstring(document)  # noqa: S314  the exchange wrote it
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def control_mrid(area: str, customer: str, control: wire.Control) -> str:
    return _mrid(area, customer, control.start_ms, control.duration_ms, control.opModExpLimW, control.opModImpLimW)


def _mrid(*identity: str | int) -> str:
    hashed = hashlib.blake2b("/".join(map(str, identity)).encode(), digest_size=12)
    return f"{hashed.hexdigest()}{0:08x}".upper()


def _control(root: ET.Element, mrid: str, control: wire.Control, created_ms: int, market_ms: int) -> None:
    """The order of the elements is the schema's."""
    is_active, start_s = control.start_ms <= market_ms, control.start_ms // 1000
    found, created_s = ET.SubElement(root, _sep("DERControl")), created_ms // 1000
    _text(found, "mRID", mrid)
    _text(found, "description", "limex envelope")
    _text(found, "creationTime", created_s)
    status = ET.SubElement(found, _sep("EventStatus"))
    _text(status, "currentStatus", ACTIVE if is_active else SCHEDULED)
    _text(status, "dateTime", max(start_s, created_s) if is_active else created_s)
    _text(status, "potentiallySuperseded", "false")
    interval = ET.SubElement(found, _sep("interval"))
    _text(interval, "duration", control.duration_ms // 1000)
    _text(interval, "start", start_s)
    _base(found, control.opModExpLimW, control.opModImpLimW)


def _base(root: ET.Element, export_w: int, import_w: int) -> None:
    base = ET.SubElement(root, _sep("DERControlBase"))
    for name, watts in (("opModImpLimW", import_w), ("opModExpLimW", export_w)):
        limit, power = ET.SubElement(base, f"{{{AUS}}}{name}"), ActivePower.of(watts)
        _text(limit, "multiplier", power.multiplier)
        _text(limit, "value", power.value)


def _text(root: ET.Element, name: str, value: str | int) -> None:
    ET.SubElement(root, _sep(name)).text = str(value)


def _sep(name: str) -> str:
    return f"{{{SEP}}}{name}"


def _document(root: ET.Element) -> bytes:
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written

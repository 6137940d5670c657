"""CSIP-AUS documents: their structure is the schema's, their limits never exceed the envelope, and their identity is stable."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from gateway import wire
from gateway.csip import AUS, SEP, VALUE_MAX, ActivePower, control_list, control_mrid, default_control

QUARTER, T0 = 900_000, 1_700_000_100_000
NAMES = {"sep": SEP, "aus": AUS}
ORDER = ["mRID", "description", "creationTime", "EventStatus", "interval", "DERControlBase"]


def envelope(*controls: wire.Control) -> wire.Envelope:
    return wire.Envelope(customer="home-07", sequence=7, issued_ms=T0, default=wire.Limits(1_500, 2_000), controls=controls)


NOW, NEXT = wire.Control(T0, QUARTER, 5_000, 7_000), wire.Control(T0 + QUARTER, QUARTER, 40_009, 0)


def controls_at(market_ms: int, *controls: wire.Control) -> list[ET.Element]:
    created = {control_mrid("lv", "home-07", control): T0 - 3_600_000 for control in controls}
    root = ET.fromstring(control_list("lv", envelope(*controls), market_ms, created))
    assert root.tag == f"{{{SEP}}}DERControlList"
    found = root.findall("sep:DERControl", NAMES)
    assert root.attrib == {"all": str(len(found)), "results": str(len(found))}
    return found


def text(root: ET.Element, path: str) -> str:
    found = root.findtext(path, None, NAMES)
    assert found is not None, path
    return found


def limits(root: ET.Element) -> list[int]:
    powers = [root.find(f"sep:DERControlBase/aus:{name}", NAMES) for name in ("opModExpLimW", "opModImpLimW")]
    return [int(text(power, "sep:value")) * 10 ** int(text(power, "sep:multiplier")) for power in powers if power is not None]


def local_names(root: ET.Element) -> list[str]:
    return [child.tag.split("}")[1] for child in root]


def test_a_control_has_the_schemas_elements_in_the_schemas_order() -> None:
    first, second = controls_at(T0, NOW, NEXT)
    assert local_names(first) == local_names(second) == ORDER
    assert {child.tag.split("}")[0] for child in first} == {f"{{{SEP}"}
    assert [local_names(first[place]) for place in (3, 4, 5)] == [
        ["currentStatus", "dateTime", "potentiallySuperseded"],
        ["duration", "start"],
        ["opModImpLimW", "opModExpLimW"],
    ]
    assert all(child.tag.startswith(f"{{{AUS}}}") for child in first[5])
    assert [local_names(power) for power in first[5]] == [["multiplier", "value"]] * 2


def test_times_are_whole_seconds_and_the_running_interval_is_active() -> None:
    first, second = controls_at(T0 + 1, NOW, NEXT)
    assert [text(one, "sep:interval/sep:start") for one in (first, second)] == [str(T0 // 1000), str(T0 // 1000 + 900)]
    assert text(first, "sep:interval/sep:duration") == "900"
    assert [text(one, "sep:EventStatus/sep:currentStatus") for one in (first, second)] == ["1", "0"]
    assert [text(one, "sep:EventStatus/sep:dateTime") for one in (first, second)] == [str(T0 // 1000), str(T0 // 1000 - 3600)]
    assert [text(one, "sep:creationTime") for one in (first, second)] == [str(T0 // 1000 - 3600)] * 2


def test_what_is_over_is_not_in_it() -> None:
    (only,) = controls_at(T0 + QUARTER, NOW, NEXT)
    assert text(only, "sep:interval/sep:start") == str(T0 // 1000 + 900)
    assert controls_at(T0) == []


@pytest.mark.parametrize("watts", [0, 1, VALUE_MAX, VALUE_MAX + 1, 40_009, 99_999, 327_679, 327_680, 2**31 - 1])
def test_a_limit_fits_sixteen_bits_and_is_never_above_the_envelope(watts: int) -> None:
    power = ActivePower.of(watts)
    assert 0 <= power.value <= VALUE_MAX
    assert watts - 10**power.multiplier < power.value * 10**power.multiplier <= watts
    assert power.multiplier == 0 or 10 * power.value + 9 > VALUE_MAX, "no smaller multiplier would do"


def test_the_documents_say_the_envelope() -> None:
    assert [limits(one) for one in controls_at(T0, NOW, NEXT)] == [[5_000, 7_000], [40_000, 0]]
    default = ET.fromstring(default_control("lv", envelope()))
    assert default.tag == f"{{{SEP}}}DefaultDERControl"
    assert local_names(default) == ["mRID", "description", "DERControlBase"]
    assert limits(default) == [1_500, 2_000]


def test_the_prefix_is_the_one_that_clients_expect() -> None:
    document = control_list("lv", envelope(NOW), T0, {control_mrid("lv", "home-07", NOW): T0}).decode()
    assert f'xmlns="{SEP}"' in document
    assert f'xmlns:csipaus="{AUS}"' in document
    assert "<csipaus:opModExpLimW><multiplier>0</multiplier><value>5000</value></csipaus:opModExpLimW>" in document
    assert "randomize" not in document


def test_other_limits_are_another_control_and_the_same_are_the_same() -> None:
    lowered = wire.Control(T0, QUARTER, 4_999, 7_000)
    mrids = [control_mrid("lv", "home-07", control) for control in (NOW, NEXT, lowered)]
    mrids += [control_mrid(area, customer, NOW) for area, customer in (("lv", "home-08"), ("mv", "home-07"))]
    assert len(set(mrids)) == 5
    assert mrids[0] == control_mrid("lv", "home-07", NOW)
    assert all(len(mrid) == 32 and int(mrid, 16) >= 0 and mrid.endswith("0" * 8) and mrid == mrid.upper() for mrid in mrids)

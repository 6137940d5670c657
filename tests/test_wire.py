"""What crosses MQTT: strict in, versioned out, bounded everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import topics, wire

PLACE: dict[str, Any] = {
    "v": 1, "type": "place", "id": "a1", "interval_ms": 1_700_000_100_000, "direction": "export", "side": "sell",
    "quantity_w": 1000, "price_mct": 12_300,
}  # fmt: skip


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)


def decode(**changes: Any) -> wire.AnyRequest | wire.Malformed:
    body = {key: value for key, value in {**PLACE, **changes}.items() if value is not ...}
    return wire.decode_request(json.dumps(body).encode())


def test_a_place_is_read_as_it_was_written() -> None:
    request = decode(expires_ms=1_700_000_000_000)
    assert isinstance(request, wire.Place)
    assert (request.id, request.quantity_w, request.price_mct, request.time_in_force) == ("a1", 1000, 12_300, "gate")
    assert wire.decode_request(wire.encode(request)) == request


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"v": 2}, "v"),
        ({"v": ...}, "v"),
        ({"type": "plaice"}, "type"),
        ({"type": ...}, "type"),
        ({"id": ...}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "~silence"}, "id"),
        ({"id": "ä"}, "id"),
        ({"id": 7}, "id"),
        ({"quantity_w": 0}, "quantity_w"),
        ({"quantity_w": -10}, "quantity_w"),
        ({"quantity_w": 2**31}, "quantity_w"),
        ({"quantity_w": 10**30}, "quantity_w"),
        ({"quantity_w": 1.5}, "quantity_w"),
        ({"quantity_w": True}, "quantity_w"),
        ({"quantity_w": "1000"}, "quantity_w"),
        ({"quantity_w": None}, "quantity_w"),
        ({"price_mct": -1}, "price_mct"),
        ({"price_mct": 10**9 + 1}, "price_mct"),
        ({"interval_ms": -1}, "interval_ms"),
        ({"interval_ms": 2**53}, "interval_ms"),
        ({"direction": "sideways"}, "direction"),
        ({"side": "lend"}, "side"),
        ({"time_in_force": "ever"}, "time_in_force"),
        ({"customer": "bob"}, "customer"),
        ({"expires_ms": -5}, "expires_ms"),
        ({"display_w": -1}, "display_w"),
        ({"intervals": 0}, "intervals"),
        ({"intervals": 97}, "intervals"),
    ],
)
def test_a_bad_field_is_named(changes: dict[str, Any], field: str) -> None:
    answer = decode(**changes)
    assert isinstance(answer, wire.Malformed)
    assert answer.field == field
    assert answer.reason


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x00", b"\xff\xfe", b"null", b"[]", b'"place"', b"{", b"[" * 4000, b'{"a":' * 600, b'{"v":1,"v":', b"NaN", b'{"v":1e400}',
        b"x" * 5000,
    ],
)  # fmt: skip
def test_bytes_that_are_no_request_are_malformed_and_raise_nothing(payload: bytes) -> None:
    assert isinstance(wire.decode_request(payload), wire.Malformed)


def test_the_request_id_is_quoted_where_it_can_be_read() -> None:
    assert decode(quantity_w=-1).id == "a1"
    oversized = wire.decode_request(json.dumps({**PLACE, "padding": "x" * 5000}).encode(), sequence=9)
    assert isinstance(oversized, wire.Malformed)
    assert (oversized.id, oversized.field, oversized.sequence) == ("a1", "", 9)
    assert "at most 4096" in oversized.reason


def test_a_request_of_exactly_the_largest_size_is_read() -> None:
    body = json.dumps(PLACE).encode()
    assert isinstance(wire.decode_request(body + b" " * (wire.PAYLOAD_BYTES_MAX - len(body))), wire.Place)
    assert isinstance(wire.decode_request(body + b" " * (wire.PAYLOAD_BYTES_MAX - len(body) + 1)), wire.Malformed)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_decode_to_a_request_or_a_malformed(payload: bytes) -> None:
    assert isinstance(wire.decode_request(payload), wire.Malformed | wire.Request)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*PLACE, "order_id", "extra"]), ANYTHING))
def test_any_object_decodes_to_a_request_or_a_malformed(changes: dict[str, Any]) -> None:
    answer = wire.decode_request(msgspec.json.encode({**PLACE, **changes}))
    assert isinstance(answer, wire.Malformed | wire.Request)
    if isinstance(answer, wire.Malformed):
        assert len(wire.encode(answer)) < 1200


def test_reports_carry_version_type_and_sequence() -> None:
    filled = wire.Filled(
        sequence=7, leg=1, order_id="a1", interval_ms=0, direction="export", side="sell", quantity_w=10, price_mct=5, cash_mct=3, open_w=0,
        holding_w=90, shown_w=0, kind="pair",
    )  # fmt: skip
    body = json.loads(wire.encode(filled))
    assert (body["v"], body["type"], body["sequence"]) == (1, "filled", 7)
    assert wire.decode_report(wire.encode(filled)) == filled


def test_the_envelope_uses_the_names_that_devices_know() -> None:
    control = wire.Control(0, 900_000, 5000, 4000)
    envelope = wire.Envelope(customer="h", sequence=1, issued_ms=2, default=wire.Limits(1500, 1500), controls=(control,))
    body = json.loads(wire.encode(envelope))
    assert body["controls"][0] == {"start_ms": 0, "duration_ms": 900_000, "opModExpLimW": 5000, "opModImpLimW": 4000}
    assert body["default"] == {"opModExpLimW": 1500, "opModImpLimW": 1500}


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        ("limex/v1/lv/c/alice/req", ("lv", "alice", False)),
        ("limex/v1/lv/c/alice/ask", ("lv", "alice", True)),
        ("limex/v1/lv/op/req", None),
        ("limex/v1/lv/c/alice/rsp", None),
        ("limex/v1/lv/c/alice/req/x", None),
        ("limex/v1/lv/c/al/ice/req", None),
        ("limex/v1/lv/c/+/req", None),
        ("limex/v1/lv/c/alice/req\n", None),
        ("limex/v2/lv/c/alice/req", None),
        ("limex/v1//c//req", None),
        ("limex/v1/lv/c/" + "a" * 65 + "/req", None),
        ("", None),
    ],
)
def test_only_a_request_topic_has_a_sender(topic: str, address: tuple[str, str, bool] | None) -> None:
    assert topics.parse_request(topic) == address


def test_an_order_of_the_operator_needs_a_reason() -> None:
    halt = {"v": 1, "type": "halt", "id": "h1", "interval_ms": 0}
    assert wire.decode_order(json.dumps({**halt, "reason": "a storm"}).encode()) == wire.HaltOrder(
        v=1, id="h1", interval_ms=0, reason="a storm"
    )  # fmt: skip
    for spoiled in (halt, {**halt, "reason": ""}):
        answer = wire.decode_order(json.dumps(spoiled).encode())
        assert isinstance(answer, wire.Malformed)
        assert answer.field == "reason"


def test_the_schemas_in_the_documentation_are_those_of_the_code() -> None:
    kept = Path(__file__).parent.parent / "docs" / "wire-schema.json"
    assert json.loads(kept.read_bytes()) == wire.schemas(), "run: python -m gateway.wire > docs/wire-schema.json"


def test_a_home_needs_neither_numpy_nor_the_engine() -> None:
    code = "import sys, gateway.client; print([m for m in ('numpy', 'numba', 'pandapower', 'exchange', 'osqp') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

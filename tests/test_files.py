"""Envelope files: what is read, and that every mistake is named at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from envelopes import files
from envelopes.refresh import allocate, policy_of
from riskcheck.linearise import build
from tests import grids

NAMES = ("anna", "ben")
GOOD = (files.Envelope("ben", 10, 20), files.Envelope("anna", 30, 40))


def test_json_and_csv_come_back_in_the_networks_order(tmp_path: Path) -> None:
    json, csv = tmp_path / "e.json", tmp_path / "e.csv"
    json.write_bytes(files.encode(files.EnvelopeFile(GOOD, "lv")))
    csv.write_text("customer,export_w,import_w\nben,10,20\nanna,30,40\n")
    for path in (json, csv):
        assert files.read(path, NAMES) == ([30, 10], [40, 20])


BROKEN = [
    ("e.json", "{", ["not an envelope file"]),
    ("e.json", '{"envelopes": [{"customer": "anna", "export_w": 1.5, "import_w": 2}]}', ["Expected `int`", "export_w"]),
    ("e.json", '{"envelopes": [{"customer": "anna", "export": 1}]}', ["unknown field `export`"]),
    ("e.csv", "customer,export_w\nanna,1\n", ["missing: import_w"]),
    ("e.csv", "customer,export_w,import_w\nanna,x,2\nben,1,\n", ["line 2: export_w 'x'", "line 3"]),
    (
        "e.csv", "customer,export_w,import_w\nanna,1,2\nanna,-1,2\ncarl,1,2\n",
        ["'anna' stands twice", "export_w -1", "no customer 'carl'", "'ben' is missing"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "messages"), BROKEN)
def test_every_mistake_is_named(tmp_path: Path, name: str, text: str, messages: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(files.BadEnvelopesError) as caught:
        files.read(path, NAMES)
    assert all(message in str(caught.value) for message in messages), caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(files.BadEnvelopesError, match="No such file"):
        files.read(tmp_path / "none.json", NAMES)


WEIGHTS = [
    ("customer,weight\nanna,1\n", ["'ben' is missing"]),
    ("customer,weight\nanna,0\nben,-1\n", ["line 2: weight '0' must be a positive number", "line 3: weight '-1'"]),
    ("customer,weight\nanna,nan\nben,\nben,1\n", ["line 2: weight 'nan'", "line 3: weight ''", "'ben' stands twice"]),
    ("customer,weight\nanna,inf\nben\n", ["line 2: weight 'inf'", "line 3: weight None"]),
    ("customer,fee\nanna,1\n", ["customer, weight; missing: weight"]),
]


def test_weights_come_back_in_the_networks_order(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text("customer,weight\nben,2.5\nanna,1\n")
    assert files.read_weights(path, NAMES) == [1.0, 2.5]


@pytest.mark.parametrize(("text", "messages"), WEIGHTS)
def test_every_mistake_in_weights_is_named(tmp_path: Path, text: str, messages: list[str]) -> None:
    path = tmp_path / "w.csv"
    path.write_text(text)
    with pytest.raises(files.BadEnvelopesError) as caught:
        files.read_weights(path, NAMES)
    assert all(message in str(caught.value) for message in messages), caught.value


def test_what_is_written_says_by_which_rule_how_evenly_and_what_stops(tmp_path: Path) -> None:
    network, path = grids.village(), tmp_path / "e.json"
    (tmp_path / "w.csv").write_text("customer,weight\n" + "".join(f"{c.id},{1 + n % 2}\n" for n, c in enumerate(network.customers)))
    allocation = allocate(network, build(network), policy_of(network, "proportional", str(tmp_path / "w.csv"), "import_first"))
    path.write_bytes(files.encode(files.of(network, allocation)))
    written = msgspec.json.decode(path.read_bytes(), type=files.EnvelopeFile)
    assert (written.rule, written.gap) == ("proportional", allocation.gap)
    assert written.import_fairness == allocation.import_fairness
    assert [one.export_stopped_by for one in written.envelopes] == list(allocation.stopped_by[: len(network.customers)])
    assert files.read(path, [c.id for c in network.customers])[1] == allocation.import_w.tolist()

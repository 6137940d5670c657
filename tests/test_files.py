"""Envelope files: what is read, and that every mistake is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from envelopes import files

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

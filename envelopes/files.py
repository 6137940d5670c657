"""Envelopes in files: JSON that limex writes, and JSON or CSV that anyone may have made.

    {"network": "...", "envelopes": [{"customer": "home-1", "export_w": 3200, "import_w": 4100}, ...]}
    customer,export_w,import_w

Reading needs every customer of the network once and nobody else; all mistakes are named at once, with their line or entry.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from envelopes.allocate import Allocation
    from riskcheck.network import Network

FIELDS = ("customer", "export_w", "import_w")
POWER_W_MAX = 2**31 - 1


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One customer's limits in watts."""

    customer: str
    export_w: int
    import_w: int


class EnvelopeFile(msgspec.Struct, frozen=True):
    """What `limex envelopes --json` writes. `network_hash` is the content hash of the network they were made for."""

    envelopes: tuple[Envelope, ...]
    network: str = ""
    network_hash: str = ""


def of(network: Network, allocation: Allocation) -> EnvelopeFile:
    """An allocation as a file."""
    limits = zip(network.customers, allocation.export_w, allocation.import_w, strict=True)
    listed = tuple(Envelope(customer.id, int(export), int(imported)) for customer, export, imported in limits)
    return EnvelopeFile(listed, network.name, network.content_hash)


class BadEnvelopesError(ValueError):
    """The file cannot be used; the message lists everything that is wrong with it."""


def encode(document: EnvelopeFile) -> bytes:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def read(path: Path, customers: Sequence[str]) -> tuple[list[int], list[int]]:
    """(export_w, import_w) in the order of `customers`. Raises BadEnvelopesError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadEnvelopesError(f"{path}: {error.strerror}") from error
    envelopes = _from_csv(path, raw) if path.suffix.lower() == ".csv" else _from_json(path, raw)
    problems = _problems(envelopes, customers)
    if problems:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise BadEnvelopesError("\n  - ".join([f"{path}: {len(problems)} mistake(s)", *shown]))
    found = {envelope.customer: envelope for envelope in envelopes}
    return [found[name].export_w for name in customers], [found[name].import_w for name in customers]


def _from_json(path: Path, raw: bytes) -> tuple[Envelope, ...]:
    try:
        return msgspec.json.decode(raw, type=EnvelopeFile).envelopes
    except msgspec.MsgspecError as error:
        raise BadEnvelopesError(f"{path}: not an envelope file: {error}") from error


def _from_csv(path: Path, raw: bytes) -> tuple[Envelope, ...]:
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadEnvelopesError(f"{path}: not a CSV file: {error}") from error
    missing = [field for field in FIELDS if field not in (reader.fieldnames or ())]
    if missing:
        raise BadEnvelopesError(f"{path}: the first line must name the columns {', '.join(FIELDS)}; missing: {', '.join(missing)}")
    envelopes, mistakes = [], []
    for number, row in enumerate(rows, 2):
        try:
            envelopes.append(Envelope(row["customer"], int(row["export_w"]), int(row["import_w"])))
        except (TypeError, ValueError):
            mistakes.append(f"line {number}: export_w {row['export_w']!r} and import_w {row['import_w']!r} must be whole watts")
    if mistakes:
        raise BadEnvelopesError("\n  - ".join([f"{path}: {len(mistakes)} mistake(s)", *mistakes[:20]]))
    return tuple(envelopes)


def _problems(envelopes: Sequence[Envelope], customers: Sequence[str]) -> list[str]:
    known, seen, problems = set(customers), set(), []
    for entry, envelope in enumerate(envelopes, 1):
        if envelope.customer not in known:
            problems.append(f"entry {entry}: the network has no customer {envelope.customer!r}")
        elif envelope.customer in seen:
            problems.append(f"entry {entry}: customer {envelope.customer!r} stands twice")
        seen.add(envelope.customer)
        for field in ("export_w", "import_w"):
            watts = getattr(envelope, field)
            if not 0 <= watts <= POWER_W_MAX:
                problems.append(f"entry {entry}: {field} {watts} is not in [0, {POWER_W_MAX}] W")
    return problems + [f"customer {name!r} is missing" for name in customers if name not in seen]

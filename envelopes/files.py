"""Envelopes in files: JSON that limex writes, and JSON or CSV that anyone may have made; and the weights that an operator gives.

    {"network": "...", "envelopes": [{"customer": "home-1", "export_w": 3200, "import_w": 4100}, ...]}
    customer,export_w,import_w
    customer,weight

What limex writes also says by which rule, how evenly, and what stops each limit. Reading needs every customer of the network once
and nobody else; all mistakes are named at once, with their line or entry.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from envelopes.fairness import Fairness

if TYPE_CHECKING:
    from envelopes.allocate import Allocation
    from riskcheck.network import Network

FIELDS = ("customer", "export_w", "import_w")
WEIGHT_FIELDS = ("customer", "weight")
POWER_W_MAX = 2**31 - 1


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One customer's limits in watts, and what stops larger ones: a row's name, or "rating"."""

    customer: str
    export_w: int
    import_w: int
    export_stopped_by: str = ""
    import_stopped_by: str = ""


class EnvelopeFile(msgspec.Struct, frozen=True):
    """What `limex envelopes --json` writes. `network_hash` is the content hash of the network they were made for.

    `gap` is the share by which the rule's own measure could at most be better (`envelopes/optimality.py`).
    """

    envelopes: tuple[Envelope, ...]
    network: str = ""
    network_hash: str = ""
    rule: str = ""
    gap: float | None = None
    export_fairness: Fairness | None = None
    import_fairness: Fairness | None = None


def of(network: Network, allocation: Allocation) -> EnvelopeFile:
    """An allocation as a file."""
    n, stops = len(network.customers), allocation.stopped_by
    limits = zip(network.customers, allocation.export_w, allocation.import_w, stops[:n], stops[n:], strict=True)
    listed = tuple(Envelope(customer.id, int(export), int(imported), *stopped) for customer, export, imported, *stopped in limits)
    return EnvelopeFile(
        listed, network.name, network.content_hash,
        allocation.rule, allocation.gap, allocation.export_fairness, allocation.import_fairness,
    )  # fmt: skip


class BadEnvelopesError(ValueError):
    """The file cannot be used; the message lists everything that is wrong with it."""


def encode(document: EnvelopeFile) -> bytes:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def read(path: Path, customers: Sequence[str]) -> tuple[list[int], list[int]]:
    """(export_w, import_w) in the order of `customers`. Raises BadEnvelopesError."""
    raw = _bytes(path)
    envelopes = _from_csv(path, raw) if path.suffix.lower() == ".csv" else _from_json(path, raw)
    _refuse(path, _problems([envelope.customer for envelope in envelopes], customers) + _out_of_range(envelopes))
    found = {envelope.customer: envelope for envelope in envelopes}
    return [found[name].export_w for name in customers], [found[name].import_w for name in customers]


def read_weights(path: Path, customers: Sequence[str]) -> list[float]:
    """The weights of a CSV file, in the order of `customers`. Raises BadEnvelopesError."""
    lines = _lines(path, _bytes(path), WEIGHT_FIELDS)
    weights = [_number(line["weight"]) for line in lines]
    bad = [
        f"line {number}: weight {line['weight']!r} must be a positive number"
        for number, (line, weight) in enumerate(zip(lines, weights, strict=True), 2)
        if not 0 < weight < math.inf
    ]
    _refuse(path, bad + _problems([line["customer"] for line in lines], customers))
    found = dict(zip([line["customer"] for line in lines], weights, strict=True))
    return [found[name] for name in customers]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadEnvelopesError(f"{path}: {error.strerror}") from error


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise BadEnvelopesError("\n  - ".join([f"{path}: {len(problems)} mistake(s)", *shown]))


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _from_json(path: Path, raw: bytes) -> tuple[Envelope, ...]:
    try:
        return msgspec.json.decode(raw, type=EnvelopeFile).envelopes
    except msgspec.MsgspecError as error:
        raise BadEnvelopesError(f"{path}: not an envelope file: {error}") from error


def _from_csv(path: Path, raw: bytes) -> tuple[Envelope, ...]:
    envelopes, mistakes = [], []
    for number, line in enumerate(_lines(path, raw, FIELDS), 2):
        try:
            envelopes.append(Envelope(line["customer"], int(line["export_w"]), int(line["import_w"])))
        except (TypeError, ValueError):
            mistakes.append(f"line {number}: export_w {line['export_w']!r} and import_w {line['import_w']!r} must be whole watts")
    _refuse(path, mistakes)
    return tuple(envelopes)


def _lines(path: Path, raw: bytes, fields: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadEnvelopesError(f"{path}: not a CSV file: {error}") from error
    missing = [field for field in fields if field not in (reader.fieldnames or ())]
    if missing:
        raise BadEnvelopesError(f"{path}: the first line must name the columns {', '.join(fields)}; missing: {', '.join(missing)}")
    return lines


def _problems(named: Sequence[str], customers: Sequence[str]) -> list[str]:
    known, seen, problems = set(customers), set(), []
    for entry, name in enumerate(named, 1):
        if name not in known:
            problems.append(f"entry {entry}: the network has no customer {name!r}")
        elif name in seen:
            problems.append(f"entry {entry}: customer {name!r} stands twice")
        seen.add(name)
    return problems + [f"customer {name!r} is missing" for name in customers if name not in seen]


def _out_of_range(envelopes: Sequence[Envelope]) -> list[str]:
    return [
        f"entry {entry}: {field} {watts} is not in [0, {POWER_W_MAX}] W"
        for entry, envelope in enumerate(envelopes, 1)
        for field, watts in (("export_w", envelope.export_w), ("import_w", envelope.import_w))
        if not 0 <= watts <= POWER_W_MAX
    ]

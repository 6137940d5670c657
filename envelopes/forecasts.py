"""What the periodic job reads: which areas there are, and what is forecast for the passives of each, by interval.

Areas are a TOML file; forecasts a CSV file with a range of power for every passive (load or generation without an envelope) and interval.
Watts, exports positive; an interval is named by its start, in ISO 8601 with a time zone or in integer UTC milliseconds. A passive that is
not named keeps the range of the network file. All mistakes are named at once, with their line.

    [[area]]                                   area,interval,passive,low_w,high_w
    name = "street"                            street,2026-06-01T12:00:00Z,load 7,-3000,-500
    network = "cigre-lv"
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

FIELDS = ("area", "interval", "passive", "low_w", "high_w")
POWER_W_MAX = 2**31 - 1


class BadInputsError(ValueError):
    """Everything that is wrong with a file of areas or forecasts."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join([f"{path} cannot be used:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


class AreaSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An area and where its network comes from: a builtin, `simbench:CODE` or a pandapower JSON file."""

    name: str
    network: str
    rule: str = "max_min"
    weights: str = "alike"
    order: str = "together"


class Forecast(msgspec.Struct, frozen=True, array_like=True):
    """The power of a passive is anywhere in [low_w, high_w], export positive."""

    passive: str
    low_w: int
    high_w: int


class Key(NamedTuple):
    area: str
    interval_ms: int


def read_areas(path: Path) -> list[AreaSource]:
    """Raises BadInputsError, and OSError where the file cannot be read."""
    try:
        given = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")).get("area", []), list[AreaSource])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BadInputsError(path, [str(error)]) from error
    names = [source.name for source in given]
    problems = [f"area {name} stands twice" for position, name in enumerate(names) if name in names[:position]]
    problems += [f"area name {name!r} is not 1 to 64 letters, digits and ._:-" for name in names if not _is_name(name)]
    if problems or not given:
        raise BadInputsError(path, problems or ["it names no area: add [[area]] with name and network"])
    folder = path.parent
    return [msgspec.structs.replace(source, network=_beside(folder, source.network)) for source in given]


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 64 and all(letter.isascii() and (letter.isalnum() or letter in "._:-") for letter in name)


def _beside(folder: Path, network: str) -> str:
    """A relative path is one from the file that names it."""
    beside = folder / network
    return str(beside.resolve()) if network.endswith(".json") and beside.exists() else network


def read_forecasts(path: Path, areas: list[str]) -> dict[Key, tuple[Forecast, ...]]:
    """Ranges by area and interval. Raises BadInputsError, and OSError where the file cannot be read."""
    found: dict[Key, dict[str, Forecast]] = {}
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened)
        if tuple(reader.fieldnames or ()) != FIELDS:
            raise BadInputsError(path, [f"its first line must be {','.join(FIELDS)}"])
        for row in reader:
            line = reader.line_num
            wrong = list(_wrong(row, areas))
            if wrong:
                problems += [f"line {line}: {what}" for what in wrong]
                continue
            key = Key(row["area"], instant_ms(row["interval"]))
            ranges = found.setdefault(key, {})
            if row["passive"] in ranges:
                problems.append(f"line {line}: {row['passive']} stands twice in this interval")
            ranges[row["passive"]] = Forecast(row["passive"], int(row["low_w"]), int(row["high_w"]))
    if problems:
        raise BadInputsError(path, problems)
    return {key: tuple(ranges[name] for name in sorted(ranges)) for key, ranges in found.items()}


def _wrong(row: dict[str | Any, str | Any], areas: list[str]) -> Iterator[str]:
    if None in row or None in row.values():
        yield f"give {len(FIELDS)} fields"
        return
    if row["area"] not in areas:
        yield f"there is no area {row['area']!r}"
    try:
        instant_ms(row["interval"])
    except ValueError:
        yield f"interval {row['interval']!r} is no ISO 8601 time with a zone, nor milliseconds"
    try:
        low, high = int(row["low_w"]), int(row["high_w"])
    except ValueError:
        yield f"{row['low_w']!r} and {row['high_w']!r} are not whole watts"
        return
    if not -POWER_W_MAX <= low <= high <= POWER_W_MAX:
        yield f"{low} and {high} W are not low <= high"


def instant_ms(text: str) -> int:
    """UTC milliseconds of an ISO 8601 time with a zone, or of an integer. ValueError for anything else."""
    if text.lstrip("-").isdigit():
        return int(text)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return int(found.astimezone(UTC).timestamp() * 1000)

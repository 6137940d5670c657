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
import dataclasses
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from riskcheck.network import Network

RULES = ("max_min", "proportional", "total", "equal")
ORDERS = ("together", "export_first", "import_first")
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
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputsError(path, [str(error)]) from error
    areas = document.pop("area", [])
    problems = [f"{name!r} is no [[area]]" for name in document]
    if not isinstance(areas, list) or not all(isinstance(area, dict) for area in areas):
        raise BadInputsError(path, [*problems, "an area begins with [[area]]"])
    names = [area["name"] for area in areas if "name" in area]
    problems += [f"area {name} stands twice" for position, name in enumerate(names) if name in names[:position]]
    problems += [f"area {area.get('name', position)}: {what}" for position, area in enumerate(areas, 1) for what in _wrong_settings(area)]
    if problems or not areas:
        raise BadInputsError(path, problems or ["it names no area: add [[area]] with name and network"])
    return [_located(AreaSource(**area), path.parent) for area in areas]


def _wrong_settings(area: dict[str, object]) -> Iterator[str]:
    """Everything that keeps it from being an AreaSource."""
    known = AreaSource.__struct_fields__
    yield from (f"there is no setting {name!r}; there are {', '.join(known)}" for name in area if name not in known)
    yield from (f"it has no {name}" for name in ("name", "network") if name not in area)
    yield from (
        f"{name} must be text in quotes, not {value}" for name, value in area.items() if name in known and not isinstance(value, str)
    )
    if isinstance(name := area.get("name"), str) and not _is_name(name):
        yield f"name {name!r} is not 1 to 64 letters, digits and ._-"
    for setting, choices in (("rule", RULES), ("order", ORDERS)):
        if isinstance(asked := area.get(setting), str) and asked not in choices:
            yield f"no {setting} {asked!r}; there are {', '.join(choices)}"


def _is_name(name: str) -> bool:
    """A topic's level, and a folder that is none of `.` and `..`."""
    is_written = all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)
    return is_written and len(name) <= 64 and bool(name.strip("."))


def _located(source: AreaSource, folder: Path) -> AreaSource:
    return msgspec.structs.replace(source, network=_beside(folder, source.network), weights=_beside(folder, source.weights))


def _beside(folder: Path, name: str) -> str:
    """A relative path of a file is one from the file that names it."""
    beside = folder / name
    return str(beside.resolve()) if beside.is_file() else name


def read_forecasts(path: Path, areas: list[str]) -> dict[Key, tuple[Forecast, ...]]:
    """Ranges by area and interval. Raises BadInputsError, and OSError where the file cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            return _read_forecasts(path, csv.DictReader(opened), areas)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInputsError(path, [f"it is no CSV file: {error}"]) from error


def _read_forecasts(path: Path, reader: csv.DictReader[str], areas: list[str]) -> dict[Key, tuple[Forecast, ...]]:
    found: dict[Key, dict[str, Forecast]] = {}
    problems: list[str] = []
    if tuple(reader.fieldnames or ()) != FIELDS:
        raise BadInputsError(path, [f"its first line must be {','.join(FIELDS)}"])
    for row in reader:
        wrong = list(_wrong(row, areas))
        if wrong:
            problems += [f"line {reader.line_num}: {what}" for what in wrong]
            continue
        ranges = found.setdefault(Key(row["area"], instant_ms(row["interval"])), {})
        if row["passive"] in ranges:
            problems.append(f"line {reader.line_num}: {row['passive']} stands twice in this interval")
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


def with_forecasts(network: Network, forecasts: Sequence[Forecast]) -> Network:
    """The network with these ranges for its passives. Raises ValueError for a passive that it has not."""
    ranges = {forecast.passive: forecast for forecast in forecasts}
    known = {passive.id for passive in network.passives}
    unknown = sorted(set(ranges) - known)
    if unknown:
        listed = ", ".join(sorted(known)[:8]) or "none"
        raise ValueError(f"forecasts name passives that {network.name} has not: {', '.join(unknown[:5])}; it has {listed}")
    passives = [
        dataclasses.replace(p, low_w=ranges[p.id].low_w, high_w=ranges[p.id].high_w) if p.id in ranges else p for p in network.passives
    ]
    return dataclasses.replace(network, passives=tuple(passives))

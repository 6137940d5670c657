"""Cells of pandapower tables as Python values: empty is the default, nonsense is never quietly a default.

Empty is None, NaN or a blank text. A number that cannot be read becomes NaN, which every range check refuses.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pandas as pd

from riskcheck.network import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Findings = list[Finding]


SPELLING_CUTOFF = 0.85
PANDAPOWER_ALIKE = frozenset({"max_i_ka", "max_p_mw", "min_p_mw"})


def is_empty(row: Any, column: str) -> bool:
    value = row.get(column)
    return bool(pd.isna(value)) or (isinstance(value, str) and not value.strip())


def number(row: Any, column: str, default: float = math.nan) -> float:
    """A cell as float: the default where it is missing or empty, NaN where it is no number."""
    if is_empty(row, column):
        return default
    try:
        return float(row[column])
    except (TypeError, ValueError):
        return math.nan


def flag(element: str, row: Any, column: str, findings: Findings) -> bool:
    """A cell as yes or no; False where it is missing or empty."""
    if is_empty(row, column):
        return False
    value = row[column]
    if value in (True, False, 0, 1):
        return bool(value)
    findings.append(Finding(element, f"has {column} {value!r}", f"set {column} to True or False"))
    return False


def check_spelling(net: Any, tables: Iterable[str], ours: Iterable[str], findings: Findings) -> None:
    """A column that is nearly one of ours is a slip, which would silently leave a default in force."""
    known = frozenset(ours)
    for table in tables:
        frame = net.get(table)
        for column in frame.columns if frame is not None and len(frame) else ():
            meant = get_close_matches(str(column), known, n=1, cutoff=SPELLING_CUTOFF)
            if meant and column not in known and column not in PANDAPOWER_ALIKE:
                findings.append(
                    Finding(f"{table}.{column}", "is no column that limex knows", f"rename it to {meant[0]}, or to something else")
                )


def rows_in_service(net: Any, table: str) -> Iterator[tuple[int, Any]]:
    """Rows in service of a table, as (index, mapping)."""
    frame = net.get(table)
    if frame is None or not len(frame):
        return
    for index, row in zip(frame.index, frame.to_dict("records"), strict=True):
        if is_empty(row, "in_service") or bool(row["in_service"]):
            yield int(index), row


def bus_at(element: str, row: Any, column: str, bus_of: dict[int, int], findings: Findings) -> int | None:
    """The bus (after fusing) that a cell names, or None with a finding."""
    given = number(row, column, -1.0)
    bus = bus_of.get(int(given)) if math.isfinite(given) else None
    if bus is None:
        findings.append(Finding(element, f"has {column} {row.get(column)}, which does not exist or is out of service", f"correct {column}"))
    return bus

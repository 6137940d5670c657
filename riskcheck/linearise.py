"""A network -> secure rows: a polytope of envelopes whose every point holds in AC, not only today's.

Parts of the network that only meet at their sources are built one by one (`riskcheck/islands.py`). A balanced radial part of constant
powers gets rows that are *proven*, from the branch flow equations (`riskcheck/distflow.py`). Any other, three-phase, meshed or
with voltage control, gets rows that are *verified*: tangents with margins searched for in AC (`riskcheck/tangents.py`). The rows of
all parts are laid side by side, those of interface power are summed over the parts, and the result is rounded to integers to the
safe side (`Polytope.from_rows`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from riskcheck import distflow, tangents
from riskcheck.islands import Island, islands
from riskcheck.polytope import Polytope
from riskcheck.radial import tree
from riskcheck.rows import Insecure, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from riskcheck.network import Network

    Progress = Callable[[str, float], None]

__all__ = ["Insecure", "build", "is_proven"]

MERGED = 1e-3  # rows whose coefficients differ by less become one: half the rows, at most 0.1 % of a limit
JOINING = 0.95  # of the progress, when all parts are built


def build(network: Network, *, progress: Progress | None = None) -> Polytope:
    """Secure rows over all rights of the network, proven where the network allows it, else verified. Deterministic.

    progress: called with a phrase and the fraction done, for a person who waits. Raises Insecure where not even zero envelopes hold,
    or where the search for margins does not settle.
    """
    tell = progress or (lambda _phrase, _done: None)
    parts, found, totals = _parts(network), [], []
    for number, part in enumerate(parts):
        limits, interface = _rows(part.network, partial(_share_of_progress, tell, number, len(parts)))
        found.append(_over_all(limits, part, network))
        totals += [_over_all(interface, part, network)] if interface else []
    tell("dominated rows", JOINING)
    rows = Rows.joined([*found, *_interface(network, totals)]).with_room()
    polytope = Polytope.from_rows(rows.coefficient, rows.slack, rows.labels, network.caps_w()).merged(MERGED)
    tell("rows are secure", 1.0)
    return polytope


def is_proven(network: Network) -> bool:
    """Whether `build` proves all of its rows: every part is balanced, radial and of constant powers."""
    return all(tree(part.network) is not None for part in _parts(network))


def _parts(network: Network) -> tuple[Island, ...]:
    """Islands; but what has to be searched and shares an interface limit with other parts is searched as a whole."""
    parts = islands(network)
    is_limited = np.isfinite([network.interface_import_w_max, network.interface_export_w_max]).any()
    if is_limited and len(parts) > 1 and any(tree(part.network) is None for part in parts):
        return (Island(network, np.arange(len(network.customers))),)
    return parts


def _rows(part: Network, tell: Progress) -> tuple[Rows, Rows | None]:
    """Rows of the limits, and what the part adds to interface power where that is not among them."""
    shape = tree(part)
    if shape is None:
        return tangents.rows(part, tell), None
    tell("branch flow equations", 0.0)
    return distflow.rows(part, shape)


def _share_of_progress(tell: Progress, number: int, of: int, phrase: str, done: float) -> None:
    tell(phrase, JOINING * (number + done) / of)


def _over_all(rows: Rows, part: Island, network: Network) -> Rows:
    """Rows of a part as rows over the rights of the whole network."""
    coefficient = np.zeros((len(rows.slack), 2 * len(network.customers)))
    coefficient[:, part.rights(len(network.customers))] = rows.coefficient
    return Rows(coefficient, rows.slack, rows.labels)


def _interface(network: Network, totals: list[Rows]) -> list[Rows]:
    """The two rows of interface power where they have a limit: what all parts draw, and what all feed in."""
    limits = np.array([network.interface_import_w_max, network.interface_export_w_max])
    given = np.flatnonzero(np.isfinite(limits)) if totals else np.empty(0, dtype=np.int64)
    if not len(given):
        return []
    coefficient = np.sum([total.coefficient for total in totals], axis=0)
    slack = limits + np.sum([total.slack for total in totals], axis=0)
    return [Rows(coefficient[given], slack[given], [totals[0].labels[row] for row in given])]

"""A refresh of the rows under holdings that have traded: more room is shared out on top of them, less room is taken back.

More room: every holding grows by a raise, max-min over the *raises*, not over what people hold then. A home that sold its limit
has been paid for it; were it filled up first, it would sell again what the buyer's money had freed. So all raises rise
together, from the holdings, until rows, ratings or purchases at rest stop them (`envelopes/water.py`): what is held and what is
still wanted together never exceed the rating.

Less room: holdings that do not fit are lowered to their least-squares projection, never below the failsafe (`riskcheck.project`).
New rows may leave more in one street and less in another: holdings are lowered first, and raised from there. Whom the projection
lowered, a row stops; a raise gives it nothing back.

The exchange lowers each holding to at most `limit_w`. It is secure whatever has traded since the holdings were read, and lies as far above
them as the rows allow, so that a purchase made meanwhile stays if it can. `raise_w` is secure on top of the holdings that were read:
the exchange refuses a command whose raises no longer fit, and `without_raises` of it is never refused for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from envelopes.allocate import Demand, whole
from envelopes.change import limit_w
from envelopes.water import water_fill
from exchange.commands import ChangeRows
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    import numpy.typing as npt

REFRESHED = "new forecasts"


class Standing(NamedTuple):
    """How an interval stands, by right: exports, then imports. `wanted_w` is what purchases at rest still want.

    `replaces_hash` names the rows in force where the refresh is to count only as long as they are; empty: in any case.
    """

    interval_ms: int
    holding_w: tuple[int, ...]
    wanted_w: tuple[int, ...]
    replaces_hash: str = ""


class Bounds(NamedTuple):
    """What belongs to the area and never changes, by right."""

    area: str
    failsafe_w: tuple[int, ...]
    rating_w: tuple[int, ...]


def raises_w(rows: Polytope, holding_w: npt.ArrayLike, room_w: npt.ArrayLike) -> tuple[int, ...]:
    """Max-min raises on top of holdings, each at most its room, whole watts [n_rights]; together with the holdings secure, in integers.

    Raises ValueError where the shapes do not fit, a room is negative, or the holdings themselves break a row.
    """
    held, room = np.asarray(holding_w, dtype=np.int64), np.asarray(room_w, dtype=np.int64)
    if held.shape != (rows.n_rights,) or room.shape != held.shape or held.min(initial=0) < 0 or room.min(initial=0) < 0:
        raise ValueError(f"give {rows.n_rights} holdings and rooms in whole watts, none negative")
    left = rows.residual(held)
    if (left < 0).any():
        raise ValueError(f"the holdings break {rows.labels[int(left.argmin())]}: they must be lowered before any is raised")
    nothing = np.zeros(rows.n_rights)
    raised, _ = water_fill(rows.columns / rows.slack, nothing, room.astype(float), room=left / rows.slack)
    asked = Demand(held + room, held, nothing)
    return tuple((whole(rows.columns, rows.residual, held + raised, asked) - held).tolist())


def refresh_interval(rows: Polytope, bounds: Bounds, standing: Standing, detail: str = REFRESHED) -> ChangeRows:
    """The command that moves an interval to new rows. Raises InsecureFloorsError where even the failsafe envelopes do not fit."""
    kept = np.array(limit_w(rows, standing.holding_w, bounds.failsafe_w), dtype=np.int64)
    below_rating = np.maximum(np.array(bounds.rating_w) - kept, 0)
    raises = raises_w(rows, kept, np.maximum(below_rating - np.array(standing.wanted_w), 0))
    limits = kept + np.array(raises_w(rows, kept, below_rating))
    return ChangeRows(
        bounds.area, standing.interval_ms, rows.content_hash, tuple(limits.tolist()), "refresh", detail,
        raise_w=raises if any(raises) else (), replaces_hash=standing.replaces_hash,
    )  # fmt: skip


def refresh_intervals(rows: bytes, bounds: Bounds, standings: Sequence[Standing], detail: str = REFRESHED) -> list[ChangeRows]:
    """The same for several intervals on one set of rows. Slow for large networks: not for the event loop."""
    polytope = Polytope.from_bytes(rows)
    return [refresh_interval(polytope, bounds, standing, detail) for standing in standings]


def without_raises(command: ChangeRows) -> ChangeRows:
    """Only what makes the holdings secure in the new rows."""
    return msgspec.structs.replace(command, raise_w=())

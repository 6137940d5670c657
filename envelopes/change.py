"""A network that changes while its envelopes are in force: what is different, and what becomes of the holdings.

The new rows say what is secure now. Holdings that do not fit are lowered to their least-squares projection on the new rows,
never below the failsafe and never raised (`riskcheck.project`); holdings that fit stay as they are. So a change that only
widens takes nothing from anybody. The exchange lowers each holding to at most the limit that it is told, so what trades
while this is computed does no harm. Everybody who is lowered is compensated by the exchange's rule.

The customers, their ratings and their failsafe envelopes are the market's and cannot change: another market, another journal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exchange.commands import ChangeCause, ChangeRows
from exchange.events import Event, Rebased
from riskcheck.network import Branch, Customer, Network, Passive
from riskcheck.polytope import Polytope
from riskcheck.project import project

if TYPE_CHECKING:
    import numpy.typing as npt

DIFFERENCES_SHOWN = 6
LIMITS = {
    "interface voltage": ("interface_min_pu", "interface_max_pu"),
    "voltage limits": ("voltage_min_pu", "voltage_max_pu"),
    "interface export": ("interface_export_w_max",),
    "interface import": ("interface_import_w_max",),
}


class ChangeError(ValueError):
    """The network cannot take the place of the one in force; nothing was changed."""


class Difference(NamedTuple):
    """Why rows change, and in words what is different."""

    cause: ChangeCause
    detail: str


class Taken(NamedTuple):
    """What a change took, over all intervals: watts, the customers concerned, and what they are paid, in milli-cents."""

    watts: int
    customers: int
    intervals: int
    compensation_mct: int

    def __str__(self) -> str:
        if not self.watts:
            return "no envelope had to be lowered"
        paid = f"{self.compensation_mct / 100_000:.5f} EUR of compensation"
        return f"{self.watts} W taken from {self.customers} customer(s) in {self.intervals} interval(s), {paid}"


def difference(old: Network, new: Network) -> Difference | None:
    """None where physics and limits are the same. Raises ChangeError where the customers are not."""
    _check_customers(old, new)
    if old.content_hash == new.content_hash:
        return None
    topology, limits = _topology(old, new), _limits(old, new)
    found = [*topology, *limits] or ["other data"]
    more = [f"{len(found) - DIFFERENCES_SHOWN} more"] if len(found) > DIFFERENCES_SHOWN else []
    return Difference("topology" if topology or not limits else "limits", "; ".join(found[:DIFFERENCES_SHOWN] + more))


def limits_w(rows: bytes, holdings_w: Sequence[Sequence[int]], floors_w: Sequence[int]) -> list[tuple[int, ...]]:
    """The projection of each of these holdings. Slow for large networks: not for the event loop."""
    polytope = Polytope.from_bytes(rows)
    return [limit_w(polytope, holding_w, floors_w) for holding_w in holdings_w]


def limit_w(rows: Polytope, holding_w: npt.ArrayLike, floors_w: npt.ArrayLike) -> tuple[int, ...]:
    holding, floors = np.asarray(holding_w, dtype=np.int64), np.asarray(floors_w, dtype=np.int64)
    return tuple(map(int, holding if rows.is_secure(holding) else project(rows, holding, floors)))


def is_within(inner: Polytope, outer: Polytope) -> bool:
    """Every row of `outer` is implied by a row of `inner`: whatever `inner` calls secure, `outer` does too. Exact: slacks are 2^k."""
    tight, wide = inner.columns / inner.slack, outer.columns / outer.slack
    return all(bool((tight >= wide[:, [row]]).all(axis=0).any()) for row in range(outer.n_rows))


def taken(events: Iterable[Event]) -> Taken:
    lowered = [event for event in events if isinstance(event, Rebased)]
    customers, intervals = {event.customer for event in lowered}, {event.interval_ms for event in lowered}
    return Taken(sum(e.quantity_w for e in lowered), len(customers), len(intervals), sum(e.cash_mct for e in lowered))


def change_rows(area: str, interval_ms: int, rows_hash: str, limit: tuple[int, ...], why: Difference) -> ChangeRows:
    return ChangeRows(area, interval_ms, rows_hash, limit, why.cause, why.detail)


# --- what is different --------------------------------------------------------------------------------------------


def _check_customers(old: Network, new: Network) -> None:
    before, after = [c.id for c in old.customers], [c.id for c in new.customers]
    if before != after:
        gone, come = sorted(set(before) - set(after)), sorted(set(after) - set(before))
        named = [f"{word} {', '.join(ids[:5])}" for word, ids in (("without", gone), ("with new", come)) if ids]
        raise ChangeError(f"the network has other customers ({'; '.join(named) or 'another order'}): start another journal for it")
    if (old.caps_w() != new.caps_w()).any() or (old.floors_w() != new.floors_w()).any():
        moved = np.flatnonzero((old.caps_w() != new.caps_w()) | (old.floors_w() != new.floors_w())) % len(before)
        names = ", ".join(before[i] for i in sorted(set(moved.tolist()))[:5])
        raise ChangeError(f"ratings and failsafe envelopes belong to the market and cannot change while it runs: {names}")


def _topology(old: Network, new: Network) -> list[str]:
    before, after = _branches(old), _branches(new)
    found = [f"{name} is out" for name in before if name not in after]
    found += [f"{name} is in" for name in after if name not in before]
    found += [f"{name} has other data" for name in before if name in after and _bare(before[name]) != _bare(after[name])]
    buses = len(set(old.bus_names) ^ set(new.bus_names))
    found += [f"{buses} bus(es) joined, split, added or gone"] if buses else []
    pairs = zip(old.customers, new.customers, strict=True)
    moved = [c.id for c, d in pairs if _placed(old, c) != _placed(new, d)]
    found += [f"customer {name} is connected otherwise" for name in moved]
    return found


def _branches(network: Network) -> dict[str, tuple[Branch, str, str]]:
    names = network.bus_names
    return {b.name: (b, names[b.from_bus], names[b.to_bus]) for b in network.branches}


def _bare(placed: tuple[Branch, str, str]) -> tuple[Branch, str, str]:
    """A branch without its limits, between named buses: numbers of buses change with the buses before them."""
    branch, start, end = placed
    return dataclasses.replace(branch, from_bus=0, to_bus=0, rating_a=0.0, rating_va=0.0, neutral_rating_a=0.0), start, end


def _placed(network: Network, connected: Customer | Passive) -> tuple[Customer | Passive, str]:
    return dataclasses.replace(connected, bus=0), network.bus_names[connected.bus]


def _limits(old: Network, new: Network) -> list[str]:
    before, after = _branches(old), _branches(new)
    both = [(name, before[name][0], after[name][0]) for name in before if name in after]
    found = [f"{name} carries {b.rating_a:g} -> {a.rating_a:g} A" for name, b, a in both if b.rating_a != a.rating_a]
    found += [
        f"neutral of {name} carries {b.neutral_rating_a:g} -> {a.neutral_rating_a:g} A"
        for name, b, a in both
        if b.neutral_rating_a != a.neutral_rating_a
    ]
    for words, fields in LIMITS.items():
        was, now = ([getattr(network, field) for field in fields] for network in (old, new))
        if was != now:
            found.append(f"{words} {_range(was)} -> {_range(now)}")
    if [_placed(old, passive) for passive in old.passives] != [_placed(new, passive) for passive in new.passives]:
        found.append("other forecasts of passive customers")
    return found


def _range(values: list[float]) -> str:
    return "..".join(f"{value:g}" for value in values)

"""Where to open an area that is fed at several buses, so that each part hangs on one: graphs only.

Fed at two buses, an area carries power through from one to the other. How much depends on both voltages and the angle between them, so on
networks that neither operator shows the other: no limit of power at either interface bounds it, and no envelope is sound. Open
between the feeds, as medium and low voltage networks mostly are, every part is an area of its own with one interface, and nothing
is left to assume. Every bus goes to the feed nearest in ohms; what joins buses of different feeds is to be opened.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edge(NamedTuple):
    """An element between buses of one area, or, as a feed, from a bus of the area to one above (`feed`)."""

    table: str
    number: int
    buses: tuple[int, ...]
    ohm: float = 0.0
    feed: int | None = None

    @property
    def name(self) -> str:
        return f"{self.table} {self.number}"


def open_points(inside: Iterable[Edge], feeding: Iterable[Edge]) -> list[Edge]:
    """What to open, feeds included where two come in at one bus."""
    edges, feeds = list(inside), sorted(feeding, key=lambda edge: (edge.feed, edge.name))
    feed_of = _nearest(edges, feeds)
    parted = [edge for edge in edges if len({feed_of[bus] for bus in edge.buses if bus in feed_of}) > 1]
    return parted + [edge for edge in feeds if any(feed_of[bus] != edge.feed for bus in edge.buses)]


def _nearest(edges: list[Edge], feeds: list[Edge]) -> dict[int, int | None]:
    """Every bus that is reached -> its feed (Dijkstra from all feeds at once; of equals the lowest)."""
    around: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for edge in edges:
        for bus in edge.buses:
            around[bus] += [(edge.ohm, other) for other in edge.buses if other != bus]
    ahead = [(0.0, order, bus, edge.feed) for order, edge in enumerate(feeds) for bus in edge.buses]
    ahead.sort()
    found: dict[int, int | None] = {}
    while ahead:
        ohm, order, bus, feed = heappop(ahead)
        if bus not in found:
            found[bus] = feed
            for more, other in around[bus]:
                heappush(ahead, (ohm + more, order, other, feed))
    return found

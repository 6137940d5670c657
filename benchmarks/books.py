"""Books in which rows bind: the same for the same arguments on every machine.

A generated book is one interval after a max-min allocation, which fills at least one row: every home has as much as the network
can give to all alike, and now some would rather have the money and others the power. Most rights ask or bid, in one to three
orders each, at prices around one middle, as much as ratings and failsafe envelopes allow. The orders come in random order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from benchmarks.feeder import AREA, Feeder
from exchange.bounds import CustomerTerms
from exchange.commands import Direction, Place, Side

MID_MCT = 6_000
SPREAD_MCT = 2_500
TICK_MCT, LOT_W = 10, 10
ASKING = 0.8  # of the rights
ORDERS_MAX = 3


class Book(msgspec.Struct, frozen=True):
    """One interval and the orders that come to it, in the order of time."""

    feeder: Feeder
    interval_ms: int
    places: tuple[Place, ...]

    @property
    def held_w(self) -> tuple[int, ...]:
        return self.feeder.export_w + self.feeder.import_w


def generated(feeder: Feeder, seed: int, interval_ms: int) -> Book:
    """One random book on both directions."""
    random = Random(seed)
    places = [place for terms in range(len(feeder.terms)) for place in _of_home(feeder, terms, interval_ms, random)]
    random.shuffle(places)
    return Book(feeder, interval_ms, tuple(places))


def _of_home(feeder: Feeder, position: int, interval_ms: int, random: Random) -> Iterator[Place]:
    terms = feeder.terms[position]
    for direction in ("export", "import"):
        if random.random() > ASKING:
            continue
        side: Side = random.choice(("buy", "sell"))
        quantities = _split(_free_w(feeder, position, terms, direction, side), random)
        for number, quantity_w in enumerate(quantities):
            order_id = f"{direction}{number}"
            yield Place(AREA, terms.customer, order_id, interval_ms, direction, side, quantity_w, _price(random))


def _free_w(feeder: Feeder, position: int, terms: CustomerTerms, direction: Direction, side: Side) -> int:
    """What a right may sell above its failsafe, or buy below its rating."""
    if direction == "export":
        held, rating, failsafe = feeder.export_w[position], terms.rating_export_w, terms.failsafe_export_w
    else:
        held, rating, failsafe = feeder.import_w[position], terms.rating_import_w, terms.failsafe_import_w
    return min(held - failsafe if side == "sell" else rating - held, terms.order_w_max)


def _split(free_w: int, random: Random) -> Sequence[int]:
    """One to three orders of whole lots that together use a good part of what is free."""
    parts = random.randint(1, ORDERS_MAX)
    shares = [random.uniform(0.2, 1.0) / parts for _ in range(parts)]
    return [lots * LOT_W for share in shares if (lots := int(free_w * share) // LOT_W) > 0]


def _price(random: Random) -> int:
    return max(TICK_MCT, round(random.gauss(MID_MCT, SPREAD_MCT) / TICK_MCT) * TICK_MCT)

"""The three areas of the random streams, with different rules, and their rows.

north   one to one, an order that meets its own is cancelled, lots of 10 W
south   exchange rates, lots of 20 W, self-trades allowed, auctions at uniform prices, solvers' sweeps
east    exchange rates, lots of 10 W, auctions after a halt or a pause, a collar, a throttle, a short memory; a watt is dear
"""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np

from exchange.bounds import CustomerTerms, MarketSettings
from riskcheck.polytope import Polytope, RowLabel
from tests.model_market import Area

INTERVAL_MS = 900_000
NORTH = MarketSettings(INTERVAL_MS, 10, 10, 0, 2_000, "cancel_incoming")
SOUTH = MarketSettings(INTERVAL_MS, 5, 20, 0, 3_000, "allow", 777, "exchange_rate", sweeps=True, auction_pricing="uniform")
EAST = MarketSettings(
    INTERVAL_MS, 400, 10, 0, 80_000, "cancel_incoming", 40_800, "exchange_rate", call_auctions=True, collar_mct=24_000, pause_mct=20_000,
    requests_free=8, requests_per_trade=2, requests_max=50,
)  # fmt: skip
SETTINGS = {"north": NORTH, "south": SOUTH, "east": EAST}
MIDDLE_MCT = {"north": 1_000, "south": 1_000, "east": 40_000}
TERMS = {
    "north": (
        CustomerTerms("ann", 9_000, 9_000, 1_000, 500, 4_000, 10),
        CustomerTerms("ben", 9_000, 4_000, 0, 0, 4_000, 5),
        CustomerTerms("cas", 6_000, 9_000, 1_500, 1_000, 4_000, 10),
        CustomerTerms("dee", 12_000, 9_000, 500, 1_500, 4_000, 10),
    ),
    "south": (
        CustomerTerms("ann", 9_000, 9_000, 0, 0, 9_000, 6),
        CustomerTerms("eve", 5_000, 9_000, 700, 0, 4_000, 10),
        CustomerTerms("fay", 9_000, 9_000, 0, 0, 4_000, 10),
    ),
    "east": (
        CustomerTerms("ann", 9_000, 9_000, 500, 0, 4_000, 8),
        CustomerTerms("gus", 9_000, 6_000, 0, 0, 4_000, 10),
        CustomerTerms("hal", 9_000, 6_000, 0, 300, 4_000, 10),
        CustomerTerms("ida", 7_000, 7_000, 700, 700, 4_000, 10),
    ),
}
NAMES = (("voltage_max", "bus 7", "a"), ("voltage_min", "bus 7", "b"), ("thermal", "line 3", "c"), ("thermal", "trafo", "abc"))
LABELS = [RowLabel(*name) for name in NAMES]


def amended(random: Random, settings: MarketSettings) -> MarketSettings:
    """Other rules that an area may get while it lives."""
    scale = settings.price_mct_max // 2_000
    return msgspec.structs.replace(
        settings, call_auctions=random.random() < 0.5, auction_pricing=random.choice(("pay_as_bid", "uniform")),
        collar_mct=scale * random.choice((0, 300, 600)), pause_mct=scale * random.choice((0, 150, 500)), sweeps=random.random() < 0.5,
        requests_free=random.choice((0, 0, 6)), requests_per_trade=random.choice((1, 3)),
        compensation_mct=scale * random.choice((0, 990, 10_000)), requests_max=random.choice((50, 80)),
    )  # fmt: skip


def rows_of(area: str, random: Random) -> list[Polytope]:
    """Without a network; rows drawn at random, twins among the columns; feeder, phase, import limit and one row for both directions."""
    terms = TERMS[area]
    caps = [term.rating_export_w for term in terms] + [term.rating_import_w for term in terms]
    least = [term.failsafe_export_w for term in terms] + [term.failsafe_import_w for term in terms]
    n = len(terms)
    far = [1.0 + 0.6 * position for position in range(n)]
    rows = np.array([far + [0.0] * n, [0.0] * n + far[::-1], [1.0] * n + [0.4] * n, ([2.1, 0.0] * n)[: 2 * n]])
    slack = [8_000.0 * n, 7_000.0 * n, 6_500.0 * n, 5_000.0 * n]
    drawn = [[random.choice((0.0, random.random(), 4 * random.random(), 0.1 * random.random())) for _ in caps] for _ in LABELS]
    for takes in drawn:
        takes[1], takes[n] = takes[0], takes[n + 1]
    fullness = [random.uniform(0.2, 0.9) for _ in LABELS]
    drawn_slack = [
        1.0 + sum(take * (low + full * (cap - low)) for take, low, cap in zip(row, least, caps, strict=True))
        for row, full in zip(drawn, fullness, strict=True)
    ]
    drawn = [[min(take, room) for take in row] for row, room in zip(drawn, drawn_slack, strict=True)]
    return [Polytope.unlimited(2 * n), Polytope.from_rows(drawn, drawn_slack, LABELS, caps), Polytope.from_rows(rows, slack, LABELS, caps)]


def too_tight(area: str) -> Polytope:
    """One row that not even the failsafe envelopes satisfy."""
    terms = TERMS[area]
    least = sum(term.failsafe_export_w + term.failsafe_import_w for term in terms)
    caps = [term.rating_export_w for term in terms] + [term.rating_import_w for term in terms]
    if least < 2:
        return Polytope.from_rows([[1.0] * len(caps)], [1.0], LABELS[2:3], caps)
    return Polytope.from_rows([[1.0] * len(caps)], [least - 1.0], LABELS[2:3], caps)


def full_allocation(area: Area, rows_hash: str, random: Random) -> tuple[int, ...]:
    """As full as rows and ratings allow, by raising rights one after the other in a random order: the rows bind."""
    rows, limits = area.rows[rows_hash], area.all_limits()
    given, order = [low for low, _ in limits], list(range(len(limits)))
    random.shuffle(order)
    for right in order:
        step = (limits[right][1] - given[right]) // (2 if rows.labels else 3)
        while step >= 10:
            raised = [*given[:right], given[right] + step, *given[right + 1 :]]
            if min(rows.residual(raised), default=0) >= 0:
                given = raised
            step //= 2
    return tuple(given)

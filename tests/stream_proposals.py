"""Proposals as a solver would send them, drawn from the model: the welfare optimum of a small linear program, rounded to the safe
side, and what is wrong with it in one way or another. The row multipliers of the program are the prices of the rows."""

from __future__ import annotations

from random import Random

import numpy as np
from scipy.optimize import linprog

from exchange.commands import Change, Place
from tests.model_market import Area, Interval

Watts = dict[int, int]
Line = tuple[int, int, int, int]  # right, +1 for a purchase, open watts, price


def lines_of(area: Area, interval: Interval, place: Place | None) -> list[Line]:
    lines = [(o.right, 1 if o.side == "buy" else -1, o.open_w, o.price_mct) for o in interval.orders]
    if place is not None:
        owner = area.owner(place.customer)
        assert owner is not None
        lines.append((area.right(owner, place.direction), 1 if place.side == "buy" else -1, place.quantity_w, place.price_mct))
    return lines


def optimum(area: Area, interval: Interval, lines: list[Line]) -> tuple[Watts, tuple[int, ...]]:
    """Watts by right with the most welfare, purchases rounded down and sales up; and the price of each row. One to one each book is
    balanced, and the operator takes no part."""
    scale = 2.0**30
    takes = interval.columns()
    columns = np.array([[take / scale for take in takes[right]] for right, *_ in lines]).reshape(len(lines), -1)
    signs, prices = np.array([sign for _, sign, *_ in lines]), np.array([price for *_, price in lines])
    n, is_one_to_one = len(area.terms), area.settings.matching == "one_to_one"
    bounds = [(0, open_w if not is_one_to_one or right < 2 * n else 0) for right, _, open_w, _ in lines]
    books = [[sign if right // n == book else 0 for right, sign, *_ in lines] for book in (0, 1)] if is_one_to_one else None
    room = np.array([left / scale for left in interval.residual()])
    balanced = {"A_eq": books, "b_eq": (0, 0)} if books else {}
    solved = linprog(-signs * prices, A_ub=(columns * signs[:, None]).T, b_ub=room, bounds=bounds, method="highs", **balanced)
    watts: Watts = {}
    if solved.x is None:
        return watts, (0,) * len(room)
    for (right, sign, open_w, _), x in zip(lines, solved.x, strict=True):
        whole = int(np.floor(x + 1e-9)) if sign > 0 else min(open_w, int(np.ceil(x - 1e-9)))
        watts[right] = watts.get(right, 0) + sign * whole
    largest = [interval.rows.largest(row) / scale for row in range(len(room))]
    return watts, tuple(max(0, round(-float(dual) * most)) for dual, most in zip(solved.ineqlin.marginals, largest, strict=True))


def proposal(area: Area, interval: Interval, place: Place | None, random: Random) -> tuple[tuple[Change, ...], tuple[int, ...]]:
    """Changes by right, and row prices."""
    lines = lines_of(area, interval, place)
    if not lines or random.random() < 0.08:
        return (), ()
    watts, prices = optimum(area, interval, lines)
    if random.random() < 0.35:
        _spoil(watts, lines, len(interval.columns()), random)
    changes = [Change(right, change) for right, change in watts.items() if change]
    if random.random() < 0.05:
        changes.append(random.choice((Change(len(interval.columns()), 1), Change(-1, 1), *changes[:1])))
    if random.random() < 0.4:
        share = random.choice((0, 0, 0.4, 2))
        prices = tuple(int(share * price) for price in prices)
    return tuple(changes), prices


def _spoil(watts: Watts, lines: list[Line], rights: int, random: Random) -> None:
    """One thing wrong: a purchase too much, one unpaid, more than there is, part of the optimum only, or a right that has no order."""
    right, sign, open_w, _ = random.choice(lines)
    kind = random.choice(("whole", "whole", "dear", "more", "less", "none"))
    if kind == "whole":
        watts[right] = sign * open_w
    elif kind == "dear":
        for sale, is_buy, offered_w, price in lines:
            if is_buy < 0 and price == max(line[3] for line in lines):
                watts[sale] = -offered_w
    elif kind == "more":
        watts[right] = sign * (open_w + random.randint(1, 5_000))
    elif kind == "less":
        for named in watts:
            watts[named] = int(watts[named] * random.random())
    else:
        watts[random.randrange(rights)] = random.choice((-7, 7))

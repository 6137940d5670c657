"""What a home of the demo wants from the market: forecast -> worth of each watt of limit -> wishes -> amendments. Pure.

The worth of the watt at limit level w is what the home would lose without it: the mean over the interval's minutes of the
worth of what that watt carries (household load, then heat, then the car for import; feed-in for export), as
`homes.dispatch` would use it. It falls as the level rises. A home buys upwards from its holding where the worth is high
and sells downwards where it is low, never both in one direction, and never below what its failsafe or its caution keeps.

Prices start near the last trade and move to the home's own worth, less or plus its margin, as the gate approaches. A
forecast knows a share of the interval's minutes and takes a typical day for the others; the share grows as the gate
approaches, so wishes change and homes trade more than once. The car's watt is worth what the last kWh it will leave with is
worth: a car with time to spare sells, a car that will leave short buys.

A large sale is an iceberg. A car that stays connected asks for the same watts in several quarter hours or in none: it does not pay
for one quarter hour of charging without the next.

It does not know the network: whether a trade is secure, and at which rate, is the exchange's matter. What it knows of rates is in
the prices: fills and offers are in cents per kWh of its own limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from demo.homes import CAR_W, LOAD_MCT, MINUTE_MS, MINUTES, TARIFF_MCT, HomeModel, HomeState, Minutes
from exchange.commands import Direction, Side

LEVEL_W = 200  # resolution of the worth curve
WORTH_MCT_MIN = 1_500  # a limit worth less is not bought
OFFERS_MCT = (400, 8_000, 30_000)  # an offer each for what is worth at most this: spare, dispensable, dear; the rest is kept
KNOWN_AT_GATE, KNOWN_HALVES_MS = 0.95, 90 * MINUTE_MS  # accuracy of a forecast, and the lead that halves it
PRICE_MOVE, QUANTITY_MOVE_W = 0.04, 200  # smaller changes are not worth a message
ICEBERG_W, SHOWN_W, PARTS = 2_000, 500, 10  # who sells so much shows so much of it at a time, in about so many parts at most
BLOCK_W_MIN, BLOCK_W = 300, 2_300  # 10 A single phase, for certain
BLOCK_INTERVALS = 3  # as many as are open for trading at once, early and late in their windows

Levels = npt.NDArray[np.float64]


class Market(NamedTuple):
    """What a home knows of an interval's market: its rules, how far trading has come (0 to 1), and the last price or None."""

    lot_w: int
    tick_mct: int
    price_mct_max: int
    progress: float
    last_mct: Mapping[Direction, int | None]


class Wish(NamedTuple):
    """An order as the home would have it rest now. `slot` tells its orders in one book apart."""

    direction: Direction
    side: Side
    slot: int
    quantity_w: int
    price_mct: int


class Block(NamedTuple):
    """The same watts of import limit in `intervals` consecutive intervals, all or none."""

    interval_ms: int
    intervals: int
    quantity_w: int
    price_mct: int


class Resting(NamedTuple):
    """An order of this home that rests in the book: `filled_w` has traded, `wish.quantity_w` is open."""

    order_id: str
    wish: Wish
    filled_w: int


class Amendment(NamedTuple):
    """One request: place `wish`; replace `order_id` by `quantity_w` (total, fills included) at the wish's price; or cancel."""

    kind: Literal["place", "replace", "cancel"]
    order_id: str
    quantity_w: int
    wish: Wish


class Outlook(NamedTuple):
    """Forecast of one interval, per minute in watts: what the import limit and the export limit will have to carry."""

    load_w: Minutes  # import that household load needs
    heat_w: Minutes  # on top, heat
    car_w: Minutes  # on top, the car
    sun_w: Minutes  # export


def accuracy(lead_ms: int) -> float:
    """Share of an interval's minutes that the forecast knows, this long before delivery."""
    return float(KNOWN_AT_GATE * 0.5 ** (max(0, lead_ms) / KNOWN_HALVES_MS))


def outlook(state: HomeState, interval_ms: int, end_ms: int, now_ms: int, caution: float = 0.0) -> Outlook:
    """What this home expects to need; with caution > 0 pessimistically: the larger of forecast and typical day, and more."""
    model = state.model
    first = state.minute(interval_ms)
    minutes = np.arange(first, state.minute(end_ms))
    day = minutes % MINUTES
    known = model.known[day] < accuracy(interval_ms - now_ms)

    def expect(actual: Minutes, typical: Minutes) -> Minutes:
        forecast = np.where(known, actual[day], typical[day])
        return np.maximum(forecast, (typical[day] * (1 + caution)).astype(np.int64)) if caution else forecast

    load, heat = expect(model.load_w, model.typical_load_w), expect(model.heat_w, model.typical_heat_w)
    sun = np.where(known, model.solar_w[day], model.typical_solar_w[day])
    charge_w, discharge_w = _battery_mean_w(state, len(minutes))
    surplus = np.maximum(0, sun - load - heat)
    car = np.zeros_like(load)
    if model.car is not None and state.car_wmin < model.car.need_wmin:
        car[(minutes >= model.car.arrives_min) & (minutes < model.car.leaves_min)] = CAR_W
    if caution:  # the sun may shine more than expected, and the battery may be fuller
        surplus, charge_w = np.maximum(surplus, np.maximum(0, model.typical_solar_w[day] - load - heat)), charge_w // 2
    covered = sun + discharge_w
    need_load = np.maximum(0, load - covered)
    need_heat = np.maximum(0, load + heat - covered) - need_load
    return Outlook(need_load, need_heat, np.maximum(0, car - surplus), np.maximum(0, surplus - car - charge_w))


def _battery_mean_w(state: HomeState, minutes: int) -> tuple[int, int]:
    """(charge, discharge) that the battery, as filled as now, can hold through an interval."""
    battery = state.model.battery
    if battery is None or minutes == 0:
        return 0, 0
    room = battery.capacity_wmin - state.battery_wmin
    return min(battery.power_w, room // minutes), min(battery.power_w, state.battery_wmin // minutes)


def car_worth_mct(state: HomeState, interval_ms: int, interval_length_ms: int, expected_import_w: Callable[[int], int]) -> float:
    """Worth above tariff of one more kWh for the car in this interval: that of the last kWh it is going to leave with.

    `expected_import_w(start_ms)` is the import limit the home expects in an interval. It plans no further than six hours.
    """
    car = state.model.car
    if car is None:
        return 0.0
    model, charged = state.model, float(state.car_wmin)
    per_interval = interval_length_ms // MINUTE_MS
    first = state.minute(interval_ms)
    for begin in range(first, min(car.leaves_min, first + 360), per_interval):
        connected = min(begin + per_interval, car.leaves_min) - max(begin, car.arrives_min)
        if connected <= 0:
            continue
        day = np.arange(begin, begin + per_interval) % MINUTES
        own = int((model.typical_load_w[day] + model.typical_heat_w[day] - model.typical_solar_w[day]).mean())
        charged += connected * max(0, min(CAR_W, expected_import_w(interval_ms + (begin - first) * MINUTE_MS) - own))
    return car.marginal_mct(charged)


def worth(outlook: Outlook, model: HomeModel, car_mct: float, direction: Direction, levels_w: Levels) -> Levels:
    """Worth in mct per kWh of envelope of the watt at each level, net of what the energy itself costs."""
    level = levels_w[:, None]
    if direction == "export":
        return np.asarray(model.feed_in_mct * (outlook.sun_w > level).mean(axis=1))
    load = outlook.load_w
    heat = load + outlook.heat_w
    car = heat + outlook.car_w
    carried = np.where(level < load, LOAD_MCT - TARIFF_MCT, np.where(level < heat, model.heat_mct - TARIFF_MCT, (level < car) * car_mct))
    return np.asarray(carried.mean(axis=1))


def wishes(
    state: HomeState, interval_ms: int, interval_length_ms: int, now_ms: int,
    holdings: Callable[[int], tuple[int, int]], market: Market,
) -> list[Wish]:  # fmt: skip
    """Orders that this home would have in the books of one interval now, open quantities in whole lots.

    `holdings(start_ms)` is (export_w, import_w) as held now. All sales together leave the failsafe, all purchases stay
    within the rating.
    """
    model = state.model
    end_ms = interval_ms + interval_length_ms
    car_mct = car_worth_mct(state, interval_ms, interval_length_ms, lambda start_ms: holdings(start_ms)[1])
    expected = outlook(state, interval_ms, end_ms, now_ms)
    careful = outlook(state, interval_ms, end_ms, now_ms, model.caution)
    held = dict(zip(("export", "import"), holdings(interval_ms), strict=True))
    limits: dict[Direction, tuple[int, int]] = {
        "export": (model.failsafe_export_w, model.rating_export_w), "import": (model.failsafe_import_w, model.rating_import_w),
    }  # fmt: skip
    found: list[Wish] = []
    for direction, (floor_w, ceiling_w) in limits.items():
        up = _levels(held[direction], ceiling_w)
        bids = worth(expected, model, car_mct, direction, up)
        if len(bids) and bids[0] >= WORTH_MCT_MIN:
            found += _bids(model, direction, bids, ceiling_w - held[direction], market)
        else:
            down = held[direction] - _levels(0, held[direction] - floor_w)
            found += _asks(model, direction, worth(careful, model, car_mct, direction, down), held[direction] - floor_w, market)
    return found


def display_w(wish: Wish) -> int:
    """What an order shows of itself at a time; 0: all of it."""
    return max(SHOWN_W, wish.quantity_w // PARTS // 10 * 10) if wish.side == "sell" and wish.quantity_w >= ICEBERG_W else 0


def car_block(
    state: HomeState, first_ms: int, interval_length_ms: int, holdings: Callable[[int], tuple[int, int]], market: Market
) -> Block | None:  # fmt: skip
    """What the car lacks to charge with BLOCK_W through BLOCK_INTERVALS intervals, if it stays; None where that is not worth an order."""
    model, car = state.model, state.model.car
    first, last = state.minute(first_ms), state.minute(first_ms + BLOCK_INTERVALS * interval_length_ms)
    if car is None or state.car_wmin >= car.need_wmin or not car.arrives_min <= first <= last <= car.leaves_min:
        return None
    held = [holdings(first_ms + number * interval_length_ms)[1] for number in range(BLOCK_INTERVALS)]
    day = np.arange(first, last) % MINUTES
    own_w = int((model.typical_load_w[day] + model.typical_heat_w[day] - model.typical_solar_w[day]).mean())
    quantity_w = min(max(0, own_w) + BLOCK_W, model.rating_import_w) - max(held)
    worth_mct = car_worth_mct(state, first_ms, interval_length_ms, lambda start_ms: holdings(start_ms)[1]) * (1 - model.margin)
    wish = _wish("import", "buy", 0, quantity_w, quantity_w, worth_mct, market)
    if wish.quantity_w < BLOCK_W_MIN or wish.price_mct < WORTH_MCT_MIN:
        return None
    return Block(first_ms, BLOCK_INTERVALS, wish.quantity_w, wish.price_mct)


def _levels(low_w: int, high_w: int) -> Levels:
    """Middles of the steps that fit between two limits."""
    return np.asarray(low_w + LEVEL_W * (np.arange(max(0, high_w - low_w) // LEVEL_W) + 0.5), dtype=np.float64)


def _bids(model: HomeModel, direction: Direction, curve: Levels, room_w: int, market: Market) -> list[Wish]:
    """Two bids: for what is worth at least 60 % of the first watt, and for the rest that is worth buying."""
    wanted = int((curve >= WORTH_MCT_MIN).sum())
    dear = min(wanted, int((curve >= 0.6 * curve[0]).sum()))
    anchor = market.last_mct[direction] or 0.4 * curve[0]
    found = []
    for slot, (begin, end) in enumerate(((0, dear), (dear, wanted))):
        if begin == end:
            continue
        limit = curve[end - 1] * (1 - model.margin * (1 - market.progress))
        price = min(limit, max(0.5 * limit * (1 + market.progress), anchor * (1 + 0.1 * market.progress)))
        found.append(_wish(direction, "buy", slot, (end - begin) * LEVEL_W, room_w, price, market))
    return [wish for wish in found if wish.quantity_w > 0]


def _asks(model: HomeModel, direction: Direction, curve: Levels, room_w: int, market: Market) -> list[Wish]:
    """Up to three asks, for what is spare, dispensable and dear to the home: above its worth, or near the market if that is more."""
    ends = [int((curve <= most).sum()) for most in OFFERS_MCT]
    anchor = market.last_mct[direction] or 3 * model.spare_mct
    found = []
    for slot, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if begin == end:
            continue
        least = max(model.spare_mct, curve[end - 1] * (1 + model.margin))
        price = max(least, anchor * (1 - (0.1 + model.margin) * market.progress))
        found.append(_wish(direction, "sell", slot, (end - begin) * LEVEL_W, room_w, price, market))
    return [wish for wish in found if wish.quantity_w > 0]


def _wish(direction: Direction, side: Side, slot: int, quantity_w: int, room_w: int, price: float, market: Market) -> Wish:
    """Whole lots, rounded down; whole ticks, rounded to the home's favour; inside the price band."""
    ticks = price // market.tick_mct if side == "buy" else -(-price // market.tick_mct)
    price_mct = min(int(ticks) * market.tick_mct, market.price_mct_max - market.price_mct_max % market.tick_mct)
    return Wish(direction, side, slot, min(quantity_w, room_w) // market.lot_w * market.lot_w, price_mct)


def amend(resting: Sequence[Resting], wanted: Sequence[Wish], lot_w: int = 1) -> list[Amendment]:
    """Requests that turn what rests into what is wanted: cancels first, then less, then more; small changes are left alone.

    At exchange rates fills are in single watts; totals are whole lots all the same, rounded down.
    """
    open_slots = {_slot(order.wish): order for order in resting}
    wanted_slots = {_slot(wish): wish for wish in wanted}
    found = [
        Amendment("cancel", order.order_id, 0, order.wish) for slot, order in open_slots.items() if slot not in wanted_slots
    ]  # fmt: skip
    changes: list[tuple[int, Amendment]] = []
    for slot, wish in wanted_slots.items():
        order = open_slots.get(slot)
        if order is None:
            changes.append((wish.quantity_w, Amendment("place", "", wish.quantity_w, wish)))
        elif _differ(order.wish, wish):
            amendment = Amendment("replace", order.order_id, (order.filled_w + wish.quantity_w) // lot_w * lot_w, wish)
            changes.append((wish.quantity_w - order.wish.quantity_w, amendment))
    return found + [amendment for _, amendment in sorted(changes, key=lambda change: change[0])]


def _slot(wish: Wish) -> tuple[str, str, int]:
    return wish.direction, wish.side, wish.slot


def _differ(old: Wish, new: Wish) -> bool:
    moved = abs(new.price_mct - old.price_mct) > PRICE_MOVE * old.price_mct
    return moved or abs(new.quantity_w - old.quantity_w) >= QUANTITY_MOVE_W

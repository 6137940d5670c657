"""What must hold between two commands, by brute force over all pairs: the invariant of docs/market.md, accounts that sum to zero,
rows and ratings that are kept."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model import Model
from tests.model_market import Area, Interval
from tests.model_match import Scene, Stand


def violations(model: Model) -> list[str]:
    found = []
    for area in model.areas.values():
        assert sum(model.accounts(area.name)) == 0, "cash does not sum to zero"
        for interval in area.intervals.values():
            check_accounts(area, interval)
            if model._trades(area, interval):
                found += untraded(area, interval, model._scene(area, interval))
    return found


def check_accounts(area: Area, interval: Interval) -> None:
    assert min(interval.residual(), default=0) >= 0, "a row is broken"
    for right, (failsafe, rating) in enumerate(area.all_limits()):
        held = interval.holding()[right]
        assert held - area.reserved(interval, right, "sell") >= failsafe, "a sale reaches below the failsafe"
        assert held + area.reserved(interval, right, "buy") <= rating, "a purchase reaches above the rating"
    for order in interval.orders:
        assert order.open_w >= order.shown_w >= 1 and order.arrival, "an order at rest shows nothing"
        assert order.row is None or order.side == "buy" or order.withheld_w >= order.open_w, "headroom is offered that is not withheld"


def untraded(area: Area, interval: Interval, scene: Scene) -> Iterator[str]:
    """First orders of different customers that can trade, and purchases that can take what nobody holds."""
    purchases = {stand.order.right for stand in scene.stands if stand.order.side == "buy"}
    for right in sorted(purchases):
        buyer = min((s for s in scene.stands if (s.order.right, s.order.side) == (right, "buy")), key=Stand.rank)
        if not scene.is_one_to_one and not scene.tight(right):
            yield f"{area.name} {interval.start_ms}: {buyer.order.order_id} can take what nobody holds"
        for seller in scene.firsts(buyer.order):
            if seller.order.owner != buyer.order.owner and can_trade(scene, buyer, seller):
                yield f"{area.name} {interval.start_ms}: {buyer.order.order_id} can trade with {seller.order.order_id}"


def can_trade(scene: Scene, buyer: Stand, seller: Stand) -> bool:
    one, other = buyer.order, seller.order
    if scene.is_one_to_one:
        most = scene.most_one_to_one(one.right, other.right)
        return one.price_mct >= other.price_mct and (most is None or most[0] >= scene.lot)
    rate = scene.rate(one.right, other.right)
    if rate is None or not scene.accepts(rate, other.price_mct, one.price_mct):
        return False
    return scene.pair(one.right, other.right, buyer.shown_w, seller.shown_w, rate)[0] >= 1

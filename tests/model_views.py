"""What the naive model shows, to compare states and not only events."""

from __future__ import annotations

import msgspec

from exchange import events as e
from tests.model_market import Area


class Views:
    areas: dict[str, Area]

    def holdings(self, area: str, interval_ms: int) -> tuple[list[int], list[int]]:
        held, n = self.areas[area].intervals[interval_ms].holding(), len(self.areas[area].terms)
        return held[:n], held[n:]

    def accounts(self, area: str) -> list[int]:
        """Cash by owner, the operator's last."""
        known = self.areas[area]
        every = [known.settled, *(interval.cash for interval in known.intervals.values())]
        return [sum(cash) for cash in zip(*every, strict=True)]

    def cash(self, area: str) -> dict[str, int]:
        return {terms.customer: mct for terms, mct in zip(self.areas[area].terms, self.accounts(area), strict=False)}

    def operator_cash(self, area: str) -> int:
        return self.accounts(area)[-1]

    def auctions_since_ms(self, area: str) -> dict[int, int]:
        """Of each interval in auction the first time that was told since it began."""
        intervals = [interval for interval in self.areas[area].intervals.values() if interval.phase == "auction"]
        return {interval.start_ms: interval.auction_since_ms for interval in intervals if interval.auction_since_ms is not None}

    def queue(self, area: str, interval_ms: int, direction: str, side: str) -> list[tuple[str, str, int, int]]:
        """Customers' orders of a book, by priority."""
        known = self.areas[area]
        orders = [order for order in known.intervals[interval_ms].queue(direction, side) if order.row is None]
        return [(known.name_of(order), order.order_id, order.price_mct, order.open_w) for order in orders]


def without_details(events: list[e.Event]) -> list[e.Event]:
    """Events without the words that reasons are explained with."""
    plain: list[e.Event] = []
    for event in events:
        if isinstance(event, e.Rejected | e.Refused) and event.detail:
            plain.append(msgspec.structs.replace(event, detail=""))
        elif isinstance(event, e.Repeated) and isinstance(event.first, e.Rejected):
            plain.append(msgspec.structs.replace(event, first=msgspec.structs.replace(event.first, detail="")))
        else:
            plain.append(event)
    return plain

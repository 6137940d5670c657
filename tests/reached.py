"""What a race of engine and model has to reach to count: every reject that a command can meet, every cause, event and kind of trade.

No Replace is `suspended`: who is suspended has no orders (docs/market.md), so the order that it names is unknown.
"""

from __future__ import annotations

from collections import Counter
from typing import get_args

from exchange.events import CancelCause, Event, TradeKind

PLACE = (
    "unknown_area unknown_customer id_reused too_many_requests unknown_interval gate_closed not_yet_open halted suspended in_auction "
    "invalid_order expired off_lot off_tick price_out_of_band outside_collar quantity_over_bound "
    "too_many_open_orders order_to_trade not_covered above_rating"
)
PROPOSAL = "invalid_proposal insecure_proposal unpaid_proposal worse_proposal"
REJECTS = {
    "place": PLACE,
    "sweep": f"{PLACE} {PROPOSAL}",
    "replace": "unknown_area unknown_customer id_reused too_many_requests unknown_order halted block_order invalid_order off_lot off_tick "
    "price_out_of_band outside_collar quantity_over_bound order_to_trade not_covered above_rating",
    "cancel": "unknown_area unknown_customer id_reused too_many_requests unknown_order",
    "mass_cancel": "unknown_area unknown_customer id_reused too_many_requests unknown_interval",
    "open_area": "invalid_settings area_exists",
    "install_rows": "unknown_area invalid_rows",
    "open_interval": "unknown_area unknown_rows interval_exists off_grid invalid_allocation insecure_allocation",
    "enter_phase": "unknown_area unknown_interval wrong_phase",
    "close_gate": "unknown_area unknown_interval gate_closed",
    "retire_interval": "unknown_area unknown_interval gate_open",
    "halt": "unknown_area unknown_interval",
    "resume": "unknown_area not_halted",
    "suspend": "unknown_area unknown_customer",
    "reinstate": "unknown_area unknown_customer not_suspended",
    "amend_terms": "unknown_area unknown_customer invalid_settings",
    "amend_settings": "unknown_area invalid_settings",
    "withhold": "unknown_area id_reused unknown_interval gate_closed not_yet_open halted off_lot off_tick price_out_of_band unknown_row "
    "no_headroom",
    "release": "unknown_area unknown_interval unknown_request",
    "change_rows": "unknown_area unknown_interval unknown_rows stale_rows invalid_limits limit_out_of_bounds insecure_failsafe "
    "insecure_limits invalid_raise insecure_raise invalid_device_setting",
    "uncross": f"unknown_area unknown_interval gate_closed halted stale_rows wrong_phase {PROPOSAL}",
    "advance": "time_backwards",
}
TRADES_ON = ("place", "replace", "sweep", "uncross", "change_rows", "release", "resume", "enter_phase", "withhold")


def unmet(met: Counter[str]) -> list[str]:
    wanted = [f"{command} {reason}" for command, reasons in REJECTS.items() for reason in reasons.split()]
    wanted += [f"cause {cause}" for cause in get_args(CancelCause) if cause != "released"]
    wanted += [kind.__name__ for kind in get_args(Event)] + ["blocked partly", "blocked wholly", "a block met an order twice"]
    wanted += [f"trade {kind}" for kind in get_args(TradeKind)] + [f"trade on {command}" for command in TRADES_ON]
    return [name for name in wanted if not met[name]]

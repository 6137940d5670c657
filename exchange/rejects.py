"""Why the engine says no, in the order in which it looks: the first reason that holds is the one that is given.

A reject is the sender's deed and changes nothing. Its `detail` says in words and numbers what would have been accepted.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Every reject, in guard order. The comment names who can meet it."""

    UNKNOWN_AREA = "unknown_area"  # all
    UNKNOWN_CUSTOMER = "unknown_customer"  # customers
    ID_REUSED = "id_reused"  # customers: the same request id with another body
    TOO_MANY_REQUESTS = "too_many_requests"  # customers, but for cancels that find an order: the interval remembers so many already
    UNKNOWN_ORDER = "unknown_order"  # Cancel, Replace: no such live order of this customer
    UNKNOWN_INTERVAL = "unknown_interval"  # Place, MassCancel, operator
    GATE_CLOSED = "gate_closed"  # Place; Withhold, Uncross
    NOT_YET_OPEN = "not_yet_open"  # Place: the interval is announced only; Withhold
    HALTED = "halted"  # Place, Replace: halted, or frozen while envelopes are shared out anew; Withhold, Uncross
    SUSPENDED = "suspended"  # Place: the operator takes no orders of this customer (and took out those that it could have replaced)
    IN_AUCTION = "in_auction"  # Place: immediate or kill, while orders only collect
    BLOCK_ORDER = "block_order"  # Replace of an order over several intervals: cancel it and place another
    INVALID_ORDER = "invalid_order"  # Place: what is shown or the number of intervals is out of bounds; Place, Replace: it shows too little
    EXPIRED = "expired"  # Place: in force until a time that has passed
    OFF_LOT = "off_lot"  # Place, Replace: not a positive multiple of the lot
    OFF_TICK = "off_tick"  # Place, Replace
    PRICE_OUT_OF_BAND = "price_out_of_band"  # Place, Replace
    OUTSIDE_COLLAR = "outside_collar"  # Place, Replace: too far from the book's last trade
    QUANTITY_OVER_BOUND = "quantity_over_bound"  # Place, Replace
    TOO_MANY_OPEN_ORDERS = "too_many_open_orders"  # Place
    ORDER_TO_TRADE = "order_to_trade"  # Place, Replace: too many requests for the trades that came of them
    NOT_COVERED = "not_covered"  # a sale below the failsafe envelope, offers at rest counted
    ABOVE_RATING = "above_rating"  # a purchase above the connection's rating, purchases at rest counted
    # Operator's commands only:
    INVALID_SETTINGS = "invalid_settings"  # OpenArea, AmendSettings, AmendTerms: they do not hold together, or may not change
    AREA_EXISTS = "area_exists"  # OpenArea
    INVALID_ROWS = "invalid_rows"  # InstallRows: not a polytope, or for another number of customers
    UNKNOWN_ROWS = "unknown_rows"  # OpenInterval, ChangeRows
    INTERVAL_EXISTS = "interval_exists"  # OpenInterval
    OFF_GRID = "off_grid"  # OpenInterval: the start is not a multiple of the interval's length
    INVALID_ALLOCATION = "invalid_allocation"  # OpenInterval: wrong length, outside [failsafe, rating]
    INSECURE_ALLOCATION = "insecure_allocation"  # OpenInterval: breaks a row
    STALE_ROWS = "stale_rows"  # ChangeRows, Uncross: other rows are in force than those that it was made from
    INVALID_LIMITS = "invalid_limits"  # ChangeRows: not one limit for each right
    LIMIT_OUT_OF_BOUNDS = "limit_out_of_bounds"  # ChangeRows: outside [failsafe, rating]
    INSECURE_FAILSAFE = "insecure_failsafe"  # ChangeRows: not even the failsafe envelopes fit into the new rows
    INSECURE_LIMITS = "insecure_limits"  # ChangeRows: break a new row
    INVALID_RAISE = "invalid_raise"  # ChangeRows: not one raise for each right, negative, or above a rating with what is wanted
    INSECURE_RAISE = "insecure_raise"  # ChangeRows: holdings as they are now have no room for it
    INVALID_DEVICE_SETTING = "invalid_device_setting"  # ChangeRows: no such customer, no name, twice, or out of bounds
    GATE_OPEN = "gate_open"  # RetireInterval before its gate closed
    WRONG_PHASE = "wrong_phase"  # EnterPhase: no such move; Uncross: it ends an auction that is none, or the other way round
    UNKNOWN_ROW = "unknown_row"  # Withhold: the rows in force have none of this name
    NO_HEADROOM = "no_headroom"  # Withhold: not one lot of the row is left over
    UNKNOWN_REQUEST = "unknown_request"  # Release: nothing is withheld under this id
    INVALID_PROPOSAL = "invalid_proposal"  # Uncross, Sweep: a right that is none, twice, or more than its orders have open
    INSECURE_PROPOSAL = "insecure_proposal"  # Uncross, Sweep: breaks a row
    UNPAID_PROPOSAL = "unpaid_proposal"  # Uncross, Sweep: buyers' limits do not cover what sellers ask
    WORSE_PROPOSAL = "worse_proposal"  # Uncross, Sweep: not worth more than what pairs trade by themselves
    NOT_SUSPENDED = "not_suspended"  # Reinstate of a scope that is not suspended
    NOT_HALTED = "not_halted"  # Resume of a scope that is not halted
    TIME_BACKWARDS = "time_backwards"  # Advance

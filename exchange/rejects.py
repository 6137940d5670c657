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
    UNKNOWN_ORDER = "unknown_order"  # Cancel, Replace: no such live order of this customer
    UNKNOWN_INTERVAL = "unknown_interval"  # Place, MassCancel, operator
    GATE_CLOSED = "gate_closed"  # Place
    HALTED = "halted"  # Place, Replace; ChangeRows that would wake orders
    EXPIRED = "expired"  # Place: in force until a time that has passed
    OFF_LOT = "off_lot"  # Place, Replace: not a positive multiple of the lot
    OFF_TICK = "off_tick"  # Place, Replace
    PRICE_OUT_OF_BAND = "price_out_of_band"  # Place, Replace
    QUANTITY_OVER_BOUND = "quantity_over_bound"  # Place, Replace
    TOO_MANY_OPEN_ORDERS = "too_many_open_orders"  # Place
    NOT_COVERED = "not_covered"  # a sale below the failsafe envelope, offers at rest counted
    ABOVE_RATING = "above_rating"  # a purchase above the connection's rating, purchases at rest counted
    # Operator's commands only:
    INVALID_SETTINGS = "invalid_settings"  # OpenArea: settings or terms do not hold together
    AREA_EXISTS = "area_exists"  # OpenArea
    INVALID_ROWS = "invalid_rows"  # InstallRows: not a polytope, or for another number of customers
    UNKNOWN_ROWS = "unknown_rows"  # OpenInterval, ChangeRows
    INTERVAL_EXISTS = "interval_exists"  # OpenInterval
    OFF_GRID = "off_grid"  # OpenInterval: the start is not a multiple of the interval's length
    INVALID_ALLOCATION = "invalid_allocation"  # OpenInterval: wrong length, outside [failsafe, rating]
    INSECURE_ALLOCATION = "insecure_allocation"  # OpenInterval: breaks a row
    STALE_ROWS = "stale_rows"  # ChangeRows: other rows are in force than those that it was to replace
    INVALID_LIMITS = "invalid_limits"  # ChangeRows: not one limit for each right
    LIMIT_OUT_OF_BOUNDS = "limit_out_of_bounds"  # ChangeRows: outside [failsafe, rating]
    INSECURE_FAILSAFE = "insecure_failsafe"  # ChangeRows: not even the failsafe envelopes fit into the new rows
    INSECURE_LIMITS = "insecure_limits"  # ChangeRows: break a new row
    UNKNOWN_WOKEN = "unknown_woken"  # ChangeRows: an order to be woken does not rest in this interval
    INVALID_DEVICE_SETTING = "invalid_device_setting"  # ChangeRows: no such customer, no name, twice, or out of bounds
    GATE_OPEN = "gate_open"  # RetireInterval before its gate closed
    NOT_HALTED = "not_halted"  # Resume of a scope that is not halted
    TIME_BACKWARDS = "time_backwards"  # Advance

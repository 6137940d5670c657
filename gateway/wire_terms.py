"""The words that all messages on the wire share, each with its bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from gateway.topics import NAME_PATTERN

INTERVALS_MAX = 96  # of one block order

Version = Literal[1]
Id = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=64, description="letters, digits and ._:-")]
Time = Annotated[int, Meta(ge=0, le=2**52, description="UTC milliseconds of the market's clock")]
Watts = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Quantity = Annotated[int, Meta(ge=1, le=2**31 - 1, description="watts")]
Price = Annotated[int, Meta(ge=0, le=10**9, description="milli-cents per kWh of envelope")]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Text = Annotated[str, Meta(max_length=400)]
Reason = Annotated[str, Meta(min_length=1, max_length=400, description="why; it is kept in the journal")]
Direction = Literal["export", "import"]
Side = Literal["buy", "sell"]
Phase = Literal["announced", "auction", "continuous", "frozen", "closed", "delivery"]

"""The agreement on voltages between operators: the ranges at which the worst served home of all is served best.

A range of voltage at an interface is a promise of the area above and a condition of the area below. A wider range leaves more
room to the one above, since it has to keep less, and less to the one below, since it has to bear more. Every operator can say
for one *level* (the share of its connection rating that everybody can use) how wide a range it can bear; the area above then says
whether it can keep those ranges while everybody below it uses the level. Down the tree this is one question with one answer:

    feasible(level) = the top admits `level` with every area below at the power and at the widest range of its own answer to `level`

*Monotone.* Limits lower than secure ones are secure (packing rows), and a narrower range keeps more limits secure. So at a lower
level every area below answers with a range that is at least as wide and with less power, which leaves the area above at least as
much room: what is feasible at a level is feasible at every lower one. *Convergence.* Bisection on the level therefore
converges to the greatest feasible level, halving the interval each time; at the end every area has the widest range at which it
still serves that level, and no other ranges could serve a higher one: with a wider range some area below could not, with a narrower
one the area above has less room. So the agreement is the fixed point of "as wide as you can bear" and "as much as I can keep", and
it maximises the smallest share over all homes of all areas. What is left beyond the smallest share is given out afterwards, max-min.

An answer picks the upper end of its range first and then the lower one. Where the two depend on each other (through losses and
loadings) the statement holds within that dependence; what is granted is secure regardless, since rows are built for the ranges
that were agreed on, however they were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from envelopes.operator import Operator
    from envelopes.operator_messages import Range

    Progress = Callable[[str, float], None]

RESOLUTION = 0.004  # of a connection rating


class NoAgreement(RuntimeError):  # noqa: N818 - the name says it
    """Not even the smallest level is feasible: some area has no room for anybody at any voltage that the area above can keep."""


@dataclass(frozen=True)
class Agreement:
    """The level agreed on, and how many levels were asked for."""

    level: float
    rounds: int


def agree(top: Operator, around: Range, progress: Progress | None = None, resolution: float = RESOLUTION) -> Agreement:
    """The greatest level that the whole tree below and with `top` can serve, within `resolution`. Raises NoAgreement."""
    tell = progress or (lambda _phrase, _done: None)
    low, high, rounds = 0.0, 1.0, 1
    if _is_feasible(top, high, around):
        return Agreement(high, rounds)
    while high - low > resolution:
        middle = (low + high) / 2
        low, high = (middle, high) if _is_feasible(top, middle, around) else (low, middle)
        rounds += 1
        tell(f"{top.name} agrees on {100 * low:.1f} to {100 * high:.1f} % of all connections", 1 - (high - low))
    if low == 0:
        raise NoAgreement(f"{top.name} and what lies below it cannot serve {100 * high:.1f} % of all connections at any voltages")
    return Agreement(low, rounds)


def _is_feasible(top: Operator, level: float, around: Range) -> bool:
    return top.at_level(level, fixed=around).range is not None

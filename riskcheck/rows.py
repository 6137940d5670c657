"""Packing rows on their way from physics to integers: coefficients, slacks, and what each row protects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from riskcheck.polytope import RowLabel

    Floats = NDArray[np.float64]


class Insecure(ValueError):  # noqa: N818 - the name says it
    """No envelope is secure, or none could be shown to be: a limit breaks at no load, or the search for margins does not settle."""


@dataclass(frozen=True)
class Rows:
    """coefficient [n_rows, n_rights] per watt, slack [n_rows] in the same unit."""

    coefficient: Floats
    slack: Floats
    labels: list[RowLabel]

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """Rows over the same rights, one below the other."""
        labels = [label for part in parts for label in part.labels]
        return cls(np.concatenate([part.coefficient for part in parts]), np.concatenate([part.slack for part in parts]), labels)

    def with_room(self) -> Rows:
        """Itself; raises Insecure where a limit leaves nothing for anybody."""
        if (self.slack <= 0).any():
            worst = self.labels[int(self.slack.argmin())]
            raise Insecure(f"no room for any customer: {worst} is at its limit already at no load")
        return self

"""What settings of inverters and taps mean for a network, and the search for those that make a blocked trade secure.

An interval's settings are complete: what they name is set so, everything else is as the network file has it. A `reactive_var` is
what a customer's inverter injects. A `tap` is a position, counted in steps from where the network file has the tap; settings
proposed on top of others are steps from there, and `merged` is the one place that turns them into positions.

Rows, audits and certificates of an interval are those of the network with its settings (`in_force`), made from the file's network
and the complete list, so that the same settings are the same network to the last bit.

`ask` is slow, and runs in a process apart. It builds the rows in force once more and refuses where they are not the rows that
the exchange has: an audit tightened those, and rows made anew would loosen them again. What it finds has been verified
(`riskcheck.recourse.verify`): in AC, and inside rows of its own; what is held now lies inside them, too, so nobody is lowered.
Where settings for the trade alone do not hold that, more is asked for: the greater of both for every right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exchange.commands import DeviceSetting
from riskcheck.linearise import build
from riskcheck.recourse import NoRecourse, Proposal, Recourse, Refused, apply, verify

if TYPE_CHECKING:
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

Settings = tuple[DeviceSetting, ...]
KEPT_MAX = 4  # sets of settings whose rows are kept between questions
NOT_AS_BUILT = "the rows in force are not those of the network as it is set: an audit tightened them"


class Question(NamedTuple):
    """A trade of `quantity_w` that the rows in force do not allow; holdings by right: exports, then imports."""

    settings: Settings
    rows_hash: str
    holding_w: tuple[int, ...]
    after_w: tuple[int, ...]
    quantity_w: int


class Found(NamedTuple):
    """All settings from now on, and the rows of the network with them, which allow the holdings and the trade."""

    settings: Settings
    rows: bytes


def in_force(network: Network, settings: Settings) -> Network:
    """The file's network with an interval's settings. Raises ValueError naming the device that it cannot set so."""
    return apply(network, _proposal(settings, 0)) if settings else network


def merged(settings: Settings, proposal: Proposal) -> Settings:
    """The complete list after a proposal that was made on the network with `settings`."""
    value = {(setting.kind, setting.device): setting.value for setting in settings}
    value |= {("reactive_var", device): var for device, var in proposal.reactive_var.items()}
    value |= {("tap", device): value.get(("tap", device), 0) + steps for device, steps in proposal.tap_steps.items()}
    return tuple(DeviceSetting(device, kind, value[kind, device]) for kind, device in sorted(value))


def in_words(settings: Sequence[DeviceSetting]) -> str:
    words = {"reactive_var": "{} injects {:+d} var", "tap": "tap of {} at {:+d}"}
    return ", ".join(words[setting.kind].format(setting.device, setting.value) for setting in settings)


def _proposal(settings: Settings, quantity_w: int) -> Proposal:
    """Settings as a proposal on the file's network, where positions are steps."""
    reactive_var, tap_steps = ({s.device: s.value for s in settings if s.kind == kind} for kind in ("reactive_var", "tap"))
    return Proposal(quantity_w, reactive_var, tap_steps, 0.0)


# --- in the process apart -----------------------------------------------------------------------------------------

_networks: dict[str, Network] = {}
_rows: dict[Settings, Polytope] = {}
_programs: dict[Settings, Recourse] = {}


def prepare(network: Network) -> None:
    """Keeps the network, and no other, for the questions that follow."""
    for kept in (_networks, _rows, _programs):
        kept.clear()
    _networks[network.content_hash] = network


def ask(network_hash: str, question: Question) -> Found | str:
    """Settings that make the trade secure, verified; or why there are none, in words."""
    network = _networks[network_hash]
    if _rows_of(network, question.settings).content_hash != question.rows_hash:
        return NOT_AS_BUILT
    both_w = tuple(map(max, question.holding_w, question.after_w))
    first = _find(network, question, question.after_w)
    second = _find(network, question, both_w) if isinstance(first, str) else first
    return first if isinstance(second, str) else second


def _find(network: Network, question: Question, secured_w: tuple[int, ...]) -> Found | str:
    """Settings proposed for `secured_w`, and whether they do for the holdings and the trade."""
    proposal = _program_of(network, question.settings).propose(secured_w, question.quantity_w)
    if isinstance(proposal, NoRecourse):
        return str(proposal)
    settings = merged(question.settings, proposal)
    verified = verify(network, _proposal(settings, question.quantity_w), question.after_w)
    if isinstance(verified, Refused):
        return verified.reason
    _keep(settings, verified.rows)
    if not verified.rows.is_secure(question.holding_w):
        return f"with these settings what is held now breaks {_worst(verified.rows, question.holding_w)}"
    return Found(settings, verified.rows.to_bytes())


def _worst(rows: Polytope, holding_w: tuple[int, ...]) -> str:
    return str(rows.labels[int(np.argmin(rows.residual(holding_w)))])


def _rows_of(network: Network, settings: Settings) -> Polytope:
    if settings not in _rows:
        _keep(settings, build(in_force(network, settings)))
    return _rows[settings]


def _program_of(network: Network, settings: Settings) -> Recourse:
    if settings not in _programs:
        _programs[settings] = Recourse(in_force(network, settings), _rows_of(network, settings))
    return _programs[settings]


def _keep(settings: Settings, rows: Polytope) -> None:
    """The oldest go first, but for the network as it is."""
    _rows[settings] = rows
    for other in [kept for kept in _rows if kept not in ((), settings)][: max(0, len(_rows) - KEPT_MAX)]:
        del _rows[other]
        _programs.pop(other, None)

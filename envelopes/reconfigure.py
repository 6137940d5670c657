"""Which switches should be closed, and where should the taps stand, so that the smallest envelope is as large as possible?

A state is the set of switches that are closed, of those that may be moved, and the steps of every tap that the operator may move.
Only states that feed every bus and have no loop count: with all other elements contracted, the closed switches are then a spanning
forest with one source in each tree. A state is worth the smallest envelope that max-min gives to whoever requests one, then the
sum of all; rows that are proven need no further check, others are as good as their margins (`docs/security.md`), so the caller
certifies the answer.

Where all states are few (`states_max`), every one is tried: the answer is the best there is. Beyond, a descent: exchange one open for one
closed switch of the loop that it closes, or move one tap by a step, whichever is best, until none helps. That is the branch exchange of
Civanlar et al. (1988) and Baran and Wu (1989), with envelopes in place of losses. It stops at a local optimum and says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from math import comb, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from envelopes.allocate import Allocation, InsecureFloorsError, allocate
from riskcheck.intake import from_pandapower
from riskcheck.levers import levers_of, moved
from riskcheck.linearise import Insecure, build
from riskcheck.network import BadNetwork, Network

if TYPE_CHECKING:
    import numpy.typing as npt

    Progress = Callable[[str, float], None]

STATES_MAX = 200
ROUNDS_MAX = 50
Ends = dict[int, tuple[int, int]]


class State(NamedTuple):
    """The movable switches that are closed, by index of the switch table, and the steps of each movable tap from where it stands."""

    closed: tuple[int, ...]
    tap_steps: tuple[int, ...]


class Choice(NamedTuple):
    """What a state is worth. `smallest_w` is -1, and `problem` says why, where it cannot be run at all."""

    state: State
    smallest_w: int
    total_w: int
    network: Network | None
    allocation: Allocation | None
    problem: str = ""


class Reconfiguration(NamedTuple):
    """`today` is the state of the net as given. `is_exact`: every state was tried. `taps` names the taps, in the order of the steps."""

    best: Choice
    today: Choice
    taps: tuple[str, ...]
    tried: int
    is_exact: bool


def reconfigure(
    net: Any,
    switches: Sequence[int],
    *,
    with_taps: bool = True,
    requests_w: npt.ArrayLike | None = None,
    states_max: int = STATES_MAX,
    progress: Progress | None = None,
) -> Reconfiguration:
    """The best state of a pandapower net, which is only read. `switches` are rows of its switch table that may be moved.

    `requests_w`: what each right asks for, exports then imports, whole watts [2 * customers]; the ratings where it is left out.
    Raises ValueError where a switch does not exist, and BadNetwork where the net itself is refused.
    """
    search = _Search(net, switches, with_taps, requests_w, progress)
    today = search.choice(search.today)
    states = search.count()
    if states <= states_max:
        for number, state in enumerate(search.states()):
            search.tell("all states are tried", number / states)
            search.choice(state)
    else:
        search.descend(today)
    best = max(search.known.values(), key=lambda choice: (choice.smallest_w, choice.total_w, choice.state == search.today))
    return Reconfiguration(best, today, search.tap_names, len(search.known), states <= states_max)


class _Search:
    def __init__(
        self, net: Any, switches: Sequence[int], with_taps: bool, requests_w: npt.ArrayLike | None, progress: Progress | None
    ) -> None:
        unknown = [switch for switch in switches if switch not in net.switch.index]
        if unknown or len(set(switches)) < len(switches):
            raise ValueError(f"no such switches, or named twice: {', '.join(map(str, unknown or switches))}")
        self._progress = progress
        self.known: dict[State, Choice] = {}
        self._net, self._switches = net, tuple(switches)
        self._requests = None if requests_w is None else np.asarray(requests_w, dtype=np.int64)
        self._ends, self._roots = _ends(net, self._switches), _contracted(net, self._switches)
        self._sources = {self._roots[int(bus)] for bus in net.ext_grid.bus[net.ext_grid.in_service.astype(bool)]}
        levers = levers_of(from_pandapower(net, name="as given")) if with_taps else ()
        self._taps = [lever for lever in levers if lever.kind == "tap"]
        self.tap_names = tuple(lever.device for lever in self._taps)
        closed = net.switch.closed.astype(bool)
        self.today = State(tuple(switch for switch in self._switches if closed[switch]), (0,) * len(self._taps))

    def tell(self, phrase: str, done: float) -> None:
        if self._progress is not None:
            self._progress(phrase, done)

    def count(self) -> int:
        """How many states there may be, loops included."""
        return comb(len(self._switches), self._needed()) * prod(lever.high - lever.low + 1 for lever in self._taps)

    def states(self) -> Iterator[State]:
        steps = [range(lever.low, lever.high + 1) for lever in self._taps]
        for closed in combinations(self._switches, self._needed()):
            if self._is_forest(closed):
                for taps in product(*steps):
                    yield State(closed, taps)

    def _needed(self) -> int:
        """Closed switches of a forest with one source in each tree."""
        return len(set(self._roots.values())) - len(self._sources)

    def _is_forest(self, closed: Sequence[int]) -> bool:
        groups = _Groups(self._roots.values())
        joined = all(groups.join(*self._ends[switch]) for switch in closed)
        return joined and len({groups.root(source) for source in self._sources}) == len(self._sources) and len(closed) == self._needed()

    def choice(self, state: State) -> Choice:
        if state not in self.known:
            self.known[state] = self._worth(state)
        return self.known[state]

    def _worth(self, state: State) -> Choice:
        if not self._is_forest(state.closed):
            return Choice(state, -1, -1, None, None, "it has a loop, or does not feed every bus")
        try:
            network = self._tapped(self._network(state.closed), state.tap_steps)
            asked = np.minimum(network.caps_w() if self._requests is None else self._requests, network.caps_w())
            found = allocate(build(network), np.maximum(asked, network.floors_w()), network.floors_w())
        except (Insecure, InsecureFloorsError, BadNetwork) as error:
            return Choice(state, -1, -1, None, None, str(error).splitlines()[0])
        given = found.limits_w[asked > 0]
        return Choice(state, int(given.min()) if len(given) else 0, int(given.sum()), network, found)

    def _network(self, closed: Sequence[int]) -> Network:
        net = copy.deepcopy(self._net)
        net.switch.loc[list(self._switches), "closed"] = [switch in closed for switch in self._switches]
        return from_pandapower(net, name="reconfigured")

    def _tapped(self, network: Network, steps: Sequence[int]) -> Network:
        """Another state numbers its branches otherwise, so taps are found by name."""
        levers = {lever.device: lever for lever in levers_of(network) if lever.kind == "tap"}
        return moved(network, [levers[name] for name in self.tap_names], steps)

    def descend(self, start: Choice) -> None:
        """Tries the neighbours of the best state so far until none is better."""
        at = start if start.smallest_w >= 0 else self.choice(next(self.states(), self.today))
        for number in range(ROUNDS_MAX):
            self.tell("switches are exchanged and taps moved", number / ROUNDS_MAX)
            around = [self.choice(state) for state in self._neighbours(at.state)]
            best = max(around, key=_rank, default=at)
            if _rank(best) <= _rank(at):
                return
            at = best

    def _neighbours(self, state: State) -> Iterator[State]:
        for opened in (switch for switch in self._switches if switch not in state.closed):
            for shut in state.closed:
                closed = tuple(switch for switch in self._switches if (switch in state.closed and switch != shut) or switch == opened)
                if self._is_forest(closed):
                    yield State(closed, state.tap_steps)
        for place, lever in enumerate(self._taps):
            for step in (-1, 1):
                if lever.low <= state.tap_steps[place] + step <= lever.high:
                    steps = tuple(s + step * (place == other) for other, s in enumerate(state.tap_steps))
                    yield State(state.closed, steps)


def _rank(choice: Choice) -> tuple[int, int]:
    return choice.smallest_w, choice.total_w


# --- the net as a graph -------------------------------------------------------------------------------------------


class _Groups:
    """Buses that are connected."""

    def __init__(self, buses: Any) -> None:
        self._parent = {int(bus): int(bus) for bus in buses}

    def root(self, bus: int) -> int:
        while self._parent[bus] != bus:
            bus = self._parent[bus] = self._parent[self._parent[bus]]
        return bus

    def join(self, one: int, other: int) -> bool:
        """Whether they were apart."""
        ends = self.root(one), self.root(other)
        self._parent[max(ends)] = min(ends)
        return ends[0] != ends[1]


BRANCHES = {"l": ("line", "from_bus", "to_bus"), "t": ("trafo", "hv_bus", "lv_bus")}


def _contracted(net: Any, switches: Sequence[int]) -> dict[int, int]:
    """Every bus in service -> the bus that stands for what is connected to it without any of the movable switches."""
    groups = _Groups(net.bus.index[net.bus.in_service.astype(bool)])
    movable = set(switches)
    for kind, (table, start, end) in BRANCHES.items():
        cut = {int(row.element) for index, row in net.switch.iterrows() if row.et == kind and (index in movable or not row.closed)}
        for index, row in net[table].iterrows():
            if row.in_service and index not in cut:
                groups.join(int(row[start]), int(row[end]))
    for _, row in net.trafo3w.iterrows() if len(net.trafo3w) else ():
        groups.join(int(row.hv_bus), int(row.mv_bus))
        groups.join(int(row.hv_bus), int(row.lv_bus))
    for index, row in net.switch.iterrows():
        if row.et == "b" and row.closed and index not in movable:
            groups.join(int(row.bus), int(row.element))
    return {int(bus): groups.root(int(bus)) for bus in net.bus.index[net.bus.in_service.astype(bool)]}


def _ends(net: Any, switches: Sequence[int]) -> Ends:
    """The groups of buses that each movable switch joins when it is closed."""
    roots = _contracted(net, switches)
    found: Ends = {}
    for switch in switches:
        row = net.switch.loc[switch]
        if row.et == "b":
            ends = int(row.bus), int(row.element)
        elif row.et in BRANCHES:
            table, start, end = BRANCHES[row.et]
            ends = int(net[table].at[row.element, start]), int(net[table].at[row.element, end])
        else:
            raise ValueError(f"switch {switch} is of type {row.et!r}: only b, l and t can be moved")
        found[switch] = roots[ends[0]], roots[ends[1]]
    return found

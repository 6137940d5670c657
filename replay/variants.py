"""Another market for the same orders: what each recorded command becomes where the rule, the rows or the network differ.

    rule=one_to_one      watts against as many watts, pair by pair
    rule=exchange_rate   at network exchange rates, pair by pair
    rule=joint           at network exchange rates, and the solver proposes joint fills
    rule=auction         orders collect until the gate; then all are matched at once, at exchange rates
    rows=FILE            rows that `Polytope.to_bytes` wrote; rows=tightened:20 the recorded ones with 20 per mille more on all
                         coefficients; rows=none no limit at all
    network=NETWORK      another network, a builtin one or a file: its rows, ratings and max-min envelopes

Customers' requests stay as they are, whatever became of the orders that they name: a cancel that comes too late is a reject and is
counted. What the operator did stays too, with these exceptions. A solver's recorded proposals were made for another state of the
book: they are made anew (joint) or left out. On other rows the recorded changes of rows are left out. Allocations stay where they
are secure; where they are not, and on another network, they are max-min. On another network a customer is who has the same name;
where the names are not the same, who stands in the same place of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

import msgspec

from envelopes.allocate import max_min
from envelopes.refresh import Plan
from exchange.bounds import MarketSettings
from exchange.commands import (
    AmendSettings,
    AmendTerms,
    ChangeRows,
    CloseGate,
    Command,
    CustomerCommand,
    EnterPhase,
    InstallRows,
    OpenArea,
    OpenInterval,
    Place,
    Reinstate,
    Suspend,
    Sweep,
    Uncross,
)
from riskcheck.polytope import Polytope

if TYPE_CHECKING:
    from exchange.engine import Engine

Rule = Literal["one_to_one", "exchange_rate", "joint", "auction"]
RULES: tuple[Rule, ...] = ("one_to_one", "exchange_rate", "joint", "auction")
AS_RECORDED = "as recorded"


class VariantError(ValueError):
    """A variant that cannot be run on this log; the message says why."""


class Variant(NamedTuple):
    """What differs from the record; None: nothing."""

    name: str = AS_RECORDED
    rule: Rule | None = None
    rows: str | None = None
    network: str | None = None


def parse(text: str) -> Variant:
    """`rule=joint`, or several with commas between: `rule=auction,rows=tightened:20`. Raises VariantError."""
    pairs = [part.partition("=") for part in text.split(",")]
    named = {key.strip(): value.strip() for key, _, value in pairs}
    unknown = [key for key, equals, value in pairs if key.strip() not in ("rule", "rows", "network") or not equals or not value.strip()]
    if unknown or len(named) < len(pairs):
        raise VariantError(f"--against takes rule=, rows= or network=, each at most once and with commas between, not {text!r}")
    if "rule" in named and named["rule"] not in RULES:
        raise VariantError(f"rule {named['rule']!r} is none of {', '.join(RULES)}")
    if "rows" in named and "network" in named:
        raise VariantError("rows= and network= exclude each other: a network has rows of its own")
    name = " ".join(value if key == "rule" else f"{key}={value}" for key, value in named.items())
    return Variant(name, cast(Rule | None, named.get("rule")), named.get("rows"), named.get("network"))


class Solver(Protocol):
    """Who makes proposals (`exchange/proposer.py`), None where it has none; the engine verifies them."""

    def propose(self, engine: Engine, place: Place) -> Sweep | None: ...
    def uncross(self, engine: Engine, area_name: str, interval_ms: int, *, ends_auction: bool) -> Uncross | None: ...
    def may_uncross(self, engine: Engine, area_name: str, interval_ms: int) -> bool: ...


class Edition:
    """A variant being run: gives the commands that take a recorded one's place, given the state of the engine before it.

    `left_out` counts recorded commands that have none.
    """

    def __init__(
        self, variant: Variant, recorded: OpenArea, solver: Solver, plan_of: Callable[[str, MarketSettings], Plan] | None = None
    ) -> None:
        """`recorded` is the opening of the area; `plan_of` makes the plan of another network. Raises VariantError."""
        self.variant = variant
        self.left_out = 0
        self.notes: list[str] = []
        self._solver = solver
        self._recorded = recorded
        self._rule = _rule_of(variant, recorded.settings)
        self._settings = _settings(recorded.settings, self._rule) if self._rule else recorded.settings
        self._rows: Polytope | None = None
        self._max_min: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._names: dict[str, str] = {}
        self._terms = recorded.customers
        if variant.network is not None:
            assert plan_of is not None
            self._take_plan(plan_of(variant.network, self._settings))
        elif variant.rows not in (None, "none") and not _tightened(variant.rows):
            self._rows = _read_rows(variant.rows, 2 * len(recorded.customers))
        elif variant.rows == "none":
            self._rows = Polytope.unlimited(2 * len(recorded.customers))

    def _take_plan(self, ready: Plan) -> None:
        allocation = ready.allocation
        self._rows, self._terms = ready.rows, ready.terms()
        self._max_min = tuple(map(int, allocation.export_w)), tuple(map(int, allocation.import_w))
        theirs, ours = [terms.customer for terms in self._terms], [terms.customer for terms in self._recorded.customers]
        if set(ours) <= set(theirs):
            return
        if len(theirs) < len(ours):
            raise VariantError(f"network {self.variant.network} has {len(theirs)} customers with other names, the log has {len(ours)}")
        self._names = dict(zip(ours, theirs, strict=False))
        self.notes.append("customers have other names there and stand for each other by their place in the list")

    @property
    def _has_other_rows(self) -> bool:
        return self.variant.rows is not None or self.variant.network is not None

    def commands(self, recorded: Command, engine: Engine) -> Iterator[Command]:
        """Lazily: a proposal is made from the state that the commands before it have led to."""
        if self.variant.name == AS_RECORDED:
            yield recorded
            return
        match recorded:
            case OpenArea():
                yield msgspec.structs.replace(recorded, settings=self._settings, customers=self._terms)
            case AmendSettings() if self._rule:
                yield msgspec.structs.replace(recorded, settings=_settings(recorded.settings, self._rule))
            case InstallRows():
                yield self._installed(recorded)
            case OpenInterval():
                yield self._opened(recorded)
            case ChangeRows() if self._has_other_rows:
                self.left_out += 1
            case EnterPhase() if self._rule == "auction" and recorded.phase == "continuous":
                yield msgspec.structs.replace(recorded, phase="auction")
            case CloseGate():
                if self._rule == "auction":
                    yield from self._last_calls(recorded, engine)
                yield recorded
            case Uncross():
                yield from self._uncrossed(recorded, engine)
            case Sweep():
                yield from self._placed(recorded.place, engine)
            case Place():
                yield from self._placed(recorded, engine)
            case _:
                yield self._renamed(recorded)

    def ending(self, engine: Engine) -> Iterator[Command]:
        """What ends the auctions that had not reached their gate when the record stops; nothing where there is no such rule."""
        intervals = [interval for name in sorted(engine.areas) for interval in engine.areas[name].intervals.values()]
        waiting = [interval for interval in intervals if interval.phase == "auction"]
        if self._rule != "auction" or not waiting:
            return
        self.notes.append(f"{len(waiting)} auction(s) were ended with the record, before their gate")
        for interval in waiting:
            yield from self._ask(engine, interval.area.name, interval.start_ms, ends_auction=True)

    # --- orders ---------------------------------------------------------------------------------------------------

    def _placed(self, place: Place, engine: Engine) -> Iterator[Command]:
        renamed: Place = self._renamed(place)
        if self._rule != "joint":
            yield renamed
            return
        yield self._solver.propose(engine, renamed) or renamed
        if self._solver.may_uncross(engine, place.area, place.interval_ms):
            yield from self._ask(engine, place.area, place.interval_ms, ends_auction=False)

    def _ask(self, engine: Engine, area: str, interval_ms: int, *, ends_auction: bool) -> Iterator[Command]:
        proposal = self._solver.uncross(engine, area, interval_ms, ends_auction=ends_auction)
        if proposal is not None:
            yield proposal

    def _renamed(self, command: Any) -> Any:
        is_personal = isinstance(command, CustomerCommand | Suspend | Reinstate | AmendTerms)
        if not self._names or not is_personal or command.customer is None:
            return command
        return msgspec.structs.replace(command, customer=self.name_of(command.customer))

    def name_of(self, customer: str) -> str:
        """Who stands for this customer."""
        return self._names.get(customer, customer)

    # --- auctions -------------------------------------------------------------------------------------------------

    def _last_calls(self, gate: CloseGate, engine: Engine) -> Iterator[Command]:
        """What ends the auctions of an interval, right before its gate closes."""
        for name in sorted(engine.areas) if gate.area is None else [gate.area]:
            interval = engine.areas[name].intervals.get(gate.interval_ms)
            if interval is not None and interval.phase == "auction":
                yield from self._ask(engine, name, gate.interval_ms, ends_auction=True)

    def _uncrossed(self, recorded: Uncross, engine: Engine) -> Iterator[Command]:
        if self._rule == "joint":
            yield from self._ask(engine, recorded.area, recorded.interval_ms, ends_auction=recorded.ends_auction)
        elif self._rule != "auction" and recorded.ends_auction:
            area = engine.areas.get(recorded.area)
            interval = None if area is None else area.intervals.get(recorded.interval_ms)
            in_force = recorded.rows_hash if interval is None else interval.rows_hash
            yield msgspec.structs.replace(recorded, rows_hash=in_force, changes=(), row_price_mct=())
        else:
            self.left_out += 1

    # --- rows -----------------------------------------------------------------------------------------------------

    def _installed(self, recorded: InstallRows) -> InstallRows:
        per_mille = _tightened(self.variant.rows)
        if per_mille:
            self._rows = Polytope.from_bytes(recorded.polytope).tightened(per_mille)
        return recorded if self._rows is None else InstallRows(recorded.area, self._rows.to_bytes())

    def _opened(self, recorded: OpenInterval) -> OpenInterval:
        phase = "auction" if self._rule == "auction" and recorded.phase == "continuous" else recorded.phase
        opened = msgspec.structs.replace(recorded, phase=phase)
        if not self._has_other_rows:
            return opened
        assert self._rows is not None, "an interval before its rows"
        if self.variant.network is None and self._rows.is_secure(recorded.export_w + recorded.import_w):
            return msgspec.structs.replace(opened, rows_hash=self._rows.content_hash)
        export_w, import_w = self._allocation()
        return msgspec.structs.replace(opened, rows_hash=self._rows.content_hash, export_w=export_w, import_w=import_w)

    def _allocation(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Max-min between failsafe and rating, once. Raises InsecureFloorsError where not even the failsafe envelopes fit."""
        if self._max_min is None:
            assert self._rows is not None
            low = [t.failsafe_export_w for t in self._terms] + [t.failsafe_import_w for t in self._terms]
            high = [t.rating_export_w for t in self._terms] + [t.rating_import_w for t in self._terms]
            given = max_min(self._rows, low, high)
            self._max_min = tuple(map(int, given.export_w)), tuple(map(int, given.import_w))
            self.notes.append("the recorded envelopes are not secure on these rows: max-min anew")
        return self._max_min


def _rule_of(variant: Variant, settings: MarketSettings) -> Rule | None:
    """On other rows a market that was recorded with joint fills needs new proposals."""
    if variant.rule is None and settings.sweeps and (variant.rows or variant.network):
        return "joint"
    return variant.rule


def _settings(recorded: MarketSettings, rule: Rule) -> MarketSettings:
    matching = "one_to_one" if rule == "one_to_one" else "exchange_rate"
    if rule != "auction":
        return msgspec.structs.replace(recorded, matching=matching, sweeps=rule == "joint")
    return msgspec.structs.replace(recorded, matching=matching, sweeps=False, call_auctions=False, pause_mct=0)


def _tightened(rows: str | None) -> int:
    """Per mille of `tightened:N`; 0 for anything else."""
    kind, _, amount = (rows or "").partition(":")
    if kind != "tightened":
        return 0
    if not amount.isdigit() or not 0 < int(amount) <= 1_000_000:
        raise VariantError(f"rows={rows}: give per mille, a whole number above 0, like rows=tightened:20")
    return int(amount)


def _read_rows(source: str | None, rights: int) -> Polytope:
    try:
        rows = Polytope.from_bytes(Path(str(source)).read_bytes())
    except OSError as error:
        raise VariantError(f"rows={source}: {error.strerror}; give a file, tightened:PER_MILLE or none") from error
    except ValueError as error:
        raise VariantError(f"rows={source}: {error}") from error
    if rows.n_rights != rights:
        raise VariantError(f"rows={source}: rows for {rows.n_rights // 2} customers, the area has {rights // 2}")
    return rows

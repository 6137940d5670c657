"""What if: the same customers' requests against another rule, other rows or another network, each in an engine of its own.

A tape is what an exchange was told, as (market time, command): a journal's commands as they are, or those that a schedule puts
around an order log. Each variant (`replay/variants.py`) goes through the tape once and tells of each command what takes its place;
the engine decides it; an outcome is folded from the events. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from envelopes.refresh import Plan
from exchange import search
from exchange.bounds import MarketSettings
from exchange.commands import Command, OpenArea
from exchange.engine import Engine
from replay.outcome import Fold, Outcome, worth_mct
from replay.rebuild import batches
from replay.variants import Edition, Solver, Variant, VariantError
from riskcheck.headroom import warm

Tape = Sequence[Command]
PlanOf = Callable[[str, MarketSettings], Plan]


def tape_of_journal(path: Path) -> list[Command]:
    """Every command of a journal, in order. Raises JournalError."""
    return [command for *_, commands in batches(path) for command in commands]


def run(tape: Tape, variant: Variant, plan_of: PlanOf) -> Outcome:
    """One variant from beginning to end. Raises VariantError."""
    return play(tape, Edition(variant, opening_of(tape), _proposer(), plan_of))


def play(tape: Tape, edition: Edition, on_command: Callable[[int], None] = lambda _done: None) -> Outcome:
    """The tape in an edition that was not played yet; `on_command` hears how many of its commands are done."""
    worth = {(edition.name_of(customer), order_id): price for (customer, order_id), price in worth_mct(tape).items()}
    engine, fold, began_s = Engine(), Fold(opening_of(tape).settings.interval_ms, worth), time.perf_counter()
    for done, told in enumerate(tape):
        for command in edition.commands(told, engine):
            fold.take(command, engine.apply(command))
        if done % 100 == 0:
            on_command(done)
    for command in edition.ending(engine):
        fold.take(command, engine.apply(command))
    engine.check()
    seconds = time.perf_counter() - began_s
    return fold.outcome(edition.variant.name, left_out=edition.left_out, seconds=seconds, notes=edition.notes)


def _proposer() -> Solver:
    """The exchange's own; it brings OSQP along."""
    from exchange.proposer import Proposer

    return Proposer()


def opening_of(tape: Tape) -> OpenArea:
    """The area that the tape is about. Raises VariantError where there is none, or more than one."""
    opened = [command for command in tape if isinstance(command, OpenArea)]
    if len({command.area for command in opened}) != 1:
        raise VariantError(f"a comparison needs one area, this journal opens {len(opened)}")
    return opened[0]


def compare(
    tape: Tape, variants: Sequence[Variant], plan_of: PlanOf, progress: Callable[[str, float], None] = lambda _what, _share: None
) -> Iterator[Outcome]:
    """One outcome per variant, in their order. A variant that cannot be run is refused before the first one is."""
    warm()
    search.warm()
    recorded = opening_of(tape)
    editions = [Edition(variant, recorded, _proposer(), plan_of) for variant in variants]
    for place, edition in enumerate(editions):

        def tell(done: int, name: str = edition.variant.name, place: int = place) -> None:
            progress(f"running {name}", (place + done / len(tape)) / len(editions))

        yield play(tape, edition, tell)

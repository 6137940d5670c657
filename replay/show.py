"""What the commands of replay print: settlements, comparisons, counts. Only looks; rich is imported when a table is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from replay.settlement import DIRECTIONS, OPERATOR, WATTS, Statement, Total
from replay.tape import interval_name, printable

if TYPE_CHECKING:
    from rich.console import Console

    from replay.outcome import Outcome

PIPED_COLUMNS = 140  # where there is no terminal to tell its width


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, width=PIPED_COLUMNS, highlight=False)


def cents(mct: int) -> str:
    return f"{mct / 1000:+.3f}"


# --- settlement ---------------------------------------------------------------------------------------------------


def totals_table(statements: Sequence[Statement], totals: Sequence[Total]) -> None:
    """Everyone over all intervals, the operator last, and what it sums to."""
    from rich.table import Table

    settled = sum(statement.state == "settled" for statement in statements)
    table = Table(title=f"{settled} intervals settled, {len(statements) - settled} open (as they stand); watts added over intervals")
    table.add_column("customer")
    for heading in ("bought W", "sold W", "rebased W", "cash ct", "of it compensated ct"):
        table.add_column(heading, justify="right")
    for one in totals:
        watts = ("", "", "") if one.customer == OPERATOR else (str(one.bought_w), str(one.sold_w), str(one.rebased_w))
        table.add_row(printable(one.customer), *watts, cents(one.cash_mct), cents(one.compensated_mct))
    table.add_section()
    table.add_row("sum", "", "", "", cents(sum(one.cash_mct for one in totals)), cents(sum(one.compensated_mct for one in totals)))
    console().print(table)


def customer_table(customer: str, statements: Sequence[Statement]) -> None:
    """One customer, interval by interval: export / import watts."""
    from rich.table import Table

    table = Table(title=f"{customer}: watts of export / import limit")
    table.add_column("interval")
    for heading in (*WATTS, "cash ct"):
        table.add_column(heading, justify="right")
    for statement in statements:
        for one in statement.accounts:
            if one.customer == customer:
                pairs = (one.allocation_w, one.raised_w, one.bought_w, one.sold_w, one.rebased_w, one.holding_w)
                watts = (f"{exported} / {imported}" for exported, imported in pairs)
                table.add_row(f"{interval_name(statement.interval_ms)} {statement.state}", *watts, cents(one.cash_mct))
    console().print(table)


def tell_balance(statements: Sequence[Statement], problems: Sequence[str]) -> None:
    """Whether it adds up, said."""
    for problem in problems:
        print(f"PROBLEM {printable(problem)}")
    if not problems:
        print(f"every interval's cash sums to zero, every holding to what happened to it: {len(statements)} intervals checked")


# --- what if ------------------------------------------------------------------------------------------------------


def figures(outcomes: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    """(figure, one text per outcome): the same rows in the terminal and on the page."""
    first = outcomes[0].welfare_mct
    listed: list[tuple[str, list[str]]] = [
        ("welfare, ct", [f"{one.welfare_mct / 1000:.3f}" for one in outcomes]),
        ("welfare, of the first", [f"{one.welfare_mct / first:.3f}" if first else "" for one in outcomes]),
        ("surplus at the moment's limits, ct", [f"{one.surplus_mct / 1000:.3f}" for one in outcomes]),
        *((f"{way} limit traded, kWh", [f"{one.traded_kwh[way]:.3f}" for one in outcomes]) for way in DIRECTIONS),
        ("left over taken, kWh", [f"{one.leftover_kwh:.3f}" for one in outcomes]),
        *((f"mean price of {way}, ct/kWh", [_price(one.price_mean_mct[way]) for one in outcomes]) for way in DIRECTIONS),
        ("trades", [str(one.trades) for one in outcomes]),
        ("orders accepted", [str(one.orders) for one in outcomes]),
        ("orders told of a blocking row", [str(one.blocked_orders) for one in outcomes]),
        ("crossing at the gate, kWh", [f"{one.crossing_kwh:.3f}" for one in outcomes]),
        ("smallest envelope, W", ["" if one.smallest_w is None else str(one.smallest_w) for one in outcomes]),
        *((f"Jain's index of {way}", ["" if one.jain[way] is None else f"{one.jain[way]:.4f}" for one in outcomes]) for way in DIRECTIONS),
        ("buyers paid, ct", [f"{one.turnover_mct / 1000:.3f}" for one in outcomes]),
        ("operator earned, ct", [cents(one.operator_mct) for one in outcomes]),
        ("compensated, ct", [f"{one.compensated_mct / 1000:.3f}" for one in outcomes]),
        ("cancels, changes too late", [str(one.late) for one in outcomes]),
        ("other rejects", [_counts(one.rejects, one.late) for one in outcomes]),
        ("operator refused / left out", [f"{one.refused} / {one.left_out}" for one in outcomes]),
        ("seconds", [f"{one.seconds:.2f}" for one in outcomes]),
    ]
    return [(name, texts) for name, texts in listed if any(texts)]


def _price(price_mct: int | None) -> str:
    return "none" if price_mct is None else f"{price_mct / 1000:.3f}"


def _counts(rejects: Mapping[str, int], late: int) -> str:
    return str(sum(rejects.values()) - late)


def outcomes_table(outcomes: Sequence[Outcome]) -> None:
    """Side by side: a column for each variant."""
    from rich.table import Table

    table = Table()
    table.add_column("", no_wrap=True)
    for one in outcomes:
        table.add_column(one.name, justify="right", overflow="fold")
    for name, texts in figures(outcomes):
        table.add_row(name, *texts)
    console().print(table)
    for note in notes(outcomes):
        print(printable(note))


def notes(outcomes: Sequence[Outcome]) -> list[str]:
    """What a reader must know of an outcome, its problems first."""
    found = [f"{one.name}: PROBLEM: {problem}" for one in outcomes for problem in one.problems]
    return found + [f"{one.name}: {note}" for one in outcomes for note in one.notes]


def tell_rejects(rejects: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in rejects.items()) or "none"

"""The mutator makes the mistakes that it promises, one at a time, and leaves alone what judges."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.mutation.mutants import mutants_of, tree_of

SOURCE = '''
"""A text."""
LEAST = 3
NAMES = {"a": 1}

def room(row, shown_w, open_w, side):
    """Another."""
    assert row >= 0, "not mutated"
    if row < LEAST and side == "buy":
        return min(shown_w, open_w)
    row.taken += f(shown_w, open_w)
    return -row.left

def check_room(row):
    assert row.left > 0 or row.taken == 1
'''


def written(folder: Path) -> Path:
    path = folder / "source.py"
    path.write_text(SOURCE)
    return path


def test_every_mistake_is_named_by_its_statement(tmp_path: Path) -> None:
    assert [mutant.key for mutant in mutants_of(written(tmp_path))] == [
        ": LEAST = 3 -> LEAST = 4",
        ": LEAST = 3 -> LEAST = 2",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST or side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST:",
        "room: if row < LEAST and side == 'buy': -> if row <= LEAST and side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row >= LEAST and side == 'buy':",
        "room: if row < LEAST and side == 'buy': -> if row < LEAST and side != 'buy':",
        "room: if row < LEAST and side == 'buy': -> if not (row < LEAST and side == 'buy'):",
        "room: if row < LEAST and side == 'buy': -> if False:",
        "room: return min(shown_w, open_w) -> return max(shown_w, open_w)",
        "room: row.taken += f(shown_w, open_w) -> pass",
        "room: row.taken += f(shown_w, open_w) -> row.taken += f(open_w, shown_w)",
        "room: row.taken += f(shown_w, open_w) -> row.taken -= f(shown_w, open_w)",
        "room: return -row.left -> return row.left",
    ]


def test_a_tree_has_exactly_the_mistake_of_its_index(tmp_path: Path) -> None:
    path = written(tmp_path)
    same = ast.unparse(tree_of(path, None))
    for mutant in mutants_of(path):
        other = ast.unparse(tree_of(path, mutant.index))
        assert sum(line != mistaken for line, mistaken in zip(same.splitlines(), other.splitlines(), strict=True)) == 1
        assert mutant.after in " ".join(other.split())

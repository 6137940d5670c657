"""Small mistakes, one at a time: every place of a file where a programmer could have slipped, and the file with the slip.

A mutant turns a comparison, a sign, an operator or a condition, moves a number by one, takes `or` for `and`, `min` for `max`, the other
side or direction, swaps two arguments of the same unit, drops a condition, or forgets a statement. Not touched are what judges
(`assert`, functions called `check...`), what only compiles (`warm`), words for people (f-strings, texts with blanks), types, and numbers
that are only names (`NOTHING, PAIR = 0, 1`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
CALLED = {"min": "max", "any": "all", "ceil": "floor"}
CALLED |= {twin: name for name, twin in CALLED.items()}
MEMBERS = {"buys": "sells", "give": "receive", "offered_w": "wanted_w", "bought_w": "sold_w"}
MEMBERS |= {twin: name for name, twin in MEMBERS.items()}
WORDS = {
    "buy": "sell", "export": "import", "ioc": "fok", "auction": "continuous", "frozen": "announced", "gate": "until", "closed": "delivery",
    "allow": "cancel_incoming", "remainder": "self_trade", "sweep": "uncross", "one_to_one": "exchange_rate",
}  # fmt: skip
EITHER = ("buy", "sell", "export", "import")  # to compare with the one is not to compare with the other
WORDS |= {twin: word for word, twin in WORDS.items()}
SAME_KIND = ({"buyer", "seller"}, {"take", "give"}, {"bought", "sold"}, {"before", "after"}, {"taker", "maker", "order"})
UNITS = ("_w", "_mct", "_ms")
Put = Callable[[ast.AST], None]
ROOT = Path(__file__).parents[2]


class Site(NamedTuple):
    """One mistake: how it is put and taken back, and the statement that it is in."""

    function: str
    statement: ast.stmt
    put: Put
    original: ast.AST
    mistake: ast.AST


class Mutant(NamedTuple):
    """`before` and `after` are the statement as text: they name the mutant as long as the statement stands."""

    path: Path
    index: int
    line: int
    function: str
    before: str
    after: str

    @property
    def key(self) -> str:
        return f"{self.function}: {self.before} -> {self.after}"

    @property
    def file(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def sentence(self) -> str:
        return f"{self.file} {self.key}"

    @property
    def name(self) -> str:
        """Of this one alone: the same statement may stand twice in a function."""
        return f"{self.file}:{self.line} {self.key} ({self.index})"


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    return [_describe(path, index, site) for index, site in enumerate(_sites(path)[1])]


def tree_of(path: Path, index: int | None) -> ast.Module:
    """The file's syntax with one mistake in it; None for none."""
    tree, sites = _sites(path)
    if index is not None:
        sites[index].put(sites[index].mistake)
    return ast.fix_missing_locations(tree)


def _describe(path: Path, index: int, site: Site) -> Mutant:
    before = _head(site.statement)
    site.put(site.mistake)
    after = "pass" if isinstance(site.mistake, ast.Pass) else _head(site.statement)
    site.put(site.original)
    return Mutant(path, index, site.statement.lineno, site.function, before, after)


def _head(statement: ast.stmt) -> str:
    """One line; of a statement with a body its head."""
    kept = {name: getattr(statement, name) for name in ("body", "orelse") if hasattr(statement, name)}
    for name in kept:
        setattr(statement, name, [])
    text = ast.unparse(statement)
    for name, body in kept.items():
        setattr(statement, name, body)
    return " ".join(text.split())


# --- where -------------------------------------------------------------------------------------------------------


def _sites(path: Path) -> tuple[ast.Module, list[Site]]:
    tree = ast.parse(path.read_text())
    return tree, list(_in_body(tree.body, "", in_function=False))


def _in_body(body: list[ast.stmt], function: str, *, in_function: bool) -> Iterator[Site]:
    for place, statement in enumerate(body):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            if not statement.name.startswith(("check", "warm", "__repr__")):
                name, is_function = f"{function}.{statement.name}".lstrip("."), isinstance(statement, ast.FunctionDef)
                yield from _in_body(statement.body, name, in_function=is_function)
        elif not _is_left_alone(statement, in_function):
            yield from _in_statement(statement, _setter(body, place), function, in_function)


def _is_left_alone(statement: ast.stmt, in_function: bool) -> bool:
    if isinstance(statement, ast.Assert | ast.Import | ast.ImportFrom | ast.Raise | ast.Pass):
        return True
    if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING":
        return True
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True  # a docstring
    has_text = any(isinstance(node, ast.Constant) and isinstance(node.value, str) for node in ast.walk(statement))
    return not in_function and (has_text or isinstance(getattr(statement, "value", None), ast.Subscript | ast.Dict | ast.Call | ast.Tuple))


def _in_statement(statement: ast.stmt, put: Put, function: str, in_function: bool) -> Iterator[Site]:
    if in_function and _can_be_forgotten(statement):
        yield Site(function, statement, put, statement, ast.Pass())
    for field in ("test", "iter", "value", "target", "targets"):
        for holder, place, node in _held(statement, field, getattr(statement, field, None)):
            if not (field in ("target", "targets") and isinstance(node, ast.Name)):
                yield from (Site(function, statement, *found) for found in _in_expression(node, _setter(holder, place)))
    yield from (Site(function, statement, *found) for found in _turned(statement))
    for field in ("body", "orelse"):
        yield from _in_body(getattr(statement, field, []), function, in_function=in_function)


def _turned(statement: ast.stmt) -> Iterator[tuple[Put, ast.AST, ast.AST]]:
    """A condition that is negated, or never holds; `-=` for `+=`."""
    if isinstance(statement, ast.If | ast.While):
        put, test = _setter(statement, "test"), statement.test
        if not isinstance(test, ast.UnaryOp | ast.Compare):
            yield put, test, ast.UnaryOp(ast.Not(), test)
        if isinstance(statement, ast.If) and isinstance(statement.body[-1], ast.Return | ast.Continue | ast.Break):
            yield put, test, ast.Constant(value=False)
    if isinstance(statement, ast.AugAssign) and type(statement.op) in CALCULATED:
        yield _setter(statement, "op"), statement.op, CALCULATED[type(statement.op)]()


def _held(owner: ast.AST, field: str, held: object) -> Iterator[tuple[object, str | int, ast.AST]]:
    """The nodes in a field, and where each is held."""
    if isinstance(held, list):
        yield from ((held, place, node) for place, node in enumerate(held) if isinstance(node, ast.AST))
    elif isinstance(held, ast.AST):
        yield owner, field, held


def _can_be_forgotten(statement: ast.stmt) -> bool:
    """What changes something; without the assignment of a local name the rest could not run."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, ast.Assign):
        names = statement.targets[0].elts if isinstance(statement.targets[0], ast.Tuple) else statement.targets
        return not any(isinstance(name, ast.Name) for name in names)
    return isinstance(statement, ast.AugAssign | ast.Delete | ast.Continue | ast.Break)


def _setter(holder: object, place: str | int) -> Put:
    def put(node: ast.AST) -> None:
        if isinstance(holder, list):
            holder[int(place)] = node
        else:
            setattr(holder, str(place), node)

    return put


# --- what --------------------------------------------------------------------------------------------------------


def _in_expression(node: ast.AST, put: Put) -> Iterator[tuple[Put, ast.AST, ast.AST]]:
    """The mistakes at this node, then those further inside."""
    if isinstance(node, ast.JoinedStr) or _is_shape(node):
        return
    yield from ((put, node, mistake) for mistake in _mistakes(node))
    is_either = isinstance(node, ast.Compare) and any(isinstance(part, ast.Constant) and part.value in EITHER for part in node.comparators)
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            yield from ((_setter(node.ops, place), operator, other()) for other in COMPARED[type(operator)])
    for field, held in ast.iter_fields(node):
        if field not in ("annotation", "ctx", "ops", "op") and not (field == "comparators" and is_either):
            for holder, place, inside in _held(node, field, held):
                yield from _in_expression(inside, _setter(holder, place))


def _is_shape(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape"


def _mistakes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool()):
            yield ast.Constant(value=not node.value)
        case ast.Constant(value=int()):
            yield from (ast.Constant(value=node.value + by) for by in (1, -1))
        case ast.Constant(value=str()) if node.value and " " not in node.value:
            yield ast.Constant(value=WORDS.get(node.value, node.value + "~"))
        case ast.BinOp(op=op) if type(op) in CALCULATED and not _is_text(node):
            yield ast.BinOp(node.left, CALCULATED[type(op)](), node.right)
        case ast.UnaryOp():
            yield node.operand
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            yield from (_without(node, place) for place in range(len(node.values)))
        case ast.IfExp():
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.comprehension() if node.ifs:
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
            yield ast.comprehension(node.target, node.iter, [ast.UnaryOp(ast.Not(), test) for test in node.ifs], node.is_async)
        case ast.Name(id=name) if name in CALLED:
            yield ast.Name(CALLED[name], node.ctx)
        case ast.Attribute(attr=name) if name in MEMBERS:
            yield ast.Attribute(node.value, MEMBERS[name], node.ctx)
        case ast.Call():
            yield from _miscalled(node)


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(part, ast.JoinedStr | ast.List | ast.Tuple) for part in (node.left, node.right))


def _without(node: ast.BoolOp, place: int) -> ast.expr:
    rest = node.values[:place] + node.values[place + 1 :]
    return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _miscalled(node: ast.Call) -> Iterator[ast.AST]:
    """Two neighbours of the same kind swapped; an order that is forgotten."""
    is_either_way = isinstance(node.func, ast.Name) and node.func.id in CALLED
    for place in range(0 if is_either_way else len(node.args) - 1):
        first, second = node.args[place : place + 2]
        if _same_kind(_name(first), _name(second)):
            yield ast.Call(node.func, [*node.args[:place], second, first, *node.args[place + 2 :]], node.keywords)
    if isinstance(node.func, ast.Name) and node.func.id == "sorted":
        yield ast.Call(ast.Name("list", ast.Load()), node.args[:1], [])


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _same_kind(first: str, second: str) -> bool:
    if not first or not second or first == second:
        return False
    return any(first.endswith(unit) and second.endswith(unit) for unit in UNITS) or any({first, second} <= kind for kind in SAME_KIND)

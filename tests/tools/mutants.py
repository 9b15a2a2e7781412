"""Faults that can be planted in a source: :mod:`tests.tools.mutation` plants them.

What hardware is made of, blocks and connections within a ``construct``, is changed by
:func:`find_in_hardware`; plain Python by :func:`find_in_software`.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """In ``file``, characters ``start`` to ``end`` become ``after``.

    text: the line of code, and ``nth`` of those that read the same; column: within ``text``.
    """

    file: str
    text: str
    nth: int
    column: int
    operator: str
    start: int
    end: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """Says all of it, and stays the same while other lines of the file change."""
        after = " ".join(self.after.split()) or "nothing"
        nth = f" ({self.nth})" if self.nth > 1 else ""
        return f"{self.file}: {self.text}{nth}:{self.column} {self.operator}: {after}"

    def apply(self, source: str) -> str:
        assert source[self.start : self.end] == self.before
        return source[: self.start] + self.after + source[self.end :]


COMPARISONS = {
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
}  # fmt: skip


class _Finder:
    """Collects the mutants of a source, node by node."""

    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.lines = [0]
        self.texts = source.splitlines(keepends=True)
        for text in self.texts:
            self.lines.append(self.lines[-1] + len(text))
        # Each line's code, and how many have read the same so far, with it.
        self.code = [text.strip() for text in self.texts]
        so_far: Counter[str] = Counter()
        self.nth = []
        for text in self.code:
            so_far[text] += 1
            self.nth.append(so_far[text])
        self.found: list[Mutant] = []

    def all(self) -> list[Mutant]:
        self._module(ast.parse(self.source))
        unique = {(m.start, m.end, m.after): m for m in self.found}
        return sorted(unique.values(), key=lambda m: (m.start, m.end, m.operator, m.after))

    def _module(self, module: ast.Module) -> None:
        raise NotImplementedError

    def _place(self, line: int, column: int) -> int:
        # The parser counts bytes.
        return self.lines[line - 1] + len(self.texts[line - 1].encode()[:column].decode())

    def _start(self, node: Any) -> int:
        return self._place(node.lineno, node.col_offset)

    def _end(self, node: Any) -> int:
        return self._place(node.end_lineno, node.end_col_offset)

    def _text(self, node: Any) -> str:
        return self.source[self._start(node) : self._end(node)]

    def _add(self, operator: str, start: int, end: int, after: str) -> None:
        line = self.source.count("\n", 0, start)
        text = self.code[line]
        column = start - self.lines[line] - self.texts[line].index(text)
        before = self.source[start:end]
        mutant = Mutant(
            self.file, text, self.nth[line], column, operator, start, end, before, after
        )
        self.found.append(mutant)

    def _replace(self, operator: str, node: Any, after: str) -> None:
        self._add(operator, self._start(node), self._end(node), after)

    def _operator(self, kind: str, left: Any, right: Any, symbols: tuple[str, str]) -> None:
        start, end = self._end(left), self._start(right)
        at = self.source.index(symbols[0], start, end)
        self._add(kind, at, at + len(symbols[0]), symbols[1])


HARDWARE_OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
WIDTHS = ("zext", "sext", "trunc", "range", "mk_bits")
"""Arguments of these are Python's, not values of the hardware."""


class _Hardware(_Finder):
    def _module(self, module: ast.Module) -> None:
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and node.name == "construct":
                self._structure(node.body)

    def _structure(self, body: Sequence[ast.stmt]) -> None:
        """Update blocks, connections, and the constants that are made for them."""
        before: ast.AugAssign | None = None
        for node in body:
            connection = (
                node
                if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.FloorDiv)
                else None
            )
            if connection is not None:
                self._slices(connection)
                if before is not None and self._text(before.value) != self._text(node.value):
                    start, end = self._start(before.value), self._end(connection.value)
                    between = self.source[self._end(before.value) : self._start(connection.value)]
                    swapped = self._text(connection.value) + between + self._text(before.value)
                    self._add("connections swapped", start, end, swapped)
            before = connection
            if isinstance(node, ast.FunctionDef):
                sequential = any(self._text(d) == "update_ff" for d in node.decorator_list)
                self._block(node.body, sequential, in_reset=False)
            elif isinstance(node, ast.For | ast.If):
                self._structure(node.body)
                self._structure(node.orelse)
            elif isinstance(node, ast.Assign) and not re.search(
                r"nbits|\(|\[|\{", self._text(node)
            ):
                self._expression(node.value, "constant")

    def _slices(self, root: ast.AST) -> None:
        for node in ast.walk(root):
            if isinstance(node, ast.Subscript):
                self._select(node.slice)

    def _select(self, node: ast.AST) -> None:
        """Shifted by a place, where it starts at a number."""
        if isinstance(node, ast.Slice):
            low, high = node.lower, node.upper
            if isinstance(low, ast.Constant) and high is not None:
                by = -1 if low.value else 1
                end = (
                    str(high.value + by)
                    if isinstance(high, ast.Constant)
                    else f"{self._text(high)} {'-' if by < 0 else '+'} 1"
                )
                self._replace("slice shifted", node, f"{low.value + by}:{end}")
        elif isinstance(node, ast.Constant):
            self._replace("slice shifted", node, str(node.value + (-1 if node.value else 1)))
        else:
            self._expression(node, "constant")

    def _block(self, body: Sequence[ast.stmt], sequential: bool, in_reset: bool) -> None:
        for node in body:
            if isinstance(node, ast.AugAssign):
                self._expression(node.value, "reset value" if in_reset else "constant")
                self._slices(node.target)
                # Without a statement a block has no translation; a register can keep its value.
                if len(body) > 1:
                    self._replace("assignment dropped", node, "")
                elif sequential:
                    self._replace("assignment dropped", node.value, self._text(node.target))
            elif isinstance(node, ast.If):
                test = self._text(node.test)
                self._replace("condition negated", node.test, f"~({test})")
                self._replace("condition removed", node.test, f"({test}) | ~({test})")
                self._expression(node.test, "constant")
                self._block(node.body, sequential, in_reset or "s.reset" in test)
                self._block(node.orelse, sequential, in_reset)
            elif isinstance(node, ast.For):
                self._block(node.body, sequential, in_reset)

    def _expression(self, node: ast.AST, constant: str) -> None:
        if isinstance(node, ast.BinOp):
            for side in (node.left, node.right):
                self._expression(side, constant)
            if type(node.op) in HARDWARE_OPERATORS:
                self._operator("operator", node.left, node.right, HARDWARE_OPERATORS[type(node.op)])
            if isinstance(node.op, ast.BitAnd | ast.BitOr):
                for side in (node.left, node.right):
                    self._replace("operand dropped", node, f"({self._text(side)})")
        elif isinstance(node, ast.Compare):
            (right,) = node.comparators
            for side in (node.left, right):
                self._expression(side, constant)
            self._operator("comparison", node.left, right, COMPARISONS[type(node.ops[0])])
        elif isinstance(node, ast.UnaryOp):
            self._expression(node.operand, constant)
            if isinstance(node.op, ast.Invert):
                self._replace("negation dropped", node, self._text(node.operand))
        elif isinstance(node, ast.IfExp):
            swapped = f"{self._text(node.orelse)} if {self._text(node.test)} else "
            self._replace("branches swapped", node, swapped + self._text(node.body))
        elif isinstance(node, ast.Subscript):
            self._expression(node.value, constant)
            self._select(node.slice)
        elif isinstance(node, ast.Attribute):
            self._expression(node.value, constant)
        elif isinstance(node, ast.Call):
            is_width = isinstance(node.func, ast.Name) and node.func.id in WIDTHS
            for argument in node.args[: 1 if is_width else None]:
                self._expression(argument, constant)
        elif isinstance(node, ast.Tuple):
            for item in node.elts:
                self._expression(item, constant)
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            for other in {node.value + 1, abs(node.value - 1)}:
                self._replace(constant, node, str(other))


SOFTWARE_OPERATORS: dict[type[ast.operator], tuple[str, str]] = HARDWARE_OPERATORS | {
    ast.Mult: ("*", "+"), ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
}  # fmt: skip
COUNTERPARTS = {
    "min": "max", "max": "min", "any": "all", "all": "any",
    "minimum": "maximum", "maximum": "minimum",
}  # fmt: skip


class _Software(_Finder):
    """Plain Python, but for what users read: docstrings, annotations, texts of errors."""

    def _module(self, module: ast.Module) -> None:
        self._statements(module.body)

    def _statements(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef():
                if node.name not in ("__str__", "__repr__"):
                    for default in [*node.args.defaults, *node.args.kw_defaults]:
                        self._expression(default)
                    self._statements(node.body)
            case ast.ClassDef():
                self._statements(node.body)
            case ast.Raise() | ast.Continue() | ast.Break():
                self._replace("statement dropped", node, "pass")
            case ast.Expr(value=ast.Call() | ast.YieldFrom() | ast.Yield()):
                self._replace("statement dropped", node, "pass")
                self._expression(node.value)
            case ast.Assign():
                # Without a variable most mutants would end at the next line.
                if not isinstance(node.targets[0], ast.Name | ast.Tuple):
                    self._replace("statement dropped", node, "pass")
                    self._expression(node.targets[0])
                self._expression(node.value)
            case ast.AugAssign():
                self._replace("statement dropped", node, "pass")
                self._expression(node.target)
                if type(node.op) in SOFTWARE_OPERATORS:
                    symbols = SOFTWARE_OPERATORS[type(node.op)]
                    self._operator("operator", node.target, node.value, symbols)
                self._expression(node.value)
            case ast.AnnAssign() | ast.Return():
                self._expression(node.value)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.If() | ast.While():
                self._condition(node.test)
                self._statements(node.body)
                self._statements(node.orelse)
            case ast.For():
                self._expression(node.iter)
                self._statements(node.body)
                self._statements(node.orelse)
            case ast.With():
                for item in node.items:
                    self._expression(item.context_expr)
                self._statements(node.body)
            case ast.Try():
                for part in (node.body, node.orelse, node.finalbody):
                    self._statements(part)
                for handler in node.handlers:
                    self._statements(handler.body)
            case ast.Match():
                self._expression(node.subject)
                for branch in node.cases:
                    if branch.guard is not None:
                        self._condition(branch.guard)
                    self._statements(branch.body)

    def _condition(self, test: ast.expr) -> None:
        text = self._text(test)
        self._replace("condition negated", test, f"not ({text})")
        self._replace("condition removed", test, f"({text} or True)")
        self._expression(test)

    def _expression(self, node: ast.AST | None) -> None:
        match node:
            case None | ast.JoinedStr():
                return
            case ast.BinOp():
                self._binary(node)
            case ast.BoolOp():
                symbols = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in itertools.pairwise(node.values):
                    self._operator("operator", left, right, symbols)
                start, end = self._end(node.values[-2]), self._end(node)
                self._add("operand dropped", start, end, self._closing(start, end))
                start, end = self._start(node), self._start(node.values[1])
                self._add("operand dropped", start, end, self._opening(start, end))
            case ast.Compare():
                sides = [node.left, *node.comparators]
                for (left, right), op in zip(itertools.pairwise(sides), node.ops, strict=True):
                    self._operator("comparison", left, right, COMPARISONS[type(op)])
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                self._replace("negation dropped", node, f"({self._text(node.operand)})")
            case ast.IfExp():
                body, orelse = self._text(node.body), self._text(node.orelse)
                swapped = f"(({orelse}) if {self._text(node.test)} else ({body}))"
                self._replace("branches swapped", node, swapped)
            case ast.Call():
                self._call(node)
            case ast.Subscript(slice=ast.Slice() as bounds):
                for bound in (bounds.lower, bounds.upper):
                    # A bound that is a number is a constant.
                    if bound is not None and not isinstance(bound, ast.Constant):
                        self._replace("off by one", bound, f"({self._text(bound)} + 1)")
            case ast.comprehension():
                for test in node.ifs:
                    self._replace("condition negated", test, f"not ({self._text(test)})")
                    self._replace("condition removed", test, "True")
            case ast.Lambda():
                self._expression(node.body)
                return
            case ast.Constant() if type(node.value) is int:
                for other in {node.value + 1, abs(node.value - 1)}:
                    self._replace("constant", node, f"({other})")
            case ast.Constant() if type(node.value) is bool:
                self._replace("constant", node, str(not node.value))
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context | ast.operator | ast.cmpop | ast.unaryop):
                self._expression(child)

    def _opening(self, start: int, end: int) -> str:
        """What of a dropped text opens parentheses that close behind it."""
        text = self.source[start:end]
        return "(" * (text.count("(") - text.count(")"))

    def _closing(self, start: int, end: int) -> str:
        text = self.source[start:end]
        return ")" * (text.count(")") - text.count("("))

    def _binary(self, node: ast.BinOp) -> None:
        if any(isinstance(side, ast.JoinedStr) for side in (node.left, node.right)):
            return
        if type(node.op) in SOFTWARE_OPERATORS:
            self._operator("operator", node.left, node.right, SOFTWARE_OPERATORS[type(node.op)])
        self._replace("operand dropped", node, f"({self._text(node.left)})")
        if isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
            self._replace("operand dropped", node, f"({self._text(node.right)})")

    def _call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else self._text(node.func)
        if name in COUNTERPARTS:
            end = self._end(node.func)
            self._add("function", end - len(name), end, COUNTERPARTS[name])
            if name in ("min", "max"):
                return self._dropped(node)
        if name == "range":
            last = node.args[min(1, len(node.args) - 1)]
            if not isinstance(last, ast.Constant):
                for by in ("+ 1", "- 1"):
                    self._replace("off by one", last, f"({self._text(last)}) {by}")
        for left, right in itertools.pairwise(node.args):
            texts = self._text(left), self._text(right)
            if texts[0] != texts[1] and not isinstance(left, ast.Starred):
                between = self.source[self._end(left) : self._start(right)]
                swapped = texts[1] + between + texts[0]
                self._add("arguments swapped", self._start(left), self._end(right), swapped)

    def _dropped(self, node: ast.Call) -> None:
        """Of the numbers of which the least or largest is taken."""
        if len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args):
            for argument in node.args:
                self._replace("operand dropped", node, f"({self._text(argument)})")


Find = Callable[[str, str], list[Mutant]]


def find_in_hardware(file: str, source: str) -> list[Mutant]:
    """All mutants of a source, in the order of its text."""
    return _Hardware(file, source).all()


def find_in_software(file: str, source: str) -> list[Mutant]:
    """All mutants of a source, in the order of its text."""
    return _Software(file, source).all()


def sample(sources: Mapping[str, str], find: Find, count: int, least: int) -> list[Mutant]:
    """``count`` mutants of ``sources``, texts by file: ``least`` of every file, the rest by what
    there is to change in it; within a file each operator in turn. It looks random, but a change of
    one line changes few of the others."""
    pools: dict[str, list[Mutant]] = {}
    for file, source in sources.items():
        found = find(file, source)
        if found:
            pools[file] = sorted(found, key=lambda m: hashlib.sha256(m.name.encode()).digest())
    quotas = {file: min(least, len(pool)) for file, pool in pools.items()}
    rest, total = count - sum(quotas.values()), sum(map(len, pools.values()))
    shares = {file: rest * len(pool) / total for file, pool in pools.items()}
    for file, share in shares.items():
        quotas[file] += int(share)
    by_remainder = sorted(pools, key=lambda file: int(shares[file]) - shares[file])
    for file in by_remainder[: count - sum(quotas.values())]:
        quotas[file] += 1

    chosen: list[Mutant] = []
    for file, pool in pools.items():
        # The first of each operator, then the second of each, and so on.
        turns: Counter[str] = Counter()
        order = []
        for i, mutant in enumerate(pool):
            order.append((turns[mutant.operator], i, mutant))
            turns[mutant.operator] += 1
        chosen += [mutant for _, _, mutant in sorted(order, key=lambda o: o[:2])[: quotas[file]]]
    return chosen

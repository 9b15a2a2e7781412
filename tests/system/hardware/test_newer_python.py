"""PyMTL3 under every Python: what ``newer_python.py`` does to it, and that it leads to the same."""

# Not "from __future__ import annotations", with which a bitstruct's annotations would be strings.
import ast
import subprocess
import sys

import pytest
from pymtl3 import Bits8, Component, DefaultPassGroup, InPort, OutPort, bitstruct

from accel.hardware import newer_python
from tests import ROOT
from tests.tools import pythons

SOURCE = """\
def f(x):
    if x[3] > -2.5 and x[-1] != "no":
        return 1j, True, None, "yes", b"yes", ..., f"{x}yes"
"""


def test_constants_are_numbers_and_strings():
    values = [3, 0, 2.5, 1j, True, None, "text", b"text"]
    nodes = newer_python.parse(repr(values)).body[0].value.elts
    assert [type(node).__name__ for node in nodes] == (
        ["Num"] * 4 + ["Constant"] * 2 + ["Str", "Constant"]
    )
    assert [node.n for node in nodes[:4]] == values[:4]
    assert nodes[6].s == "text"


def test_trees_are_otherwise_those_of_python():
    ours, theirs = newer_python.parse(SOURCE), ast.parse(SOURCE)
    as_python_says = {"Num(": "Constant(", "Str(": "Constant(", "JoinedConstant(": "JoinedStr("}
    text = ast.dump(ours, include_attributes=True)
    for old, new in as_python_says.items():
        text = text.replace(old, new)
    assert text == ast.dump(theirs, include_attributes=True)
    functions = [{}, {}]
    for tree, names in zip((ours, theirs), functions, strict=True):
        exec(compile(tree, "source", "exec"), names)
    arguments = [1, 2, 3, 4]
    results = [names["f"](arguments) for names in functions]
    assert results[0] == results[1] and results[0][3] == "yes"


def test_visitors_find_the_old_methods():
    class Visitor(ast.NodeVisitor):
        def __init__(self):
            self.found = []

        def visit_Num(self, node):
            self.found.append(node.n)

        def visit_Str(self, node):
            self.found.append(node.s)

    visitor = Visitor()
    visitor.visit(newer_python.parse(SOURCE))
    assert visitor.found == [3, 2.5, 1, "no", 1j, "yes", "yes"]


def test_fields_of_a_bitstruct_are_its_annotations():
    @bitstruct
    class Pair:
        high: Bits8
        low: [Bits8, Bits8]

        def swapped(self):
            return type(self)(self.low[0], [self.high, self.low[1]])

    assert list(Pair.__bitstruct_fields__) == ["high", "low"]
    assert Pair.__module__ == __name__ and Pair.__qualname__.endswith("<locals>.Pair")
    pair = Pair(1, [Bits8(2), Bits8(3)])
    assert pair.to_bits() == 0x010302 and pair.swapped().to_bits() == 0x020301


def test_what_compares_can_be_inverted():
    equal = Bits8(3) == Bits8(3)
    assert (~equal, ~~equal, ~Bits8(5)) == (0, 1, 0xFA)
    assert (~equal).nbits == 1 and (~Bits8(5)).nbits == 8


def test_assignment_of_a_lambda():
    """PyMTL3 writes a function around it, which reads ``by`` and ``odd`` by their number."""

    class Shift(Component):
        def construct(s, by, odd):
            s.in_ = InPort(8)
            s.out = OutPort(8)
            s.out //= lambda: (s.in_ << by) + odd + 2

    top = Shift(Bits8(3), Bits8(1))
    top.elaborate()
    top.apply(DefaultPassGroup())
    top.in_ @= 5
    top.sim_eval_combinational()
    assert top.out == 43


@pytest.mark.parametrize(
    "imports",
    [
        "import accel, pymtl3",
        "import pymtl3, accel",
        "import rtl_models, pymtl3",
        "import cl_models, pymtl3",
        "import fl_models, pymtl3",
        "from rtl_models.skid_buffer import SkidBufferRTL",
    ],
)
def test_whatever_is_imported_first(imports):
    code = f"""{imports}
import pymtl3.dsl.AstHelper
from accel.hardware import newer_python
assert pymtl3.dsl.AstHelper.ast.Num is newer_python.Num
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="here PyMTL3 does not run as it is")
def test_same_as_pymtl3_as_it_is(tmp_path):
    """Verilog byte for byte, and the constraints between the simulator's blocks."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.tools.pythons"]
    subprocess.run([*command, tmp_path / "plain", "tiny", "--plain"], check=True, cwd=ROOT)
    pythons.write(tmp_path / "ours", "tiny")
    names = ["tiny.order", "tiny.v", "tiny_axi.v"]
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == names
    for name in names:
        ours, plain = ((tmp_path / which / name).read_bytes() for which in ("ours", "plain"))
        assert len(ours) > 10_000 and ours == plain, name

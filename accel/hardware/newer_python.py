"""PyMTL3 on Python 3.12 to 3.14: what these took away from it.

PyMTL3 reads the source of update blocks with :mod:`ast`. Its visitors have methods ``visit_Num``
and ``visit_Str``, and ask which constants are ``ast.Num``; on the answer depend the order in which
its simulator runs the blocks, and the Verilog. Python 3.14 knows one class ``Constant`` only. It
also makes annotations when they are first asked for, where PyMTL3 expects those of a bitstruct in
the class's ``__dict__``. And where it compares, its ``Bits`` hold a bool, which Python 3.12 and
later invert with a warning, and 3.16 not at all.

Nothing of Python itself is changed: three modules of PyMTL3 get an ``ast`` of their own, which is a
copy with the old classes, and whose ``parse`` makes nodes of these. That is done under every
Python, so that all take the same path; ``tests/system/hardware/test_newer_python.py`` shows, under
those that run PyMTL3 as it is, 3.11 to 3.13, that it leads to the same place. Once PyMTL3 itself
runs on 3.14, this file goes.

``import accel`` is enough, before PyMTL3 is imported or after it: but before any component is
elaborated, and any bitstruct declared.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from inspect import get_annotations
from types import ModuleType, SimpleNamespace
from typing import Any


class Num(ast.Constant):
    """A number, as it was before Python 3.8; True and False are none."""

    def __init__(self, n: Any = None, **rest: Any) -> None:
        super().__init__(value=n, **rest)

    @property  # type: ignore[misc]
    def n(self) -> Any:
        return self.value


class Str(ast.Constant):
    """A string, as it was before Python 3.8."""

    def __init__(self, s: Any = None, **rest: Any) -> None:
        super().__init__(value=s, **rest)

    @property  # type: ignore[misc]
    def s(self) -> Any:
        return self.value


class _OldConstants(ast.NodeTransformer):
    """Numbers and strings become ``Num`` and ``Str``; a visitor's method is chosen by that name."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            return ast.copy_location(Str(node.value), node)
        if isinstance(node.value, int | float | complex) and not isinstance(node.value, bool):
            return ast.copy_location(Num(node.value), node)
        return node


def parse(source: str) -> ast.Module:
    """The tree of ``source``, with numbers as ``Num`` and strings as ``Str``. It compiles."""
    tree = ast.parse(source)
    _OldConstants().visit(tree)
    return tree


def index(value: ast.expr) -> ast.expr:
    """``ast.Index``, which since Python 3.9 is what it holds."""
    return value


_AST = SimpleNamespace(**{**vars(ast), "parse": parse, "Num": Num, "Str": Str, "Index": index})
_READ_SOURCE = ("AstHelper", "ComponentLevel2", "ComponentLevel3")


def with_annotations(cls: type) -> type:
    """``cls`` if its ``__dict__`` has annotations, else the same class made anew with them there.

    As ``dataclass(slots=True)`` does it, for the same reason: nothing puts them there afterwards.
    """
    if "__annotations__" in vars(cls):
        return cls
    made_by_python = ("__dict__", "__weakref__", "__annotate_func__", "__annotations_cache__")
    namespace = {name: value for name, value in vars(cls).items() if name not in made_by_python}
    namespace |= {"__qualname__": cls.__qualname__, "__annotations__": get_annotations(cls)}
    return type(cls)(cls.__name__, cls.__bases__, namespace)


def _mend() -> None:
    for name in _READ_SOURCE:
        importlib.import_module(f"pymtl3.dsl.{name}").ast = _AST  # type: ignore[attr-defined]
    bits: Any = importlib.import_module("pymtl3.datatypes.PythonBits")
    bits.Bits.__invert__ = lambda self: bits._new_valid_bits(
        self._nbits, self._uint ^ bits._upper[self._nbits]
    )
    bitstructs: Any = importlib.import_module("pymtl3.datatypes.bitstructs")
    process = bitstructs._process_class
    bitstructs._process_class = lambda cls, *flags: process(with_annotations(cls), *flags)


class Finder(MetaPathFinder):
    """Waits for ``import pymtl3``, which takes too long to be done for every ``import accel``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "pymtl3":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_mend(module: ModuleType) -> None:
                execute(module)
                _mend()

            spec.loader.exec_module = execute_and_mend  # type: ignore[method-assign]
        return spec


def mend_pymtl3() -> None:
    """Has PyMTL3 work under this Python: at once if it is imported, else as soon as it is."""
    if "pymtl3" in sys.modules:
        _mend()
    else:
        sys.meta_path.insert(0, Finder())

"""Names what generated Verilog leaves unused, so that a linter's warning means something.

Every component has a clock and a reset, and a descriptor's field is as wide as the largest
configuration needs it; so modules have inputs and bits that nothing reads. They are collected, bit
by bit, in one wire of each module, ``unused_bits``, which synthesis removes; constants that no
statement mentions go. What this reads is PyMTL3's output, one statement a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_MODULE = re.compile(r"(?ms)^module (\w+)\n\((.*?)\n\);\n(.*?)^endmodule\n")
_STRUCT = re.compile(r"(?ms)^typedef struct packed \{\n(.*?)\} (\w+);")
_DECLARATION = re.compile(r"(\w+)(?: \[(\d+):0\])? +(\w+) *(\[0:\d+\])?")
_CONSTANT = re.compile(r"(?m)^  localparam logic .*? (\w+)  = .*;\n")
_ASSIGNMENT = re.compile(r"^\s*(?:else )?(?:assign )?([a-zA-Z_][\w.]*(?:\[[^=]*?\])?) <?= (.*);$")
_CONNECTION = re.compile(r"^\s*\.(\w+)\( (.*) \),?$")
_NAME = re.compile(r"(?<![\w'.])([a-zA-Z_]\w*)((?:\.\w+)*)((?:\[[^\[\]]*\])?)")
_RANGE = re.compile(r"\[(?:\d+'d)?(\d+)(?::(?:\d+'d)?(\d+))?\]")


@dataclass
class _Signal:
    """nbits: 0 for a list, or a bitstruct with these fields. read: by bit, or by field."""

    nbits: int
    fields: tuple[str, ...]
    read: set[int | str] = field(default_factory=set)

    def all(self) -> set[int | str]:
        return set(self.fields) or set(range(self.nbits or 1))

    def use(self, member: str, select: str) -> None:
        found = _RANGE.fullmatch(select)
        if member:
            self.read.add(member)
        elif self.nbits and found:
            high = int(found[1])
            self.read.update(range(int(found[2] or high), high + 1))
        else:
            self.read |= self.all()

    def unused(self, name: str) -> list[str]:
        """Expressions of what was not read."""
        left = self.all() - self.read
        if left == self.all():
            return [name]
        if self.fields:
            return [f"{name}.{member}" for member in self.fields if member in left]
        bits, ranges = sorted(bit for bit in left if isinstance(bit, int)), []
        while bits:
            low = high = bits.pop(0)
            while bits and bits[0] == high + 1:
                high = bits.pop(0)
            ranges.append(f"{name}[{high}:{low}]")
        return ranges


def name_unused(text: str) -> str:
    """The same Verilog, with ``unused_bits`` where there are some."""
    structs = {
        name: tuple(m[3] for m in map(_DECLARATION.search, body.splitlines()) if m)
        for body, name in _STRUCT.findall(text)
    }
    outputs: dict[str, set[str]] = {}

    def rewrite(module: re.Match[str]) -> str:
        name, ports, body = module.groups()
        outputs[name] = set(re.findall(r"(?m)^ *output .*?(\w+) *,?$", ports))
        body = _CONSTANT.sub(
            lambda c: c[0] if len(re.findall(rf"\b{c[1]}\b", body)) > 1 else "", body
        )
        unused = _unused(ports, body, structs, outputs)
        if unused:
            body += "  // Read by nothing in this configuration\n"
            body += "  wire unused_bits = &{ 1'b0, " + ",\n    ".join(unused) + " };\n\n"
        return f"module {name}\n({ports}\n);\n{body}endmodule\n"

    return _MODULE.sub(rewrite, text)


def _unused(
    ports: str, body: str, structs: dict[str, tuple[str, ...]], outputs: dict[str, set[str]]
) -> list[str]:
    signals: dict[str, _Signal] = {}
    statements = []
    for line in ports.splitlines():
        if line.strip().startswith("input"):
            _declare(signals, line.strip().removeprefix("input").strip(), structs)
    instance: set[str] = set()
    for line in re.sub(r"//.*", "", body).splitlines():
        word = line.split(" ", 3)[2:3]
        if line.startswith("  ") and word and (word[0] == "logic" or word[0] in structs):
            _declare(signals, line.strip().rstrip(";"), structs)
            continue
        if word and word[0] in outputs:
            instance = outputs[word[0]]
            continue
        connection, assignment = _CONNECTION.match(line), _ASSIGNMENT.match(line)
        if connection:
            if connection[1] not in instance:
                statements.append(connection[2])
        elif assignment:
            statements += [*re.findall(r"\[(.*)\]", assignment[1]), assignment[2]]
        elif not line.strip().startswith("localparam"):
            statements.append(line)
    for statement in statements:
        for name, member, select in _names(statement):
            if name in signals:
                signals[name].use(member, select)
    return [part for name, signal in signals.items() for part in signal.unused(name)]


def _declare(signals: dict[str, _Signal], text: str, structs: dict[str, tuple[str, ...]]) -> None:
    found = _DECLARATION.match(text)
    assert found is not None, text
    kind, high, name, depth = found.groups()
    nbits = 0 if depth or kind in structs else int(high or 0) + 1
    signals[name] = _Signal(nbits, structs.get(kind, ()) if not depth else ())


def _names(statement: str) -> Iterable[tuple[str, str, str]]:
    """Signals that a statement reads: name, member of a bitstruct, select."""
    for found in _NAME.finditer(statement):
        yield found[1], found[2].split(".")[1] if found[2] else "", found[3]
        if found[3]:
            yield from _names(found[3][1:-1])

"""A field of a word, declared once: from it follow encoding, decoding, limits, slices of the RTL,
constants of the C driver and the tables of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from accel.errors import AccelError


@dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a word that hold a whole number: ``value - least``, in two's complement if signed."""

    name: str
    word: int = 0
    low: int
    """The lowest bit."""
    nbits: int
    meaning: str
    signed: bool = False
    least: int = 0
    """What the bits 0 stand for: 1 where a count of nothing makes no sense. Of no signed field."""
    only: str = ""
    """The part of a configuration without which the hardware does not look at it."""

    @property
    def end(self) -> int:
        """The bit above the highest one."""
        return self.low + self.nbits

    @property
    def minimum(self) -> int:
        return -(1 << (self.nbits - 1)) if self.signed else self.least

    @property
    def maximum(self) -> int:
        return self.minimum + (1 << self.nbits) - 1

    def put(self, value: int) -> int:
        """``value`` in its place, all other bits zero.

        Raises :class:`AccelError` for a value that the field does not hold.
        """
        value = int(value)
        if not self.minimum <= value <= self.maximum:
            raise AccelError(
                f"{self.name} must be from {self.minimum} to {self.maximum}, not {value}"
            )
        return ((value - self.least) & ((1 << self.nbits) - 1)) << self.low

    def get(self, word: int) -> int:
        """The field's value in ``word``."""
        bits = (int(word) >> self.low) & ((1 << self.nbits) - 1)
        if self.signed and bits >> (self.nbits - 1):
            bits -= 1 << self.nbits
        return bits + self.least

    def within(self, owner: str, word: int) -> Field:
        """The same in another word, as a part of what is called ``owner``."""
        return replace(self, name=f"{owner}.{self.name}", word=word)


def encode(fields: Iterable[Field], values: Mapping[str, int], num_words: int) -> list[int]:
    """Words that hold ``values``, by the fields' names; bits of no field are zero.

    Raises :class:`AccelError` for a value that its field does not hold.
    """
    words = [0] * num_words
    for field in fields:
        words[field.word] |= field.put(values[field.name])
    return words


def decode(fields: Iterable[Field], words: list[int]) -> dict[str, int]:
    """The inverse of :func:`encode`."""
    return {field.name: field.get(words[field.word]) for field in fields}


def markdown(fields: Iterable[Field]) -> str:
    """A table for the documentation."""
    lines = ["| word | bits | field | |", "|---|---|---|---|"]
    for f in sorted(fields, key=lambda f: (f.word, f.low)):
        bits = str(f.low) if f.nbits == 1 else f"{f.end - 1}:{f.low}"
        how = ", signed" if f.signed else f", less {f.least}" if f.least else ""
        meaning = f"{f.meaning} (`{f.only}`)" if f.only else f.meaning
        lines.append(f"| {f.word} | {bits}{how} | `{f.name}` | {meaning} |")
    return "\n".join(lines) + "\n"

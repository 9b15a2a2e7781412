"""The format of programs: fields that keep what they are given, where they have always been."""

from __future__ import annotations

from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.errors import AccelError
from accel.hardware.config import TAPS
from accel.hardware.descriptors import (
    FIELDS,
    INPUT_FIELDS,
    INPUT_WORDS,
    WORDS_PER_LAYER,
    InputDescriptor,
    LayerDescriptor,
)
from accel.hardware.fields import Field, decode, encode, markdown
from accel.hardware.packets import HEADER, PARAM

TABLES = {
    "layer": (list(FIELDS.values()), WORDS_PER_LAYER),
    "input": (list(INPUT_FIELDS.values()), INPUT_WORDS),
    "header": (list(HEADER), 1),
    "param": (list(PARAM), 1),
}


@pytest.mark.parametrize("table", TABLES)
def test_fields_do_not_overlap(table: str) -> None:
    fields, num_words = TABLES[table]
    assert len({field.name for field in fields}) == len(fields)
    for word in range(num_words):
        own = sorted((f for f in fields if f.word == word), key=lambda f: f.low)
        assert own and own[0].low >= 0 and own[-1].end <= 64
        assert all(below.end <= above.low for below, above in pairwise(own))
    assert {field.word for field in fields} == set(range(num_words))


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
def test_fields_hold_what_they_are_given(table: str, data: st.DataObject) -> None:
    fields, num_words = TABLES[table]
    values = {f.name: data.draw(st.integers(f.minimum, f.maximum)) for f in fields}
    words = encode(fields, values, num_words)
    assert len(words) == num_words and decode(fields, words) == values


def test_a_field_refuses_what_it_does_not_hold() -> None:
    plain = Field(name="plain", low=4, nbits=3, meaning="")
    signed = Field(name="signed", low=4, nbits=3, meaning="", signed=True)
    count = Field(name="count", low=4, nbits=3, meaning="", least=1)
    for field, minimum, maximum in ((plain, 0, 7), (signed, -4, 3), (count, 1, 8)):
        assert (field.minimum, field.maximum, field.end) == (minimum, maximum, 7)
        for value in (minimum - 1, maximum + 1):
            with pytest.raises(AccelError) as e:
                field.put(value)
            assert str(e.value) == (
                f"{field.name} must be from {minimum} to {maximum}, not {value}"
            )
    assert [plain.put(5), signed.put(-1), count.put(1), count.put(8)] == [0x50, 0x70, 0, 0x70]
    # Whatever stands beside it.
    assert [plain.get(0xFDF), signed.get(0xFEF), count.get(0xFFF)] == [5, -2, 8]


def test_table_of_the_documentation() -> None:
    fields = [
        Field(name="b", word=1, low=0, nbits=1, meaning="flag"),
        Field(name="a", low=4, nbits=12, meaning="many", least=1),
        Field(name="c", low=0, nbits=4, meaning="few", signed=True, only="adder"),
    ]
    assert markdown(fields).splitlines() == [
        "| word | bits | field | |",
        "|---|---|---|---|",
        "| 0 | 3:0, signed | `c` | few (`adder`) |",
        "| 0 | 15:4, less 1 | `a` | many |",
        "| 1 | 0 | `b` | flag |",
    ]


PINNED = {
    "layer": [
        "00000ce54d526380", "000005804fc96834", "000003d9766e629e", "0b0b4bf9851f5037",
        "1cc4729c67845b83", "68eb22dd857ff708", "4a702bb807e4fcbc", "563b88b46595b161",
        "1ca5ec2629378017", "6e3ee5438bac801a", "1dbe8e5f0fc89789", "008d4e3993c7274b",
        "cc56ac6f6efc5fdf", "000000012eb33a36", "03a22b38be60a2be", "00e3c63f10e0629e",
        "00000000327b692a", "00000000861ce790", "001d4e28d1c06f1d", "01cc848a00ce600c",
    ],
    "input": [
        "000000002716f1c0", "000000003e8e8476", "00000000766e629e", "0000000000558891",
    ],
    "header": [
        "95d944620d4e6f81",
    ],
    "param": [
        "a49aa95bc2876a5b",
    ],
}  # fmt: skip


def sizes(field: Field) -> int:
    """How many numbers it has, of which those of a bank are the first nine."""
    return TAPS if field.name.endswith("bank") else 1 << field.nbits


@pytest.mark.parametrize("table", TABLES)
def test_places_are_as_they_were(table: str) -> None:
    """Programs are kept in files: a field that moves is a new format. Each field holds a number
    of its own here, whatever other fields there are."""
    fields, num_words = TABLES[table]
    values = {f.name: f.minimum + crc32(f.name.encode()) % sizes(f) for f in fields}
    assert [f"{word:016x}" for word in encode(fields, values, num_words)] == PINNED[table]
    words = [int(word, 16) for word in PINNED[table]]
    if table in ("layer", "input"):
        kind = LayerDescriptor if table == "layer" else InputDescriptor
        # Not by the table only: the descriptor's own fields and loops.
        assert kind.decode(words).encode() == words

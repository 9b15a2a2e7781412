"""What crosses each stream between the units: bit layouts, and the same messages as plain values.

Every message exists twice: as a PyMTL bitstruct (``mk_*``; what RTL ports carry) and as a
``NamedTuple`` of integers and arrays (what FL and CL models compute with). ``pack`` and ``unpack``
go between the two.

================  =============================  ==========================================
stream            message                        from -> to
================  =============================  ==========================================
``pixel``         :class:`Pixel`                 operand fetch -> column windows, where there are
``step``          :class:`Step`                  activation and weight memory -> PE array
``acc``           :class:`Acc`                   PE array -> pooling unit
``pooled``        :class:`Pooled`                pooling unit -> requantizer
``param``         :class:`Param`                 parameter memory -> requantizer
``out``           :class:`Out`                   requantizer -> activation memory or result
================  =============================  ==========================================

With tables or an adder in between, ``out`` is what leaves the last of these:

================  =============================  ==========================================
``value``         :class:`Value`                 requantizer -> tables
``entry``         :class:`Entry`                 program -> tables
``beat``          :class:`Beat`                  requantizer or tables -> adder
``operand``       :class:`Operand`               activation memory -> adder
``terms``         :class:`Terms`                 descriptors -> adder
================  =============================  ==========================================
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymtl3 import mk_bits, mk_bitstruct

from accel.hardware.config import ACT_NBITS, TABLE_SIZE, TAPS, AccelConfig, clog2
from accel.hardware.descriptors import FIELDS, LayerDescriptor
from accel.hardware.fields import Field
from accel.hardware.pymtl import allow_wide_bits

allow_wide_bits()

Ints = NDArray[np.int64]


class Step(NamedTuple):
    """Nine activations times nine weights in every column.

    x: int (operand_sets, 9), each in [-128, 255], for the columns of each pixel group; with column
    windows for each column. w: int8
    (num_cols, 9); only read when ``load`` is set, and with ``keep`` written to scratchpad entry
    ``idx`` as well; without ``load`` the weights come from that entry. ``first`` starts an
    accumulation, ``last`` ends it and sends the sums on. ``pool_first`` and ``pool_last`` go with
    the sums of a ``last`` step: first and last of a pooling window.
    """

    x: Ints
    w: Ints
    idx: int
    load: int
    keep: int
    first: int
    last: int
    pool_first: int
    pool_last: int


class Pixel(NamedTuple):
    """What a step reads, before column windows.

    x: int (pixel_groups, 9), each in [-128, 255]. From ``w`` on as in :class:`Step`. Without
    ``windows`` x is what all columns of a group multiply; with it element k is the pixel of column
    k's own map, the next one of its raster; the one after it begins a row if ``row_end`` is set.
    ``used``: the array takes a step, else none. edges: whether the window's first row, last row,
    first column, last column (bits 0 to 3) lie outside the map; its taps there are ``pad_value``.
    """

    x: Ints
    w: Ints
    idx: int
    load: int
    keep: int
    first: int
    last: int
    pool_first: int
    pool_last: int
    windows: int
    row_end: int
    used: int
    edges: int
    pad_value: int


class Acc(NamedTuple):
    """Accumulators of all columns: int (num_cols,), signed, ``acc_nbits`` wide."""

    acc: Ints
    pool_first: int
    pool_last: int


class Pooled(NamedTuple):
    """Maximum of a pooling window in every column: int (num_cols,), signed."""

    acc: Ints


class Param(NamedTuple):
    """What the requantizer needs for one beat of ``num_lanes`` accumulators.

    multiplier: (num_lanes,) bit patterns of float32, positive and normal. bias: int32
    (num_lanes,). zero_point, lo, hi: in [-128, 255]. ``last``: no more beats for this vector. With
    an adder also: ties of the last rounding go away from zero, and no more beats for this layer.
    With tables what these are told: see :class:`Value`.
    """

    multiplier: Ints
    bias: Ints
    zero_point: int
    lo: int
    hi: int
    last: int
    ties_away: int = 0
    ends_layer: int = 0
    looks_up: int = 0
    table_index: int = 0
    table_signed: int = 0


class Value(NamedTuple):
    """Requantized activations: int (num_lanes,), each in [-128, 255]; without an adder behind, the
    low 8 bits. If ``looks_up``, each is to be replaced by what table ``table_index`` has for it,
    which is signed or not; that, and the last two, an adder alone wants to know."""

    y: Ints
    looks_up: int
    table_index: int
    table_signed: int = 0
    last: int = 0
    ends_layer: int = 0


class Entry(NamedTuple):
    """Entry ``address`` of all tables, 256 each, is to be ``value``: from 0 to 255."""

    address: int
    value: int


class Beat(NamedTuple):
    """Requantized activations: int (num_lanes,), each in [-128, 255]; ``last`` of their vector, and
    of their layer."""

    y: Ints
    last: int
    ends_layer: int


class Operand(NamedTuple):
    """What is added to a vector: int (num_cols,), each in [-128, 255]."""

    x: Ints


class Terms(NamedTuple):
    """What the adder needs of a layer: :func:`accel.numerics.add`'s numbers. own: multiplier of the
    requantized activations. operand: of what is added to them, if ``pops``; else that is zero."""

    own: int
    operand: int
    shift: int
    ties_away: int
    pops: int
    constant: int
    zero_point: int
    lo: int
    hi: int

    @classmethod
    def of(cls, d: LayerDescriptor) -> Terms:
        """A layer's."""
        return cls(*(getattr(d, name) for name in TERM_FIELDS))


TERM_FIELDS = (
    "own_multiplier",
    "operand_multiplier",
    "sum_shift",
    "sum_ties_away",
    "pops",
    "sum_constant",
    "sum_zero_point",
    "sum_lo",
    "sum_hi",
)
"""Fields of a descriptor, in the order of :class:`Terms`."""


class Out(NamedTuple):
    """Requantized activations: int (num_lanes,), the low 8 bits, 0 to 255."""

    y: Ints


def pack_ints(values: Any, nbits: int) -> int:
    """Integers, signed or not, into one: element 0 in the lowest ``nbits`` bits."""
    mask = (1 << nbits) - 1
    word = 0
    for i, v in enumerate(np.ravel(values).tolist()):
        word |= (v & mask) << (i * nbits)
    return word


def unpack_ints(word: int, nbits: int, count: int, *, signed: bool) -> Ints:
    """The inverse of :func:`pack_ints`: int64 (count,)."""
    mask = (1 << nbits) - 1
    sign = 1 << (nbits - 1) if signed else 0
    return np.array(
        [(((word >> (i * nbits)) & mask) ^ sign) - sign for i in range(count)], dtype=np.int64
    )


Message = Step | Pixel | Acc | Pooled | Param | Value | Entry | Beat | Operand | Terms | Out


@cache
def mk_step(cfg: AccelConfig) -> Any:
    """Bitstruct of :class:`Step`: x packs set g, tap t at 9g+t (9 bits each), w packs column c,
    tap t at 9c+t (8 bits each)."""
    return mk_bitstruct(f"Step_{cfg}", _step_fields(cfg, cfg.operand_sets))


def _step_fields(cfg: AccelConfig, sets: int) -> dict[str, Any]:
    b1 = mk_bits(1)
    return {
        "x": mk_bits(sets * TAPS * ACT_NBITS),
        "w": mk_bits(cfg.weight_word_nbits),
        "idx": mk_bits(cfg.spad_idx_nbits),
        "load": b1,
        "keep": b1,
        "first": b1,
        "last": b1,
        "pool_first": b1,
        "pool_last": b1,
    }


@cache
def mk_pixel(cfg: AccelConfig) -> Any:
    """Bitstruct of :class:`Pixel`: x packs pixel group g, tap t at 9g+t."""
    b1 = mk_bits(1)
    fields = _step_fields(cfg, cfg.pixel_groups) | {
        "windows": b1,
        "row_end": b1,
        "used": b1,
        "edges": mk_bits(4),
        "pad_value": mk_bits(ACT_NBITS),
    }
    return mk_bitstruct(f"Pixel_{cfg}", fields)


@cache
def mk_acc(cfg: AccelConfig) -> Any:
    b1 = mk_bits(1)
    fields = {
        "acc": mk_bits(cfg.num_cols * cfg.acc_nbits),
        "pool_first": b1,
        "pool_last": b1,
    }
    return mk_bitstruct(f"Acc_{cfg}", fields)


@cache
def mk_pooled(cfg: AccelConfig) -> Any:
    return mk_bitstruct(f"Pooled_{cfg}", {"acc": mk_bits(cfg.num_cols * cfg.acc_nbits)})


@cache
def mk_param(cfg: AccelConfig) -> Any:
    b9 = mk_bits(ACT_NBITS)
    fields = {
        "multiplier": mk_bits(32 * cfg.num_lanes),
        "bias": mk_bits(32 * cfg.num_lanes),
        "zero_point": b9,
        "lo": b9,
        "hi": b9,
        "last": mk_bits(1),
    }
    if cfg.adder:
        fields |= {"ties_away": mk_bits(1), "ends_layer": mk_bits(1)}
    return mk_bitstruct(f"Param_{cfg}", fields | _lookup_fields(cfg))


def _lookup_fields(cfg: AccelConfig) -> dict[str, Any]:
    if not cfg.tables:
        return {}
    fields = {"looks_up": mk_bits(1), "table_index": mk_bits(cfg.table_nbits)}
    return fields | ({"table_signed": mk_bits(1)} if cfg.adder else {})


@cache
def mk_value(cfg: AccelConfig) -> Any:
    fields = {"y": mk_bits(y_nbits(cfg) * cfg.num_lanes)} | _lookup_fields(cfg)
    if cfg.adder:
        fields |= {"last": mk_bits(1), "ends_layer": mk_bits(1)}
    return mk_bitstruct(f"Value_{cfg}", fields)


def y_nbits(cfg: AccelConfig) -> int:
    """Of a requantized activation: an adder wants its sign too."""
    return ACT_NBITS if cfg.adder else 8


@cache
def mk_entry(cfg: AccelConfig) -> Any:
    fields = {"address": mk_bits(clog2(cfg.tables * TABLE_SIZE)), "value": mk_bits(8)}
    return mk_bitstruct(f"Entry_{cfg}", fields)


def field_nbits(bitstruct: Any, name: str) -> int:
    """Bits of a field of a message."""
    nbits: int = bitstruct.__bitstruct_fields__[name].nbits
    return nbits


def mk_requantized(cfg: AccelConfig) -> Any:
    """Of what leaves the requantizer."""
    return mk_value(cfg) if cfg.tables else mk_looked_up(cfg)


def mk_looked_up(cfg: AccelConfig) -> Any:
    """Of what leaves the tables, or would."""
    return mk_beat(cfg) if cfg.adder else mk_out(cfg)


@cache
def mk_beat(cfg: AccelConfig) -> Any:
    fields = {"y": mk_bits(ACT_NBITS * cfg.num_lanes), "last": mk_bits(1), "ends_layer": mk_bits(1)}
    return mk_bitstruct(f"Beat_{cfg}", fields)


@cache
def mk_operand(cfg: AccelConfig) -> Any:
    return mk_bitstruct(f"Operand_{cfg}", {"x": mk_bits(ACT_NBITS * cfg.num_cols)})


@cache
def mk_terms(cfg: AccelConfig) -> Any:
    """Bitstruct of :class:`Terms`, each as its field of a descriptor has it."""
    fields = {
        name: mk_bits(FIELDS[field].nbits)
        for name, field in zip(Terms._fields, TERM_FIELDS, strict=True)
    }
    return mk_bitstruct(f"Terms_{cfg}", fields)


@cache
def mk_out(cfg: AccelConfig) -> Any:
    return mk_bitstruct(f"Out_{cfg}", {"y": mk_bits(8 * cfg.num_lanes)})


def pack(cfg: AccelConfig, msg: Message) -> Any:
    """A message as the bitstruct that its stream carries."""
    match msg:
        case Step():
            x, w = pack_ints(msg.x, ACT_NBITS), pack_ints(msg.w, 8)
            return mk_step(cfg)(x, w, *msg[2:])
        case Pixel():
            x, w = pack_ints(msg.x, ACT_NBITS), pack_ints(msg.w, 8)
            pad_value = int(msg.pad_value) & (1 << ACT_NBITS) - 1
            return mk_pixel(cfg)(x, w, *msg[2:-1], pad_value)
        case Acc():
            return mk_acc(cfg)(pack_ints(msg.acc, cfg.acc_nbits), *msg[1:])
        case Pooled():
            return mk_pooled(cfg)(pack_ints(msg.acc, cfg.acc_nbits))
        case Param():
            mask = (1 << ACT_NBITS) - 1
            settings = [int(v) & mask for v in (msg.zero_point, msg.lo, msg.hi)]
            multiplier, bias = pack_ints(msg.multiplier, 32), pack_ints(msg.bias, 32)
            return mk_param(cfg)(multiplier, bias, *settings, msg.last, **_flags(cfg, msg))
        case Value():
            y = pack_ints(msg.y, y_nbits(cfg))
            return mk_value(cfg)(y, **_flags(cfg, msg))
        case Entry():
            return mk_entry(cfg)(*msg)
        case Beat():
            return mk_beat(cfg)(pack_ints(msg.y, ACT_NBITS), *msg[1:])
        case Operand():
            return mk_operand(cfg)(pack_ints(msg.x, ACT_NBITS))
        case Terms():
            fields = (FIELDS[name] for name in TERM_FIELDS)
            return mk_terms(cfg)(
                *(
                    (value - f.least) & ((1 << f.nbits) - 1)
                    for f, value in zip(fields, msg, strict=True)
                )
            )
        case Out():
            return mk_out(cfg)(pack_ints(msg.y, 8))


def _flags(cfg: AccelConfig, msg: Param | Value) -> dict[str, int]:
    """Those fields of a message that not every configuration has."""
    names = ["looks_up", "table_index"] if cfg.tables else []
    if cfg.tables and cfg.adder:
        names.append("table_signed")
    if cfg.adder:
        names += ["ends_layer", "ties_away" if isinstance(msg, Param) else "last"]
    return {name: getattr(msg, name) for name in names}


def _value(field: Field, bits: Any) -> int:
    """Of bits that hold a field as a descriptor does."""
    return field.get(int(bits) << field.low)


def unpack(cfg: AccelConfig, bits: Any) -> Message:
    """The inverse of :func:`pack`."""
    cols, lanes, acc_nbits = cfg.num_cols, cfg.num_lanes, cfg.acc_nbits
    match type(bits).__name__.split("_")[0]:
        case "Step":
            x = unpack_ints(int(bits.x), ACT_NBITS, cfg.operand_sets * TAPS, signed=True)
            w = unpack_ints(int(bits.w), 8, cfg.num_multipliers, signed=True)
            flags = [int(getattr(bits, name)) for name in Step._fields[2:]]
            return Step(x.reshape(-1, TAPS), w.reshape(cols, TAPS), *flags)
        case "Pixel":
            x = unpack_ints(int(bits.x), ACT_NBITS, cfg.pixel_groups * TAPS, signed=True)
            w = unpack_ints(int(bits.w), 8, cfg.num_multipliers, signed=True)
            flags = [int(getattr(bits, name)) for name in Pixel._fields[2:-1]]
            flags.append(bits.pad_value.int())
            return Pixel(x.reshape(-1, TAPS), w.reshape(cols, TAPS), *flags)
        case "Acc":
            acc = unpack_ints(int(bits.acc), acc_nbits, cols, signed=True)
            return Acc(acc, int(bits.pool_first), int(bits.pool_last))
        case "Pooled":
            return Pooled(unpack_ints(int(bits.acc), acc_nbits, cols, signed=True))
        case "Param":
            multiplier = unpack_ints(int(bits.multiplier), 32, lanes, signed=False)
            bias = unpack_ints(int(bits.bias), 32, lanes, signed=True)
            settings = (bits.zero_point.int(), bits.lo.int(), bits.hi.int())
            names = [name for name in Param._fields[5:] if hasattr(bits, name)]
            named = {name: int(getattr(bits, name)) for name in names}
            return Param(multiplier, bias, *settings, **named)
        case "Value":
            y = unpack_ints(int(bits.y), y_nbits(cfg), lanes, signed=cfg.adder)
            names = [name for name in Value._fields[1:] if hasattr(bits, name)]
            return Value(y, **{name: int(getattr(bits, name)) for name in names})
        case "Entry":
            return Entry(int(bits.address), int(bits.value))
        case "Beat":
            y = unpack_ints(int(bits.y), ACT_NBITS, lanes, signed=True)
            return Beat(y, int(bits.last), int(bits.ends_layer))
        case "Operand":
            return Operand(unpack_ints(int(bits.x), ACT_NBITS, cols, signed=True))
        case "Terms":
            numbers = zip(TERM_FIELDS, Terms._fields, strict=True)
            return Terms(*(_value(FIELDS[f], getattr(bits, name)) for f, name in numbers))
        case "Out":
            return Out(unpack_ints(int(bits.y), 8, lanes, signed=False))
        case name:
            raise TypeError(f"{name} is not the type of a message")

"""What the cycle-level model and the RTL both know in each cycle: where the two can be compared.

A probe is a signal of the RTL and what it should be by the cycle-level model. They cover all that
goes from one unit to another, and the registers between: where a unit's signal is wrong while all
that came to it was right, the unit is. So their order matters. Registers are first, from the
program stream to the results; after them come signals that follow from others in the same cycle,
each after those that it follows from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig
from accel.hardware.messages import Terms, pack, pack_ints, y_nbits
from accel.hardware.packets import Packet, packets

OPERAND = -1
"""In the place of a step in its sum, as the cycle-level model has it: it reads what is added."""

ACCELERATOR = "accelerator"
"""What lies between the units: their connections, and the registers before the memory's port."""

Payload = tuple[int, int, int, int]
"""A word of a packet: the packet's kind, the address of the memory's word, its beat, the word."""


@dataclass
class Look:
    """The cycle-level model in a cycle, and what it does not keep."""

    core: Any
    result_rdy: bool = True
    payload: Payload | None = None
    """What was taken from the program stream in the cycle before."""


Value = int | dict[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A signal at both levels."""

    unit: str
    signal: str
    """Its path in the RTL, below the accelerator."""
    cl: Callable[[Look], Value]
    """None where it means nothing in this cycle. A dictionary: bytes by their address."""
    rtl: Callable[[Any], Value]
    """The same of the accelerator's RTL; it is not asked where ``cl`` is None."""
    element: str = ""
    """What the signal has many of: columns, lanes, taps."""
    nbits: int = 0
    """Bits of each of them."""
    is_signed: bool = False
    per_column: int = 0
    """So many of them are of column 0, as many of column 1, and so on."""

    def place(self, i: int) -> str:
        """What element ``i`` is called."""
        if not self.per_column:
            return f"{self.element} {i}"
        column, i = divmod(i, self.per_column)
        return f"column {column} {self.element} {i}"

    def parts(self, value: int) -> list[int]:
        """The value of each element."""
        mask, sign = (1 << self.nbits) - 1, self.is_signed << self.nbits >> 1
        count = max(1, -(-value.bit_length() // self.nbits))
        return [((value >> i * self.nbits & mask) ^ sign) - sign for i in range(count)]


def payloads(words: Sequence[int], cfg: AccelConfig) -> list[Payload | None]:
    """Of each word of a program what it is in its packet; None for a header."""
    beats = {
        Packet.WEIGHTS: cfg.weight_word_beats,
        Packet.PARAMS: cfg.num_lanes,
        Packet.TABLE: 1,
    }
    found: list[Payload | None] = []
    for packet in packets(words, cfg):
        found.append(None)
        per_word = beats.get(Packet(packet.kind), max(1, len(packet.payload)))
        for i, word in enumerate(packet.payload):
            address, beat = divmod(i, per_word)
            found.append((packet.kind, packet.address + address, beat, word))
    return found


def now(cfg: AccelConfig) -> list[Probe]:
    """What is compared when a cycle has settled, before the edge that ends it."""
    return [
        *_program_loader(cfg),
        *_memory_port(),
        *_image_loader(),
        *_step_sequencer(cfg),
        *_operand_fetch(cfg),
        *_pe_array(cfg),
        *_pooling_unit(cfg),
        *_param_sequencer(cfg),
        *_requantizer(cfg),
        *(_tables(cfg) if cfg.tables else []),
        *(_adder(cfg) if cfg.adder else []),
        *_write_sequencer(),
        *_ready(cfg),
        *_between(),
    ]


def edge(cfg: AccelConfig) -> list[Probe]:
    """What is compared with the cycle-level model as it is after the edge: which bytes are on their
    way to the register before the memory's port."""

    def outputs(look: Look) -> Value:
        return _pending(look, image=False)

    def image(look: Look) -> Value:
        return _pending(look, image=True)

    return [
        Probe(
            unit="write_sequencer",
            signal="write_sequencer.write_data",
            cl=outputs,
            rtl=lambda s: _bytes(s.write_sequencer),
        ),
        Probe(
            unit="image_loader",
            signal="image_loader.write_data",
            cl=image,
            rtl=lambda s: _bytes(s.image_loader),
        ),
    ]


def _pending(look: Look, *, image: bool | None) -> dict[int, int]:
    """Address and value of each byte; image: whether those of an image, or of outputs."""
    pending = look.core.port.pending
    if pending is None or (image is not None and (pending[2] is None) != image):
        return {}
    at, data, _ = pending
    if isinstance(at, slice):
        at = np.arange(at.start, at.stop)
    return dict(zip(np.atleast_1d(at).tolist(), np.atleast_1d(data).tolist(), strict=True))


def _bytes(port: Any, prefix: str = "write_") -> dict[int, int]:
    mask, rows, bank, data = (
        int(getattr(port, prefix + name)) for name in ("mask", "rows", "bank", "data")
    )
    row_nbits = getattr(port, f"{prefix}rows").nbits // TAPS
    return {
        (rows >> row_nbits * j & (1 << row_nbits) - 1) * TAPS + (bank + j) % TAPS: data >> 8 * j
        & 255
        for j in range(TAPS)
        if mask >> j & 1
    }


def _program_loader(cfg: AccelConfig) -> list[Probe]:
    unit = "program_loader"
    kinds = {
        Packet.LAYER: "layer_wen",
        Packet.WEIGHTS: "weight_wen",
        Packet.PARAMS: "param_wen",
        Packet.INPUT: "input_wen",
    }
    if cfg.tables:
        kinds[Packet.TABLE] = "table_wen"

    def enables(look: Look) -> int:
        return 0 if look.payload is None else 1 << list(kinds).index(Packet(look.payload[0]))

    def enabled(s: Any) -> int:
        wens = (getattr(s.program_loader, name) for name in kinds.values())
        return sum(int(wen) << i for i, wen in enumerate(wens))

    def part(i: int) -> Callable[[Look], Value]:
        return lambda look: None if look.payload is None else look.payload[i]

    def address(look: Look) -> Value:
        # The image's descriptor is where it is.
        if look.payload is None or look.payload[0] == Packet.INPUT:
            return None
        return look.payload[1]

    def running(look: Look) -> bool:
        return bool(look.core.program.running)

    p = f"{unit}."
    return [
        Probe(unit="watchdog", signal="watchdog.stuck",
              cl=lambda look: int(look.core.watchdog.stuck), rtl=lambda s: int(s.watchdog.stuck)),
        Probe(unit=unit, signal=f"{p}running", cl=running,
              rtl=lambda s: int(s.program_loader.running)),
        Probe(unit=unit, signal=f"{p}error", cl=lambda look: int(look.core.program.shown),
              rtl=lambda s: int(s.program_loader.error)),
        Probe(unit=unit, signal=f"{p}failed", cl=lambda look: int(look.core.program.shown != 0),
              rtl=lambda s: int(s.program_loader.failed)),
        Probe(unit=unit, signal=f"{p}close", cl=lambda look: int(look.core.program.close),
              rtl=lambda s: int(s.program_loader.close)),
        Probe(unit=unit, signal=f"{p}last_layer",
              cl=lambda look: look.core.program.last_layer if running(look) else None,
              rtl=lambda s: int(s.program_loader.last_layer)),
        Probe(unit=unit, signal=f"{p}layer_wen, weight_wen, param_wen, input_wen", cl=enables,
              rtl=enabled),
        Probe(unit=unit, signal=f"{p}address", cl=address,
              rtl=lambda s: int(s.program_loader.address)),
        Probe(unit=unit, signal=f"{p}beat", cl=part(2), rtl=lambda s: int(s.program_loader.beat)),
        Probe(unit=unit, signal=f"{p}data", cl=part(3), rtl=lambda s: int(s.program_loader.data)),
    ]  # fmt: skip


def _memory_port() -> list[Probe]:
    return [
        Probe(
            unit=ACCELERATOR,
            signal="write_mask, write_rows, write_bank, write_data",
            cl=lambda look: _pending(look, image=None),
            rtl=_bytes,
        )
    ]


def _image_loader() -> list[Probe]:
    unit = "image_loader"
    return [
        Probe(unit=unit, signal="image_loader.begun", cl=lambda look: int(look.core.images.begun),
              rtl=lambda s: int(s.image_loader.begun)),
        Probe(unit=unit, signal="image_loader.full", cl=lambda look: int(look.core.images.full),
              rtl=lambda s: int(s.image_loader.full)),
        Probe(unit=unit, signal="image_loader.queue",
              cl=lambda look: len(look.core.images.queue),
              rtl=lambda s: _queued(s.image_loader.queue)),
    ]  # fmt: skip


def _queued(queue: Any) -> int:
    return int(queue.head_val) + int(queue.tail_val)


def _step_sequencer(cfg: AccelConfig) -> list[Probe]:
    unit, row_nbits = "step_sequencer", cfg.act_addr_nbits
    windows = ("windows", "row_end", "window_used", "edges") if cfg.line_width else ()
    size, num_taps = TAPS * cfg.act_depth, TAPS * cfg.pixel_groups

    def of_command(value: Callable[[Any], Value]) -> Callable[[Look], Value]:
        return lambda look: None if look.core.command is None else value(look.core.command)

    def read_from(c: Any) -> dict[int, int]:
        at = c.plan.address[c.step].ravel().tolist()
        return {t: a for t, a in enumerate(at) if a < size}

    def reads(s: Any) -> dict[int, int]:
        c = s.step_sequencer.command
        mask, rows, banks = int(c.reads), int(c.rows), int(c.bank)
        row_mask = (1 << row_nbits) - 1
        return {
            t: (rows >> t * row_nbits & row_mask) * TAPS
            + ((banks >> t // TAPS * 4 & 15) + t % TAPS) % TAPS
            for t in range(num_taps)
            if mask >> t & 1
        }

    def pads(c: Any) -> int:
        at = c.plan.address[c.step].ravel().tolist()
        return sum((a == size) << t for t, a in enumerate(at))

    def pad_value(c: Any) -> Value:
        return c.descriptor.pad_value & (1 << ACT_NBITS) - 1 if pads(c) else None

    def flag(i: int) -> Callable[[Any], Value]:
        return lambda c: None if c.plan.place[c.step] == OPERAND else c.plan.flags[c.step][i]

    def pool_flag(i: int) -> Callable[[Any], Value]:
        # Who looks at it does so with the last step of a sum.
        return lambda c: c.plan.flags[c.step][i] if c.plan.flags[c.step][1] else None

    def is_signed(c: Any) -> Value:
        is_operand = c.plan.place[c.step] == OPERAND
        return int(c.descriptor.operand_signed if is_operand else c.descriptor.signed)

    def weight_address(c: Any) -> Value:
        return int(c.weight_address) if c.load else None

    def index(c: Any) -> Value:
        if c.plan.place[c.step] == OPERAND or (c.load and not c.keep):
            return None
        return int(c.index)

    def window(i: int, name: str) -> Probe:
        def value(c: Any) -> Value:
            is_window, _, used, _ = c.windows
            # The ends of rows mean nothing without windows, nor edges of one that is not used.
            means_something = (True, is_window, True, is_window and used)[i]
            return c.windows[i] if means_something else None

        return command(name, value)

    def command(name: str, value: Callable[[Any], Value]) -> Probe:
        return Probe(
            unit=unit,
            signal=f"step_sequencer.command.{name}",
            cl=of_command(value),
            rtl=lambda s: int(getattr(s.step_sequencer.command, name)),
        )

    def register(name: str, cl: Callable[[Any], Value]) -> Probe:
        return Probe(
            unit=unit,
            signal=f"step_sequencer.{name}",
            cl=lambda look: cl(look.core),
            rtl=lambda s: int(getattr(s.step_sequencer, name)),
        )

    return [
        register("state", lambda core: core.steps.state),
        register("phase", lambda core: int(core.steps.phase)),
        register("layer", lambda core: core.layer),
        Probe(unit=unit, signal="step_sequencer.addresses.at_val",
              cl=lambda look: int(look.core.at is not None),
              rtl=lambda s: int(s.step_sequencer.addresses.at_val)),
        register("reading_input", lambda core: int(core.at is not None and core.at.done)),
        register("command_val", lambda core: int(core.command is not None)),
        Probe(unit=unit, signal="step_sequencer.command.rows, bank, reads",
              cl=of_command(read_from), rtl=reads, element="tap"),
        command("pads", pads),
        command("pad_value", pad_value),
        command("is_signed", is_signed),
        command("layer", lambda c: c.layer),
        command("weight_address", weight_address),
        command("load", lambda c: int(c.load)),
        command("keep", lambda c: int(c.keep)),
        command("idx", index),
        command("first", flag(0)),
        command("last", flag(1)),
        command("pool_first", pool_flag(2)),
        command("pool_last", pool_flag(3)),
        command("frees_input", lambda c: int(c.done)),
        *(window(i, name) for i, name in enumerate(windows)),
    ]  # fmt: skip


def _operand_fetch(cfg: AccelConfig) -> list[Probe]:
    unit = "operand_fetch"

    def stage(name: str, register: str) -> Probe:
        return Probe(
            unit=unit,
            signal=f"operand_fetch.{name}",
            cl=lambda look: int(getattr(look.core, register) is not None),
            rtl=lambda s: int(getattr(s.operand_fetch, name)),
        )

    def of_step(value: Callable[[Any], Value]) -> Callable[[Look], Value]:
        # What is read to be added is no step of the array's.
        return lambda look: None if look.core.offered is None else value(look.core.offered)

    def of_pixel(value: Callable[[Any], Value]) -> Callable[[Look], Value]:
        def cl(look: Look) -> Value:
            at = look.core.at_data
            return None if at is None or at.step is None else value(at.step)

        return cl

    # The registers of a step are the windows'.
    windows = "column_windows." if cfg.line_width else ""

    def message(name: str, value: Callable[[Any], Value], **element: Any) -> Probe:
        return Probe(
            unit=unit,
            signal=f"operand_fetch.{windows}step.msg.{name}",
            cl=of_step(value),
            rtl=lambda s: int(getattr(s.operand_fetch.step.msg, name)),
            **element,
        )

    def pixel(name: str, value: Callable[[Any], Value], **element: Any) -> Probe:
        return Probe(
            unit=unit,
            signal=f"operand_fetch.column_windows.pixel.msg.{name}",
            cl=of_pixel(value),
            rtl=lambda s: int(getattr(s.operand_fetch.column_windows.pixel.msg, name)),
            **element,
        )

    def operands(step: Any) -> Value:
        return pack_ints(step.x, ACT_NBITS)

    def weights(step: Any) -> Value:
        return int.from_bytes(step.w.astype(np.int8).tobytes(), "little") if step.load else None

    def added(look: Look) -> Value:
        operand = look.core.operand
        return None if operand is None else pack_ints(operand.x, ACT_NBITS)

    def if_last(name: str) -> Callable[[Any], Value]:
        return lambda step: getattr(step, name) if step.last else None

    bytes_read: dict[str, Any] = {"element": "tap", "nbits": ACT_NBITS, "is_signed": True}
    of_columns = bytes_read | {"per_column": TAPS if cfg.line_width else 0}
    weight: dict[str, Any] = {
        "element": "weight", "nbits": 8, "is_signed": True, "per_column": TAPS,
    }  # fmt: skip
    return [
        stage("read_val", "at_read"),
        stage("data_val", "at_data"),
        stage("step_val", "at_step"),
        *(
            [pixel("x", operands, **bytes_read), pixel("w", weights, **weight)]
            if cfg.line_width
            else []
        ),
        Probe(unit=unit, signal=f"operand_fetch.{windows}step.val",
              cl=lambda look: int(look.core.offered is not None),
              rtl=lambda s: int(s.operand_fetch.step.val)),
        message("x", operands, **of_columns),
        message("w", weights, **weight),
        message("idx", lambda step: step.idx if step.keep or not step.load else None),
        message("load", lambda step: int(step.load)),
        message("keep", lambda step: int(step.keep)),
        message("first", lambda step: step.first),
        message("last", lambda step: step.last),
        message("pool_first", if_last("pool_first")),
        message("pool_last", if_last("pool_last")),
        *(
            [Probe(unit=unit, signal="operand_fetch.operand.msg.x", cl=added,
                   rtl=lambda s: int(s.operand_fetch.operand.msg.x),
                   element="column", nbits=ACT_NBITS, is_signed=True)]
            if cfg.adder
            else []
        ),
    ]  # fmt: skip


def _pe_array(cfg: AccelConfig) -> list[Probe]:
    unit = "pe_array"

    def of_acc(value: Callable[[Any], Value]) -> Callable[[Look], Value]:
        return lambda look: None if look.core.array.out is None else value(look.core.array.out)

    return [
        Probe(unit=unit, signal="pe_array.valid",
              cl=lambda look: _bits(stage is not None for stage in look.core.array.stages),
              rtl=lambda s: int(s.pe_array.valid)),
        Probe(unit=unit, signal="pe_array.acc.val",
              cl=lambda look: int(look.core.array.out is not None),
              rtl=lambda s: int(s.pe_array.acc.val)),
        Probe(unit=unit, signal="pe_array.acc.msg.acc",
              cl=of_acc(lambda out: pack_ints(out.acc, cfg.acc_nbits)),
              rtl=lambda s: int(s.pe_array.acc.msg.acc),
              element="column", nbits=cfg.acc_nbits, is_signed=True),
        Probe(unit=unit, signal="pe_array.acc.msg.pool_first", cl=of_acc(lambda o: o.pool_first),
              rtl=lambda s: int(s.pe_array.acc.msg.pool_first)),
        Probe(unit=unit, signal="pe_array.acc.msg.pool_last", cl=of_acc(lambda o: o.pool_last),
              rtl=lambda s: int(s.pe_array.acc.msg.pool_last)),
    ]  # fmt: skip


def _bits(stages: Any) -> int:
    """The first one lowest."""
    return sum(int(bool(stage)) << i for i, stage in enumerate(stages))


def _pooling_unit(cfg: AccelConfig) -> list[Probe]:
    unit = "pooling_unit"

    def maxima(look: Look) -> Value:
        out = look.core.pooling.out
        return None if out is None else pack_ints(out.acc, cfg.acc_nbits)

    return [
        Probe(unit=unit, signal="pooling_unit.pooled.val",
              cl=lambda look: int(look.core.pooling.out is not None),
              rtl=lambda s: int(s.pooling_unit.pooled.val)),
        Probe(unit=unit, signal="pooling_unit.pooled.msg.acc", cl=maxima,
              rtl=lambda s: int(s.pooling_unit.pooled.msg.acc),
              element="column", nbits=cfg.acc_nbits, is_signed=True),
    ]  # fmt: skip


def _param_sequencer(cfg: AccelConfig) -> list[Probe]:
    unit = "param_sequencer"

    def message(name: str, value: Callable[[Any], int], **element: Any) -> Probe:
        def cl(look: Look) -> Value:
            return None if look.core.params.out is None else value(look.core.params.out)

        return Probe(
            unit=unit,
            signal=f"param_sequencer.param.msg.{name}",
            cl=cl,
            rtl=lambda s: int(getattr(s.param_sequencer.param.msg, name)),
            **element,
        )

    mask = (1 << ACT_NBITS) - 1
    return [
        Probe(unit=unit, signal="param_sequencer.state", cl=lambda look: look.core.params.state,
              rtl=lambda s: int(s.param_sequencer.state)),
        Probe(unit=unit, signal="param_sequencer.read_val",
              cl=lambda look: int(look.core.params.data is not None),
              rtl=lambda s: int(s.param_sequencer.read_val)),
        Probe(unit=unit, signal="param_sequencer.param.val",
              cl=lambda look: int(look.core.params.out is not None),
              rtl=lambda s: int(s.param_sequencer.param.val)),
        message("bias", lambda m: pack_ints(m.bias, 32),
                element="lane", nbits=32, is_signed=True),
        message("multiplier", lambda m: pack_ints(m.multiplier, 32), element="lane", nbits=32),
        message("zero_point", lambda m: int(m.zero_point) & mask),
        message("lo", lambda m: int(m.lo) & mask),
        message("hi", lambda m: int(m.hi) & mask),
        message("last", lambda m: m.last),
        *(
            [message("ties_away", lambda m: m.ties_away),
             message("ends_layer", lambda m: m.ends_layer)]
            if cfg.adder
            else []
        ),
        *(
            [message("looks_up", lambda m: m.looks_up),
             message("table_index", lambda m: m.table_index)]
            if cfg.tables
            else []
        ),
        *([message("table_signed", lambda m: m.table_signed)] if _finds_signs(cfg) else []),
    ]  # fmt: skip


def _finds_signs(cfg: AccelConfig) -> bool:
    """Whether an adder wants to know what sign there is in a table."""
    return cfg.adder and cfg.tables > 0


def _requantizer(cfg: AccelConfig) -> list[Probe]:
    unit, nbits = "requantizer", y_nbits(cfg)

    def output(look: Look) -> Value:
        out = look.core.requantizer.out
        return None if out is None else pack_ints(out.y, nbits)

    def flag(name: str) -> Probe:
        def cl(look: Look) -> Value:
            out = look.core.requantizer.out
            return None if out is None else int(getattr(out, name))

        return Probe(
            unit=unit,
            signal=f"requantizer.out.msg.{name}",
            cl=cl,
            rtl=lambda s: int(getattr(s.requantizer.out.msg, name)),
        )

    def stages(look: Look) -> Value:
        r = look.core.requantizer
        return _bits([*r.stages, r.out is not None])

    return [
        Probe(unit=unit, signal="requantizer.next_val",
              cl=lambda look: int(look.core.requantizer.next is not None),
              rtl=lambda s: int(s.requantizer.next_val)),
        Probe(unit=unit, signal="requantizer.held_val",
              cl=lambda look: int(look.core.requantizer.held is not None),
              rtl=lambda s: int(s.requantizer.held_val)),
        Probe(unit=unit, signal="requantizer.valid", cl=stages,
              rtl=lambda s: int(s.requantizer.valid)),
        Probe(unit=unit, signal="requantizer.out.msg.y", cl=output,
              rtl=lambda s: int(s.requantizer.out.msg.y), element="lane", nbits=nbits,
              is_signed=cfg.adder),
        *([flag("last"), flag("ends_layer")] if cfg.adder else []),
        *([flag("looks_up"), flag("table_index")] if cfg.tables else []),
        *([flag("table_signed")] if _finds_signs(cfg) else []),
    ]  # fmt: skip


def _tables(cfg: AccelConfig) -> list[Probe]:
    unit, nbits = "tables", y_nbits(cfg)

    def found(look: Look) -> Value:
        out = look.core.looked_up
        return None if out is None else pack_ints(out.y, nbits)

    return [
        Probe(unit=unit, signal="tables.val",
              cl=lambda look: int(look.core.tables.found is not None),
              rtl=lambda s: int(s.tables.val)),
        Probe(unit=unit, signal="tables.out.val",
              cl=lambda look: int(look.core.looked_up is not None),
              rtl=lambda s: int(s.tables.out.val)),
        Probe(unit=unit, signal="tables.out.msg.y", cl=found,
              rtl=lambda s: int(s.tables.out.msg.y), element="lane", nbits=nbits,
              is_signed=cfg.adder),
    ]  # fmt: skip


def _adder(cfg: AccelConfig) -> list[Probe]:
    """And what tells it what to add."""

    def term(name: str) -> Probe:
        def cl(look: Look) -> Value:
            terms = look.core.terms.out
            return None if terms is None else int(getattr(pack(cfg, terms), name))

        return Probe(
            unit="term_sequencer",
            signal=f"term_sequencer.terms.msg.{name}",
            cl=cl,
            rtl=lambda s: int(getattr(s.term_sequencer.terms.msg, name)),
        )

    def register(name: str, cl: Callable[[Any], Value], **element: Any) -> Probe:
        return Probe(
            unit="adder",
            signal=f"adder.{name}",
            cl=lambda look: cl(look.core.adder),
            rtl=lambda s: int(getattr(s.adder, name)),
            **element,
        )

    def next_operand(look: Look) -> Value:
        operands = look.core.adder.operands
        return pack_ints(operands[0], ACT_NBITS) if operands else None

    return [
        Probe(unit="term_sequencer", signal="term_sequencer.terms.val",
              cl=lambda look: int(look.core.terms.out is not None),
              rtl=lambda s: int(s.term_sequencer.terms.val)),
        *map(term, Terms._fields),
        register("known", lambda a: int(a.known)),
        Probe(unit="adder", signal="adder.queue", cl=lambda look: len(look.core.adder.queue),
              rtl=lambda s: _queued(s.adder.queue)),
        register("count", lambda a: len(a.operands)),
        Probe(unit="adder", signal="adder.operands.rdata", cl=next_operand,
              rtl=lambda s: int(s.adder.operands.rdata),
              element="column", nbits=ACT_NBITS, is_signed=True),
        register("at", lambda a: a.beat),
        register("ending", lambda a: int(a.ending)),
        register("valid", lambda a: _bits([*a.stages, a.out is not None])),
        register("sums", lambda a: None if a.out is None else pack_ints(a.out.y, 8),
                 element="lane", nbits=8),
    ]  # fmt: skip


def _write_sequencer() -> list[Probe]:
    unit = "write_sequencer"

    def register(name: str, cl: Callable[[Any], Value]) -> Probe:
        return Probe(
            unit=unit,
            signal=f"write_sequencer.{name}",
            cl=lambda look: cl(look.core.writes),
            rtl=lambda s: int(getattr(s.write_sequencer, name)),
        )

    return [
        Probe(unit=unit, signal="write_sequencer.queue", cl=lambda k: len(k.core.writes.queue),
              rtl=lambda s: _queued(s.write_sequencer.queue)),
        register("state", lambda w: w.state),
        register("layer", lambda w: w.layer),
        register("written", lambda w: int(w.written)),
        Probe(unit=unit, signal="write_sequencer.result.val",
              cl=lambda look: int(look.core.result is not None),
              rtl=lambda s: int(s.write_sequencer.result.val)),
        Probe(unit=unit, signal="write_sequencer.result.msg", cl=lambda look: look.core.result,
              rtl=lambda s: int(s.write_sequencer.result.msg),
              element="byte", nbits=8),
        register("result_last", lambda w: int(w.packer.at_class)),
        register("at_rest", lambda w: int(not w.packer.class_next and w.packer.out is None)),
    ]  # fmt: skip


def _ready(cfg: AccelConfig) -> list[Probe]:
    """Who takes what is offered; each follows from those before it. And what an adder offers, which
    may be what comes in the same cycle."""

    def outputs(look: Look) -> Value:
        return None if look.core.out is None else pack_ints(look.core.out.y, 8)

    def probe(unit: str, port: str, cl: Callable[[Any], Any]) -> Probe:
        stream = port.removesuffix(".rdy")
        return Probe(
            unit=unit,
            signal=f"{unit}.{port}",
            cl=lambda look: int(cl(look.core)),
            rtl=lambda s: int(getattr(getattr(s, unit), stream).rdy),
        )

    return [
        probe("write_sequencer", "out.rdy", lambda core: core.out_rdy),
        *(
            [Probe(unit="adder", signal="adder.out.val",
                   cl=lambda look: int(look.core.out is not None),
                   rtl=lambda s: int(s.adder.out.val)),
             Probe(unit="adder", signal="adder.out.msg.y", cl=outputs,
                   rtl=lambda s: int(s.adder.out.msg.y), element="lane", nbits=8),
             probe("adder", "beat.rdy", lambda core: core.beat_rdy),
             probe("adder", "terms.rdy", lambda core: core.adder.ready_terms),
             probe("adder", "operand.rdy", lambda core: core.adder.ready_operand)]
            if cfg.adder
            else []
        ),
        *([probe("tables", "value.rdy", lambda core: core.value_rdy)] if cfg.tables else []),
        probe("requantizer", "pooled.rdy", lambda core: core.pooled_rdy),
        probe("requantizer", "param.rdy", lambda core: core.param_rdy),
        probe("pooling_unit", "acc.rdy", lambda core: core.acc_rdy),
        probe("pe_array", "step.rdy", lambda core: core.step_rdy),
        *(
            [Probe(unit="operand_fetch", signal="operand_fetch.operand.val",
                   cl=lambda look: int(look.core.operand is not None and look.core.step_rdy),
                   rtl=lambda s: int(s.operand_fetch.operand.val)),
             Probe(unit="operand_fetch", signal="operand_fetch.go",
                   cl=lambda look: int(look.core.go), rtl=lambda s: int(s.operand_fetch.go))]
            if cfg.adder
            else []
        ),
    ]  # fmt: skip


def _between() -> list[Probe]:
    """What follows from several units, and what it makes of the others."""

    def probe(unit: str, signal: str, cl: Callable[[Any], Any], rtl: Callable[[Any], Any]) -> Probe:
        return Probe(
            unit=unit,
            signal=signal,
            cl=lambda look: int(cl(look.core)),
            rtl=lambda s: int(rtl(s)),
        )

    def waits(core: Any) -> bool:
        return core.program.running and not core.at_rest and core.result is None

    def reading(core: Any) -> bool:
        return core.command is not None and core.command.done and not core.go

    def last_step(core: Any) -> bool:
        steps = core.steps
        return bool(core.issue and steps.issued == steps.total - 1)

    def rests(core: Any) -> bool:
        return not core.images.word and not core.images.queue

    def blocked(core: Any) -> bool:
        return core.out is not None and not core.out_rdy

    return [
        Probe(unit="write_sequencer", signal="write_sequencer.writing",
              cl=lambda k: int(k.core.writes.takes(k.result_rdy) and not k.core.writes.to_result),
              rtl=lambda s: int(s.write_sequencer.writing)),
        probe("operand_fetch", "operand_fetch.reading_input", reading,
              lambda s: s.operand_fetch.reading_input),
        probe(ACCELERATOR, "image_loader.hold", lambda core: core.holds_image,
              lambda s: s.image_loader.hold),
        probe("image_loader", "image_loader.waits",
              lambda core: bool(core.images.queue) and core.holds_image,
              lambda s: s.image_loader.waits),
        probe("image_loader", "image_loader.empty", rests, lambda s: s.image_loader.empty),
        probe(ACCELERATOR, "step_sequencer.out_waits", blocked,
              lambda s: s.step_sequencer.out_waits),
        probe("step_sequencer", "step_sequencer.activity", lambda core: core.activity,
              lambda s: s.step_sequencer.activity),
        probe("step_sequencer", "step_sequencer.issue", lambda core: core.issue,
              lambda s: s.step_sequencer.issue),
        probe("step_sequencer", "step_sequencer.image_done",
              lambda core: last_step(core) and core.steps.descriptor.frees_input,
              lambda s: s.step_sequencer.image_done),
        probe("step_sequencer", "step_sequencer.at_rest", lambda core: core.at_rest,
              lambda s: s.step_sequencer.at_rest),
        probe(ACCELERATOR, "program_loader.idle", lambda core: core.idle,
              lambda s: s.program_loader.idle),
        probe(ACCELERATOR, "busy", lambda core: core.busy, lambda s: s.busy),
        probe(ACCELERATOR, "watchdog.waits", waits, lambda s: s.watchdog.waits),
        probe(ACCELERATOR, "streams", lambda core: core.streams, lambda s: s.streams),
        probe("program_loader", "program_loader.prog.rdy", lambda core: core.prog_rdy,
              lambda s: s.prog.rdy),
        probe("image_loader", "image_loader.image.rdy", lambda core: core.image_rdy,
              lambda s: s.image.rdy),
    ]  # fmt: skip

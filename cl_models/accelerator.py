"""The accelerator, cycle level."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymtl3 import Component, InPort, OutPort, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.errors import AccelError
from accel.hardware.config import BUS_NBITS, CLASS_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import BYTES_PER_WORD, LayerDescriptor
from accel.hardware.messages import Operand, Out, Param, Pixel, Step, Terms
from accel.hardware.packets import ProgramMemory
from accel.hardware.pipeline import FETCH_LATENCY, PE_ARRAY_LATENCY
from accel.hardware.status import (
    STREAMS,
    TRAFFIC,
    TRAFFIC_NBITS,
    WATCHDOG_CYCLES,
    Activity,
    ProgramError,
)
from accel.hardware.walk import (
    groups_read_alike,
    nest_flags,
    num_groups,
    offsets,
    operand_reads,
    reads,
    steps_behind,
    steps_per_sum,
    steps_per_window,
    total_steps,
    used_windows,
    window_edges,
    write_pixels,
    writes,
)
from cl_models.adder import AdderCoreCL
from cl_models.column_windows import ColumnWindowsCoreCL
from cl_models.pe_array import PEArrayCoreCL
from cl_models.pooling_unit import PoolingUnitCoreCL
from cl_models.requantizer import RequantizerCoreCL
from cl_models.tables import TablesCoreCL

IDLE, SETUP, RUN = 0, 1, 2

OPERAND = -1
"""Instead of a step's place in its sum."""


class _Plan(NamedTuple):
    """The steps of a layer that read for one group of output channels, or those behind them."""

    address: NDArray[np.int64]
    """(steps, pixel_groups, 9); for a tap that reads nothing, the place of its value."""
    needed: NDArray[np.int64]
    """The same, without what is read and dropped."""
    num_inside: list[int]
    """Taps of each step that lie inside."""
    flags: list[tuple[int, int, int, int]]
    """first, last, pool_first, pool_last of each step."""
    place: list[int]
    """Of each step in its sum; OPERAND of one that reads what is added to a vector."""
    loads: list[bool]
    """Whether a step loads its weights; the others find them in the PEs."""
    steps_per_output: int


class _Windows(NamedTuple):
    """What the steps of a layer with column windows complete, in a group of output channels."""

    used: list[bool]
    first: int
    """The first one that is."""
    edges: list[int]
    """As :class:`Pixel` has them."""
    row: int
    """Pixels of a row."""

    @classmethod
    def of(cls, d: LayerDescriptor) -> _Windows:
        used, edges = used_windows(d), window_edges(d)
        bits = (edges << np.arange(edges.shape[-1])).sum(axis=-1)
        return cls(used.ravel().tolist(), int(used.argmax()), bits.ravel().tolist(), used.shape[1])


class ProgramLoader(ProgramMemory):
    """The program memory, and when it takes words of the program stream.

    ``running`` here is what the sequencers see: it falls with a packet's header, which is then
    looked at for two cycles; after them ``running`` rises, or ``shown`` is the error found, or the
    payload is taken.
    """

    def reset(self) -> None:
        super().reset()
        self.starts = self.close = False
        self.looking = 0
        self.shown = ProgramError.NONE

    def ready(self, idle: bool) -> bool:
        """``close`` has kept new images out for a cycle before a packet is taken up."""
        free = not self.running or (self.close and idle)
        return bool(self.shown) or (not self.looking and (bool(self.missing) or free))

    def tick(self, offered: bool, word: int | None, idle: bool, stuck: bool) -> None:
        """``offered``: there is a word. ``word``: it, if it is taken. ``stuck``: the watchdog."""
        in_packet, failed = bool(self.missing), bool(self.shown)
        self.close = self.running and offered and not in_packet and word is None and idle
        if stuck and not failed:
            self.shown = ProgramError.STUCK
        if self.looking:
            self.looking -= 1
            if not self.looking:
                self.running, self.shown = self.starts, self.error
        elif word is not None and not failed:
            self.take(word)
            if not in_packet:
                self.starts, self.running = self.running, False
                self.looking = 2


class Watchdog:
    """Says that nothing will ever move again; it learns what moved a cycle late."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.quiet = False
        self.count = 0

    @property
    def stuck(self) -> bool:
        return self.count == WATCHDOG_CYCLES

    def tick(self, waits: bool, moves: bool) -> None:
        self.count = min(self.count + 1, WATCHDOG_CYCLES) if self.quiet else 0
        self.quiet = waits and not moves


class _Address(NamedTuple):
    """A step on its way to the memories."""

    layer: int
    serial: int
    """How many layers were taken up before this one, since the program runs."""
    descriptor: LayerDescriptor
    plan: _Plan
    step: int
    group: int
    done: bool
    """The last one that reads the image."""
    load: bool
    keep: bool
    index: int
    """Of its weights in the scratchpads."""
    weight_address: int
    windows: tuple[int, int, int, int]
    """windows, row_end, used, edges as :class:`Pixel` has them."""


class _Fetched(NamedTuple):
    """A step on its way to the PE array."""

    layer: int
    step: Step | Pixel | None
    """None of a window that is not used."""
    num_inside: int
    operand: Operand | None = None
    """In the place of a step: what is added to a vector."""


class StepSequencer:
    """Issues a step a cycle: see the RTL's component of that name for its rules."""

    def __init__(self, program: ProgramMemory) -> None:
        self.program = program
        self.reset()

    def reset(self) -> None:
        self.state = IDLE
        self.layer = self.serial = 0
        self.phase = False
        self.step = self.group = self.issued = 0
        # Moves of the pipeline since the layer before issued its last step.
        self.since = 0
        self.plans: dict[tuple[int, int], _Plan] = {}
        self.windows: dict[int, _Windows] = {}
        self.written: dict[int, NDArray[np.int64]] = {}

    def setup(self) -> None:
        self.state = RUN
        d = self.descriptor = self.program.layers[self.layer]
        self.step = self.group = self.issued = 0
        self.plan = self._plan_of(d, 0)
        self.total = total_steps(d)

    def outputs(self) -> NDArray[np.int64]:
        """The bytes of memory that the layer writes, in its order."""
        if self.layer not in self.written:
            d, cfg = self.descriptor, self.program.cfg
            at = writes(d, cfg.num_lanes).address % (TAPS * cfg.act_depth)
            self.written[self.layer] = at[:0] if d.to_result else at
        return self.written[self.layer]

    def _plan_of(self, d: LayerDescriptor, group: int) -> _Plan:
        alike = groups_read_alike(d) and not d.adds and not d.column_windows
        key = self.layer, 0 if alike else group
        if key not in self.plans:
            self.plans[key] = self._plan(d, key[1])
        return self.plans[key]

    def _plan(self, d: LayerDescriptor, group: int) -> _Plan:
        size = TAPS * self.program.cfg.act_depth
        if d.column_windows and group == num_groups(d):
            nothing = np.full((steps_behind(d), self.program.cfg.pixel_groups, TAPS), size + 1)
            flags = nest_flags(d)[:1] * len(nothing)
            zeros = [0] * len(nothing)
            return _Plan(nothing, nothing, zeros, flags, zeros, [False] * len(nothing), 1)
        taps = reads(d, self.program.cfg.pixel_groups, group)
        no_read = np.where(taps.padding, size, size + 1)
        steps, flags = steps_per_sum(d), nest_flags(d)
        at = np.arange(len(flags))
        plan = _Plan(
            address=(address := np.where(taps.inside, taps.address % size, no_read)),
            needed=address,
            num_inside=taps.inside.sum(axis=(1, 2)).tolist(),
            flags=flags,
            place=(at % steps).tolist(),
            loads=(bool(d.reload) | (at < steps)).tolist(),
            steps_per_output=steps,
        )
        return self._with_operands(d, plan, group) if d.adds else plan

    def _with_operands(self, d: LayerDescriptor, plan: _Plan, group: int) -> _Plan:
        """The steps of sums, and before each vector's first the one that reads what is added."""
        cfg = self.program.cfg
        size, nothing = TAPS * cfg.act_depth, TAPS * cfg.act_depth + 1
        operands = operand_reads(d, cfg, group)
        shape = len(operands.address), cfg.pixel_groups, cfg.group_cols
        unread = (0, 0), (0, 0), (0, TAPS - cfg.group_cols)
        at = (operands.address % size).reshape(shape)
        needed = np.where(operands.used.reshape(shape), at, nothing)
        before = np.arange(shape[0]) * steps_per_window(d)

        def between(steps: list[Any], operand: Any) -> list[Any]:
            found = np.empty(len(steps), object)
            found[:] = steps
            added = np.empty(1, object)
            added[0] = operand
            return np.insert(found, before, np.repeat(added, len(before))).tolist()

        return _Plan(
            address=np.insert(plan.address, before, np.pad(at, unread, constant_values=nothing), 0),
            needed=np.insert(
                plan.needed, before, np.pad(needed, unread, constant_values=nothing), 0
            ),
            num_inside=between(plan.num_inside, cfg.num_cols),
            flags=between(plan.flags, (0, 0, 0, 0)),
            place=between(plan.place, OPERAND),
            loads=between(plan.loads, False),
            steps_per_output=plan.steps_per_output,
        )

    def address(self) -> _Address:
        """The step that is issued in this cycle."""
        d, plan = self.descriptor, self.plan
        done = self.issued == self.total - 1 and bool(d.frees_input)
        step = (self.layer, self.serial, d, plan, self.step, self.group, done)
        if d.column_windows and self.program.cfg.line_width:
            load, group, windows = self._window()
            return _Address(*step, load, load and not d.reload, 0, d.weight_base + group, windows)
        k, load = plan.place[self.step], plan.loads[self.step]
        word = d.weight_base + self.group * plan.steps_per_output + k
        index = k % self.program.cfg.spad_depth
        return _Address(*step, load, load and not d.reload, index, word, (0, 0, 1, 0))

    def _window(self) -> tuple[bool, int, tuple[int, int, int, int]]:
        """Whether the window that this step completes needs weights, and of which group."""
        d = self.descriptor
        if self.layer not in self.windows:
            self.windows[self.layer] = _Windows.of(d)
        found = self.windows[self.layer]
        row_end = self.issued % found.row == found.row - 1 or self.issued == self.total - 1
        group, at = divmod(self.issued - steps_behind(d), len(found.used))
        used = group >= 0 and found.used[at]
        load = bool(d.reload) or (used and at == found.first)
        return load, max(group, 0), (1, int(row_end), int(used), found.edges[at] if used else 0)

    def advance(self) -> None:
        """The step of this cycle was issued."""
        self.issued += 1
        self.step += 1
        if self.issued == self.total:
            self.state = SETUP
            self.serial += 1
            self.phase = not self.phase
            self.since = 0
            self.layer = self.program.layer_after(self.layer)
        elif self.step == len(self.plan.flags):
            self.step = 0
            self.group += 1
            self.plan = self._plan_of(self.descriptor, self.group)


class ParamSequencer:
    """Offers a beat of parameters a cycle, ahead of the requantizer."""

    def __init__(self, program: ProgramMemory) -> None:
        self.program = program
        self.reset()

    def reset(self) -> None:
        self.state = IDLE
        self.layer = 0
        # What memory has read, and what is offered
        self.data: Param | None = None
        self.out: Param | None = None

    def tick(self, rdy: bool) -> None:
        if not self.program.running:
            self.reset()
            return
        offers = self.out is None or rdy
        moves = self.data is None or offers
        if offers:
            self.out = self.data
        if moves:
            self.data = None
        if self.state == RUN:
            if moves:
                self._read()
            return
        if self.state == IDLE:
            self.state = SETUP
            return
        self.beat = self.vector = self.group = 0
        self.descriptor = self.program.layers[self.layer]
        self.base = self.descriptor.param_base
        self.state = RUN

    def _read(self) -> None:
        d = self.descriptor
        at = self.base + self.beat
        last_group = self.group == d.param_groups - 1
        last = self.beat == (d.param_last_beats if last_group else d.param_beats) - 1
        multiplier, bias = self.program.multipliers[at], self.program.biases[at]
        self.data = Param(multiplier, bias, d.zero_point, d.lo, d.hi, int(last))
        if self.program.cfg.tables:
            lookup = d.looks_up, d.table_index, d.table_signed
            self.data = self.data._replace(
                **dict(zip(("looks_up", "table_index", "table_signed"), lookup, strict=True))
            )
        if self.program.cfg.adder:
            ends = last and last_group and self.vector == d.param_vectors - 1
            self.data = self.data._replace(ties_away=d.ties_away, ends_layer=int(ends))
        self.beat += 1
        if not last:
            return
        self.beat = 0
        self.vector += 1
        if self.vector == d.param_vectors:
            self.vector = 0
            self.group += 1
            self.base = at + 1
            if last_group:
                self.state = SETUP
                self.layer = self.program.layer_after(self.layer)


class TermSequencer:
    """Offers the adder a layer's terms after another's."""

    def __init__(self, program: ProgramMemory) -> None:
        self.program = program
        self.reset()

    def reset(self) -> None:
        self.layer = 0
        self.out: Terms | None = None

    def tick(self, taken: bool) -> None:
        if not self.program.running:
            self.reset()
            return
        if taken:
            self.layer = self.program.layer_after(self.layer)
        if taken or self.out is None:
            self.out = Terms.of(self.program.layers[self.layer])


class ResultPacker:
    """Packs outputs into words, then sends the winning class."""

    def __init__(self, num_lanes: int) -> None:
        self.num_lanes = num_lanes
        self.reset()

    def reset(self) -> None:
        self.out: int | None = None
        self.class_next = self.at_class = False
        self._begin()

    def _begin(self) -> None:
        self.word = self.place = self.count = self.winner = 0
        self.best: int | None = None

    def ready(self, rdy: bool) -> bool:
        return not self.class_next and (self.out is None or rdy)

    def tick(self, beat: NDArray[np.int64] | None, signed: int, last: bool, rdy: bool) -> None:
        """``beat``: the valid bytes of this cycle's beat, or None."""
        if beat is None:
            if self.out is not None and rdy:
                self.out = self.winner if self.class_next else None
                self.at_class = self.class_next
                if self.class_next:
                    self.class_next = False
                    self._begin()
            return
        for byte in beat.tolist():
            value = byte - 256 if signed and byte > 127 else byte
            if self.best is None or value > self.best:
                self.best, self.winner = value, self.count % (1 << CLASS_NBITS)
            self.count += 1
            self.word |= byte << 8 * self.place
            self.place += 1
        self.place += -self.place % self.num_lanes
        self.out, self.class_next, self.at_class = None, last, False
        if last or self.place == BYTES_PER_WORD:
            self.out, self.word, self.place = self.word, 0, 0


class Outstanding:
    """Bytes of the activation memory whose writing is still to come, though every step that makes
    them has been issued: a later layer may not read one. Hardware has nothing of the kind: it
    relies on the program's ``safe_steps`` and ``frees_input``, which are checked here."""

    NONE = -1

    def __init__(self, size: int) -> None:
        # For each byte the serial number of the layer after which it counts as outstanding
        self.since = np.full(size, self.NONE, np.int64)
        self.reset()

    def reset(self) -> None:
        self.since[:] = self.NONE
        self.count = 0
        # The layer whose steps are being issued, and its outputs that have been written already
        self.issuing = self.landed_early = 0

    def layer_issued(self, serial: int, outputs: NDArray[np.int64]) -> None:
        """The last step of layer ``serial`` is issued. outputs: the bytes that it writes, in its
        order."""
        self._expect(outputs[self.landed_early :], serial)
        self.issuing, self.landed_early = serial + 1, 0

    def image_freed(self, serial: int, image: NDArray[np.int64]) -> None:
        """After layer ``serial`` the next image is written to these bytes."""
        self._expect(image, serial)

    def _expect(self, at: NDArray[np.int64], serial: int) -> None:
        self.since[at] = serial
        self.count = int(np.count_nonzero(self.since != self.NONE))

    def landed(self, at: Any, serial: int | None) -> None:
        """These bytes have been written, by layer ``serial`` or as part of an image."""
        if serial is not None and serial >= self.issuing:
            self.landed_early += len(at)
        elif self.count:
            self.count -= int(np.count_nonzero(self.since[at] != self.NONE))
            self.since[at] = self.NONE

    def check(self, step: _Address, at: NDArray[np.int64]) -> None:
        """Raises :class:`AccelError` if a step reads what an earlier layer is yet to write."""
        flat = at[at < self.since.size]
        since = self.since[flat]
        early = (since != self.NONE) & (since < step.serial)
        if early.any():
            byte = int(flat[np.argmax(early)])
            row, bank = divmod(byte, TAPS)
            number = step.group * len(step.plan.flags) + step.step
            raise AccelError(
                f"layer {step.layer} reads byte {byte} of the activation memory (row {row}, bank "
                f"{bank}) in its step {number}, but that byte is yet to be written: the program "
                f"lets the layer begin too early (safe_steps = {step.descriptor.safe_steps}), or "
                f"frees the image before its last reader"
            )


class WritePort:
    """The activation memory's; what is written in one cycle is in memory two cycles later."""

    def __init__(self, memory: NDArray[np.uint8], size: int) -> None:
        """``size``: bytes of the activation memory, which ``memory`` begins with."""
        self.memory, self.size = memory, size
        self.outstanding = Outstanding(size)
        self.reset()

    def reset(self) -> None:
        self.pending: tuple[Any, Any, int | None] | None = None
        self.outstanding.reset()

    def tick(self) -> None:
        if self.pending is not None:
            at, data, serial = self.pending
            self.memory[at] = data
            self.outstanding.landed(at, serial)
            self.pending = None

    def write(self, at: Any, data: NDArray[Any], serial: int | None) -> None:
        """``serial``: of the layer that writes its outputs; None for an image."""
        self.pending = at, data, serial


class WriteSequencer:
    """Takes a beat of outputs a cycle, to memory or to the results."""

    def __init__(self, program: ProgramMemory, port: WritePort) -> None:
        self.program, self.port = program, port
        self.packer = ResultPacker(program.cfg.num_lanes)
        self.reset()

    def reset(self) -> None:
        self.packer.reset()
        self.queue: deque[Out] = deque()
        self.stop()

    def stop(self) -> None:
        self.state = IDLE
        self.layer = self.serial = 0
        self.written = False
        self.to_result = 0

    def setup(self) -> None:
        self.state = RUN
        # The loops' first position comes a cycle after RUN has begun.
        self.has_position = False
        d = self.descriptor = self.program.layers[self.layer]
        self.beat = self.pixel = self.group = 0
        self.to_result = d.to_result
        self.channel_stride = TAPS * d.lane_row + 1
        pixels, inside = write_pixels(d)
        self.pixels, self.inside = pixels.tolist(), inside.tolist()
        self.last_pixel = int(np.flatnonzero(inside)[-1])
        self.lanes = np.arange(self.program.cfg.num_lanes)

    @property
    def ready(self) -> bool:
        return len(self.queue) < 2

    def takes(self, result_rdy: bool) -> bool:
        """A beat of the queue is put away in this cycle."""
        free = not self.to_result or self.packer.ready(result_rdy)
        return self.state == RUN and self.has_position and bool(self.queue) and free

    def tick(self, out: Out | None, result_rdy: bool) -> None:
        """``out``: what comes from the requantizer in this cycle, or None."""
        beat, last, signed, ends_layer = None, False, 0, False
        takes = self.takes(result_rdy)
        if self.state == RUN:
            self.has_position = True
        if takes:
            d = self.descriptor
            signed, y = d.out_signed, self.queue.popleft().y
            last_group = self.group == d.write_loops[-1].count - 1
            beats = d.write_last_beats if last_group else d.write_beats
            # Beats beyond the last channel, and pixels beyond the feature map, are dropped.
            if self.beat < beats and self.inside[self.pixel]:
                last_beat = self.beat == beats - 1
                last = last_group and self.pixel == self.last_pixel and last_beat
                num_valid = len(self.lanes)
                if last_beat:
                    num_valid = d.last_lanes if last_group else d.group_lanes
                self.program.traffic[self.layer][TRAFFIC.index("result_bytes")] += num_valid
                if self.to_result:
                    beat = y[:num_valid]
                else:
                    lanes = self.beat * len(self.lanes) + self.lanes[:num_valid]
                    start = (
                        TAPS * d.write_row + d.write_bank + self.group * d.write_loops[-1].stride
                    )
                    at = start + self.pixels[self.pixel] + lanes * self.channel_stride
                    self.port.write(at % self.port.size, y[:num_valid], self.serial)
            ends_pixel = self.beat == beats - 1 + d.drop_beats * last_group
            ends_group = ends_pixel and self.pixel == len(self.pixels) - 1
            ends_layer = ends_group and last_group
            self._count(ends_pixel, ends_group)
        if out is not None:
            self.queue.append(out)
        self.packer.tick(beat, signed, last, result_rdy)
        if not self.program.running:
            self.stop()
        elif ends_layer:
            self.state = SETUP
            self.serial += 1
            self.written = not self.written
            self.layer = self.program.layer_after(self.layer)
        elif self.state == SETUP:
            self.setup()
        elif self.state == IDLE:
            self.state = SETUP

    def _count(self, ends_pixel: bool, ends_group: bool) -> None:
        self.beat = 0 if ends_pixel else self.beat + 1
        if ends_pixel:
            self.pixel = 0 if ends_group else self.pixel + 1
            self.group += ends_group


class ImageLoader:
    """Writes a word of the image a cycle."""

    def __init__(self, program: ProgramLoader, port: WritePort) -> None:
        self.program, self.port = program, port
        self.reset()

    def reset(self) -> None:
        self.begun = self.full = False
        self.word = 0
        self.queue: deque[int] = deque()

    @property
    def ready(self) -> bool:
        if self.program.shown:
            return True
        return (
            self.begun and self.program.running and not self.program.close and len(self.queue) < 2
        )

    def tick(self, word: int | None, done: bool, hold: bool) -> None:
        """``word``: what comes in this cycle, or None."""
        if self.queue and self.begun and not self.full and not hold:
            start, used = self.places[self.word]
            data = self.queue.popleft().to_bytes(BYTES_PER_WORD, "little")
            self.port.write(slice(start, start + used), np.frombuffer(data, np.uint8, used), None)
            self.word += 1
        if word is not None and not self.program.shown:
            self.queue.append(word)
        if not self.program.running:
            self.begun = self.full = False
            return
        if not self.begun:
            self._begin()
        self.full = self.full and not done
        if self.word == len(self.places):
            self.word = 0
            self.full = True

    def _begin(self) -> None:
        self.begun, self.word = True, 0
        descriptor = self.program.input
        assert descriptor is not None
        start = descriptor.base + offsets(descriptor.loops)
        used = np.full(start.size, BYTES_PER_WORD)
        words_per_row = descriptor.loops[0].count
        used[words_per_row - 1 :: words_per_row] = descriptor.last_bytes
        self.places = list(zip(start.tolist(), used.tolist(), strict=True))


class AcceleratorCoreCL:
    """All of the accelerator, one clock cycle at a time, in plain Python.

    The order of evaluation is that of the wires, against the stream of the data::

        evaluate:  result_rdy -> write sequencer -> adder -> tables -> requantizer
                   -> pooling unit -> PE array -> go -> what the issue stage does
        tick:      all registers at once, each from what was before the edge: so the PE array moves
                   before the pooling unit's register is looked at again, and memory is read before
                   it is written

    A cycle is :meth:`evaluate`, which settles ``prog_rdy``, ``image_rdy``, ``activity`` and
    ``layer``, then :meth:`tick` with the words that were transferred. ``result`` is the word that
    the result stream offers, or None. ``running`` is the value before the clock edge in all parts,
    so the program memory is the last to move.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.cfg = cfg
        # Two bytes more, for what taps are that read nothing: the pad value, and zero.
        self.memory = np.zeros(TAPS * cfg.act_depth + 2, np.uint8)
        self.signed_memory = self.memory.view(np.int8)
        self.no_weights = np.zeros((cfg.num_cols, TAPS), np.int8)
        self.port = WritePort(self.memory, TAPS * cfg.act_depth)
        self.program = ProgramLoader(cfg)
        self.steps = StepSequencer(self.program)
        self.params = ParamSequencer(self.program)
        self.writes = WriteSequencer(self.program, self.port)
        self.images = ImageLoader(self.program, self.port)
        self.windows = ColumnWindowsCoreCL(cfg) if cfg.line_width else None
        self.array = PEArrayCoreCL(cfg)
        self.pooling = PoolingUnitCoreCL(cfg)
        self.requantizer = RequantizerCoreCL(cfg)
        self.tables = TablesCoreCL(cfg) if cfg.tables else None
        if self.tables is not None:
            # What the program stream fills
            self.tables.tables = self.program.tables
        self.terms = TermSequencer(self.program)
        self.adder = AdderCoreCL(cfg) if cfg.adder else None
        self.watchdog = Watchdog()
        self.reset()

    def reset(self) -> None:
        for part in (
            self.port,
            self.program,
            self.steps,
            self.params,
            self.writes,
            self.images,
            self.array,
            self.pooling,
            self.requantizer,
            self.terms,
            self.watchdog,
        ):
            part.reset()
        if self.windows is not None:
            self.windows.reset()
        if self.tables is not None:
            self.tables.reset()
        if self.adder is not None:
            self.adder.reset()
        # A step's registers: address, command, bytes read, the same again, and operands.
        self.at: _Address | None = None
        self.command: _Address | None = None
        self.at_read: _Fetched | None = None
        self.at_data: _Fetched | None = None
        self.at_step: _Fetched | None = None

    @property
    def offered(self) -> Step | None:
        """What the ``step`` stream offers in this cycle, or None."""
        step = self.at_step.step if self.at_step is not None else None
        assert not isinstance(step, Pixel)
        return step

    @property
    def result(self) -> int | None:
        return self.writes.packer.out

    @property
    def out(self) -> Any:
        """What the write sequencer is offered, or None."""
        if self.adder is None:
            return self.looked_up
        return self.adder.offer(self.terms.out, self.operand, self.looked_up)

    @property
    def looked_up(self) -> Any:
        """What comes from the tables, or where there are none from the requantizer."""
        return self.requantizer.out if self.tables is None else self.tables.out

    @property
    def operand(self) -> Operand | None:
        """What the adder is offered."""
        return None if self.at_step is None else self.at_step.operand

    @property
    def streams(self) -> int:
        """val and rdy of the streams between the units, in the order of ``STREAMS``."""
        vals = (
            self.offered,
            self.array.out,
            self.pooling.out,
            self.params.out,
            self.out,
        )
        rdys = (self.step_rdy, self.acc_rdy, self.pooled_rdy, self.param_rdy, self.out_rdy)
        word = 0
        for i, (val, rdy) in enumerate(zip(vals, rdys, strict=True)):
            word |= (val is not None) << 2 * i | rdy << 2 * i + 1
        return word

    def evaluate(self, result_rdy: bool) -> None:
        """Settle this cycle's combinational signals."""
        steps, writes, images = self.steps, self.writes, self.images
        self.out_rdy = self.beat_rdy = writes.ready
        if self.adder is not None:
            self.adder.settle(self.terms.out, self.looked_up, self.out_rdy)
            self.beat_rdy = self.adder.ready_beat
        self.value_rdy = self.beat_rdy
        if self.tables is not None:
            self.value_rdy = self.tables.ready(self.beat_rdy)
        self.param_rdy = self.requantizer.ready_param(self.value_rdy)
        self.pooled_rdy = self.requantizer.ready_pooled
        self.acc_rdy = self.pooling.ready(self.pooled_rdy)
        self.step_rdy = self.go = self.array.ready(self.acc_rdy)
        if self.adder is not None and self.operand is not None:
            self.go = self.step_rdy and self.adder.ready_operand
        writing = writes.takes(result_rdy) and not writes.to_result
        still_to_read = self.at is not None and self.at.done
        reading = self.command is not None and self.command.done and not self.go
        self.holds_image = writing or still_to_read or reading

        self.layer = steps.layer
        self.issue = False
        has_image = images.full or steps.layer != 0
        settled = writes.written == steps.phase
        if steps.state == IDLE:
            self.activity = Activity.IDLE
        elif steps.state == RUN and not has_image:
            waits = bool(images.queue) and self.holds_image
            self.activity = Activity.MEMORY if waits else Activity.INPUT
        elif steps.state == RUN and not settled and steps.issued >= steps.descriptor.safe_steps:
            if steps.since < FETCH_LATENCY + 1:
                self.activity = Activity.FILL
            elif steps.since < FETCH_LATENCY + PE_ARRAY_LATENCY:
                self.activity = Activity.DRAIN
            else:
                self.activity = Activity.REQUANTIZER
        elif not self.go:
            blocked = self.out is not None and not self.out_rdy
            self.activity = Activity.OUTPUT if blocked else Activity.REQUANTIZER
        elif steps.state == SETUP:
            self.activity = Activity.HANDOVER
        else:
            self.activity = Activity.STEP
            self.issue = True
        self.at_rest = steps.state == RUN and not has_image and settled
        self.idle = (
            self.at_rest
            and images.word == 0
            and not images.queue
            and not writes.packer.class_next
            and writes.packer.out is None
        )
        self.busy = self.program.running and not self.idle
        self.prog_rdy = self.program.ready(self.idle)
        self.image_rdy = images.ready

    def tick(self, prog_val: bool, prog: int | None, image: int | None, result_rdy: bool) -> None:
        """The clock edge. ``prog_val``: the program stream offers a word. ``prog``, ``image``: the
        words taken in this cycle, or None."""
        steps, requantizer = self.steps, self.requantizer
        acc, pooled = self.array.out, self.pooling.out
        out, value, beat, param = self.out, requantizer.out, self.looked_up, self.params.out
        go, acc_rdy, pooled_rdy = self.go, self.acc_rdy, self.pooled_rdy
        operand = self.operand if go else None

        waits = self.program.running and not self.at_rest and self.result is None
        stuck = self.watchdog.stuck
        streams = self.streams
        self.watchdog.tick(waits, bool(streams & streams >> 1 & 0x155))

        self.array.tick(self.offered if go else None, acc_rdy)
        self.pooling.tick(acc if acc_rdy else None, pooled_rdy)
        requantizer.tick(
            pooled if pooled_rdy else None, param if self.param_rdy else None, self.value_rdy
        )
        if self.tables is not None:
            self.tables.tick(None, value if self.value_rdy else None, self.beat_rdy)
        self.params.tick(self.param_rdy)
        if self.adder is not None:
            taken = self.terms.out if self.adder.ready_terms else None
            self.adder.tick(taken, operand, beat if self.beat_rdy else None, self.out_rdy)
            self.terms.tick(taken is not None)

        done = False
        if go:
            if self.at_step is not None:
                self._count(self.at_step)
            steps.since += 1
            self.at_step, self.at_data = self._operands(), self.at_read
            self.at_read = self._read(self.command) if self.command is not None else None
            self.command, self.at = self.at, None
        if self.issue:
            self.at = steps.address()
            done = self.at.done
            if steps.issued == steps.total - 1:
                self._expect_writes(done)
            steps.advance()
        elif steps.state == SETUP and go:
            steps.setup()
        elif steps.state == IDLE and self.program.running:
            steps.state = SETUP
        if not self.program.running:
            steps.reset()
            self.port.outstanding.reset()

        # Reads above see memory as it was before the writes of this edge.
        self.port.tick()
        self.writes.tick(out if self.out_rdy else None, result_rdy)
        self.images.tick(image, done, self.holds_image)
        self.program.tick(prog_val, prog, self.idle, stuck)

    def _expect_writes(self, frees_image: bool) -> None:
        """A layer's last step is issued."""
        steps, outstanding = self.steps, self.port.outstanding
        outstanding.layer_issued(steps.serial, steps.outputs())
        if frees_image:
            places = [np.arange(start, start + used) for start, used in self.images.places]
            outstanding.image_freed(steps.serial, np.concatenate(places))

    def _read(self, at: _Address) -> _Fetched:
        d, plan, i = at.descriptor, at.plan, at.step
        if self.port.outstanding.count:
            self.port.outstanding.check(at, plan.needed[i])
        if plan.place[i] == OPERAND:
            x = (self.signed_memory if d.operand_signed else self.memory)[plan.address[i]]
            operand = Operand(x[:, : self.cfg.group_cols].ravel())
            return _Fetched(at.layer, None, plan.num_inside[i], operand)
        self.memory[-2] = d.pad_value & 0xFF
        x = (self.signed_memory if d.signed else self.memory)[plan.address[i]]
        w = self.program.weights[at.weight_address] if at.load else self.no_weights
        step: Step | Pixel = Step(x, w, at.index, at.load, at.keep, *plan.flags[i])
        if self.windows is not None:
            step = Pixel(*step, *at.windows, d.pad_value)
        return _Fetched(at.layer, step, plan.num_inside[i])

    def _operands(self) -> _Fetched | None:
        """What is in the register for data, as it comes to the PE array."""
        if self.windows is None or self.at_data is None:
            return self.at_data
        pixel = self.at_data.step
        assert not isinstance(pixel, Step)
        self.windows.tick(pixel, send_rdy=True)
        return self.at_data._replace(step=self.windows.out)

    def _count(self, fetched: _Fetched) -> None:
        """A step leaves the fetch: for the PE array unless its window is not used, or, with what is
        added, for the adder."""
        counted = {"activation_bytes": fetched.num_inside}
        if (step := self.offered) is not None:
            counted["weight_words"] = step.load
            if self.cfg.zero_gating:
                counted["gated_taps"] = step.x.size - np.count_nonzero(step.x)
        counters = self.program.traffic[fetched.layer]
        for name, count in counted.items():
            counters[TRAFFIC.index(name)] += count


class AcceleratorCL(Component):
    """:class:`AcceleratorCoreCL` with the accelerator's ports."""

    def construct(s, cfg: AccelConfig) -> None:
        Word = mk_bits(BUS_NBITS)
        s.prog = RecvIfcRTL(Word)
        s.image = RecvIfcRTL(Word)
        s.result = SendIfcRTL(Word)
        s.result_last = OutPort()
        s.running = OutPort()
        s.busy = OutPort()
        s.error = OutPort(4)
        s.activity = OutPort(4)
        s.layer = OutPort(mk_bits(cfg.layer_nbits))
        s.streams = OutPort(2 * len(STREAMS))
        s.traffic_layer = InPort(mk_bits(cfg.layer_nbits))
        for name in TRAFFIC:
            setattr(s, name, OutPort(TRAFFIC_NBITS))
        core: Any = AcceleratorCoreCL(cfg)

        @update
        def up_result():
            s.result.val @= core.result is not None
            if core.result is not None:
                s.result.msg @= core.result
            s.result_last @= core.writes.packer.at_class

        @update
        def up_cycle():
            core.evaluate(bool(s.result.rdy))
            s.prog.rdy @= core.prog_rdy
            s.image.rdy @= core.image_rdy
            s.running @= core.program.running
            s.busy @= core.busy
            s.error @= int(core.program.shown)
            s.activity @= int(core.activity)
            s.layer @= core.layer
            s.streams @= core.streams

        @update
        def up_traffic():
            counters = core.program.traffic.get(int(s.traffic_layer), (0,) * len(TRAFFIC))
            for name, count in zip(TRAFFIC, counters, strict=True):
                port = getattr(s, name)
                port @= int(count)

        @update_ff
        def up_tick():
            if s.reset:
                core.reset()
            else:
                prog = int(s.prog.msg) if s.prog.val & s.prog.rdy else None
                image = int(s.image.msg) if s.image.val & s.image.rdy else None
                core.tick(bool(s.prog.val), prog, image, bool(s.result.rdy))

    def line_trace(s) -> str:
        return f"{s.prog}|{s.image}>L{s.layer}:{s.activity}>{s.result}"

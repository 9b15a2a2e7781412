"""Issues the steps of all layers, one a cycle, image after image."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, reduce_and, update, update_ff

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import (
    BANK,
    COUNT,
    DY,
    FIELDS,
    OPERAND_STRIDES,
    PIXEL_OFFSETS,
    READ_LOOPS,
    STEP_WORDS,
)
from accel.hardware.pipeline import FETCH_LATENCY, PE_ARRAY_LATENCY
from accel.hardware.status import Activity
from accel.hardware.walk import OUT_X, SUM_END, VECTORS_END, WINDOW_END
from rtl_models.address_generator import AddressGeneratorRTL, mk_command, mk_issued
from rtl_models.descriptor_bus import DescriptorBusIfc
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.loop_counters import LoopCountersRTL
from rtl_models.tap_address import NUM_LOOPS, OFFSET_NBITS
from rtl_models.window_steps import WINDOW_FIELDS, WindowStepsRTL

IDLE, SETUP, RUN = 0, 1, 2


class StepSequencerRTL(Component):
    r"""Walks the loops of each layer's descriptor and says what each step reads.

    States: IDLE (no program), SETUP (the layer's loops start: one cycle in which the pipeline
    moves), RUN. In RUN a step is issued in every cycle in which

    - the pipeline moves (``go``),
    - the image is there (``image_full``), in layer 0,
    - the first ``safe_steps`` of the layer are not yet over, or the layer before is in memory:
      ``written``, which changes when it is, then equals this sequencer's own ``phase``::

        layer issued    0      |1          |2         |
        phase           ______/~~~~~~~~~~~~\__________     changes with a layer's last step
        written         ___________/~~~~~~~~~~~~~\____     and when its last output is written
        waits                  ----              --        steps beyond the safe ones

    With an adder, in layers that add, each vector begins with a step that reads what is added to
    it; then its sums' steps follow, over which the loops go.

    ``activity`` says for every cycle what is issued, or what is in the way. The command of a step
    comes two moves of the pipeline after its issue. Reset state: IDLE.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits, w_nbits = cfg.act_addr_nbits, cfg.weight_addr_nbits
        Layer = mk_bits(cfg.layer_nbits)
        idx_nbits = cfg.spad_idx_nbits
        NOTHING, STEP, HANDOVER, FILL, DRAIN, REQUANTIZER, MEMORY, INPUT, OUTPUT = (
            int(a) for a in Activity
        )
        fill_cycles, array_cycles = FETCH_LATENCY + 1, FETCH_LATENCY + PE_ARRAY_LATENCY
        s.bus = DescriptorBusIfc(cfg.layer_nbits)

        s.go = InPort()
        s.image_full = InPort()
        s.image_waits = InPort()
        s.out_waits = InPort()
        s.image_done = OutPort()
        s.written = InPort()
        s.command = OutPort(mk_command(cfg))
        s.command_val = OutPort()
        s.reading_input = OutPort()
        s.at_rest = OutPort()
        s.activity = OutPort(4)
        s.layer = OutPort(Layer)

        s.take_up = Wire()
        s.descriptor = DescriptorMemoryRTL(cfg, STEP_WORDS)
        s.descriptor.bus //= s.bus
        s.descriptor.advance //= s.take_up
        s.descriptor.layer //= s.layer
        field = s.descriptor.field

        s.state = Wire(2)
        s.phase = Wire()
        s.start = Wire()
        s.issue = Wire()
        s.first_layer = Wire()
        s.has_image = Wire()
        s.is_safe = Wire()
        s.safe_left, s.any_safe_left = Wire(16), Wire()
        s.since = Wire(4)
        # Whether the step that is next reads what is added to a vector, and whether one of a sum is
        # issued
        s.operand, s.issue_of_sum = Wire(), Wire()
        s.step = Wire(16)
        s.group_base = Wire(16)
        s.weight_at = Wire(16)
        s.first_output = Wire()
        # Whether a step is the last one of a group of output channels, and of the layer
        s.ends_group, s.ends = Wire(), Wire()
        s.channel_mode, s.reload, s.frees_input = Wire(), Wire(), Wire()
        s.safe_steps = Wire(16)
        s.weight_base = Wire(16)
        s.channel_mode //= field("channel_mode")
        s.reload //= field("reload")
        s.frees_input //= field("frees_input")
        s.safe_steps //= field("safe_steps")
        s.weight_base //= field("weight_base")

        # Taps of the kernel, and of the last channels: the others are zero.
        s.used, s.used_row, s.used_column = Wire(TAPS), Wire(3), Wire(3)
        s.last_rows, s.last_columns, s.last_channels = Wire(2), Wire(2), Wire(4)
        s.last_rows //= field("last_rows")
        s.last_columns //= field("last_columns")
        s.last_channels //= field("last_channels")

        # Whether the loops of a sum, of a pooling window, and of a group's vectors and windows are
        # in their first, or last, iterations
        window_nbits, vectors_nbits = WINDOW_END - SUM_END, VECTORS_END - SUM_END
        s.sum_first, s.sum_last = Wire(SUM_END), Wire(SUM_END)
        s.window_first, s.window_last = Wire(window_nbits), Wire(window_nbits)
        s.vectors_first, s.vectors_last = Wire(vectors_nbits), Wire(vectors_nbits)

        s.loops = LoopCountersRTL(NUM_LOOPS)
        s.sum_first //= s.loops.first[0:SUM_END]
        s.sum_last //= s.loops.last[0:SUM_END]
        s.window_first //= s.loops.first[SUM_END:WINDOW_END]
        s.window_last //= s.loops.last[SUM_END:WINDOW_END]
        s.vectors_first //= s.loops.first[SUM_END:VECTORS_END]
        s.vectors_last //= s.loops.last[SUM_END:VECTORS_END]
        s.loops.start //= s.start
        s.loops.advance //= s.issue_of_sum
        for i, loop in enumerate(READ_LOOPS):
            s.loops.counts[i * COUNT.nbits : (i + 1) * COUNT.nbits] //= field(f"{loop}.count")

        s.issued = Wire(mk_issued(cfg))
        s.issued.pad_value //= field("pad_value")
        s.is_signed, s.operand_signed, s.adds = Wire(), Wire(), Wire()
        s.issued.is_signed //= s.is_signed
        s.input_signed = Wire()
        s.input_signed //= field("signed")
        if cfg.adder:
            s.adds //= field("adds")
            s.operand_signed //= field("operand_signed")
            s.issued.operand //= s.operand
            s.issued.vector_last //= s.loops.last[WINDOW_END:NUM_LOOPS]
        else:
            s.adds //= 0
            s.operand_signed //= 0
        s.issued.channel_mode //= s.channel_mode
        size_nbits = FIELDS["height"].nbits
        s.issued.height[0:size_nbits] //= field("height")
        s.issued.height[size_nbits:OFFSET_NBITS] //= 0
        s.issued.width[0:size_nbits] //= field("width")
        s.issued.width[size_nbits:OFFSET_NBITS] //= 0
        s.issued.restart //= s.loops.restart
        s.issued.layer //= s.layer
        s.issued.weight_address //= s.weight_at[0:w_nbits]
        s.issued.idx //= s.step[0:idx_nbits]
        for name in ("load", "keep", "first", "last", "pool_first", "pool_last", "frees"):
            setattr(s, name, Wire())
        s.issued.load //= s.load
        s.issued.keep //= s.keep
        s.issued.first //= s.first
        s.issued.last //= s.last
        s.issued.pool_first //= s.pool_first
        s.issued.pool_last //= s.pool_last
        s.issued.frees_input //= s.frees

        if cfg.line_width:
            s.window_steps = WindowStepsRTL(cfg)
            for name in ("windows", "window_used", "row_end", "edges"):
                port = getattr(s.issued, name)
                port //= getattr(s.window_steps, name)
            s.issued.used //= s.window_steps.group_taps_used
            s.first_output //= s.window_steps.first_output
            s.ends_group //= s.window_steps.ends_group
            s.ends //= s.window_steps.ends
            s.window_steps.start //= s.start
            s.window_steps.issue //= s.issue_of_sum
            s.window_steps.row_first //= s.loops.first[OUT_X]
            s.window_steps.row_last //= s.loops.last[OUT_X]
            s.window_steps.group_last //= s.loops.last[NUM_LOOPS - 1]
            s.window_steps.read_done //= s.loops.done
            s.window_steps.vectors_first //= s.vectors_first
            s.window_steps.vectors_last //= s.vectors_last
            s.window_steps.taps_used //= s.used
            for i, loop in enumerate(READ_LOOPS[OUT_X:]):
                low, high = i * COUNT.nbits, (i + 1) * COUNT.nbits
                s.window_steps.counts[low:high] //= field(f"{loop}.count")
            for name in WINDOW_FIELDS:
                port = getattr(s.window_steps, name)
                port //= field(name)
        else:
            s.issued.used //= s.used

            @update
            def up_ends():
                s.first_output @= reduce_and(s.vectors_first)
                s.ends_group @= reduce_and(s.vectors_last)
                s.ends @= s.loops.done

        s.addresses = AddressGeneratorRTL(cfg)
        s.addresses.go //= s.go
        s.addresses.issued //= s.issued
        s.addresses.issued_val //= s.issue
        s.addresses.select //= s.loops.select
        s.addresses.command //= s.command
        s.addresses.command_val //= s.command_val
        s.addresses.reading_input //= s.reading_input
        s.addresses.start //= s.start
        s.addresses.start_row //= field("read_row", row_nbits)
        s.addresses.start_bank //= field("read_bank")
        s.addresses.padding_rows //= field("padding_rows")
        s.addresses.padding_columns //= field("padding_columns")
        s.addresses.channel_mode //= s.channel_mode
        s.addresses.tap_row //= field("tap_row", row_nbits)
        for i, loop in enumerate(READ_LOOPS):
            low, high = i * row_nbits, (i + 1) * row_nbits
            s.addresses.strides_row[low:high] //= field(f"{loop}.row", row_nbits)
            low, high = i * BANK.nbits, (i + 1) * BANK.nbits
            s.addresses.strides_bank[low:high] //= field(f"{loop}.bank")
            low, high = i * DY.nbits, (i + 1) * DY.nbits
            s.addresses.strides_y[low:high] //= field(f"{loop}.dy")
            s.addresses.strides_x[low:high] //= field(f"{loop}.dx")
        for i, offset in enumerate(PIXEL_OFFSETS):
            for name, part in (("row", "row"), ("bank", "bank"), ("y", "dy"), ("x", "dx")):
                port = getattr(s.addresses, f"pixel_{name}{i}")
                port //= field(f"{offset}.{part}", row_nbits if part == "row" else None)

        if cfg.adder:
            s.addresses.operand_row //= field("operand_row", row_nbits)
            s.addresses.operand_bank //= field("operand_bank")
            s.addresses.operand_lane_row //= field("operand_lane_row", row_nbits)
            for i, name in enumerate(OPERAND_STRIDES):
                low, high = i * row_nbits, (i + 1) * row_nbits
                s.addresses.operand_strides_row[low:high] //= field(f"{name}.row", row_nbits)
                low, high = i * BANK.nbits, (i + 1) * BANK.nbits
                s.addresses.operand_strides_bank[low:high] //= field(f"{name}.bank")

        @update
        def up_decide():
            s.start @= (s.state == SETUP) & s.go
            s.has_image @= s.image_full | ~s.first_layer
            s.is_safe @= s.any_safe_left | (s.written == s.phase)
            s.issue @= (s.state == RUN) & s.go & s.has_image & s.is_safe
            s.issue_of_sum @= s.issue & ~s.operand
            s.take_up @= (s.issue_of_sum & s.ends) | ((s.state == IDLE) & s.bus.running)
            s.image_done @= s.issue_of_sum & s.ends & s.frees_input
            s.at_rest @= (s.state == RUN) & ~s.has_image & (s.written == s.phase)

        @update
        def up_say():
            s.activity @= NOTHING
            if (s.state == RUN) & ~s.has_image:
                if s.image_waits:
                    s.activity @= MEMORY
                else:
                    s.activity @= INPUT
            elif (s.state == RUN) & ~s.is_safe:
                if s.since < fill_cycles:
                    s.activity @= FILL
                elif s.since < array_cycles:
                    s.activity @= DRAIN
                else:
                    s.activity @= REQUANTIZER
            elif s.state != IDLE:
                if ~s.go:
                    if s.out_waits:
                        s.activity @= OUTPUT
                    else:
                        s.activity @= REQUANTIZER
                elif s.state == SETUP:
                    s.activity @= HANDOVER
                else:
                    s.activity @= STEP

        @update
        def up_use():
            for d in range(3):
                s.used_column[d] @= ~s.loops.last[0] | (s.last_columns > d)
                s.used_row[d] @= ~s.loops.last[1] | (s.last_rows > d)
            for dy in range(3):
                for dx in range(3):
                    s.used[3 * dy + dx] @= s.used_row[dy] & s.used_column[dx]
            if s.channel_mode:
                for t in range(TAPS):
                    s.used[t] @= ~s.loops.last[2] | (s.last_channels > t)
            s.is_signed @= s.operand_signed if s.operand else s.input_signed

        @update
        def up_flags():
            s.weight_at @= s.group_base + s.step
            s.load @= (s.first_output | s.reload) & ~s.operand
            s.keep @= s.first_output & ~s.reload & ~s.operand
            s.first @= reduce_and(s.sum_first)
            s.last @= reduce_and(s.sum_last)
            s.pool_first @= reduce_and(s.window_first)
            s.pool_last @= reduce_and(s.window_last)
            s.frees @= s.ends & s.frees_input & ~s.operand

        @update_ff
        def up_since():
            # Moves of the pipeline since the layer before issued its last step.
            if s.issue_of_sum & s.ends:
                s.since <<= 0
            elif s.go & (s.since < array_cycles):
                s.since <<= s.since + 1

        @update_ff
        def up_follow():
            if s.reset | ~s.bus.running:
                s.state <<= IDLE
                s.phase <<= 0
                s.first_layer <<= 1
            elif s.state == IDLE:
                s.state <<= SETUP
            elif s.start:
                s.state <<= RUN
                s.safe_left <<= s.safe_steps
                s.any_safe_left <<= s.safe_steps != 0
                s.step <<= 0
                s.group_base <<= s.weight_base
            elif s.issue:
                if s.any_safe_left:
                    s.safe_left <<= s.safe_left - 1
                    s.any_safe_left <<= s.safe_left != 1
                if s.issue_of_sum:
                    if s.last:
                        s.step <<= 0
                        # The next group's weights follow this group's.
                        if s.ends_group:
                            s.group_base <<= s.weight_at + 1
                    else:
                        s.step <<= s.step + 1
                    if s.ends:
                        s.state <<= SETUP
                        s.phase <<= ~s.phase
                        s.first_layer <<= s.layer == s.bus.last_layer

        if cfg.adder:

            @update_ff
            def up_operand():
                if s.start:
                    s.operand <<= s.adds
                elif s.issue:
                    s.operand <<= s.issue_of_sum & s.last & s.pool_last & s.adds

        else:
            s.operand //= 0

    def line_trace(s):
        what = ">" if s.issue else str(s.activity)
        return f"L{s.layer} {s.loops.line_trace()} {what} {s.addresses.line_trace()}"

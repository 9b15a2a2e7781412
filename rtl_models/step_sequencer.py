"""Issues the steps of all layers, one a cycle, image after image."""

from pymtl3 import (
    Component,
    InPort,
    OutPort,
    Wire,
    mk_bits,
    mk_bitstruct,
    reduce_and,
    update,
    update_ff,
)

from accel.config import (
    ACT_NBITS,
    BUS_NBITS,
    FETCH_LATENCY,
    PE_ARRAY_LATENCY,
    TAPS,
    AccelConfig,
)
from accel.program import (
    LOOP_COUNT,
    LOOP_DX,
    LOOP_DY,
    LOOP_Q,
    LOOP_R,
    PARAM_WORD,
    PIXEL_WORD,
    Activity,
)
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.loop_counters import LoopCountersRTL
from rtl_models.pixel_offset import PixelOffsetRTL
from rtl_models.tap_address import NUM_LOOPS, OFFSET_NBITS, TapAddressRTL

IDLE, SETUP, RUN = 0, 1, 2


def mk_command(cfg: AccelConfig):
    """One step on its way to the memories: rows of each pixel group's taps, bank of its first, taps
    that read and taps that are the pad value (the others are zero), and what goes with them."""
    b1, groups = mk_bits(1), cfg.pixel_groups
    fields = {
        "layer": mk_bits(cfg.layer_nbits),
        "rows": mk_bits(groups * TAPS * cfg.act_addr_nbits),
        "bank": mk_bits(groups * 4),
        "reads": mk_bits(groups * TAPS),
        "pads": mk_bits(groups * TAPS),
        "pad_value": mk_bits(ACT_NBITS),
        "is_signed": b1,
        "weight_address": mk_bits(cfg.weight_addr_nbits),
        "load": b1,
        "idx": mk_bits(cfg.spad_idx_nbits),
        "first": b1,
        "last": b1,
        "pool_first": b1,
        "pool_last": b1,
        "frees_input": b1,
    }
    return mk_bitstruct(f"Command_{cfg}", fields)


class StepSequencerRTL(Component):
    """Walks the loops of each layer's descriptor and says what each step reads.

    States: IDLE (no program), SETUP (one cycle: the layer's loops start), RUN. In RUN a step is
    issued (``command_val``) in every cycle in which

    - the pipeline moves (``go``),
    - the image is there (``image_full``), in layer 0,
    - the first ``safe_steps`` of the layer are not yet over, or the layer before is in memory:
      ``written``, which changes when it is, then equals this sequencer's own ``phase``.

    ``activity`` says for every cycle what is issued, or what is in the way. Each pixel group has
    addresses of its own, which start ``pixel_offsets`` apart and then go the same way.

    Reset state: IDLE.
    """

    def construct(s, cfg: AccelConfig):
        q_nbits, w_nbits = cfg.act_addr_nbits, cfg.weight_addr_nbits
        Q, Layer = mk_bits(q_nbits), mk_bits(cfg.layer_nbits)
        Offset = mk_bits(OFFSET_NBITS)
        idx_nbits = cfg.spad_idx_nbits
        NOTHING, STEP, HANDOVER, FILL, DRAIN, REQUANTIZER, MEMORY, INPUT, OUTPUT = (
            int(a) for a in Activity
        )
        fill_cycles, array_cycles = FETCH_LATENCY + 1, FETCH_LATENCY + PE_ARRAY_LATENCY
        groups, step_nbits = cfg.pixel_groups, LOOP_DX[1]
        s.running = InPort()
        s.last_layer = InPort(Layer)
        s.wen = InPort()
        s.wlayer = InPort(Layer)
        s.wword = InPort(8)
        s.wdata = InPort(BUS_NBITS)

        s.go = InPort()
        s.image_full = InPort()
        s.image_waits = InPort()
        s.out_waits = InPort()
        s.image_done = OutPort()
        s.written = InPort()
        s.command = OutPort(mk_command(cfg))
        s.command_val = OutPort()
        s.at_rest = OutPort()
        s.activity = OutPort(4)
        s.layer = OutPort(Layer)

        s.descriptor = DescriptorMemoryRTL(cfg, 0, PARAM_WORD)
        s.descriptor.wen //= s.wen
        s.descriptor.wlayer //= s.wlayer
        s.descriptor.wword //= s.wword
        s.descriptor.wdata //= s.wdata
        s.descriptor.layer //= s.layer
        field, part = s.descriptor.field, s.descriptor.part

        s.state = Wire(2)
        s.phase = Wire()
        s.start = Wire()
        s.issue = Wire()
        s.has_image = Wire()
        s.is_safe = Wire()
        s.safe_left = Wire(16)
        s.since = Wire(4)
        s.step = Wire(16)
        s.group_base = Wire(16)
        s.weight_at = Wire(16)
        s.first_output = Wire()
        s.channel_mode, s.reload, s.frees_input = Wire(), Wire(), Wire()
        s.height, s.width = Wire(Offset), Wire(Offset)
        s.tap_q = Wire(Q)
        # Taps of the kernel, and of the last channels: the others are zero.
        s.used, s.used_row, s.used_column = Wire(TAPS), Wire(3), Wire(3)
        s.last_rows, s.last_columns, s.last_channels = Wire(2), Wire(2), Wire(4)
        s.last_rows //= field("last_rows")
        s.last_columns //= field("last_columns")
        s.last_channels //= field("last_channels")
        s.safe_steps = Wire(16)
        s.weight_base = Wire(16)
        s.pad_value, s.is_signed = Wire(ACT_NBITS), Wire()
        s.pad_value //= field("pad_value")
        s.is_signed //= field("signed")
        s.channel_mode //= field("channel_mode")
        s.reload //= field("reload")
        s.frees_input //= field("frees_input")
        s.tap_q //= field("tap_q", q_nbits)
        s.safe_steps //= field("safe_steps")
        s.weight_base //= field("weight_base")
        s.height[0:9] //= field("height")
        s.height[9:OFFSET_NBITS] //= 0
        s.width[0:9] //= field("width")
        s.width[9:OFFSET_NBITS] //= 0

        s.loops = LoopCountersRTL(NUM_LOOPS)
        s.loops.start //= s.start
        s.loops.advance //= s.issue
        for i in range(NUM_LOOPS):
            s.loops.counts[i * LOOP_COUNT[1] : (i + 1) * LOOP_COUNT[1]] //= part(i, LOOP_COUNT)

        # Rows from tap 0 to tap t: multiples of tap_q, worked out once a layer.
        s.reach = [Wire(Q) for _ in range(TAPS)]
        s.double, s.triple = Wire(Q), Wire(Q)

        s.padding, s.origin = Wire(Offset), Wire(Offset)
        s.padding[0:4] //= field("padding")
        s.padding[4:OFFSET_NBITS] //= 0
        s.groups = [TapAddressRTL(cfg) for _ in range(groups)]
        for g, group in enumerate(s.groups):
            group.start //= s.start
            group.advance //= s.issue
            group.select //= s.loops.select
            group.restart //= s.loops.restart
            group.channel_mode //= s.channel_mode
            group.height //= s.height
            group.width //= s.width
            for i in range(NUM_LOOPS):
                low, high = i * q_nbits, (i + 1) * q_nbits
                group.strides_q[low:high] //= part(i, LOOP_Q, q_nbits)
                group.strides_r[i * 4 : (i + 1) * 4] //= part(i, LOOP_R)
                low, high = i * step_nbits, (i + 1) * step_nbits
                group.strides_y[low:high] //= part(i, LOOP_DY)
                group.strides_x[low:high] //= part(i, LOOP_DX)
            for t in range(TAPS):
                group.reach[t * q_nbits : (t + 1) * q_nbits] //= s.reach[t]
            low, high = g * TAPS * q_nbits, (g + 1) * TAPS * q_nbits
            s.command.rows[low:high] //= group.rows
            s.command.bank[g * 4 : (g + 1) * 4] //= group.bank
            s.command.reads[g * TAPS : (g + 1) * TAPS] //= group.reads
            s.command.pads[g * TAPS : (g + 1) * TAPS] //= group.pads
            group.used //= s.used
        # A group starts further than the one whose number lacks its highest bit.
        starts = [(field("read_q", q_nbits), field("read_r"), s.origin, s.origin)]
        for g in range(1, groups):
            bit = g.bit_length() - 1
            word = PIXEL_WORD + bit
            offset = PixelOffsetRTL(q_nbits, OFFSET_NBITS)
            setattr(s, f"offset{g}", offset)
            before = offset.in_q, offset.in_r, offset.in_y, offset.in_x
            for port, start in zip(before, starts[g - (1 << bit)], strict=True):
                port //= start
            offset.stride_q //= part(word, LOOP_Q, q_nbits)
            offset.stride_r //= part(word, LOOP_R)
            offset.dy //= part(word, LOOP_DY)
            offset.dx //= part(word, LOOP_DX)
            starts.append((offset.q, offset.r, offset.y, offset.x))
        for group, start in zip(s.groups, starts, strict=True):
            ports = group.start_q, group.start_r, group.start_y, group.start_x
            for port, wire in zip(ports, start, strict=True):
                port //= wire

        @update
        def up_decide():
            s.start @= s.state == SETUP
            s.origin @= Offset(0) - s.padding
            s.has_image @= s.image_full | (s.layer != 0)
            s.is_safe @= (s.safe_left != 0) | (s.written == s.phase)
            s.issue @= (s.state == RUN) & s.go & s.has_image & s.is_safe
            s.image_done @= s.issue & s.loops.done & s.frees_input
            s.at_rest @= (s.state == RUN) & ~s.has_image & (s.written == s.phase)

        @update
        def up_say():
            s.activity @= NOTHING
            if s.state == SETUP:
                s.activity @= HANDOVER
            elif s.state == RUN:
                if ~s.has_image:
                    if s.image_waits:
                        s.activity @= MEMORY
                    else:
                        s.activity @= INPUT
                elif ~s.is_safe:
                    if s.since < fill_cycles:
                        s.activity @= FILL
                    elif s.since < array_cycles:
                        s.activity @= DRAIN
                    else:
                        s.activity @= REQUANTIZER
                elif s.go:
                    s.activity @= STEP
                elif s.out_waits:
                    s.activity @= OUTPUT
                else:
                    s.activity @= REQUANTIZER

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

        @update
        def up_command():
            s.command_val @= s.issue
            s.command.pad_value @= s.pad_value
            s.command.is_signed @= s.is_signed
            s.command.layer @= s.layer
            s.weight_at @= s.group_base + s.step
            s.command.weight_address @= s.weight_at[0:w_nbits]
            s.first_output @= reduce_and(s.loops.first[3:7])
            s.command.load @= s.first_output | s.reload
            s.command.idx @= s.step[0:idx_nbits]
            s.command.first @= reduce_and(s.loops.first[0:3])
            s.command.last @= reduce_and(s.loops.last[0:3])
            s.command.pool_first @= reduce_and(s.loops.first[3:5])
            s.command.pool_last @= reduce_and(s.loops.last[3:5])
            s.command.frees_input @= s.loops.done & s.frees_input

        @update
        def up_multiples():
            s.double @= s.tap_q << 1
            s.triple @= s.double + s.tap_q

        @update_ff
        def up_spread():
            s.reach[0] <<= 0
            if s.start:
                if s.channel_mode:
                    s.reach[1] <<= s.tap_q
                    s.reach[2] <<= s.double
                    s.reach[3] <<= s.triple
                    s.reach[4] <<= s.double << 1
                    s.reach[5] <<= s.double + s.triple
                    s.reach[6] <<= s.triple << 1
                    s.reach[7] <<= (s.tap_q << 3) - s.tap_q
                    s.reach[8] <<= s.tap_q << 3
                else:
                    for t in range(1, 3):
                        s.reach[t] <<= 0
                    for t in range(3, 6):
                        s.reach[t] <<= s.tap_q
                    for t in range(6, TAPS):
                        s.reach[t] <<= s.double

        @update_ff
        def up_since():
            # Moves of the pipeline since the layer before issued its last step.
            if s.issue & s.loops.done:
                s.since <<= 0
            elif s.go & (s.since < array_cycles):
                s.since <<= s.since + 1

        @update_ff
        def up_follow():
            if s.reset | ~s.running:
                s.state <<= IDLE
                s.layer <<= 0
                s.phase <<= 0
            elif s.state == IDLE:
                s.state <<= SETUP
            elif s.state == SETUP:
                s.state <<= RUN
                s.safe_left <<= s.safe_steps
                s.step <<= 0
                s.group_base <<= s.weight_base
            elif s.issue:
                if s.safe_left != 0:
                    s.safe_left <<= s.safe_left - 1
                if s.command.last:
                    s.step <<= 0
                    # The next group's weights follow this group's.
                    if reduce_and(s.loops.last[3:7]):
                        s.group_base <<= s.weight_at + 1
                else:
                    s.step <<= s.step + 1
                if s.loops.done:
                    s.state <<= SETUP
                    s.phase <<= ~s.phase
                    if s.layer == s.last_layer:
                        s.layer <<= 0
                    else:
                        s.layer <<= s.layer + 1

    def line_trace(s):
        return f"L{s.layer} {s.loops.line_trace()} {'>' if s.issue else str(s.activity)}"

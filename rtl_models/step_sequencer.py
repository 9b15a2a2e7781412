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

from accel.config import ACT_NBITS, BUS_NBITS, TAPS, AccelConfig
from accel.program import (
    LOOP_COUNT,
    LOOP_DX,
    LOOP_DY,
    LOOP_Q,
    LOOP_R,
    READ_LOOPS,
    Activity,
)
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.loop_counters import LoopCountersRTL
from rtl_models.loop_offset import LoopOffsetRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = len(READ_LOOPS)
OFFSET_NBITS = 11
"""Row and column numbers: from minus the padding to past the largest map, signed."""

IDLE, SETUP, RUN = 0, 1, 2


def mk_command(cfg: AccelConfig):
    """One step on its way to the memories."""
    b1 = mk_bits(1)
    fields = {
        "rows": mk_bits(TAPS * cfg.act_addr_nbits),
        "bank": mk_bits(4),
        "in_map": mk_bits(TAPS),
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

    Reset state: IDLE.
    """

    def construct(s, cfg: AccelConfig):
        q_nbits, w_nbits = cfg.act_addr_nbits, cfg.weight_addr_nbits
        Q, Layer = mk_bits(q_nbits), mk_bits(cfg.layer_nbits)
        Offset = mk_bits(OFFSET_NBITS)
        idx_nbits = cfg.spad_idx_nbits
        NOTHING, STEP, HANDOVER, IMAGE, DRAIN, STALL = (int(a) for a in Activity)
        s.running = InPort()
        s.last_layer = InPort(Layer)
        s.wen = InPort()
        s.wlayer = InPort(Layer)
        s.wword = InPort(8)
        s.wdata = InPort(BUS_NBITS)

        s.go = InPort()
        s.image_full = InPort()
        s.image_done = OutPort()
        s.written = InPort()
        s.command = OutPort(mk_command(cfg))
        s.command_val = OutPort()
        s.at_rest = OutPort()
        s.activity = OutPort(3)
        s.layer = OutPort(Layer)

        s.descriptor = DescriptorMemoryRTL(cfg, 0, NUM_LOOPS + 2)
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
        s.step = Wire(16)
        s.group_base = Wire(16)
        s.weight_at = Wire(16)
        s.first_output = Wire()
        s.channel_mode, s.reload, s.frees_input = Wire(), Wire(), Wire()
        s.height, s.width = Wire(Offset), Wire(Offset)
        s.tap_q = Wire(Q)
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
        s.address = LoopAddressRTL(NUM_LOOPS, q_nbits)
        s.address.start //= s.start
        s.address.start_q //= field("read_q", q_nbits)
        s.address.start_r //= field("read_r")
        s.row_number = LoopOffsetRTL(NUM_LOOPS, OFFSET_NBITS)
        s.column_number = LoopOffsetRTL(NUM_LOOPS, OFFSET_NBITS)
        for walker in (s.address, s.row_number, s.column_number):
            walker.advance //= s.issue
            walker.select //= s.loops.select
            walker.restart //= s.loops.restart
        for walker in (s.row_number, s.column_number):
            walker.start //= s.start
            walker.padding //= field("padding")
        for i in range(NUM_LOOPS):
            s.loops.counts[i * LOOP_COUNT[1] : (i + 1) * LOOP_COUNT[1]] //= part(i, LOOP_COUNT)
            s.address.strides_q[i * q_nbits : (i + 1) * q_nbits] //= part(i, LOOP_Q, q_nbits)
            s.address.strides_r[i * 4 : (i + 1) * 4] //= part(i, LOOP_R)
            s.row_number.strides[i * 4 : (i + 1) * 4] //= part(i, LOOP_DY)
            s.column_number.strides[i * 4 : (i + 1) * 4] //= part(i, LOOP_DX)

        # Rows from tap 0 to tap t: multiples of tap_q, worked out once a layer.
        s.reach = [Wire(Q) for _ in range(TAPS)]
        s.double, s.triple = Wire(Q), Wire(Q)
        s.rows = TapRowsRTL(TAPS, q_nbits)
        s.rows.q //= s.address.q
        s.rows.r //= s.address.r
        for t in range(TAPS):
            s.rows.reach[t * q_nbits : (t + 1) * q_nbits] //= s.reach[t]

        s.row_inside, s.column_inside = Wire(3), Wire(3)
        s.in_map = Wire(TAPS)

        @update
        def up_decide():
            s.start @= s.state == SETUP
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
                    s.activity @= IMAGE
                elif ~s.is_safe:
                    s.activity @= DRAIN
                elif ~s.go:
                    s.activity @= STALL
                else:
                    s.activity @= STEP

        @update
        def up_look():
            for d in range(3):
                s.row_inside[d] @= (s.row_number.offset + d) < s.height
                s.column_inside[d] @= (s.column_number.offset + d) < s.width
            for dy in range(3):
                for dx in range(3):
                    s.in_map[3 * dy + dx] @= s.row_inside[dy] & s.column_inside[dx]
            if s.channel_mode:
                for t in range(TAPS):
                    s.in_map[t] @= s.row_inside[0] & s.column_inside[0]

        @update
        def up_command():
            s.command_val @= s.issue
            s.command.pad_value @= s.pad_value
            s.command.is_signed @= s.is_signed
            s.command.rows @= s.rows.rows
            s.command.bank @= s.address.r
            s.command.in_map @= s.in_map
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

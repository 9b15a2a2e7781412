"""Counts what each layer moves: see :data:`accel.hardware.status.TRAFFIC`."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff, zext

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig
from accel.hardware.status import TRAFFIC, TRAFFIC_NBITS
from rtl_models.memory import RegisterFileRTL
from rtl_models.tap_count import TapCountRTL


class TrafficCountersRTL(Component):
    """Four counters a layer, which begin at zero when the layer's descriptor is loaded.

    ::

        step -> [taps read, taps zero] -> [sums of a group] -> [sums of all] -> counter + sum

    So a step is counted three cycles after the array took it. The ports show the counters of
    ``layer`` while nothing is counted, as after the last result.
    """

    def construct(s, cfg: AccelConfig):
        Layer, Count = mk_bits(cfg.layer_nbits), mk_bits(TRAFFIC_NBITS)
        groups, num_taps = cfg.pixel_groups, cfg.pixel_groups * TAPS
        sets, num_operands = cfg.operand_sets, cfg.operand_sets * TAPS
        s.clear = InPort()
        s.clear_layer = InPort(Layer)

        # A step that the array takes: its layer, whether it loads weights, taps read, operands
        s.step = InPort()
        s.step_layer = InPort(Layer)
        s.load = InPort()
        s.reads = InPort(mk_bits(num_taps))
        s.x = InPort(mk_bits(num_operands * ACT_NBITS))
        if cfg.line_width:
            # Whether the array takes it too
            s.used = InPort()
        # Outputs put away in this cycle
        s.out_layer = InPort(Layer)
        s.num_taken = InPort(4)

        s.layer = InPort(Layer)
        s.weight_words = OutPort(Count)
        s.activation_bytes = OutPort(Count)
        s.gated_taps = OutPort(Count)
        s.result_bytes = OutPort(Count)

        s.val, s.loads = Wire(3), Wire(3)  # bit i belongs to stage i+1
        s.layer1, s.layer2, s.layer3 = Wire(Layer), Wire(Layer), Wire(Layer)
        s.is_zero = Wire(num_operands)
        s.read, s.zero = Wire(num_taps), Wire(num_operands)
        s.count_reads = [TapCountRTL() for _ in range(groups)]
        s.count_zeros = [TapCountRTL() for _ in range(sets)]
        s.group_reads = [Wire(4) for _ in range(groups)]
        s.group_zeros = [Wire(4) for _ in range(sets)]
        for g in range(groups):
            s.count_reads[g].in_ //= s.read[g * TAPS : (g + 1) * TAPS]
        for g in range(sets):
            s.count_zeros[g].in_ //= s.zero[g * TAPS : (g + 1) * TAPS]
        s.num_reads, s.num_zeros = Wire(Count), Wire(Count)
        s.sum_reads, s.sum_zeros = Wire(Count), Wire(Count)
        s.num_out, s.layer_out, s.any_out = Wire(4), Wire(Layer), Wire()

        # One memory a counter; all but the last count steps.
        s.counters = [RegisterFileRTL(TRAFFIC_NBITS, cfg.max_layers) for _ in TRAFFIC]
        s.weight_words //= s.counters[0].rdata
        s.activation_bytes //= s.counters[1].rdata
        s.gated_taps //= s.counters[2].rdata
        s.result_bytes //= s.counters[3].rdata
        s.raddr, s.waddr, s.out_raddr, s.out_waddr = (Wire(Layer) for _ in range(4))
        s.wen, s.out_wen = Wire(), Wire()
        s.wdata = [Wire(Count) for _ in TRAFFIC]
        for i, counter in enumerate(s.counters):
            counter.raddr //= s.raddr if i < 3 else s.out_raddr
            counter.waddr //= s.waddr if i < 3 else s.out_waddr
            counter.wen //= s.wen if i < 3 else s.out_wen
            counter.wdata //= s.wdata[i]

        if cfg.zero_gating:
            s.tap = [Wire(ACT_NBITS) for _ in range(num_operands)]
            for t in range(num_operands):
                s.tap[t] //= s.x[t * ACT_NBITS : (t + 1) * ACT_NBITS]

        if cfg.zero_gating and cfg.line_width:

            @update
            def up_look_at_used():
                for t in range(num_operands):
                    s.is_zero[t] @= s.used & (s.tap[t] == 0)

        elif cfg.zero_gating and cfg.adder:
            # What is added is multiplied elsewhere.
            s.operand = InPort()

            @update
            def up_look_at_sums():
                for t in range(num_operands):
                    s.is_zero[t] @= (s.tap[t] == 0) & ~s.operand

        elif cfg.zero_gating:

            @update
            def up_look():
                for t in range(num_operands):
                    s.is_zero[t] @= s.tap[t] == 0

        else:
            s.is_zero //= 0

        @update
        def up_add_groups():
            s.sum_reads @= 0
            s.sum_zeros @= 0
            for g in range(groups):
                s.sum_reads @= s.sum_reads + zext(s.group_reads[g], TRAFFIC_NBITS)
            for g in range(sets):
                s.sum_zeros @= s.sum_zeros + zext(s.group_zeros[g], TRAFFIC_NBITS)

        @update_ff
        def up_add_taps():
            s.read <<= s.reads
            s.zero <<= s.is_zero
            for g in range(groups):
                s.group_reads[g] <<= s.count_reads[g].out
            for g in range(sets):
                s.group_zeros[g] <<= s.count_zeros[g].out

        @update
        def up_address():
            s.raddr @= s.layer
            if s.val[2]:
                s.raddr @= s.layer3
            s.waddr @= s.layer3
            s.wen @= s.val[2] | s.clear
            s.out_raddr @= s.layer
            if s.any_out:
                s.out_raddr @= s.layer_out
            s.out_waddr @= s.layer_out
            s.out_wen @= s.any_out | s.clear
            if s.clear:
                s.waddr @= s.clear_layer
                s.out_waddr @= s.clear_layer

        @update
        def up_count():
            s.wdata[0] @= 0
            s.wdata[1] @= 0
            s.wdata[2] @= 0
            s.wdata[3] @= 0
            if ~s.clear:
                s.wdata[0] @= s.weight_words + zext(s.loads[2:3], TRAFFIC_NBITS)
                s.wdata[1] @= s.activation_bytes + s.num_reads
                s.wdata[2] @= s.gated_taps + s.num_zeros
                s.wdata[3] @= s.result_bytes + zext(s.num_out, TRAFFIC_NBITS)

        @update_ff
        def up_follow():
            if s.reset:
                s.val <<= 0
                s.any_out <<= 0
            else:
                s.val <<= concat(s.val[0:2], s.step)
                s.any_out <<= s.num_taken != 0
            s.num_out <<= s.num_taken
            s.layer_out <<= s.out_layer
            s.loads <<= concat(s.loads[0:2], s.load)
            s.layer1 <<= s.step_layer
            s.layer2 <<= s.layer1
            s.layer3 <<= s.layer2
            s.num_reads <<= s.sum_reads
            s.num_zeros <<= s.sum_zeros

    def line_trace(s):
        return f"{s.val}"

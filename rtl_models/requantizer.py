"""The requantizer: accumulators to 8-bit activations, ``num_lanes`` a cycle."""

from pymtl3 import Component, Wire, concat, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.config import ACT_NBITS, AccelConfig
from accel.messages import mk_out, mk_param, mk_pooled
from rtl_models.requantizer_lane import RequantizerLane

NUM_STAGES = 11


class RequantizerRTL(Component):
    """Requantizes a vector of all columns in beats: one ``param`` message, ``num_lanes`` columns.

    ::

        pooled --> [ held vector ] --low lanes--> lane 0 .. lane L-1 --> out
                     ^    |                         ^  11 stages
                     +-<--+ shifts by L columns     |
        param ----------------- a beat -------------+--> [ zero_point, lo, hi of each stage ]

    Beat i of a vector takes columns i*L to i*L+L-1. The beat with ``last`` frees the held vector,
    and the next one may come in that very cycle. Beats past the last column see zeros.
    Latency: 11 cycles from a beat to ``out``. Throughput: 1 beat a cycle, across vectors too.
    ``param.rdy`` is low without a held vector. While ``out`` is not taken, all stages hold and
    no beat is accepted. Reset: nothing held, pipeline empty. Data registers are not reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Requantizer_{cfg}")
        num_lanes, acc_nbits = cfg.num_lanes, cfg.acc_nbits
        beat_nbits = num_lanes * acc_nbits
        lo_at, zero_point_at = ACT_NBITS, 2 * ACT_NBITS

        # Interface
        s.pooled = RecvIfcRTL(mk_pooled(cfg))
        s.param = RecvIfcRTL(mk_param(cfg))
        s.out = SendIfcRTL(mk_out(cfg))

        # Wires
        s.advance = Wire()
        s.beat = Wire()
        s.lanes_en = Wire()
        s.held_val = Wire()
        s.held = Wire(cfg.num_cols * acc_nbits)
        s.valid = Wire(NUM_STAGES)  # bit i belongs to stage i+1
        # zero_point, lo, hi of the beats in stages 1 to 10
        s.settings = [Wire(3 * ACT_NBITS) for _ in range(NUM_STAGES - 1)]

        # Structure
        s.lanes = [RequantizerLane(cfg) for _ in range(num_lanes)]
        for i, lane in enumerate(s.lanes):
            lane.en //= s.lanes_en
            lane.acc //= s.held[i * acc_nbits : (i + 1) * acc_nbits]
            lane.bias //= s.param.msg.bias[32 * i : 32 * i + 32]
            lane.multiplier //= s.param.msg.multiplier[32 * i : 32 * i + 32]
            lane.zero_point //= s.settings[8][zero_point_at : zero_point_at + ACT_NBITS]
            lane.lo //= s.settings[9][lo_at : lo_at + ACT_NBITS]
            lane.hi //= s.settings[9][0:ACT_NBITS]
            s.out.msg.y[8 * i : 8 * i + 8] //= lane.y
        s.out.val //= s.valid[NUM_STAGES - 1]

        # Combinational
        @update
        def up_ready():
            s.advance @= ~s.valid[NUM_STAGES - 1] | s.out.rdy
            s.param.rdy @= s.held_val & s.advance
            s.beat @= s.param.val & s.held_val & s.advance
            s.pooled.rdy @= ~s.held_val | (s.beat & s.param.msg.last)
            s.lanes_en @= s.beat | (s.advance & (s.valid[0 : NUM_STAGES - 1] != 0))

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.held_val <<= 0
                s.valid <<= 0
            else:
                if s.pooled.rdy:
                    s.held_val <<= s.pooled.val
                if s.advance:
                    s.valid <<= concat(s.valid[0 : NUM_STAGES - 1], s.beat)

        @update_ff
        def up_held():
            if s.pooled.val & s.pooled.rdy:
                s.held <<= s.pooled.msg.acc
            elif s.beat:
                s.held <<= s.held >> beat_nbits

        @update_ff
        def up_settings():
            if s.lanes_en:
                s.settings[0] <<= concat(s.param.msg.zero_point, s.param.msg.lo, s.param.msg.hi)
                for i in range(1, NUM_STAGES - 1):
                    s.settings[i] <<= s.settings[i - 1]

    def line_trace(s):
        width = (s.pooled.msg.acc.nbits + 3) // 4
        pooled = valrdy_to_str(s.pooled.msg.acc, s.pooled.val, s.pooled.rdy, width)
        param = valrdy_to_str(s.param.msg, s.param.val, s.param.rdy, len(str(s.param.msg)))
        out = valrdy_to_str(s.out.msg, s.out.val, s.out.rdy, len(str(s.out.msg)))
        return f"{pooled} {param} ({s.valid.bin()[2:]}) {out}"

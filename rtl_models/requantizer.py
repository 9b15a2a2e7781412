"""The requantizer: accumulators to 8-bit activations, ``num_lanes`` a cycle."""

from pymtl3 import Component, Wire, concat, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import ACT_NBITS, AccelConfig
from accel.hardware.messages import field_nbits, mk_param, mk_pooled, mk_requantized, y_nbits
from accel.hardware.pipeline import REQUANTIZER_LATENCY
from rtl_models.requantizer_lane import RequantizerLane

NUM_STAGES = REQUANTIZER_LATENCY


class RequantizerRTL(Component):
    """Requantizes a vector of all columns in beats: one ``param`` message, ``num_lanes`` columns.

    ::

        pooled --> [ next vector ] --> [ held vector ] --low lanes--> lane 0 .. lane L-1 --> out
                                         ^    |                         ^  11 stages
                                         +-<--+ shifts by L columns     |
        param ------------------------------------- a beat -------------+--> [ zero_point, lo, hi ]

    Beat i of a vector takes columns i*L to i*L+L-1. The beat with ``last`` frees the held vector,
    and the next one moves up in that very cycle. Beats past the last column see zeros.
    Latency: 2 cycles from a vector to its first beat, 11 from a beat to ``out``. Throughput: 1 beat
    a cycle, across vectors of two or more beats too; a vector every second cycle. ``pooled.rdy`` is
    a register: who sends vectors does not wait for what happens here in the same cycle. Where the
    configuration ``passes_vectors_on``, the two vectors are a queue of two: one that comes when
    none is held, or the held one goes, is held at once, a cycle earlier, and one comes in every
    cycle.
    ``param.rdy`` is low without a held vector. While ``out`` is not taken, all stages hold and no
    beat is accepted. Reset: nothing held, pipeline empty. Data registers are not reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Requantizer_{cfg}")
        num_lanes, acc_nbits = cfg.num_lanes, cfg.acc_nbits
        out_stage, out_nbits = NUM_STAGES - 1, y_nbits(cfg)
        # Of an adder's configuration also which ties go away, and whether vector and layer end
        settings_nbits = 3 * ACT_NBITS + 3 * cfg.adder
        older_settings_nbits = (NUM_STAGES - 2) * settings_nbits
        beat_nbits = num_lanes * acc_nbits
        # A lane wants its zero point when the beat has reached stage 9, and its limits in stage 10.
        stage9_at, stage10_at = 8 * settings_nbits, 9 * settings_nbits

        # Interface
        s.pooled = RecvIfcRTL(mk_pooled(cfg))
        s.param = RecvIfcRTL(mk_param(cfg))
        s.out = SendIfcRTL(mk_requantized(cfg))

        # Wires
        s.advance = Wire()
        s.beat = Wire()
        s.lanes_en = Wire()
        s.next_val = Wire()
        s.held_val = Wire()
        s.moves_up = Wire()
        s.next_vector = Wire(cfg.num_cols * acc_nbits)
        s.held = Wire(cfg.num_cols * acc_nbits)
        s.valid = Wire(NUM_STAGES)  # bit i belongs to stage i+1
        s.settings = Wire((NUM_STAGES - 1) * settings_nbits)  # of stage 1 in the lowest bits

        # Structure
        s.lanes = [RequantizerLane(cfg) for _ in range(num_lanes)]
        for i, lane in enumerate(s.lanes):
            lane.en //= s.lanes_en
            lane.acc //= s.held[i * acc_nbits : (i + 1) * acc_nbits]
            lane.bias //= s.param.msg.bias[32 * i : 32 * i + 32]
            lane.multiplier //= s.param.msg.multiplier[32 * i : 32 * i + 32]
            lane.zero_point //= s.settings[stage9_at + 18 : stage9_at + 27]
            lane.lo //= s.settings[stage10_at + 9 : stage10_at + 18]
            lane.hi //= s.settings[stage10_at : stage10_at + 9]
            s.out.msg.y[out_nbits * i : out_nbits * (i + 1)] //= lane.y
            if cfg.adder:
                lane.ties_away //= s.settings[stage9_at + 27]
        s.out.val //= s.valid[out_stage]

        # Combinational
        @update
        def up_ready():
            s.advance @= ~s.out.val | s.out.rdy
            s.param.rdy @= s.held_val & s.advance
            s.beat @= s.param.val & s.held_val & s.advance
            s.pooled.rdy @= ~s.next_val
            s.moves_up @= ~s.held_val | (s.beat & s.param.msg.last)
            s.lanes_en @= s.beat | (s.advance & (s.valid[0:out_stage] != 0))

        # Sequential
        if cfg.passes_vectors_on:

            @update_ff
            def up_control_of_queue():
                if s.reset:
                    s.next_val <<= 0
                    s.held_val <<= 0
                    s.valid <<= 0
                else:
                    if s.moves_up:
                        s.held_val <<= s.next_val | s.pooled.val
                        s.next_val <<= 0
                    else:
                        s.next_val <<= s.next_val | s.pooled.val
                    if s.advance:
                        s.valid <<= concat(s.valid[0:out_stage], s.beat)

            @update_ff
            def up_held_of_queue():
                if s.pooled.val & ~s.next_val:
                    s.next_vector <<= s.pooled.msg.acc
                if s.next_val & s.moves_up:
                    s.held <<= s.next_vector
                elif s.pooled.val & s.moves_up:
                    s.held <<= s.pooled.msg.acc
                elif s.beat:
                    s.held <<= s.held >> beat_nbits

        else:

            @update_ff
            def up_control():
                if s.reset:
                    s.next_val <<= 0
                    s.held_val <<= 0
                    s.valid <<= 0
                else:
                    if s.next_val:
                        s.next_val <<= ~s.moves_up
                    else:
                        s.next_val <<= s.pooled.val
                    if s.moves_up:
                        s.held_val <<= s.next_val
                    if s.advance:
                        s.valid <<= concat(s.valid[0:out_stage], s.beat)

            @update_ff
            def up_held():
                if s.pooled.val & ~s.next_val:
                    s.next_vector <<= s.pooled.msg.acc
                if s.next_val & s.moves_up:
                    s.held <<= s.next_vector
                elif s.beat:
                    s.held <<= s.held >> beat_nbits

        if cfg.adder:
            s.out_last, s.out_ends_layer = Wire(), Wire()
            s.out.msg.last //= s.out_last
            s.out.msg.ends_layer //= s.out_ends_layer
            last_at = stage10_at + 28

            @update_ff
            def up_settings_and_ends():
                if s.lanes_en:
                    s.settings <<= concat(
                        s.settings[0:older_settings_nbits],
                        s.param.msg.ends_layer,
                        s.param.msg.last,
                        s.param.msg.ties_away,
                        s.param.msg.zero_point,
                        s.param.msg.lo,
                        s.param.msg.hi,
                    )
                    s.out_last <<= s.settings[last_at]
                    s.out_ends_layer <<= s.settings[last_at + 1]

        else:

            @update_ff
            def up_settings():
                if s.lanes_en:
                    s.settings <<= concat(
                        s.settings[0:older_settings_nbits],
                        s.param.msg.zero_point,
                        s.param.msg.lo,
                        s.param.msg.hi,
                    )

        if cfg.tables:
            # What the tables are told travels with a beat.
            names = ["looks_up", "table_index", *(["table_signed"] if cfg.adder else [])]
            nbits = {name: field_nbits(mk_param(cfg), name) for name in names}
            lookup_nbits = sum(nbits.values())
            s.lookup, s.lookups = Wire(lookup_nbits), Wire(NUM_STAGES * lookup_nbits)
            older_nbits = out_stage * lookup_nbits
            low = 0
            for name in names:
                asked, told = getattr(s.param.msg, name), getattr(s.out.msg, name)
                end = low + nbits[name]
                s.lookup[low:end] //= asked
                told //= s.lookups[older_nbits + low : older_nbits + end]
                low = end

            @update_ff
            def up_lookups():
                if s.lanes_en:
                    s.lookups <<= concat(s.lookups[0:older_nbits], s.lookup)

    def line_trace(s):
        width = (s.pooled.msg.acc.nbits + 3) // 4
        pooled = valrdy_to_str(s.pooled.msg.acc, s.pooled.val, s.pooled.rdy, width)
        param = valrdy_to_str(s.param.msg, s.param.val, s.param.rdy, len(str(s.param.msg)))
        out = valrdy_to_str(s.out.msg, s.out.val, s.out.rdy, len(str(s.out.msg)))
        return f"{pooled} {param} ({s.valid.bin()[2:]}) {out}"

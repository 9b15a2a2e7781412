"""The PE array: three filter rows by ``num_cols`` output channels, accumulators at the top."""

from pymtl3 import Component, Wire, concat, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig
from accel.hardware.messages import mk_acc, mk_step
from rtl_models.accumulator import Accumulator
from rtl_models.column_pair import ColumnPair
from rtl_models.pe import PE


class PEArrayRTL(Component):
    """Multiply-accumulates nine activations with nine weights in every column, every cycle.

    ::

                        column 0           column C-1
                      [accumulator]  ..  [accumulator]  --> acc
                            |                  |
                      [column sum ]  ..  [column sum ]
                            |                  |
        step -+-> x[0:3] -> PE ------- .. ---- PE     <- w[c][0:3]
              +-> x[3:6] -> PE ------- .. ---- PE     <- w[c][3:6]
              +-> x[6:9] -> PE ------- .. ---- PE     <- w[c][6:9]

        cycle   t          t+1       t+2       t+3       t+4       t+5
        step    accepted | operand | product | row sum | column  | accumulator
                                                          sum       = acc.msg, acc.val if last

    With ``pixel_groups`` the columns form as many groups of neighbours, each with nine activations
    of its own; with column windows each column has. With ``zero_gating`` a tap whose activation is
    zero keeps its multipliers' inputs. With ``packed_multipliers`` two neighbouring columns share
    theirs, in the same cycles.

    Latency: the sums of a step accepted in cycle t are offered in cycle t+5 if it is the last one.
    Throughput: 1 step a cycle. While a message on ``acc`` is not taken the whole pipeline holds,
    and ``step.rdy`` is low. Every stage's registers are enabled only by a step, not by a bubble.
    Reset: pipeline empty, ``acc.val`` low. Data registers, accumulators and scratchpads are not
    reset: an accumulation begins with a ``first`` step, a scratchpad entry with a ``keep``.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PEArray_{cfg}")
        num_cols, acc_nbits = cfg.num_cols, cfg.acc_nbits

        # Interface
        s.step = RecvIfcRTL(mk_step(cfg))
        s.acc = SendIfcRTL(mk_acc(cfg))

        # Wires
        s.advance = Wire()
        s.operand_en = Wire()
        s.product_en = Wire()
        s.row_en = Wire()
        s.column_en = Wire()
        s.acc_en = Wire()

        num_taps = cfg.operand_sets * TAPS
        s.tap = [Wire(ACT_NBITS) for _ in range(num_taps)]
        s.zero = Wire(num_taps)
        s.product_zero = Wire(num_taps)

        # What goes with a step down the pipeline: bit i belongs to stage i+1.
        s.valid = Wire(4)
        s.first = Wire(4)
        s.last = Wire(4)
        s.pool_first = Wire(4)
        s.pool_last = Wire(4)

        s.acc_val = Wire()
        s.acc_pool_first = Wire()
        s.acc_pool_last = Wire()

        # Structure
        s.accumulators = [Accumulator(cfg) for _ in range(num_cols)]
        for t in range(num_taps):
            s.tap[t] //= s.step.msg.x[t * ACT_NBITS : (t + 1) * ACT_NBITS]
        if cfg.packed_multipliers:
            s._connect_pairs(cfg)
        else:
            s._connect_columns(cfg)
        for c in range(num_cols):
            accumulator = s.accumulators[c]
            accumulator.column_en //= s.column_en
            accumulator.acc_en //= s.acc_en
            accumulator.first //= s.first[3]
            s.acc.msg.acc[c * acc_nbits : (c + 1) * acc_nbits] //= accumulator.acc
        s.acc.val //= s.acc_val
        s.acc.msg.pool_first //= s.acc_pool_first
        s.acc.msg.pool_last //= s.acc_pool_last
        s.step.rdy //= s.advance

        # Combinational
        @update
        def up_enable():
            s.advance @= ~s.acc_val | s.acc.rdy
            s.operand_en @= s.advance & s.step.val
            s.product_en @= s.advance & s.valid[0]
            s.row_en @= s.advance & s.valid[1]
            s.column_en @= s.advance & s.valid[2]
            s.acc_en @= s.advance & s.valid[3]

        if cfg.zero_gating:

            @update
            def up_zero():
                for t in range(num_taps):
                    s.zero[t] @= s.tap[t] == 0

        else:
            s.zero //= 0

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.valid <<= 0
                s.acc_val <<= 0
            elif s.advance:
                s.valid <<= concat(s.valid[0:3], s.step.val)
                s.acc_val <<= s.valid[3] & s.last[3]

        @update_ff
        def up_flags():
            if s.advance:
                s.first <<= concat(s.first[0:3], s.step.msg.first)
                s.last <<= concat(s.last[0:3], s.step.msg.last)
                s.pool_first <<= concat(s.pool_first[0:3], s.step.msg.pool_first)
                s.pool_last <<= concat(s.pool_last[0:3], s.step.msg.pool_last)
                s.acc_pool_first <<= s.pool_first[3]
                s.acc_pool_last <<= s.pool_last[3]

        @update_ff
        def up_operand():
            if s.operand_en:
                s.product_zero <<= s.zero

    def _connect_columns(s, cfg: AccelConfig):
        # One list a row: in one list of lists, the chain of sums up a column would look like a loop
        # through the same signal to Verilator.
        s.row0, s.row1, s.row2 = ([PE(cfg) for _ in range(cfg.num_cols)] for _ in range(3))
        for c in range(cfg.num_cols):
            group_taps = c // cfg.operand_cols * TAPS
            for r, pe in enumerate((s.row0[c], s.row1[c], s.row2[c])):
                t = group_taps + 3 * r
                pe.x0 //= s.tap[t]
                pe.x1 //= s.tap[t + 1]
                pe.x2 //= s.tap[t + 2]
                pe.zero //= s.zero[t : t + 3]
                pe.product_zero //= s.product_zero[t : t + 3]
                low = 8 * (TAPS * c + 3 * r)
                pe.w //= s.step.msg.w[low : low + 24]
                s._connect_control(pe)
            s.row2[c].psum_in //= 0
            s.row1[c].psum_in //= s.row2[c].psum_out
            s.row0[c].psum_in //= s.row1[c].psum_out
            s.accumulators[c].psum //= s.row0[c].psum_out

    def _connect_pairs(s, cfg: AccelConfig):
        s.pairs = [ColumnPair(cfg) for _ in range(cfg.num_cols // 2)]
        for c, pair in enumerate(s.pairs):
            first = 2 * c // cfg.operand_cols * TAPS
            pair.x //= s.step.msg.x[first * ACT_NBITS : (first + TAPS) * ACT_NBITS]
            pair.zero //= s.zero[first : first + TAPS]
            pair.product_zero //= s.product_zero[first : first + TAPS]
            low = 16 * TAPS * c
            pair.wa //= s.step.msg.w[low : low + 8 * TAPS]
            pair.wb //= s.step.msg.w[low + 8 * TAPS : low + 16 * TAPS]
            s._connect_control(pair)
            s.accumulators[2 * c].psum //= pair.psum_a
            s.accumulators[2 * c + 1].psum //= pair.psum_b

    def _connect_control(s, part):
        part.idx //= s.step.msg.idx
        part.load //= s.step.msg.load
        part.keep //= s.step.msg.keep
        part.operand_en //= s.operand_en
        part.product_en //= s.product_en
        part.row_en //= s.row_en

    def line_trace(s):
        step = valrdy_to_str(s.step.msg.x, s.step.val, s.step.rdy, 21)
        acc = valrdy_to_str(s.acc.msg.acc, s.acc.val, s.acc.rdy, (s.acc.msg.acc.nbits + 3) // 4)
        return f"{step} ({s.valid.bin()[2:]}) {acc}"

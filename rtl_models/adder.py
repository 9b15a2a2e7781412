"""The adder: to requantized activations another tensor's, ``num_lanes`` a cycle."""

from pymtl3 import Component, Wire, concat, mk_bits, update, update_ff, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import ACT_NBITS, AccelConfig, clog2
from accel.hardware.descriptors import LEAST_SHIFT
from accel.hardware.messages import mk_beat, mk_operand, mk_out, mk_terms
from accel.hardware.pipeline import ADDER_LATENCY, OPERANDS
from rtl_models.adder_lane import HALF_NBITS, AdderLane
from rtl_models.memory import RegisterFileRTL
from rtl_models.skid_buffer import SkidBufferRTL

NUM_STAGES = ADDER_LATENCY - 1
"""Of the lanes: what comes waits in a queue first."""


class AdderRTL(Component):
    """Adds to each beat the columns that are its own of the vector that is next on ``operand``.

    ::

        operand --> [ queue of vectors ] -- num_lanes of the first --+
                                                                     v
        beat --+-> [ queue of two ] -------------------------> lane 0 .. lane L-1 --+--> out
               |                                                     ^  8 stages    |
        terms --------------------------------------------------------              |
               +---------------------------------- if nothing is added -------------+

    Beat i of a vector takes columns i*L to i*L+L-1; the beat with ``last`` takes the vector off its
    queue. The beats of a layer whose terms do not ``pop`` pass by, in the cycle in which they come.

    ``terms`` are a layer's, and are used as they are offered: they are taken when the layer's last
    output is, and no beat of the next layer is taken before. So nothing but what is computed goes
    with a beat, and the adder is empty when beats pass by.

    Latency: 9 cycles from ``beat`` to ``out``; 0 where nothing is added. Throughput: 1 beat a
    cycle, within a layer. ``operand.rdy`` is a register, and ``beat.rdy`` where something is added;
    else it is ``out.rdy``. While ``out`` is not taken, all stages hold. Reset: empty. Data
    registers are not reset.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Adder_{cfg}")
        lanes, beats = cfg.num_lanes, cfg.num_beats
        out_stage, beat_nbits = NUM_STAGES - 1, ACT_NBITS * cfg.num_lanes
        place_nbits = clog2(OPERANDS)
        count_nbits = place_nbits + 1
        Place, Count, At = mk_bits(place_nbits), mk_bits(count_nbits), mk_bits(cfg.beat_nbits)

        ones = mk_bits(HALF_NBITS)((1 << HALF_NBITS) - 1)
        least_less_one = LEAST_SHIFT - 1

        # Interface
        s.terms = RecvIfcRTL(mk_terms(cfg))
        s.operand = RecvIfcRTL(mk_operand(cfg))
        s.beat = RecvIfcRTL(mk_beat(cfg))
        s.out = SendIfcRTL(mk_out(cfg))

        # Wires
        s.advance, s.ready, s.take, s.pop, s.push = (Wire() for _ in range(5))
        s.lanes_en, s.is_alone, s.ending = Wire(), Wire(), Wire()
        # The terms are those of the layer whose beat comes next: its last one is not in the queue.
        s.known = Wire()
        s.passes, s.joins, s.ends, s.out_val = Wire(), Wire(), Wire(), Wire()
        s.sums, s.as_they_are = Wire(8 * lanes), Wire(8 * lanes)
        s.valid = Wire(NUM_STAGES)  # bit i belongs to stage i+1
        s.head, s.tail, s.count = Wire(Place), Wire(Place), Wire(Count)
        s.at = Wire(At)
        s.chosen = Wire(beat_nbits)
        s.below_half = Wire(HALF_NBITS)

        # Structure
        s.queue = SkidBufferRTL(mk_beat(cfg))
        s.queue.recv.msg //= s.beat.msg
        s.queue.recv.val //= s.joins
        s.operands = RegisterFileRTL(ACT_NBITS * cfg.num_cols, OPERANDS)
        s.operands.raddr //= s.head
        s.operands.waddr //= s.tail
        s.operands.wen //= s.push
        s.operands.wdata //= s.operand.msg.x
        s.beat_operands = [Wire(beat_nbits) for _ in range(beats)]
        for i in range(beats):
            s.beat_operands[i] //= s.operands.rdata[i * beat_nbits : (i + 1) * beat_nbits]
        s.lanes = [AdderLane(cfg) for _ in range(lanes)]
        for i, lane in enumerate(s.lanes):
            low, high = i * ACT_NBITS, (i + 1) * ACT_NBITS
            lane.en //= s.lanes_en
            lane.a //= s.queue.send.msg.y[low:high]
            lane.b //= s.chosen[low:high]
            lane.own //= s.terms.msg.own
            lane.operand //= s.terms.msg.operand
            lane.constant //= s.terms.msg.constant
            lane.shift //= s.terms.msg.shift
            lane.below_half //= s.below_half
            lane.ties_away //= s.terms.msg.ties_away
            lane.zero_point //= s.terms.msg.zero_point
            lane.lo //= s.terms.msg.lo
            lane.hi //= s.terms.msg.hi
            s.sums[8 * i : 8 * i + 8] //= lane.y
            s.as_they_are[8 * i : 8 * i + 8] //= s.beat.msg.y[low : low + 8]
        s.out_val //= s.valid[out_stage]

        # Combinational
        @update
        def up_pass():
            s.passes @= s.terms.val & ~s.terms.msg.pops
            s.joins @= s.beat.val & s.terms.val & s.known & s.terms.msg.pops
            if s.passes:
                s.beat.rdy @= s.out.rdy
                s.out.val @= s.beat.val
            else:
                s.beat.rdy @= s.queue.recv.rdy & s.terms.val & s.known
                s.out.val @= s.out_val

        @update
        def up_out():
            s.out.msg.y @= s.as_they_are if s.passes else s.sums

        @update
        def up_ready():
            s.advance @= ~s.out_val | s.out.rdy
            s.ready @= s.count != 0
            s.queue.send.rdy @= s.advance & s.ready
            s.take @= s.queue.send.val & s.advance & s.ready
            s.pop @= s.take & s.queue.send.msg.last
            s.is_alone @= s.valid[0:out_stage] == 0
            s.lanes_en @= s.take | (s.advance & ~s.is_alone)
            s.ends @= s.out.rdy & (
                (s.passes & s.beat.val & s.beat.msg.ends_layer)
                | (s.ending & s.is_alone & s.out_val)
            )
            s.terms.rdy @= s.ends

        @update
        def up_queue():
            s.operand.rdy @= s.count != OPERANDS
            s.push @= s.operand.val & (s.count != OPERANDS)

        @update
        def up_choose():
            s.chosen @= 0
            for i in range(beats):
                if s.at == i:
                    s.chosen @= s.beat_operands[i]

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.valid <<= 0
                s.ending <<= 0
                s.known <<= 1
                s.at <<= 0
            else:
                if s.advance:
                    s.valid <<= concat(s.valid[0:out_stage], s.take)
                if s.take:
                    s.ending <<= s.queue.send.msg.ends_layer
                    if s.queue.send.msg.last:
                        s.at <<= 0
                    else:
                        s.at <<= s.at + 1
                elif s.ends:
                    s.ending <<= 0

                if s.ends:
                    s.known <<= 1
                elif s.joins & s.queue.recv.rdy & s.beat.msg.ends_layer:
                    s.known <<= 0

        @update_ff
        def up_places():
            if s.reset:
                s.head <<= 0
                s.tail <<= 0
                s.count <<= 0
            else:
                s.count <<= s.count + zext(s.push, count_nbits) - zext(s.pop, count_nbits)
                if s.pop:
                    s.head <<= s.head + 1
                if s.push:
                    s.tail <<= s.tail + 1

        @update_ff
        def up_half():
            # As many ones as the shift drops bits, but for one
            s.below_half <<= ~(ones << (zext(s.terms.msg.shift, HALF_NBITS) + least_less_one))

    def line_trace(s):
        beat = valrdy_to_str(s.beat.msg, s.beat.val, s.beat.rdy, len(str(s.beat.msg)))
        out = valrdy_to_str(s.out.msg, s.out.val, s.out.rdy, len(str(s.out.msg)))
        return f"{s.count} {beat} ({s.valid.bin()[2:]}) {out}"

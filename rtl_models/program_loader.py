"""Takes the program stream apart and fills the memories."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, reduce_or, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL

from accel.hardware import packets
from accel.hardware.config import BUS_NBITS, TABLE_SIZE, AccelConfig
from accel.hardware.descriptors import INPUT_WORDS, WORDS_PER_LAYER
from accel.hardware.packets import Packet
from accel.hardware.status import ProgramError

# As many as the largest memory has, and what can be added without an overflow.
ADDRESS_NBITS, COUNT_NBITS, PAST_NBITS = 16, 17, 18


class ProgramLoaderRTL(Component):
    """One word of the program stream a cycle to the memory that its packet names.

    ::

        cycle  0  header taken: [kind, address, words, limit]
               1  [address + words] [descriptors that RUN lacks]
               2  compared with the limit: an error, or the payload may come, or ``running``
               3  first word of the payload taken; ``running``, or ``error``, has changed

    A packet is taken up only while nothing runs: before the first RUN packet, or when all images
    so far have been computed and their results are gone (``idle``): then ``close`` first keeps new
    images out for a cycle, and if none has slipped in, the packet comes. ``running`` falls with its
    header, and rises with the third cycle after that of RUN. What goes to the memories comes from
    registers. ``error`` is a :class:`accel.hardware.status.ProgramError`; after one, and after
    ``stuck``, every word is taken and dropped, until reset. Reset state: not running, no error,
    waiting for a header, no descriptor loaded.
    """

    def construct(s, cfg: AccelConfig):
        Layer = mk_bits(cfg.layer_nbits)
        s.prog = RecvIfcRTL(mk_bits(BUS_NBITS))
        s.idle = InPort()
        s.stuck = InPort()
        s.close = OutPort()
        s.running = OutPort()
        s.failed = OutPort()
        s.error = OutPort(4)
        s.last_layer = OutPort(Layer)

        s.layer_wen = OutPort()
        s.weight_wen = OutPort()
        s.param_wen = OutPort()
        s.input_wen = OutPort()
        if cfg.tables:
            s.table_wen = OutPort()
        s.address = OutPort(16)
        s.beat = OutPort(8)
        s.data = OutPort(BUS_NBITS)

        # Words left in the packet, beats of a memory word, and what the header said.
        s.kind = Wire(4)
        s.words_left = Wire(COUNT_NBITS)
        s.last_beat = Wire(8)
        s.in_packet = Wire()
        s.open_, s.take_header, s.take_word = Wire(), Wire(), Wire()
        s.next_address, s.next_beat = Wire(16), Wire(8)

        # A header's fields; the upper bits of an address and a count have to be zero.
        header_bits = {
            "kind": (packets.KIND.low, packets.KIND.end),
            "address": (packets.ADDRESS.low, packets.ADDRESS.low + ADDRESS_NBITS),
            "far": (packets.ADDRESS.low + ADDRESS_NBITS, packets.ADDRESS.end),
            "count": (packets.COUNT.low, packets.COUNT.low + COUNT_NBITS),
            "many": (packets.COUNT.low + COUNT_NBITS, packets.COUNT.end),
        }
        for name, (low, end) in header_bits.items():
            wire = Wire(end - low)
            setattr(s, f"header_{name}", wire)
            wire //= s.prog.msg[low:end]

        # The two cycles in which a header is looked at
        s.adds, s.decides = Wire(), Wire()
        s.limit, s.past = Wire(PAST_NBITS), Wire(PAST_NBITS)
        s.too_far, s.too_many, s.beyond = Wire(), Wire(), Wire()
        s.finding = Wire(4)
        s.loaded, s.loads = Wire(cfg.max_layers), Wire(cfg.max_layers)
        s.needed, s.lacks = Wire(cfg.max_layers), Wire(cfg.max_layers)
        s.has_input = Wire()
        # Without tables there is no such packet.
        s.is_table = Wire()

        layer_nbits, max_layers = cfg.layer_nbits, cfg.max_layers
        layer_last, input_last = WORDS_PER_LAYER - 1, INPUT_WORDS - 1
        weight_last, param_last = cfg.weight_word_beats - 1, cfg.num_lanes - 1
        weight_depth, param_depth = cfg.weight_depth, cfg.param_depth
        table_depth = cfg.tables * TABLE_SIZE
        LAYER, WEIGHTS, PARAMS = int(Packet.LAYER), int(Packet.WEIGHTS), int(Packet.PARAMS)
        INPUT, RUN, TABLE = int(Packet.INPUT), int(Packet.RUN), int(Packet.TABLE)
        NONE, KIND, COUNT, ADDRESS, LAYERS, MISSING, STUCK = (int(e) for e in ProgramError)

        @update
        def up_accept():
            s.open_ @= ~s.adds & ~s.decides & ~s.failed
            s.take_word @= s.prog.val & s.open_ & s.in_packet
            s.take_header @= s.prog.val & s.open_ & ~s.in_packet & (~s.running | (s.close & s.idle))
            s.prog.rdy @= s.failed | (s.open_ & (s.in_packet | ~s.running | (s.close & s.idle)))

        @update
        def up_check():
            s.beyond @= s.too_far | (s.past > s.limit)
            s.finding @= NONE
            if (s.kind == WEIGHTS) | (s.kind == PARAMS) | s.is_table:
                if s.too_many | s.beyond:
                    s.finding @= ADDRESS
                if (s.words_left == 0) & ~s.too_many:
                    s.finding @= COUNT
            elif s.kind == LAYER:
                if s.beyond:
                    s.finding @= ADDRESS
            elif s.kind == RUN:
                if s.beyond | (s.past == 0):
                    s.finding @= LAYERS
                elif reduce_or(s.lacks) | ~s.has_input:
                    s.finding @= MISSING
            elif s.kind != INPUT:
                s.finding @= KIND

        if cfg.tables:

            @update
            def up_table():
                s.is_table @= s.kind == TABLE

            @update_ff
            def up_write_table():
                if s.reset:
                    s.table_wen <<= 0
                else:
                    s.table_wen <<= s.take_word & s.is_table

        else:
            s.is_table //= 0

        @update_ff
        def up_fail():
            if s.reset:
                s.error <<= NONE
                s.failed <<= 0
            elif s.decides:
                s.error <<= s.finding
                s.failed <<= s.finding != NONE
            elif s.stuck & ~s.failed:
                s.error <<= STUCK
                s.failed <<= 1

        @update_ff
        def up_write():
            if s.reset:
                s.layer_wen <<= 0
                s.weight_wen <<= 0
                s.param_wen <<= 0
                s.input_wen <<= 0
            else:
                s.layer_wen <<= s.take_word & (s.kind == LAYER)
                s.weight_wen <<= s.take_word & (s.kind == WEIGHTS)
                s.param_wen <<= s.take_word & (s.kind == PARAMS)
                s.input_wen <<= s.take_word & (s.kind == INPUT)
            s.address <<= s.next_address
            s.beat <<= s.next_beat
            s.data <<= s.prog.msg

        @update_ff
        def up_run():
            if s.reset:
                s.running <<= 0
                s.close <<= 0
            else:
                s.close <<= s.running & s.prog.val & ~s.in_packet & ~s.take_header & s.idle
                if s.take_header:
                    s.running <<= 0
                elif s.decides:
                    s.running <<= (s.kind == RUN) & (s.finding == NONE)
            if s.decides:
                s.last_layer <<= s.next_address[0:layer_nbits] - 1

        @update
        def up_layers():
            for i in range(max_layers):
                s.loads[i] @= s.next_address == i
                s.needed[i] @= s.next_address > i

        @update_ff
        def up_add():
            s.past <<= zext(s.next_address, PAST_NBITS) + zext(s.words_left, PAST_NBITS)
            s.lacks <<= s.needed & ~s.loaded

        @update_ff
        def up_loaded():
            if s.reset:
                s.loaded <<= 0
                s.has_input <<= 0
            elif s.decides & (s.finding == NONE):
                if s.kind == LAYER:
                    s.loaded <<= s.loaded | s.loads
                elif s.kind == INPUT:
                    s.has_input <<= 1

        @update_ff
        def up_follow():
            if s.reset:
                s.in_packet <<= 0
                s.adds <<= 0
                s.decides <<= 0
            else:
                s.adds <<= s.take_header
                s.decides <<= s.adds
                if s.decides:
                    if s.finding != NONE:
                        s.in_packet <<= 0
                elif s.in_packet:
                    if s.take_word:
                        if s.next_beat == s.last_beat:
                            s.next_beat <<= 0
                            s.next_address <<= s.next_address + 1
                            s.words_left <<= s.words_left - 1
                            s.in_packet <<= s.words_left != 1
                        else:
                            s.next_beat <<= s.next_beat + 1
                elif ~s.adds:
                    # Whatever the stream offers is taken for a header, so that the path from
                    # ``idle`` ends in two bits; without ``adds`` no one looks at the rest.
                    s.kind <<= s.header_kind
                    s.next_address <<= s.header_address
                    s.too_far <<= s.header_far != 0
                    s.too_many <<= s.header_many != 0
                    s.next_beat <<= 0
                    s.words_left <<= 1
                    s.limit <<= max_layers
                    s.in_packet <<= s.take_header
                    if s.header_kind == LAYER:
                        s.last_beat <<= layer_last
                    elif s.header_kind == INPUT:
                        s.last_beat <<= input_last
                    elif s.header_kind == WEIGHTS:
                        s.last_beat <<= weight_last
                        s.limit <<= weight_depth
                        s.words_left <<= s.header_count
                    elif s.header_kind == PARAMS:
                        s.last_beat <<= param_last
                        s.limit <<= param_depth
                        s.words_left <<= s.header_count
                    elif s.header_kind == TABLE:
                        s.last_beat <<= 0
                        s.limit <<= table_depth
                        s.words_left <<= s.header_count
                    else:
                        s.words_left <<= 0
                        s.in_packet <<= 0

    def line_trace(s):
        return f"{'R' if s.running else '.'}{s.error}{s.kind}:{s.next_address}.{s.next_beat}"

"""Takes the program stream apart and fills the memories."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL

from accel.config import BUS_NBITS, AccelConfig
from accel.program import INPUT_WORDS, WORDS_PER_LAYER, Packet


class ProgramLoaderRTL(Component):
    """One word of the program stream a cycle to the memory that its packet names.

    A packet is taken up only while nothing runs: before the first RUN packet, or when all images
    so far have been computed and their results are gone (``idle``): then ``close`` first keeps new
    images out for a cycle, and if none has slipped in, the packet comes. ``running`` falls with its
    header, and rises two cycles after that of RUN. What goes to the memories comes from registers.
    Reset state: not running, waiting for a header.
    """

    def construct(s, cfg: AccelConfig):
        Layer = mk_bits(cfg.layer_nbits)
        s.prog = RecvIfcRTL(mk_bits(BUS_NBITS))
        s.idle = InPort()
        s.close = OutPort()
        s.running = OutPort()
        s.last_layer = OutPort(Layer)

        s.layer_wen = OutPort()
        s.weight_wen = OutPort()
        s.param_wen = OutPort()
        s.input_wen = OutPort()
        s.address = OutPort(16)
        s.beat = OutPort(8)
        s.data = OutPort(BUS_NBITS)

        # Words left in the packet, beats of a memory word, and what the header said.
        s.kind = Wire(4)
        s.words_left = Wire(24)
        s.last_beat = Wire(8)
        s.in_packet = Wire()
        s.starts = Wire()
        s.take = Wire()
        s.next_address, s.next_beat = Wire(16), Wire(8)

        layer_nbits, layer_last, input_last = (
            cfg.layer_nbits,
            WORDS_PER_LAYER - 1,
            INPUT_WORDS - 1,
        )
        weight_last, param_last = cfg.weight_word_beats - 1, cfg.num_lanes - 1
        LAYER, WEIGHTS, PARAMS = int(Packet.LAYER), int(Packet.WEIGHTS), int(Packet.PARAMS)
        INPUT, RUN = int(Packet.INPUT), int(Packet.RUN)

        @update
        def up_accept():
            s.prog.rdy @= ~s.starts & (s.in_packet | ~s.running | (s.close & s.idle))
            s.take @= s.prog.val & s.prog.rdy

        @update_ff
        def up_write():
            if s.reset:
                s.layer_wen <<= 0
                s.weight_wen <<= 0
                s.param_wen <<= 0
                s.input_wen <<= 0
            else:
                s.layer_wen <<= s.take & s.in_packet & (s.kind == LAYER)
                s.weight_wen <<= s.take & s.in_packet & (s.kind == WEIGHTS)
                s.param_wen <<= s.take & s.in_packet & (s.kind == PARAMS)
                s.input_wen <<= s.take & s.in_packet & (s.kind == INPUT)
            s.address <<= s.next_address
            s.beat <<= s.next_beat
            s.data <<= s.prog.msg

        @update_ff
        def up_run():
            if s.reset:
                s.running <<= 0
                s.starts <<= 0
                s.close <<= 0
            else:
                s.close <<= s.running & s.prog.val & ~s.in_packet & ~s.take & s.idle
                if s.take & ~s.in_packet:
                    s.running <<= 0
                    s.starts <<= s.prog.msg[60:64] == RUN
                elif s.starts:
                    s.running <<= 1
                    s.starts <<= 0

        @update_ff
        def up_follow():
            if s.reset:
                s.in_packet <<= 0
            elif s.take:
                if s.in_packet:
                    if s.next_beat == s.last_beat:
                        s.next_beat <<= 0
                        s.next_address <<= s.next_address + 1
                        s.words_left <<= s.words_left - 1
                        s.in_packet <<= s.words_left != 1
                    else:
                        s.next_beat <<= s.next_beat + 1
                else:
                    s.kind <<= s.prog.msg[60:64]
                    s.next_address <<= s.prog.msg[0:16]
                    s.next_beat <<= 0
                    s.words_left <<= 1
                    s.in_packet <<= 1
                    if s.prog.msg[60:64] == LAYER:
                        s.last_beat <<= layer_last
                    elif s.prog.msg[60:64] == INPUT:
                        s.last_beat <<= input_last
                    elif s.prog.msg[60:64] == WEIGHTS:
                        s.last_beat <<= weight_last
                        s.words_left <<= s.prog.msg[32:56]
                        s.in_packet <<= s.prog.msg[32:56] != 0
                    elif s.prog.msg[60:64] == PARAMS:
                        s.last_beat <<= param_last
                        s.words_left <<= s.prog.msg[32:56]
                        s.in_packet <<= s.prog.msg[32:56] != 0
                    else:
                        s.in_packet <<= 0
                        if s.prog.msg[60:64] == RUN:
                            s.last_layer <<= s.prog.msg[0:layer_nbits] - 1

    def line_trace(s):
        return f"{'R' if s.running else '.'}{s.kind}:{s.next_address}.{s.next_beat}"

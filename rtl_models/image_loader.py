"""Writes the words of an image to the activation memory."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL

from accel.hardware.config import BUS_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import INPUT_WORDS, LOOP_COUNT, LOOP_Q, LOOP_R
from rtl_models.loop_nest import LoopNestRTL
from rtl_models.skid_buffer import SkidBufferRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = INPUT_WORDS - 1


class ImageLoaderRTL(Component):
    """Eight bytes of the image stream a cycle, each to its bank, while memory has room for them.

    ``full`` rises with an image's last word; ``done`` lets the next one in. ``hold`` keeps words
    waiting (the write port is taken, or the last image is still being read), two of them in a
    queue; ``close`` keeps them out, ``failed`` takes and drops them. The input descriptor is
    written while no program runs; nothing is accepted then, and an image begins anew after.
    """

    def construct(s, cfg: AccelConfig):
        q_nbits = cfg.act_addr_nbits
        num_bytes, data_nbits = BUS_NBITS // 8, TAPS * 8
        s.image = RecvIfcRTL(mk_bits(BUS_NBITS))
        s.running = InPort()
        s.failed = InPort()
        s.wen = InPort()
        s.word = InPort(2)
        s.data = InPort(BUS_NBITS)
        s.hold = InPort()
        s.close = InPort()
        s.done = InPort()
        s.waits = OutPort()
        s.full = OutPort()
        s.empty = OutPort()

        s.write_mask = OutPort(TAPS)
        s.write_rows = OutPort(mk_bits(TAPS * q_nbits))
        s.write_bank = OutPort(4)
        s.write_data = OutPort(TAPS * 8)

        s.descriptor = [Wire(BUS_NBITS) for _ in range(INPUT_WORDS)]
        s.last_bytes = Wire(4)
        s.last_bytes //= s.descriptor[NUM_LOOPS][20:24]
        s.begun = Wire()
        s.under_way = Wire()
        s.start = Wire()
        s.take = Wire()
        s.ends_image = Wire()

        s.nest = LoopNestRTL(NUM_LOOPS, q_nbits)
        s.nest.start //= s.start
        s.nest.start_q //= s.descriptor[NUM_LOOPS][0:q_nbits]
        s.nest.start_r //= s.descriptor[NUM_LOOPS][16:20]
        s.nest.take //= s.take
        for i in range(NUM_LOOPS):
            count, q, r = LOOP_COUNT, LOOP_Q, LOOP_R
            s.nest.counts[i * count[1] : (i + 1) * count[1]] //= s.descriptor[i][
                count[0] : count[0] + count[1]
            ]
            s.nest.strides_q[i * q_nbits : (i + 1) * q_nbits] //= s.descriptor[i][
                q[0] : q[0] + q_nbits
            ]
            s.nest.strides_r[i * 4 : (i + 1) * 4] //= s.descriptor[i][r[0] : r[0] + r[1]]

        s.tap_rows = TapRowsRTL(TAPS, q_nbits)
        s.tap_rows.q //= s.nest.q
        s.tap_rows.r //= s.nest.r
        s.tap_rows.reach //= 0
        s.tap_rows.rows //= s.write_rows
        s.write_bank //= s.nest.r

        s.queue = SkidBufferRTL(mk_bits(BUS_NBITS))
        s.queue.recv.msg //= s.image.msg

        @update
        def up_open():
            s.queue.recv.val @= s.image.val & s.begun & ~s.close & ~s.failed
            s.image.rdy @= (s.queue.recv.rdy & s.begun & ~s.close) | s.failed

        @update
        def up_accept():
            s.waits @= s.queue.send.val & s.hold
            s.queue.send.rdy @= s.begun & s.nest.val & ~s.full & ~s.hold
            s.take @= s.queue.send.val & s.queue.send.rdy
            s.ends_image @= s.take & s.nest.done
            # An image begins when the program does, and anew after each last word.
            s.start @= (s.running & ~s.begun) | s.ends_image
            s.empty @= ~s.under_way & ~s.queue.send.val

        @update
        def up_write():
            s.write_data @= zext(s.queue.send.msg, data_nbits)
            s.write_mask @= 0
            for i in range(num_bytes):
                s.write_mask[i] @= s.take & (~s.nest.last[0] | (s.last_bytes > i))

        @update_ff
        def up_follow():
            if s.wen:
                s.descriptor[s.word] <<= s.data
            if s.reset | ~s.running:
                s.begun <<= 0
                s.under_way <<= 0
                s.full <<= 0
            else:
                s.begun <<= 1
                s.under_way <<= (s.take | s.under_way) & ~s.ends_image
                s.full <<= s.ends_image | (s.full & ~s.done)

    def line_trace(s):
        return f"{'F' if s.full else '.'}{s.nest.line_trace()}"

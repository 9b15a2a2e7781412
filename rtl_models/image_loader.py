"""Writes the words of an image to the activation memory."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL

from accel.hardware.config import BUS_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import BANK, COUNT, INPUT_FIELDS, INPUT_LOOPS, INPUT_WORDS
from rtl_models.loop_nest import LoopNestRTL
from rtl_models.skid_buffer import SkidBufferRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = len(INPUT_LOOPS)


class ImageLoaderRTL(Component):
    """Eight bytes of the image stream a cycle, each to its bank, while memory has room for them.

    ``full`` rises with an image's last word; ``done`` lets the next one in. ``hold`` keeps words
    waiting (the write port is taken, or the last image is still being read), two of them in a
    queue; ``close`` keeps them out, ``failed`` takes and drops them. The input descriptor is
    written while no program runs; nothing is accepted then, and an image begins anew after.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits = cfg.act_addr_nbits
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
        s.write_rows = OutPort(mk_bits(TAPS * row_nbits))
        s.write_bank = OutPort(4)
        s.write_data = OutPort(TAPS * 8)

        s.descriptor = [Wire(BUS_NBITS) for _ in range(INPUT_WORDS)]

        def field(name, nbits=None):
            """A field of the input's descriptor, or its lowest ``nbits`` bits."""
            f = INPUT_FIELDS[name]
            return s.descriptor[f.word][f.low : f.low + (nbits or f.nbits)]

        s.last_bytes = Wire(INPUT_FIELDS["last_bytes"].nbits)
        s.last_bytes //= field("last_bytes")
        s.begun = Wire()
        s.under_way = Wire()
        s.start = Wire()
        s.take = Wire()
        s.ends_image = Wire()

        s.nest = LoopNestRTL(NUM_LOOPS, row_nbits)
        s.nest.start //= s.start
        s.nest.start_row //= field("base_row", row_nbits)
        s.nest.start_bank //= field("base_bank")
        s.nest.take //= s.take
        for i, loop in enumerate(INPUT_LOOPS):
            s.nest.counts[i * COUNT.nbits : (i + 1) * COUNT.nbits] //= field(f"{loop}.count")
            low, high = i * row_nbits, (i + 1) * row_nbits
            s.nest.strides_row[low:high] //= field(f"{loop}.row", row_nbits)
            low, high = i * BANK.nbits, (i + 1) * BANK.nbits
            s.nest.strides_bank[low:high] //= field(f"{loop}.bank")

        s.tap_rows = TapRowsRTL(TAPS, row_nbits)
        s.tap_rows.row //= s.nest.row
        s.tap_rows.bank //= s.nest.bank
        s.tap_rows.reach //= 0
        s.tap_rows.rows //= s.write_rows
        s.write_bank //= s.nest.bank

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

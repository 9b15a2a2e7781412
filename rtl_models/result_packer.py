"""Packs outputs into result words and picks the winning class."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.config import BUS_NBITS, AccelConfig, clog2

CLASS_NBITS = 16


class ResultPackerRTL(Component):
    """A beat of outputs a cycle; a word when eight bytes have come or the image ends, then one more
    with the winning class: the number of the largest output, the first of equals.

    Lanes from ``num_valid`` on are filling and become 0. ``en`` needs ``rdy``. ``busy`` while a
    word waits. Reset state: no word waits, an image begins.
    """

    def construct(s, cfg: AccelConfig):
        lanes = cfg.num_lanes
        num_places = BUS_NBITS // (8 * lanes)
        place_nbits = clog2(num_places)
        Place, Class = mk_bits(place_nbits), mk_bits(CLASS_NBITS)
        s.en = InPort()
        s.rdy = OutPort()
        s.busy = OutPort()
        s.y = InPort(8 * lanes)
        s.num_valid = InPort(4)
        s.last = InPort()
        s.signed_ = InPort()
        s.result = SendIfcRTL(mk_bits(BUS_NBITS))

        s.word, s.with_beat = Wire(BUS_NBITS), Wire(BUS_NBITS)
        s.place = Wire(Place)
        s.class_next, s.full = Wire(), Wire()

        # The best output so far, as an unsigned number of the same order, and its number.
        s.begun = Wire()
        s.best, s.next_best = Wire(8), Wire(8)
        s.winner, s.next_winner, s.count = Wire(Class), Wire(Class), Wire(Class)
        s.lane = [Wire(8) for _ in range(lanes)]
        s.key = [Wire(8) for _ in range(lanes)]
        s.beat = Wire(8 * lanes)
        for j in range(lanes):
            s.lane[j] //= s.y[j * 8 : (j + 1) * 8]

        @update
        def mask():
            s.beat @= 0
            for j in range(lanes):
                if s.num_valid > j:
                    s.beat[j * 8 : j * 8 + 8] @= s.lane[j]
                s.key[j] @= s.lane[j] ^ concat(s.signed_, mk_bits(7)(0))

        @update
        def compare():
            s.next_best @= s.best
            s.next_winner @= s.winner
            for j in range(lanes):
                if s.num_valid > j:
                    if (s.key[j] > s.next_best) | (~s.begun & (j == 0)):
                        s.next_best @= s.key[j]
                        s.next_winner @= s.count + j

        @update
        def pack():
            s.with_beat @= s.word
            for i in range(num_places):
                if s.place == i:
                    s.with_beat[i * 8 * lanes : i * 8 * lanes + 8 * lanes] @= s.beat
            s.full @= s.last | (s.place == num_places - 1)

        @update
        def accept():
            s.rdy @= ~s.class_next & (~s.result.val | s.result.rdy)
            s.busy @= s.class_next | s.result.val

        @update_ff
        def send():
            if s.reset:
                s.result.val <<= 0
                s.class_next <<= 0
                s.begun <<= 0
                s.place <<= 0
                s.count <<= 0
                s.word <<= 0
            elif s.en:
                s.begun <<= ~s.last
                s.result.val <<= s.full
                s.class_next <<= s.last
                s.best <<= s.next_best
                s.winner <<= s.next_winner
                s.count <<= s.count + zext(s.num_valid, CLASS_NBITS)
                s.word <<= s.with_beat
                s.place <<= s.place + 1
                if s.full:
                    s.result.msg <<= s.with_beat
                    s.word <<= 0
                    s.place <<= 0
                if s.last:
                    s.count <<= 0
            elif s.result.val & s.result.rdy:
                s.result.val <<= s.class_next
                s.result.msg <<= zext(s.winner, BUS_NBITS)
                s.class_next <<= 0

    def line_trace(s):
        return f"{s.place}{'C' if s.class_next else '.'}"

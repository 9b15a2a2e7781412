"""Packs outputs into result words and picks the winning class."""

from pymtl3 import Bits7, Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.hardware.config import BUS_NBITS, CLASS_NBITS, AccelConfig, clog2


class ResultPackerRTL(Component):
    """A beat of outputs a cycle; a word when eight bytes have come or the image ends, then one more
    with the winning class: the number of the largest output, the first of equals. The largest of a
    beat is found in the cycle in which it comes, and compared with those before it in the next.

    Lanes from ``num_valid`` on are filling and become 0. ``en`` needs ``rdy``. ``busy`` while a
    word waits; ``at_class`` says that it is the class, an image's last one. Reset state: no word
    waits, an image begins.
    """

    def construct(s, cfg: AccelConfig):
        lanes = cfg.num_lanes
        num_places = BUS_NBITS // (8 * lanes)
        last_place = num_places - 1
        place_nbits = clog2(num_places)
        Place, Class = mk_bits(place_nbits), mk_bits(CLASS_NBITS)
        s.en = InPort()
        s.rdy = OutPort()
        s.busy = OutPort()
        s.at_class = OutPort()
        s.y = InPort(8 * lanes)
        s.num_valid = InPort(4)
        s.last = InPort()
        s.is_signed = InPort()
        s.result = SendIfcRTL(mk_bits(BUS_NBITS))

        s.word, s.with_beat = Wire(BUS_NBITS), Wire(BUS_NBITS)
        s.place = Wire(Place)
        s.class_next, s.full = Wire(), Wire()

        # The best output of a beat, and of all before it, as unsigned numbers of the same order,
        # and their numbers.
        s.begun, s.count = Wire(), Wire(Class)
        s.top, s.next_top = Wire(8), Wire(8)
        s.candidate, s.next_candidate = Wire(Class), Wire(Class)
        s.top_val, s.top_first = Wire(), Wire()
        s.best, s.next_best = Wire(8), Wire(8)
        s.winner, s.next_winner = Wire(Class), Wire(Class)
        s.lane = [Wire(8) for _ in range(lanes)]
        s.key = [Wire(8) for _ in range(lanes)]
        s.valid_lane = [Wire(8) for _ in range(lanes)]
        s.beat = Wire(8 * lanes)
        for j in range(lanes):
            s.lane[j] //= s.y[j * 8 : (j + 1) * 8]
            s.beat[j * 8 : (j + 1) * 8] //= s.valid_lane[j]
        s.part = [Wire(8 * lanes) for _ in range(num_places)]
        s.old_part = [Wire(8 * lanes) for _ in range(num_places)]
        for i in range(num_places):
            s.with_beat[i * 8 * lanes : (i + 1) * 8 * lanes] //= s.part[i]
            s.old_part[i] //= s.word[i * 8 * lanes : (i + 1) * 8 * lanes]

        @update
        def up_mask():
            for j in range(lanes):
                s.valid_lane[j] @= 0
                if s.num_valid > j:
                    s.valid_lane[j] @= s.lane[j]
                s.key[j] @= s.lane[j] ^ concat(s.is_signed, Bits7(0))

        @update
        def up_compare():
            s.next_top @= s.key[0]
            s.next_candidate @= s.count
            for j in range(1, lanes):
                if (s.num_valid > j) & (s.key[j] > s.next_top):
                    s.next_top @= s.key[j]
                    s.next_candidate @= s.count + j
            s.next_best @= s.best
            s.next_winner @= s.winner
            if s.top_val & (s.top_first | (s.top > s.best)):
                s.next_best @= s.top
                s.next_winner @= s.candidate

        @update
        def up_pack():
            for i in range(num_places):
                s.part[i] @= s.old_part[i]
                if s.place == i:
                    s.part[i] @= s.beat
            s.full @= s.last | (s.place == last_place)

        @update
        def up_accept():
            s.rdy @= ~s.class_next & (~s.result.val | s.result.rdy)
            s.busy @= s.class_next | s.result.val

        @update_ff
        def up_send():
            if s.reset:
                s.result.val <<= 0
                s.class_next <<= 0
                s.at_class <<= 0
                s.begun <<= 0
                s.place <<= 0
                s.count <<= 0
                s.word <<= 0
            elif s.en:
                s.begun <<= ~s.last
                s.result.val <<= s.full
                s.class_next <<= s.last
                s.at_class <<= 0
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
                s.result.msg <<= zext(s.next_winner, BUS_NBITS)
                s.at_class <<= s.class_next
                s.class_next <<= 0

        @update_ff
        def up_win():
            if s.reset:
                s.top_val <<= 0
            else:
                s.top_val <<= s.en
            if s.en:
                s.top <<= s.next_top
                s.candidate <<= s.next_candidate
                s.top_first <<= ~s.begun
            s.best <<= s.next_best
            s.winner <<= s.next_winner

    def line_trace(s):
        return f"{s.place}{'C' if s.class_next else '.'}"

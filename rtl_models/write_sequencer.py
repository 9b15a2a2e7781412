"""Puts requantized activations where the next layer, or the host, finds them."""

from pymtl3 import Component, OutPort, Wire, mk_bits, update, update_ff, zext
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import BUS_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import BANK, COUNT, FIELDS, WRITE_LOOPS, WRITE_WORDS
from accel.hardware.messages import mk_out
from rtl_models.address_adder import UP_TO_CARRY, AddressAdderRTL
from rtl_models.descriptor_bus import DescriptorBusIfc
from rtl_models.descriptor_memory import DescriptorMemoryRTL
from rtl_models.loop_nest import LoopNestRTL
from rtl_models.result_packer import ResultPackerRTL
from rtl_models.skid_buffer import SkidBufferRTL
from rtl_models.tap_rows import TapRowsRTL

NUM_LOOPS = len(WRITE_LOOPS)

IDLE, SETUP, RUN = 0, 1, 2


class WriteSequencerRTL(Component):
    """One beat of the requantizer's outputs a cycle to the activation memory or the results.

    Walks layers, groups of output channels, vectors, pixels of a vector, and beats, in the order in
    which they come. Beats without outputs, beyond the last channel or in a pixel beyond the feature
    map, are dropped. ``num_taken`` counts the outputs taken in a cycle. ``written`` changes when a
    layer's last byte goes to memory. A layer's first output is taken two cycles after SETUP. Reset
    state: IDLE.
    """

    def construct(s, cfg: AccelConfig):
        lanes, row_nbits = cfg.num_lanes, cfg.act_addr_nbits
        Layer, Row = mk_bits(cfg.layer_nbits), mk_bits(row_nbits)
        s.bus = DescriptorBusIfc(cfg.layer_nbits)
        s.out = RecvIfcRTL(mk_out(cfg))
        s.result = SendIfcRTL(mk_bits(BUS_NBITS))
        s.result_last = OutPort()
        s.written = OutPort()
        s.at_rest = OutPort()

        s.taken_layer = OutPort(Layer)
        s.num_taken = OutPort(4)
        s.writing = OutPort()
        s.write_mask = OutPort(TAPS)
        s.write_rows = OutPort(mk_bits(TAPS * row_nbits))
        s.write_bank = OutPort(4)
        s.write_data = OutPort(TAPS * 8)

        s.layer, s.take_up = Wire(Layer), Wire()
        s.descriptor = DescriptorMemoryRTL(cfg, WRITE_WORDS)
        s.descriptor.bus //= s.bus
        s.descriptor.advance //= s.take_up
        s.descriptor.layer //= s.layer
        field = s.descriptor.field

        s.lane_row = Wire(Row)
        # The number of a pixel's last beat with outputs, and of the last group's
        Beat = mk_bits(FIELDS["write_beats"].nbits)
        s.end_beat, s.end_beat_of_last_group = Wire(Beat), Wire(Beat)
        s.last_lanes, s.group_lanes = Wire(4), Wire(4)
        s.to_result = Wire()
        s.lane_row //= field("lane_row", row_nbits)
        s.end_beat //= field("write_beats")
        s.end_beat_of_last_group //= field("write_last_beats")
        s.last_lanes //= field("last_lanes")
        s.group_lanes //= field("group_lanes")
        s.to_result //= field("to_result")

        s.state = Wire(2)
        s.start, s.take, s.next_pixel, s.next_vector = Wire(), Wire(), Wire(), Wire()
        s.beat, s.end_valid, s.drop_beats = Wire(Beat), Wire(Beat), Wire(Beat)
        s.at_last_beat, s.at_last_group, s.ends_layer = Wire(), Wire(), Wire()
        s.at_last_valid, s.dropped = Wire(), Wire()
        s.drop_beats //= field("drop_beats")

        # Place of the pixel in its vector, and whether that is the last one, or the last valid one.
        s.tile_column, s.tile_row = Wire(), Wire()
        s.pixel_x, s.pixel_y = Wire(), Wire()
        s.drop_x, s.drop_y = Wire(), Wire()
        s.at_last_pixel, s.at_last_inside = Wire(), Wire()
        s.pixel_x //= field("pixel_x")
        s.pixel_y //= field("pixel_y")
        s.drop_x //= field("drop_x")
        s.drop_y //= field("drop_y")
        s.num_valid, s.ends_image = Wire(4), Wire()

        s.nest = LoopNestRTL(NUM_LOOPS, row_nbits)
        s.nest.start //= s.start
        s.nest.start_row //= field("write_row", row_nbits)
        s.nest.start_bank //= field("write_bank")
        s.nest.take //= s.next_vector
        for i, loop in enumerate(WRITE_LOOPS):
            s.nest.counts[i * COUNT.nbits : (i + 1) * COUNT.nbits] //= field(f"{loop}.count")
            low, high = i * row_nbits, (i + 1) * row_nbits
            s.nest.strides_row[low:high] //= field(f"{loop}.row", row_nbits)
            low, high = i * BANK.nbits, (i + 1) * BANK.nbits
            s.nest.strides_bank[low:high] //= field(f"{loop}.bank")

        # The address of this beat, and of the next: lanes are one channel apart, row lane_row and
        # bank 1, so a beat is num_lanes times that.
        s.row, s.next_row, s.beat_row = Wire(Row), Wire(Row), Wire(Row)
        s.bank, s.next_bank, s.beat_bank = Wire(4), Wire(4), Wire(4)
        s.sum_bank = Wire(5)
        # The pixel after this one, unless that is a vector's first: so far from the first.
        s.further = AddressAdderRTL(row_nbits)
        s.further.a_row //= s.nest.row
        s.further.a_bank //= s.nest.bank
        s.pixel_row = Wire(Row)
        s.pixel_row //= field("pixel_row", row_nbits)
        s.next_pixel_row, s.next_pixel_bank = Wire(Row), Wire(4)
        s.reach = [Wire(Row) for _ in range(lanes)]
        # Multiples of lane_row, as sums of two, or synthesis would spend multipliers on them.
        s.twice, s.thrice, s.fourfold = Wire(Row), Wire(Row), Wire(Row)
        s.least, s.rest = ([Wire(Row) for _ in range(lanes)] for _ in range(2))
        for j in range(lanes):
            s.least[j] //= (0, s.lane_row, s.twice, s.thrice)[j % 4]
            s.rest[j] //= s.fourfold if j >= 4 else 0
        s.tap_rows = TapRowsRTL(lanes, row_nbits)
        s.tap_rows.row //= s.row
        s.tap_rows.bank //= s.bank
        for j in range(lanes):
            s.tap_rows.reach[j * row_nbits : (j + 1) * row_nbits] //= s.reach[j]
        s.write_rows[0 : lanes * row_nbits] //= s.tap_rows.rows
        if lanes < TAPS:
            s.write_rows[lanes * row_nbits : TAPS * row_nbits] //= 0
        s.write_bank //= s.bank

        s.packer = ResultPackerRTL(cfg)
        s.queue = SkidBufferRTL(mk_out(cfg))
        s.queue.recv //= s.out
        s.y = Wire(8 * lanes)
        s.y //= s.queue.send.msg.y

        s.packer.y //= s.y
        s.packer.num_valid //= s.num_valid
        s.packer.last //= s.ends_image
        s.packer.is_signed //= field("out_signed")
        s.packer.result //= s.result
        s.packer.at_class //= s.result_last

        data_nbits, outermost = TAPS * 8, NUM_LOOPS - 1
        lane_shift = lanes.bit_length() - 1

        @update
        def up_decide():
            s.start @= s.state == SETUP
            s.at_last_group @= s.nest.last[outermost]
            s.end_valid @= s.end_beat
            s.at_last_beat @= s.beat == s.end_beat
            if s.at_last_group:
                s.end_valid @= s.end_beat_of_last_group
                s.at_last_beat @= s.beat == (s.end_beat_of_last_group + s.drop_beats)
            s.at_last_valid @= s.beat == s.end_valid
            s.at_last_pixel @= (s.tile_column == s.pixel_x) & (s.tile_row == s.pixel_y)
            s.at_last_inside @= (s.tile_column == (s.pixel_x ^ s.drop_x)) & (
                s.tile_row == (s.pixel_y ^ s.drop_y)
            )
            s.ends_layer @= s.at_last_beat & s.at_last_pixel & s.nest.done
            s.ends_image @= s.at_last_valid & s.at_last_inside & s.nest.done
            s.dropped @= (
                (s.beat > s.end_valid)
                | (s.tile_column & s.drop_x & s.nest.last[0])
                | (s.tile_row & s.drop_y & s.nest.last[1])
            )
            s.num_valid @= lanes
            if s.at_last_valid:
                s.num_valid @= s.group_lanes
                if s.at_last_group:
                    s.num_valid @= s.last_lanes
            s.at_rest @= ~s.packer.busy

        @update
        def up_accept():
            s.queue.send.rdy @= (s.state == RUN) & s.nest.val & (s.packer.rdy | ~s.to_result)
            s.take @= s.queue.send.val & s.queue.send.rdy
            s.take_up @= (s.take & s.ends_layer) | ((s.state == IDLE) & s.bus.running)
            s.packer.en @= s.take & s.to_result & ~s.dropped
            s.next_pixel @= s.take & s.at_last_beat
            s.next_vector @= s.take & s.at_last_beat & s.at_last_pixel
            s.taken_layer @= s.layer
            s.num_taken @= 0
            if s.take & ~s.dropped:
                s.num_taken @= s.num_valid

        @update
        def up_write():
            # Without a word on the packer, for which only results wait.
            s.writing @= s.queue.send.val & (s.state == RUN) & s.nest.val & ~s.to_result
            s.write_data @= zext(s.y, data_nbits)
            s.write_mask @= 0
            for j in range(lanes):
                s.write_mask[j] @= s.writing & ~s.dropped & (s.num_valid > j)

        @update
        def up_place():
            s.row @= s.beat_row
            s.bank @= s.beat_bank
            if s.beat == 0:
                if s.tile_column | s.tile_row:
                    s.row @= s.next_pixel_row
                    s.bank @= s.next_pixel_bank
                else:
                    s.row @= s.nest.row
                    s.bank @= s.nest.bank
            s.sum_bank @= zext(s.bank, 5) + lanes
            if s.sum_bank >= TAPS:
                s.next_row @= s.row + (s.lane_row << lane_shift) + 1
                s.next_bank @= s.sum_bank[0:4] - TAPS
            else:
                s.next_row @= s.row + (s.lane_row << lane_shift)
                s.next_bank @= s.sum_bank[0:4]

        @update
        def up_pixel():
            # Columns are a byte apart, and rows a byte in bank 3.
            if s.tile_column == s.pixel_x:
                s.further.b_row @= s.pixel_row
                s.further.b_bank_up @= UP_TO_CARRY + 3
            elif s.tile_row:
                s.further.b_row @= s.pixel_row
                s.further.b_bank_up @= UP_TO_CARRY + 4
            else:
                s.further.b_row @= 0
                s.further.b_bank_up @= UP_TO_CARRY + 1

        @update
        def up_multiples():
            s.twice @= s.lane_row << 1
            s.thrice @= s.lane_row + s.twice
            s.fourfold @= s.lane_row << 2

        @update_ff
        def up_spread():
            # A chain over the lanes would be long: beats are some cycles apart from SETUP.
            for j in range(lanes):
                if s.start:
                    s.reach[j] <<= s.least[j] + s.rest[j]

        @update_ff
        def up_follow():
            if s.reset | ~s.bus.running:
                s.state <<= IDLE
                s.written <<= 0
            elif s.state == IDLE:
                s.state <<= SETUP
            elif s.state == SETUP:
                s.state <<= RUN
                s.beat <<= 0
                s.tile_column <<= 0
                s.tile_row <<= 0
            elif s.take:
                s.beat_row <<= s.next_row
                s.beat_bank <<= s.next_bank
                if s.at_last_beat:
                    s.beat <<= 0
                else:
                    s.beat <<= s.beat + 1
                if s.next_pixel:
                    s.next_pixel_row <<= s.further.row
                    s.next_pixel_bank <<= s.further.bank
                    s.tile_column <<= s.tile_column ^ s.pixel_x
                    if s.tile_column == s.pixel_x:
                        s.tile_row <<= s.tile_row ^ s.pixel_y
                if s.ends_layer:
                    s.state <<= SETUP
                    s.written <<= ~s.written

    def line_trace(s):
        return f"L{s.layer} {s.nest.line_trace()}.{s.tile_row}{s.tile_column}.{s.beat}"

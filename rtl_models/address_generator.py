"""Where each step reads: the stage between the step sequencer and the memories."""

from pymtl3 import (
    Component,
    InPort,
    OutPort,
    Wire,
    mk_bits,
    mk_bitstruct,
    update,
    update_ff,
    zext,
)

from accel.hardware.config import ACT_NBITS, TAPS, AccelConfig
from accel.hardware.descriptors import DX, OPERAND_STRIDES
from rtl_models.operand_address import NUM_LOOPS as VECTOR_LOOPS
from rtl_models.operand_address import OperandAddressRTL
from rtl_models.pixel_offset import PixelOffsetRTL
from rtl_models.tap_address import NUM_LOOPS, OFFSET_NBITS, TapAddressRTL


def step_fields(cfg: AccelConfig):
    """What goes with a step from its issue to the PE array."""
    b1 = mk_bits(1)
    windows = {"windows": b1, "row_end": b1, "window_used": b1, "edges": mk_bits(4)}
    # A step that reads what is added to a vector
    operand = {"operand": b1} if cfg.adder else {}
    return (
        operand
        | {
            "layer": mk_bits(cfg.layer_nbits),
            "pad_value": mk_bits(ACT_NBITS),
            "is_signed": b1,
            "weight_address": mk_bits(cfg.weight_addr_nbits),
            "load": b1,
            "keep": b1,
            "idx": mk_bits(cfg.spad_idx_nbits),
            "first": b1,
            "last": b1,
            "pool_first": b1,
            "pool_last": b1,
            "frees_input": b1,
        }
        | (windows if cfg.line_width else {})
    )


def mk_issued(cfg: AccelConfig):
    """A step as it is issued: the loops that start again after it, the taps that the kernel and the
    channels use, with column windows those of each pixel group, and the feature map."""
    flags, size = mk_bits(NUM_LOOPS), mk_bits(OFFSET_NBITS)
    fields = {
        "restart": flags,
        "used": mk_bits(TAPS * (cfg.pixel_groups if cfg.line_width else 1)),
        "channel_mode": mk_bits(1),
        "height": size,
        "width": size,
    }
    if cfg.adder:
        # The loops outside of a vector that are in their last iterations
        fields["vector_last"] = mk_bits(VECTOR_LOOPS)
    return mk_bitstruct(f"Issued_{cfg}", fields | step_fields(cfg))


def mk_command(cfg: AccelConfig):
    """A step on its way to the memories: rows of each pixel group's taps, bank of its first, taps
    that read and taps that are the pad value. The others are zero."""
    groups = cfg.pixel_groups
    fields = {
        "rows": mk_bits(groups * TAPS * cfg.act_addr_nbits),
        "bank": mk_bits(groups * 4),
        "reads": mk_bits(groups * TAPS),
        "pads": mk_bits(groups * TAPS),
    }
    return mk_bitstruct(f"Command_{cfg}", fields | step_fields(cfg))


class AddressGeneratorRTL(Component):
    """One cycle from a step's issue to its command, which is a register.

    ::

        issued -> [step, address, row and column] -> rows of the taps -> [command]

    Each pixel group has an address of its own: ``start`` sets it to the layer's first, plus the
    group's offset; when a step leaves, the address follows the loops. All of it moves with ``go``;
    ``start`` and ``issued_val`` come only with it. Reset: no step under way.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits, step_nbits, groups = cfg.act_addr_nbits, DX.nbits, cfg.pixel_groups
        Row, Offset, Step = mk_bits(row_nbits), mk_bits(OFFSET_NBITS), mk_bits(step_nbits)
        Issued, Command = mk_issued(cfg), mk_command(cfg)
        s.go = InPort()
        s.issued = InPort(Issued)
        s.issued_val = InPort()
        s.select = InPort(mk_bits(NUM_LOOPS))
        s.command = OutPort(Command)
        s.command_val = OutPort()
        s.reading_input = OutPort()

        # Of the layer that starts
        s.start = InPort()
        s.start_row, s.start_bank = InPort(Row), InPort(4)
        s.padding_rows, s.padding_columns = InPort(4), InPort(4)
        s.channel_mode = InPort()
        s.tap_row = InPort(Row)
        # Of the layer under way
        s.strides_row = InPort(mk_bits(NUM_LOOPS * row_nbits))
        s.strides_bank = InPort(mk_bits(NUM_LOOPS * 4))
        s.strides_y = InPort(mk_bits(NUM_LOOPS * step_nbits))
        s.strides_x = InPort(mk_bits(NUM_LOOPS * step_nbits))
        # What bit i of a group's number adds
        for i in range(2):
            setattr(s, f"pixel_row{i}", InPort(Row))
            setattr(s, f"pixel_bank{i}", InPort(4))
            setattr(s, f"pixel_y{i}", InPort(Step))
            setattr(s, f"pixel_x{i}", InPort(Step))

        s.at, s.at_val = Wire(Issued), Wire()
        s.issue, s.leave = Wire(), Wire()
        s.origin_y, s.origin_x = Wire(Offset), Wire(Offset)

        # Rows from tap 0 to tap t: multiples of tap_row, worked out once a layer.
        s.reach = [Wire(Row) for _ in range(TAPS)]
        s.double, s.triple = Wire(Row), Wire(Row)

        s.groups = [TapAddressRTL(cfg) for _ in range(groups)]
        s.next_command = Wire(Command)
        s.rows, s.bank = Wire(mk_bits(groups * TAPS * row_nbits)), Wire(mk_bits(groups * 4))
        s.reads, s.pads = Wire(mk_bits(groups * TAPS)), Wire(mk_bits(groups * TAPS))
        for g, group in enumerate(s.groups):
            group.start //= s.start
            group.issue //= s.issue
            group.leave //= s.leave
            group.select //= s.select
            group.restart //= s.at.restart
            group.used //= s.at.used[g * TAPS : (g + 1) * TAPS] if cfg.line_width else s.at.used
            group.channel_mode //= s.at.channel_mode
            group.height //= s.at.height
            group.width //= s.at.width
            group.strides_row //= s.strides_row
            group.strides_bank //= s.strides_bank
            group.strides_y //= s.strides_y
            group.strides_x //= s.strides_x
            for t in range(TAPS):
                group.reach[t * row_nbits : (t + 1) * row_nbits] //= s.reach[t]
            low, high = g * TAPS, (g + 1) * TAPS
            s.rows[low * row_nbits : high * row_nbits] //= group.rows
            s.bank[g * 4 : (g + 1) * 4] //= group.bank
            s.reads[low:high] //= group.reads
            s.pads[low:high] //= group.pads
        for name in step_fields(cfg):
            connected = getattr(s.next_command, name)
            connected //= getattr(s.at, name)

        # A group starts further than the one whose number lacks its highest bit.
        starts = [(s.start_row, s.start_bank, s.origin_y, s.origin_x)]
        for g in range(1, groups):
            bit = g.bit_length() - 1
            offset = PixelOffsetRTL(row_nbits, OFFSET_NBITS)
            setattr(s, f"offset{g}", offset)
            before = offset.in_row, offset.in_bank, offset.in_y, offset.in_x
            for port, start in zip(before, starts[g - (1 << bit)], strict=True):
                port //= start
            offset.stride_row //= getattr(s, f"pixel_row{bit}")
            offset.stride_bank //= getattr(s, f"pixel_bank{bit}")
            offset.dy //= getattr(s, f"pixel_y{bit}")
            offset.dx //= getattr(s, f"pixel_x{bit}")
            starts.append((offset.row, offset.bank, offset.y, offset.x))
        for group, start in zip(s.groups, starts, strict=True):
            ports = group.start_row, group.start_bank, group.start_y, group.start_x
            for port, wire in zip(ports, start, strict=True):
                port //= wire

        # What is read comes before what is padded, and nobody looks at an operand's other taps.
        s.next_command.pads //= s.pads

        if cfg.adder:
            num_strides = len(OPERAND_STRIDES)
            s.operand_row, s.operand_bank = InPort(Row), InPort(4)
            s.operand_lane_row = InPort(Row)
            s.operand_strides_row = InPort(mk_bits(num_strides * row_nbits))
            s.operand_strides_bank = InPort(mk_bits(num_strides * 4))
            s.operand_issue, s.operand_leave = Wire(), Wire()
            s.operands = OperandAddressRTL(cfg)
            s.operands.start //= s.start
            s.operands.start_row //= s.operand_row
            s.operands.start_bank //= s.operand_bank
            s.operands.lane_row //= s.operand_lane_row
            s.operands.issue //= s.operand_issue
            s.operands.leave //= s.operand_leave
            s.operands.last //= s.issued.vector_last
            s.operands.strides_row //= s.operand_strides_row
            s.operands.strides_bank //= s.operand_strides_bank
            # Bytes for all columns of a pixel group
            read_by_columns = sum(((1 << cfg.group_cols) - 1) << TAPS * g for g in range(groups))
            columns = mk_bits(groups * TAPS)(read_by_columns)

            @update
            def up_kind():
                s.issue @= s.issued_val & ~s.issued.operand
                s.leave @= s.at_val & s.go & ~s.at.operand
                s.operand_issue @= s.issued_val & s.issued.operand
                s.operand_leave @= s.at_val & s.go & s.at.operand

            # Not the command's own fields: Icarus Verilog takes them here only if all are set here.
            s.chosen_rows = Wire(mk_bits(groups * TAPS * row_nbits))
            s.chosen_bank = Wire(mk_bits(groups * 4))
            s.chosen_reads = Wire(groups * TAPS)
            s.next_command.rows //= s.chosen_rows
            s.next_command.bank //= s.chosen_bank
            s.next_command.reads //= s.chosen_reads

            @update
            def up_select():
                s.chosen_rows @= s.rows
                s.chosen_bank @= s.bank
                s.chosen_reads @= s.reads
                if s.at.operand:
                    s.chosen_rows @= s.operands.rows
                    s.chosen_bank @= s.operands.bank
                    s.chosen_reads @= columns

        else:
            s.next_command.rows //= s.rows
            s.next_command.bank //= s.bank
            s.next_command.reads //= s.reads
            s.issue //= s.issued_val

            @update
            def up_leave():
                s.leave @= s.at_val & s.go

        @update
        def up_move():
            # The image's last bytes are still to be read.
            s.reading_input @= s.at_val & s.at.frees_input

        @update
        def up_multiples():
            s.origin_y @= Offset(0) - zext(s.padding_rows, OFFSET_NBITS)
            s.origin_x @= Offset(0) - zext(s.padding_columns, OFFSET_NBITS)
            s.double @= s.tap_row << 1
            s.triple @= s.double + s.tap_row

        @update_ff
        def up_spread():
            s.reach[0] <<= 0
            if s.start:
                if s.channel_mode:
                    s.reach[1] <<= s.tap_row
                    s.reach[2] <<= s.double
                    s.reach[3] <<= s.triple
                    s.reach[4] <<= s.double << 1
                    s.reach[5] <<= s.double + s.triple
                    s.reach[6] <<= s.triple << 1
                    s.reach[7] <<= (s.tap_row << 3) - s.tap_row
                    s.reach[8] <<= s.tap_row << 3
                else:
                    for t in range(1, 3):
                        s.reach[t] <<= 0
                    for t in range(3, 6):
                        s.reach[t] <<= s.tap_row
                    for t in range(6, TAPS):
                        s.reach[t] <<= s.double

        @update_ff
        def up_advance():
            if s.reset:
                s.at_val <<= 0
                s.command_val <<= 0
            elif s.go:
                s.at_val <<= s.issued_val
                s.command_val <<= s.at_val
            if s.go:
                s.at <<= s.issued
                s.command <<= s.next_command

    def line_trace(s):
        return f"{s.groups[0].line_trace() if s.at_val else '':18}{'A' if s.command_val else '.'}"

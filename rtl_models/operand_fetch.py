"""Reads the operands of each step: activations and weights."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.hardware.config import ACT_NBITS, BUS_NBITS, TAPS, AccelConfig
from accel.hardware.messages import mk_operand, mk_step
from rtl_models.activation_memory import ActivationMemoryRTL
from rtl_models.address_generator import mk_command
from rtl_models.column_windows import ColumnWindowsRTL
from rtl_models.wide_memory import WideMemoryRTL


class OperandFetchRTL(Component):
    """Three cycles from a step's command to its message, one step a cycle.

    ::

        command -> rotation -> banks [read] -> [data] -> rotation, padding, sign -> [operands]
                   weight memory ..... [read] ................................... -> [weights]

    The command comes from a register. Each pixel group reads from an activation memory of its own;
    all of them hold the same. While the step stream stalls, ``go`` is low and all of it holds. A
    tap outside the feature map is the layer's pad value, one outside the kernel or beyond the last
    channel is zero. Weights are read only for steps that load them. Where there are column windows,
    these are the registers for operands and weights. With an adder, what is read by a step that is
    no sum's is offered to that.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits = cfg.act_addr_nbits
        Command = mk_command(cfg)
        s.command = InPort(Command)
        s.command_val = InPort()
        s.go = OutPort()
        s.reading_input = OutPort()
        s.step = SendIfcRTL(mk_step(cfg))
        # Of the step that is offered: its layer, and the taps that were read for it.
        s.layer = OutPort(mk_bits(cfg.layer_nbits))
        s.reads = OutPort(mk_bits(cfg.pixel_groups * TAPS))
        if cfg.line_width:
            # Of the same step, whether there is one: it is not offered if its window is not used.
            s.fetched = OutPort()

        s.write_mask = InPort(TAPS)
        s.write_rows = InPort(mk_bits(TAPS * row_nbits))
        s.write_bank = InPort(4)
        s.write_data = InPort(TAPS * 8)
        s.weight_wen = InPort()
        s.weight_waddr = InPort(cfg.weight_addr_nbits)
        s.weight_wbeat = InPort(8)
        s.weight_wdata = InPort(BUS_NBITS)

        groups, num_taps = cfg.pixel_groups, cfg.pixel_groups * TAPS
        s.at_read, s.at_data, s.at_step = Wire(Command), Wire(Command), Wire(Command)
        s.read_val, s.data_val, s.step_val = Wire(), Wire(), Wire()
        s.weight_ren, s.read_loads = Wire(), Wire()
        s.read_mask = Wire(num_taps)

        s.activations = [ActivationMemoryRTL(cfg) for _ in range(groups)]
        for g, memory in enumerate(s.activations):
            low, high = g * TAPS, (g + 1) * TAPS
            memory.go //= s.go
            memory.read_mask //= s.read_mask[low:high]
            memory.read_rows //= s.command.rows[low * row_nbits : high * row_nbits]
            memory.read_bank //= s.command.bank[g * 4 : (g + 1) * 4]
            memory.write_mask //= s.write_mask
            memory.write_rows //= s.write_rows
            memory.write_bank //= s.write_bank
            memory.write_data //= s.write_data

        s.weights = WideMemoryRTL(cfg.weight_word_nbits, cfg.weight_depth)
        s.weights.ren //= s.weight_ren
        s.weights.raddr //= s.at_read.weight_address
        s.weights.wen //= s.weight_wen
        s.weights.waddr //= s.weight_waddr
        s.weights.wbeat //= s.weight_wbeat
        s.weights.wdata //= s.weight_wdata

        s.tap_reads, s.tap_pads = Wire(num_taps), Wire(num_taps)
        s.tap_reads //= s.at_data.reads
        s.tap_pads //= s.at_data.pads
        s.tap = [Wire(8) for _ in range(num_taps)]
        s.x = [Wire(ACT_NBITS) for _ in range(num_taps)]
        for t in range(num_taps):
            g, i = divmod(t, TAPS)
            s.tap[t] //= s.activations[g].taps[i * 8 : (i + 1) * 8]
        if cfg.line_width:
            s.fetched //= s.step_val
            s.column_windows = ColumnWindowsRTL(cfg)
            # They move with all of it.
            s.column_windows.step.rdy //= s.go
            s.step.msg //= s.column_windows.step.msg
            offered = s.column_windows.step.val
            pixel = s.column_windows.pixel.msg
            pixel.w //= s.weights.rdata
            pixel.windows //= s.at_data.windows
            pixel.row_end //= s.at_data.row_end
            pixel.used //= s.at_data.window_used
            pixel.edges //= s.at_data.edges
            pixel.pad_value //= s.at_data.pad_value
            message, source = pixel, s.at_data
        else:
            s.w = Wire(cfg.weight_word_nbits)
            s.step.msg.w //= s.w
            offered = s.step_val
            message, source = s.step.msg, s.at_step
        for t in range(num_taps):
            message.x[t * ACT_NBITS : (t + 1) * ACT_NBITS] //= s.x[t]
        message.idx //= source.idx
        message.load //= source.load
        message.keep //= source.keep
        message.first //= source.first
        message.last //= source.last
        message.pool_first //= source.pool_first
        message.pool_last //= source.pool_last
        s.layer //= s.at_step.layer
        s.reads //= s.at_step.reads

        if cfg.adder:
            s.operand = SendIfcRTL(mk_operand(cfg))
            s.offered = Wire()
            s.offered //= offered
            for g in range(groups):
                for i in range(cfg.group_cols):
                    c = g * cfg.group_cols
                    low, high = (c + i) * ACT_NBITS, (c + i + 1) * ACT_NBITS
                    if cfg.line_width:
                        # All columns of a group have what it has read.
                        at = (c * TAPS + i) * ACT_NBITS
                        s.operand.msg.x[low:high] //= s.column_windows.step.msg.x[
                            at : at + ACT_NBITS
                        ]
                    else:
                        s.operand.msg.x[low:high] //= s.x[g * TAPS + i]

            @update
            def up_offer():
                # Both move together, so that a step that reads says as much of what is before it.
                s.step.val @= s.offered & ~s.at_step.operand
                s.operand.val @= s.offered & s.at_step.operand & s.step.rdy
                s.go @= s.step.rdy & (s.operand.rdy | ~(s.offered & s.at_step.operand))

        else:
            s.go //= s.step.rdy
            s.step.val //= offered

        @update
        def up_read():
            s.read_mask @= 0
            if s.command_val:
                s.read_mask @= s.command.reads
            # Many memories hang on it: but for the stall, it was decided a move before.
            s.weight_ren @= s.go & s.read_loads
            # The image's last bytes are read in this cycle, or wait to be.
            s.reading_input @= s.command_val & s.command.frees_input & ~s.go

        if cfg.line_width:

            @update
            def up_pixel():
                # The windows are the register behind: they move with all of it.
                s.column_windows.pixel.val @= s.go & s.data_val
                for t in range(num_taps):
                    s.x[t] @= 0
                    if s.tap_reads[t]:
                        s.x[t] @= concat(s.tap[t][7] & s.at_data.is_signed, s.tap[t])
                    elif s.tap_pads[t]:
                        s.x[t] @= s.at_data.pad_value

        else:

            @update_ff
            def up_operands():
                for t in range(num_taps):
                    if s.go & s.data_val:
                        if s.tap_reads[t]:
                            s.x[t] <<= concat(s.tap[t][7] & s.at_data.is_signed, s.tap[t])
                        elif s.tap_pads[t]:
                            s.x[t] <<= s.at_data.pad_value
                        else:
                            s.x[t] <<= 0

            @update_ff
            def up_weights():
                if s.go & s.data_val & s.at_data.load:
                    s.w <<= s.weights.rdata

        @update_ff
        def up_advance():
            if s.reset:
                s.read_val <<= 0
                s.read_loads <<= 0
                s.data_val <<= 0
                s.step_val <<= 0
            elif s.go:
                s.read_val <<= s.command_val
                s.read_loads <<= s.command_val & s.command.load
                s.data_val <<= s.read_val
                s.step_val <<= s.data_val
            if s.go:
                s.at_read <<= s.command
                s.at_data <<= s.at_read
                s.at_step <<= s.at_data

    def line_trace(s):
        stages = ((s.read_val, "Bank"), (s.data_val, "D"), (s.step_val, "S"))
        return "".join(letter if val else "." for val, letter in stages)

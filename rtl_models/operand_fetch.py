"""Reads the operands of each step: activations and weights."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import SendIfcRTL

from accel.config import ACT_NBITS, BUS_NBITS, TAPS, AccelConfig
from accel.messages import mk_step
from rtl_models.activation_memory import ActivationMemoryRTL
from rtl_models.step_sequencer import mk_command
from rtl_models.wide_memory import WideMemoryRTL


class OperandFetchRTL(Component):
    """Two cycles from a step's command to its message, one step a cycle.

    ::

        command -> [address register] -> activation banks, weight memory [data register]
                -> rotation, padding, sign -> step stream

    While the step stream stalls, ``go`` is low and all of it holds. A tap outside the feature map
    reads the layer's padding value. Weights are read only for steps that load them.
    """

    def construct(s, cfg: AccelConfig):
        q_nbits = cfg.act_addr_nbits
        Command = mk_command(cfg)
        s.command = InPort(Command)
        s.command_val = InPort()
        s.go = OutPort()
        s.reading_input = OutPort()
        s.step = SendIfcRTL(mk_step(cfg))

        s.write_mask = InPort(TAPS)
        s.write_rows = InPort(mk_bits(TAPS * q_nbits))
        s.write_bank = InPort(4)
        s.write_data = InPort(TAPS * 8)
        s.weight_wen = InPort()
        s.weight_waddr = InPort(cfg.weight_addr_nbits)
        s.weight_wbeat = InPort(8)
        s.weight_wdata = InPort(BUS_NBITS)

        s.at_address, s.at_data = Wire(Command), Wire(Command)
        s.address_val, s.data_val = Wire(), Wire()
        s.weight_ren = Wire()

        s.go //= s.step.rdy
        s.step.val //= s.data_val
        s.activations = ActivationMemoryRTL(cfg)
        s.activations.go //= s.go
        s.activations.read_rows //= s.command.rows
        s.activations.read_bank //= s.command.bank
        s.activations.write_mask //= s.write_mask
        s.activations.write_rows //= s.write_rows
        s.activations.write_bank //= s.write_bank
        s.activations.write_data //= s.write_data

        s.weights = WideMemoryRTL(cfg.weight_word_nbits, cfg.weight_depth)
        s.weights.ren //= s.weight_ren
        s.weights.raddr //= s.at_address.weight_address
        s.weights.rdata //= s.step.msg.w
        s.weights.wen //= s.weight_wen
        s.weights.waddr //= s.weight_waddr
        s.weights.wbeat //= s.weight_wbeat
        s.weights.wdata //= s.weight_wdata

        s.in_map = Wire(TAPS)
        s.in_map //= s.at_data.in_map
        s.tap = [Wire(8) for _ in range(TAPS)]
        s.x = [Wire(ACT_NBITS) for _ in range(TAPS)]
        for t in range(TAPS):
            s.tap[t] //= s.activations.taps[t * 8 : (t + 1) * 8]
            s.step.msg.x[t * ACT_NBITS : (t + 1) * ACT_NBITS] //= s.x[t]
        s.step.msg.idx //= s.at_data.idx
        s.step.msg.load //= s.at_data.load
        s.step.msg.first //= s.at_data.first
        s.step.msg.last //= s.at_data.last
        s.step.msg.pool_first //= s.at_data.pool_first
        s.step.msg.pool_last //= s.at_data.pool_last

        @update
        def up_read():
            s.weight_ren @= s.go & s.address_val & s.at_address.load
            # The image's last bytes are read in this cycle, or wait to be.
            s.reading_input @= s.address_val & s.at_address.frees_input & ~s.go

        @update
        def up_extend():
            for t in range(TAPS):
                s.x[t] @= s.at_data.pad_value
                if s.in_map[t]:
                    s.x[t] @= concat(s.tap[t][7] & s.at_data.is_signed, s.tap[t])

        @update_ff
        def up_advance():
            if s.reset:
                s.address_val <<= 0
                s.data_val <<= 0
            elif s.go:
                s.address_val <<= s.command_val
                s.data_val <<= s.address_val
            if s.go:
                s.at_address <<= s.command
                s.at_data <<= s.at_address

    def line_trace(s):
        return f"{'A' if s.address_val else '.'}{'D' if s.data_val else '.'}"

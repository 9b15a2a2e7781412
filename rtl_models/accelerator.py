"""The accelerator: everything between the program, image and result streams."""

from pymtl3 import Component, InPort, OutPort, Wire, connect, mk_bits, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import BUS_NBITS, TABLE_SIZE, TAPS, AccelConfig, clog2
from accel.hardware.status import STREAMS, TRAFFIC, TRAFFIC_NBITS
from rtl_models.adder import AdderRTL
from rtl_models.image_loader import ImageLoaderRTL
from rtl_models.operand_fetch import OperandFetchRTL
from rtl_models.param_sequencer import ParamSequencerRTL
from rtl_models.pe_array import PEArrayRTL
from rtl_models.pooling_unit import PoolingUnitRTL
from rtl_models.program_loader import ProgramLoaderRTL
from rtl_models.requantizer import RequantizerRTL
from rtl_models.step_sequencer import StepSequencerRTL
from rtl_models.tables import TablesRTL
from rtl_models.term_sequencer import TermSequencerRTL
from rtl_models.traffic_counters import TrafficCountersRTL
from rtl_models.watchdog import WatchdogRTL
from rtl_models.write_sequencer import WriteSequencerRTL


class AcceleratorRTL(Component):
    """::

        prog ---> program loader --> descriptors, weights, parameters
        image --> image loader --+
                                 v
             +--> activation memory --+                          parameter memory
             |    weight memory ------+-> PE array -> pooling unit -> requantizer --+
             |         ^ step sequencer                                             |
             +-------------------- write sequencer <--------------------------------+
                                         +--> result

    Three sequencers walk the same program: one issues steps, one feeds the requantizer its
    parameters, one puts outputs away. Between them is only the order of the work.
    ``result_last`` marks the last word of an image's result. ``running``: a program is loaded and
    runs; ``busy``: an image is under way. ``error`` is a ``ProgramError``. ``activity`` and
    ``layer`` say what the issue stage does in each cycle (``Activity``), ``streams`` who waits for
    whom: val and rdy of each internal stream, in the order of ``STREAMS``. What was moved for layer
    ``traffic_layer`` since it was loaded is on the ports of ``TRAFFIC``, right when all results
    have come. All of these are declared in :mod:`accel.hardware.status`.
    """

    def construct(s, cfg: AccelConfig):
        # PyMTL3's import from Verilator stumbles over the "__" in the name that it would choose.
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"Accelerator_{cfg}")
        row_nbits = cfg.act_addr_nbits
        Word = mk_bits(BUS_NBITS)
        s.prog = RecvIfcRTL(Word)
        s.image = RecvIfcRTL(Word)
        s.result = SendIfcRTL(Word)
        s.result_last = OutPort()
        s.running = OutPort()
        s.busy = OutPort()
        s.error = OutPort(4)
        s.activity = OutPort(4)
        s.layer = OutPort(mk_bits(cfg.layer_nbits))
        s.streams = OutPort(2 * len(STREAMS))
        s.traffic_layer = InPort(mk_bits(cfg.layer_nbits))
        for name in TRAFFIC:
            setattr(s, name, OutPort(TRAFFIC_NBITS))

        s.program_loader = ProgramLoaderRTL(cfg)
        s.image_loader = ImageLoaderRTL(cfg)
        s.step_sequencer = StepSequencerRTL(cfg)
        s.operand_fetch = OperandFetchRTL(cfg)
        s.pe_array = PEArrayRTL(cfg)
        s.pooling_unit = PoolingUnitRTL(cfg)
        s.param_sequencer = ParamSequencerRTL(cfg)
        s.requantizer = RequantizerRTL(cfg)
        s.write_sequencer = WriteSequencerRTL(cfg)
        s.traffic = TrafficCountersRTL(cfg)
        s.watchdog = WatchdogRTL()

        # The streams
        s.prog //= s.program_loader.prog
        s.image //= s.image_loader.image
        s.write_sequencer.result //= s.result
        s.write_sequencer.result_last //= s.result_last

        sequencers = [s.step_sequencer, s.param_sequencer, s.write_sequencer]
        outputs = s.requantizer.out
        if cfg.tables:
            s.tables = TablesRTL(cfg)
            s.tables.value //= outputs
            outputs = s.tables.out
        if cfg.adder:
            s.adder = AdderRTL(cfg)
            s.term_sequencer = TermSequencerRTL(cfg)
            s.term_sequencer.terms //= s.adder.terms
            s.operand_fetch.operand //= s.adder.operand
            s.adder.beat //= outputs
            sequencers.append(s.term_sequencer)
            outputs = s.adder.out
        streams = (
            (s.operand_fetch.step, s.pe_array.step),
            (s.pe_array.acc, s.pooling_unit.acc),
            (s.pooling_unit.pooled, s.requantizer.pooled),
            (s.param_sequencer.param, s.requantizer.param),
            (outputs, s.write_sequencer.out),
        )
        for i, (send, recv) in enumerate(streams):
            connect(send, recv)
            s.streams[2 * i] //= send.val
            s.streams[2 * i + 1] //= recv.rdy

        # Loading
        loader = s.program_loader
        for sequencer in sequencers:
            sequencer.bus.running //= loader.running
            sequencer.bus.last_layer //= loader.last_layer
            sequencer.bus.wen //= loader.layer_wen
            sequencer.bus.wlayer //= loader.address[0 : cfg.layer_nbits]
            sequencer.bus.wword //= loader.beat
            sequencer.bus.wdata //= loader.data
        s.image_loader.running //= loader.running
        s.image_loader.close //= loader.close
        s.image_loader.failed //= loader.failed
        s.watchdog.stuck //= loader.stuck
        s.running //= loader.running
        s.error //= loader.error
        s.image_loader.wen //= loader.input_wen
        s.image_loader.word //= loader.beat[0:2]
        s.image_loader.data //= loader.data
        s.operand_fetch.weight_wen //= loader.weight_wen
        s.operand_fetch.weight_waddr //= loader.address[0 : cfg.weight_addr_nbits]
        s.operand_fetch.weight_wbeat //= loader.beat
        s.operand_fetch.weight_wdata //= loader.data
        s.param_sequencer.param_wen //= loader.param_wen
        s.param_sequencer.param_waddr //= loader.address[0 : cfg.param_addr_nbits]
        s.param_sequencer.param_wbeat //= loader.beat
        if cfg.tables:
            s.tables.entry.val //= loader.table_wen
            s.tables.entry.msg.address //= loader.address[0 : clog2(cfg.tables * TABLE_SIZE)]
            s.tables.entry.msg.value //= loader.data[0:8]

        # Issue
        s.step_sequencer.go //= s.operand_fetch.go
        s.step_sequencer.command //= s.operand_fetch.command
        s.step_sequencer.command_val //= s.operand_fetch.command_val
        s.step_sequencer.image_full //= s.image_loader.full
        s.step_sequencer.image_waits //= s.image_loader.waits
        s.step_sequencer.image_done //= s.image_loader.done
        s.step_sequencer.written //= s.write_sequencer.written
        s.step_sequencer.activity //= s.activity
        s.step_sequencer.layer //= s.layer

        # What is counted
        fetch, traffic = s.operand_fetch, s.traffic
        traffic.clear //= loader.layer_wen
        traffic.clear_layer //= loader.address[0 : cfg.layer_nbits]
        traffic.step_layer //= fetch.layer
        traffic.reads //= fetch.reads
        traffic.x //= fetch.step.msg.x
        traffic.out_layer //= s.write_sequencer.taken_layer
        traffic.num_taken //= s.write_sequencer.num_taken
        traffic.layer //= s.traffic_layer
        for name in TRAFFIC:
            port = getattr(s, name)
            port //= getattr(traffic, name)

        # One write port for outputs and images; outputs go first. A cycle later, it writes.
        s.write_mask = Wire(TAPS)
        s.write_rows = Wire(mk_bits(TAPS * row_nbits))
        s.write_bank = Wire(4)
        s.write_data = Wire(TAPS * 8)
        s.write_mask //= s.operand_fetch.write_mask
        s.write_rows //= s.operand_fetch.write_rows
        s.write_bank //= s.operand_fetch.write_bank
        s.write_data //= s.operand_fetch.write_data

        @update_ff
        def up_write():
            if s.reset:
                s.write_mask <<= 0
            elif s.write_sequencer.writing:
                s.write_mask <<= s.write_sequencer.write_mask
            else:
                s.write_mask <<= s.image_loader.write_mask
            if s.write_sequencer.writing:
                s.write_rows <<= s.write_sequencer.write_rows
                s.write_bank <<= s.write_sequencer.write_bank
                s.write_data <<= s.write_sequencer.write_data
            else:
                s.write_rows <<= s.image_loader.write_rows
                s.write_bank <<= s.image_loader.write_bank
                s.write_data <<= s.image_loader.write_data

        if cfg.line_width:
            # A step whose window is not used has been read for, but the array does not see it.
            traffic.used //= fetch.step.val

            @update
            def up_count_pixels():
                s.traffic.step @= s.operand_fetch.fetched & s.operand_fetch.go
                s.traffic.load @= s.operand_fetch.step.val & s.operand_fetch.step.msg.load

        elif cfg.adder:
            traffic.load //= fetch.step.msg.load
            if cfg.zero_gating:
                traffic.operand //= fetch.operand.val

            @update
            def up_count_steps_and_operands():
                s.traffic.step @= s.operand_fetch.go & (
                    s.operand_fetch.step.val | s.operand_fetch.operand.val
                )

        else:
            traffic.load //= fetch.step.msg.load

            @update
            def up_count_steps():
                s.traffic.step @= s.operand_fetch.step.val & s.operand_fetch.go

        @update
        def up_hold_image():
            s.image_loader.hold @= (
                s.write_sequencer.writing
                | s.step_sequencer.reading_input
                | s.operand_fetch.reading_input
            )

        @update
        def up_rest():
            s.program_loader.idle @= (
                s.step_sequencer.at_rest & s.write_sequencer.at_rest & s.image_loader.empty
            )
            s.busy @= s.running & ~s.program_loader.idle

        @update
        def up_watch():
            # A result that is not taken, and an image that does not come, are the host's matter.
            s.watchdog.waits @= s.running & ~s.step_sequencer.at_rest & ~s.result.val
            s.watchdog.moves @= (
                (s.operand_fetch.step.val & s.operand_fetch.step.rdy)
                | (s.pe_array.acc.val & s.pe_array.acc.rdy)
                | (s.pooling_unit.pooled.val & s.pooling_unit.pooled.rdy)
                | (s.param_sequencer.param.val & s.param_sequencer.param.rdy)
                | (s.write_sequencer.out.val & s.write_sequencer.out.rdy)
            )
            s.step_sequencer.out_waits @= s.write_sequencer.out.val & ~s.write_sequencer.out.rdy

    def line_trace(s):
        parts = (s.step_sequencer, s.pe_array, s.pooling_unit, s.requantizer, s.write_sequencer)
        return " | ".join(part.line_trace() for part in parts)

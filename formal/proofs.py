"""What is proven, unit by unit."""

from dataclasses import replace

from accel.hardware.config import TAPS
from accel.hardware.descriptors import READ_LOOPS
from accel.hardware.messages import mk_out
from formal import program
from formal.prove import Fault, Proof
from rtl_models.accelerator import AcceleratorRTL
from rtl_models.activation_memory import ActivationMemoryRTL
from rtl_models.address_adder import AddressAdderRTL
from rtl_models.axi_registers import AxiRegistersRTL
from rtl_models.column_windows import ColumnWindowsRTL
from rtl_models.image_loader import ImageLoaderRTL
from rtl_models.loop_address import LoopAddressRTL
from rtl_models.operand_fetch import OperandFetchRTL
from rtl_models.param_sequencer import ParamSequencerRTL
from rtl_models.pe_array import PEArrayRTL
from rtl_models.pooling_unit import PoolingUnitRTL
from rtl_models.program_loader import ProgramLoaderRTL
from rtl_models.requantizer import RequantizerRTL
from rtl_models.result_packer import ResultPackerRTL
from rtl_models.serial_bridge import SerialBridgeRTL
from rtl_models.skid_buffer import SkidBufferRTL
from rtl_models.step_sequencer import StepSequencerRTL
from rtl_models.symbol_queue import SymbolQueueRTL
from rtl_models.tables import TablesRTL
from rtl_models.tap_rows import TapRowsRTL
from rtl_models.uart_receiver import UartReceiverRTL
from rtl_models.write_sequencer import WriteSequencerRTL

PROOFS = (
    Proof(
        unit="queue of two",
        what="what is offered stays; none lost, none invented, in order; no third message",
        make=lambda cfg: SkidBufferRTL(mk_out(cfg)),
        properties={"top": "skid_buffer.sv"},
        depth=8,
        faults=(
            Fault("takes a third", "recv__rdy = ~tail_val", "recv__rdy = 1'd1"),
            Fault("forgets the second", "head <= tail", "head <= recv__msg"),
        ),
    ),
    Proof(
        unit="operand fetch",
        what="stream rule; a step for each command, in order, with its flags, in 3 cycles",
        make=OperandFetchRTL,
        properties={"top": "operand_fetch.sv"},
        depth=5,
        faults=(
            Fault(
                "moves while it waits",
                "else if ( go ) begin\n      read_val",
                "else begin\n      read_val",
            ),
        ),
    ),
    Proof(
        unit="column windows",
        what="stream rule; a step for each pixel that is used, in order, with its weights and "
        "flags, in a cycle",
        make=ColumnWindowsRTL,
        properties={"top": "column_windows.sv"},
        cut=("MemoryRTL",),
        configs=("tinyml",),
        depth=4,
        faults=(
            Fault(
                "a step of every pixel",
                "( pixel__val & advance ) & pixel__msg.used",
                "( pixel__val & advance )",
            ),
            Fault(
                "moves while it waits",
                "advance = ( ~step_val ) | step__rdy",
                "advance = 1'd1",
            ),
        ),
    ),
    Proof(
        unit="PE array",
        what="stream rule; sums for each last step, in order, with its flags, in 5 cycles",
        make=PEArrayRTL,
        properties={"top": "pe_array.sv"},
        depth=8,
        faults=(Fault("every step is the last", "valid[2'd3] & last[2'd3]", "valid[2'd3]"),),
    ),
    Proof(
        unit="pooling unit",
        what="stream rule; a message for each window: the maximum of each column",
        make=PoolingUnitRTL,
        properties={"top": "pooling_unit.sv"},
        depth=4,
        faults=(Fault("unsigned", "( acc ^ 25'( __const__sign_at_up_best ) ) >", "acc >"),),
    ),
    Proof(
        unit="parameter sequencer",
        what="while a program runs: stream rule; a message a word read, in order, in 2 cycles",
        make=ParamSequencerRTL,
        properties={"top": "param_sequencer.sv"},
        until={"param": "bus__running"},
        depth=8,
        faults=(Fault("forgets", "go = ( ~read_val ) | offer", "go = 1'd1"),),
    ),
    Proof(
        unit="requantizer",
        what="stream rule",
        make=RequantizerRTL,
        depth=16,
        faults=(
            Fault("moves while it waits", "advance = ( ~out__val ) | out__rdy", "advance = 1'd1"),
        ),
    ),
    Proof(
        unit="requantizer control",
        what="an output for each beat, in 11 cycles; each beat has its columns of its vector",
        make=RequantizerRTL,
        properties={"top": "requantizer.sv"},
        cut=("RequantizerLane",),
        rule=False,
        configs=("tiny", "base"),
        depth=6,
        faults=(
            Fault("held too long", "next_val <= ~moves_up", "next_val <= 1'd1"),
            Fault("no shift", "held <= held >>", "held <= held >> 2 >>"),
        ),
    ),
    Proof(
        unit="tables",
        what="stream rule; an output for each value, in order, with its ends, in 2 cycles; what is "
        "not looked up, as it came",
        make=lambda cfg: TablesRTL(replace(cfg, tables=2, adder=True)),
        properties={"top": "tables.sv"},
        cut=("MemoryRTL",),
        depth=5,
        faults=(
            Fault("looks all up", "looks_up ? found : y", "found"),
            Fault("moves while it waits", "advance = ( ~out_val ) | out__rdy", "advance = 1'd1"),
        ),
    ),
    Proof(
        unit="write sequencer",
        what="stream rule; each output is written, packed, or dropped, and counted",
        make=WriteSequencerRTL,
        properties={"top": "write_sequencer.sv", "SkidBufferRTL": "skid_buffer.sv"},
        depth=8,
        faults=(Fault("writes what it drops", "( writing & ( ~dropped ) )", "writing"),),
    ),
    Proof(
        unit="result packer",
        what="stream rule; each output in its word and place; the winning class",
        make=ResultPackerRTL,
        properties={"top": "result_packer.sv"},
        depth=12,
        faults=(
            Fault("the last of equals", "( top > best )", "( top >= best )"),
            Fault("a place too far", "place <= place + 3'd1", "place <= place + 3'd2"),
        ),
    ),
    Proof(
        unit="image loader",
        what="each word is written once, in order, while its place is free",
        make=ImageLoaderRTL,
        properties={"top": "image_loader.sv", "SkidBufferRTL": "skid_buffer.sv"},
        depth=8,
        faults=(Fault("ignores hold", "( ~full ) ) & ( ~hold )", "( ~full ) )"),),
    ),
    Proof(
        unit="program loader",
        what="each word is a header, or written once within its memory, or dropped after an error",
        make=ProgramLoaderRTL,
        properties={"top": "program_loader.sv"},
        depth=10,
        faults=(Fault("one word too many", "( past > limit )", "( past > limit + 18'd1 )"),),
    ),
    Proof(
        unit="activation memory",
        what="bank rule: one request a bank at most, at the tap's row; for all taps and banks",
        make=ActivationMemoryRTL,
        properties={"top": "activation_memory.sv"},
        cut=("MemoryRTL",),
        depth=2,
        faults=(
            Fault(
                "a rotation too short",
                "__const__right2_at_up_rotate  = 6'd56",
                "__const__right2_at_up_rotate  = 6'd55",
            ),
        ),
    ),
    Proof(
        unit="tap rows",
        what="where the nine taps of an address lie, each in a bank of its own",
        make=lambda cfg: TapRowsRTL(TAPS, cfg.act_addr_nbits),
        properties={"top": "tap_rows.sv"},
        depth=2,
        faults=(
            Fault(
                "wraps a tap late",
                "( 4'( __const__TAPS ) - 4'd1 ) - 4'(t)",
                "4'( __const__TAPS ) - 4'(t)",
            ),
        ),
    ),
    Proof(
        unit="address adder",
        what="adds bytes' addresses, row and bank",
        make=lambda cfg: AddressAdderRTL(cfg.act_addr_nbits),
        properties={"top": "address_adder.sv"},
        depth=2,
        faults=(
            Fault(
                "carries at ten",
                "{ a_row, a_bank } + { b_row, b_bank_up }",
                "{ a_row, a_bank } + { b_row, b_bank_up - 4'd1 }",
            ),
        ),
    ),
    Proof(
        unit="loop address",
        what="the bank is 0 to 8, as the bank rule needs it",
        make=lambda cfg: LoopAddressRTL(len(READ_LOOPS), cfg.act_addr_nbits),
        properties={"top": "loop_address.sv"},
        depth=4,
        faults=(
            Fault(
                "a stride of nine",
                "sum__b_bank_up <= add_bank",
                "sum__b_bank_up <= 4'd1 + add_bank",
            ),
        ),
    ),
    Proof(
        unit="progress of the step sequencer",
        what="issues a step in at most 3 cycles with nothing in its way",
        make=StepSequencerRTL,
        properties={"top": "step_sequencer.sv"},
        cut=("AddressGeneratorRTL",),
        depth=6,
        faults=(Fault("waits for good", "any_safe_left | ( written == phase )", "any_safe_left"),),
    ),
    Proof(
        unit="progress of the parameter sequencer",
        what="a message in at most 5 cycles with nothing in its way",
        make=ParamSequencerRTL,
        properties={"top": "param_sequencer_progress.sv"},
        until={"param": "bus__running"},
        rule=False,
        depth=8,
        faults=(
            Fault("waits for itself", "offer = ( ~val ) | param__rdy", "offer = val & param__rdy"),
        ),
    ),
    Proof(
        unit="progress of the write sequencer",
        what="takes outputs in at most 6 cycles with nothing in its way",
        make=WriteSequencerRTL,
        properties={"top": "write_sequencer_progress.sv"},
        bounded=True,
        depth=24,
        faults=(Fault("takes no results", "( packer__rdy | ( ~to_result ) )", "( ~to_result )"),),
    ),
    Proof(
        unit="progress of the image loader",
        what="takes a word in at most 5 cycles with nothing in its way",
        make=ImageLoaderRTL,
        properties={"top": "image_loader_progress.sv"},
        bounded=True,
        depth=24,
        faults=(
            Fault(
                "never starts",
                "start = ( running & ( ~begun ) ) | ends_image",
                "start = ends_image",
            ),
        ),
    ),
    Proof(
        unit="progress of the program loader",
        what="takes a word in at most 4 cycles with nothing in its way",
        make=ProgramLoaderRTL,
        properties={"top": "program_loader_progress.sv"},
        depth=8,
        faults=(Fault("looks for good", "adds <= take_header", "adds <= adds | take_header"),),
    ),
    Proof(
        unit="AXI registers",
        what="responses stay; one for each access, the cycle after it is whole",
        make=AxiRegistersRTL,
        properties={"top": "axi_registers.sv"},
        depth=5,
        faults=(Fault("does not wait", "else if ( bready ) begin", "else begin"),),
    ),
    Proof(
        unit="UART receiver",
        what="stream rule, whatever the line does",
        make=lambda cfg: UartReceiverRTL(4, 8),
        configs=("tiny",),
        depth=88,
        faults=(
            Fault("has always room", "has_room = ( ~symbol_val ) | out__rdy", "has_room = 1'd1"),
        ),
    ),
    Proof(
        unit="symbol queue",
        what="stream rule; no more symbols than there are places",
        make=lambda cfg: SymbolQueueRTL(),
        properties={"top": "symbol_queue.sv"},
        configs=("tiny",),
        depth=36,
        faults=(Fault("takes always", "pushes = recv__val & (", "pushes = recv__val | ("),),
    ),
    Proof(
        unit="serial bridge",
        what="stream rule, of words until a restart drops them; nothing is done but what a frame "
        "with a right CRC asks for; no word is overwritten before it has gone",
        make=lambda cfg: SerialBridgeRTL(4),
        properties={"top": "serial_bridge.sv"},
        until={"prog": "occupied", "image": "occupied"},
        configs=("tiny",),
        depth=16,
        faults=(
            Fault("no CRC", "if ( crc_next == ", "if ( crc_next != "),
            Fault("takes a result always", "pushes = result__val & (", "pushes = result__val | ("),
        ),
    ),
    Proof(
        unit="accelerator",
        what="stream rule of all streams in their place, results with their last word's mark",
        make=AcceleratorRTL,
        properties={"top": "accelerator.sv"},
        cut=("MemoryRTL", "ProgramLoaderRTL"),
        configs=("tiny",),
        depth=8,
        faults=(Fault("moves while it waits", "offer = ( ~val ) | param__rdy", "offer = 1'd1"),),
    ),
    Proof(
        unit="progress of the accelerator",
        what="no deadlock: two layers, any data, images and results at any time: in 16 cycles some "
        "message between units moves, or the host is waited for",
        make=AcceleratorRTL,
        properties={"top": "accelerator_progress.sv"},
        cut=(
            "MemoryRTL",
            "ProgramLoaderRTL",
            "Multiplier",
            "RequantizerLane",
            "TrafficCountersRTL",
        ),
        assumed=program.assumptions,
        rule=False,
        bounded=True,
        configs=("tiny",),
        depth=48,
        faults=(
            Fault("no parameters", "offer = ( ~val ) | param__rdy", "offer = val & param__rdy"),
        ),
    ),
)

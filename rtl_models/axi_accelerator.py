"""The accelerator behind AXI ports."""

from pymtl3 import Component, InPort, OutPort, Wire, update
from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.hardware.config import BUS_NBITS, AccelConfig
from accel.hardware.registers import ADDRESS_NBITS, DATA_NBITS, WORD_BYTES
from accel.hardware.status import TRAFFIC
from rtl_models.accelerator import AcceleratorRTL
from rtl_models.axi_registers import AxiRegistersRTL


class AxiAcceleratorRTL(Component):
    """::

        s_axis_prog  --64--> +-------------+
        s_axis_image --64--> | accelerator | --64--> m_axis_result, tlast with an image's last word
                             +-------------+
                              ^ reset, layer    | status, counts
        s_axi        --32--> [ registers ] ---------------------> irq

    AXI4-Stream and AXI4-Lite ports under their own names. Clock and reset are PyMTL3's; the Verilog
    has a module around this one with ``aclk`` and ``aresetn``. The streams are the accelerator's;
    while it is reset, softly or not, they neither take nor give a word: a word that was offered on
    ``m_axis_result`` is withdrawn then. Reset state: see :class:`AxiRegistersRTL`.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"AxiAccelerator_{cfg}")

        # Interface
        for name in ("prog", "image"):
            setattr(s, f"s_axis_{name}_tdata", InPort(BUS_NBITS))
            setattr(s, f"s_axis_{name}_tvalid", InPort())
            setattr(s, f"s_axis_{name}_tready", OutPort())
        s.m_axis_result_tdata = OutPort(BUS_NBITS)
        s.m_axis_result_tvalid = OutPort()
        s.m_axis_result_tready = InPort()
        s.m_axis_result_tlast = OutPort()
        s.irq = OutPort()

        # Structure
        s.registers = AxiRegistersRTL(cfg)
        for direction, ports in (
            (InPort, {"awaddr": ADDRESS_NBITS, "awvalid": 1}),
            (OutPort, {"awready": 1}),
            (InPort, {"wdata": DATA_NBITS, "wstrb": WORD_BYTES, "wvalid": 1}),
            (OutPort, {"wready": 1, "bresp": 2, "bvalid": 1}),
            (InPort, {"bready": 1, "araddr": ADDRESS_NBITS, "arvalid": 1}),
            (OutPort, {"arready": 1, "rdata": DATA_NBITS, "rresp": 2, "rvalid": 1}),
            (InPort, {"rready": 1}),
        ):
            for name, nbits in ports.items():
                port = direction(nbits)
                setattr(s, f"s_axi_{name}", port)
                port //= getattr(s.registers, name)
        s.registers.irq //= s.irq

        s.core_reset = Wire()
        s.core_reset //= s.registers.core_reset
        # PyMTL3 connects a component's reset to what its parent calls `reset` when it is made.
        own_reset = s.__dict__["reset"]
        s.__dict__["reset"] = s.core_reset
        s.accelerator = AcceleratorRTL(cfg)
        s.__dict__["reset"] = own_reset

        core = s.accelerator
        core.prog.msg //= s.s_axis_prog_tdata
        core.image.msg //= s.s_axis_image_tdata
        core.result.msg //= s.m_axis_result_tdata
        core.result_last //= s.m_axis_result_tlast
        for name in ("running", "busy", "error", "activity", "layer", "traffic_layer", *TRAFFIC):
            port = getattr(s.registers, name)
            port //= getattr(core, name)

        # Combinational
        @update
        def up_streams():
            s.accelerator.prog.val @= s.s_axis_prog_tvalid & ~s.core_reset
            s.s_axis_prog_tready @= s.accelerator.prog.rdy & ~s.core_reset
            s.accelerator.image.val @= s.s_axis_image_tvalid & ~s.core_reset
            s.s_axis_image_tready @= s.accelerator.image.rdy & ~s.core_reset
            s.m_axis_result_tvalid @= s.accelerator.result.val & ~s.core_reset
            s.accelerator.result.rdy @= s.m_axis_result_tready & ~s.core_reset
            s.registers.done @= (
                s.m_axis_result_tvalid & s.m_axis_result_tready & s.m_axis_result_tlast
            )

    def line_trace(s):
        return f"{s.registers.line_trace()} {s.accelerator.line_trace()}"

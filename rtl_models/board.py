"""What runs on a board: the accelerator at the end of a serial line."""

from pymtl3 import Component, InPort, OutPort, Wire, concat, connect, update, update_ff

from accel.hardware.config import AccelConfig
from accel.hardware.serial import MAX_WORDS, SILENCE_BITS
from rtl_models.axi_accelerator import AxiAcceleratorRTL
from rtl_models.register_access import RegisterAccessRTL
from rtl_models.serial_bridge import SerialBridgeRTL
from rtl_models.symbol_queue import SymbolQueueRTL
from rtl_models.uart_receiver import UartReceiverRTL
from rtl_models.uart_transmitter import UartTransmitterRTL

LIGHTS = (
    "a slow blink: the clock is there",
    "bytes came",
    "bytes went",
    "words of a program were taken",
    "words of images were taken",
    "words of results were taken",
    "results waited for the host",
    "the interrupt, which follows an error where the host has enabled that",
)
"""What each of ``leds`` shows, from the lowest."""
LIGHT_NBITS = 21
"""A light shows for 2**LIGHT_NBITS cycles what happened in those before: 40 ms at 50 MHz."""


class BoardRTL(Component):
    """::

        rx --> UART --> queue --> +--------+ --prog, image--> +-------------+
                                  | serial |                  | accelerator |
        tx <-- UART <------------ | bridge | <----result----- +-------------+
                                  +--------+ --> accesses --> registers

    ``divisor`` cycles are a bit of the line. ``leds`` show :data:`LIGHTS`. Reset state: that of its
    parts; the host has to open a session.
    """

    def construct(s, cfg: AccelConfig, divisor, max_words=MAX_WORDS, silence_bits=SILENCE_BITS):
        # Interface
        s.rx = InPort()
        s.tx = OutPort()
        s.leds = OutPort(len(LIGHTS))

        # Structure
        s.receiver = UartReceiverRTL(divisor, silence_bits)
        s.transmitter = UartTransmitterRTL(divisor)
        s.queue = SymbolQueueRTL()
        s.bridge = SerialBridgeRTL(max_words)
        s.registers = RegisterAccessRTL()
        s.accelerator = AxiAcceleratorRTL(cfg)
        s.receiver.rx //= s.rx
        s.transmitter.tx //= s.tx
        connect(s.receiver.out, s.queue.recv)
        connect(s.queue.send, s.bridge.rx)
        connect(s.bridge.tx, s.transmitter.octet)
        connect(s.bridge.access, s.registers.access)
        connect(s.registers.reply, s.bridge.reply)
        for name in ("aw", "w", "b", "ar", "r"):
            for port in {
                "aw": ("addr", "valid", "ready"),
                "w": ("data", "strb", "valid", "ready"),
                "b": ("resp", "valid", "ready"),
                "ar": ("addr", "valid", "ready"),
                "r": ("data", "resp", "valid", "ready"),
            }[name]:
                of_registers = getattr(s.registers, name + port)
                of_registers //= getattr(s.accelerator, f"s_axi_{name}{port}")
        for name in ("prog", "image"):
            stream = getattr(s.bridge, name)
            stream.msg //= getattr(s.accelerator, f"s_axis_{name}_tdata")
            stream.val //= getattr(s.accelerator, f"s_axis_{name}_tvalid")
            stream.rdy //= getattr(s.accelerator, f"s_axis_{name}_tready")
        s.bridge.result.msg //= s.accelerator.m_axis_result_tdata
        s.bridge.result.val //= s.accelerator.m_axis_result_tvalid
        s.bridge.result.rdy //= s.accelerator.m_axis_result_tready

        # Lights
        s.ticks, s.blink = Wire(LIGHT_NBITS), Wire(5)
        s.now, s.seen, s.shown = Wire(6), Wire(6), Wire(6)
        s.leds[0] //= s.blink[4]
        s.leds[1:7] //= s.shown
        s.leds[7] //= s.accelerator.irq

        # Combinational
        @update
        def up_now():
            s.now @= concat(
                s.bridge.result.val & ~s.bridge.result.rdy,
                s.bridge.result.val & s.bridge.result.rdy,
                s.bridge.image.val & s.bridge.image.rdy,
                s.bridge.prog.val & s.bridge.prog.rdy,
                s.bridge.tx.val & s.bridge.tx.rdy,
                s.bridge.rx.val & s.bridge.rx.rdy,
            )

        # Sequential
        @update_ff
        def up_lights():
            if s.reset:
                s.ticks <<= 0
                s.blink <<= 0
                s.seen <<= 0
                s.shown <<= 0
            else:
                s.ticks <<= s.ticks + 1
                s.seen <<= s.seen | s.now
                if s.ticks == 0:
                    s.blink <<= s.blink + 1
                    s.shown <<= s.seen
                    s.seen <<= s.now

    def line_trace(s):
        return f"{s.receiver.line_trace()} {s.bridge.line_trace()}"

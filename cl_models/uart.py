"""The two halves of a serial line's UART, cycle level."""

from pymtl3 import Component, InPort, OutPort, mk_bits, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.serial import SILENCE, SYMBOL_NBITS
from fl_models.uart import line_of


class UartTransmitterCL(Component):
    """As :class:`rtl_models.uart_transmitter.UartTransmitterRTL`: what is on the line in the cycles
    to come is a list."""

    def construct(s, divisor: int) -> None:
        s.octet = RecvIfcRTL(mk_bits(8))
        s.tx = OutPort()
        core = _Transmitter(divisor)

        @update
        def up_ports():
            s.octet.rdy @= not core.coming
            s.tx @= core.level

        @update_ff
        def up_tick():
            if s.reset:
                core.reset()
            else:
                core.tick(int(s.octet.msg) if s.octet.val else None)

    def line_trace(s) -> str:
        return f"{s.octet} {s.tx}"


class _Transmitter:
    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        self.reset()

    def reset(self) -> None:
        self.coming: list[int] = []

    @property
    def level(self) -> int:
        return self.coming[0] if self.coming else 1

    def tick(self, offered: int | None) -> None:
        """A clock edge."""
        if self.coming:
            del self.coming[0]
        elif offered is not None:
            self.coming = line_of([offered], self.divisor)


class UartReceiverCL(Component):
    """As :class:`rtl_models.uart_receiver.UartReceiverRTL`: a byte under way is a number of cycles
    since its start bit was seen, and what was on the line in the middles of its bits."""

    def construct(s, divisor: int, silence_bits: int) -> None:
        s.rx = InPort()
        s.out = SendIfcRTL(mk_bits(SYMBOL_NBITS))
        core = _Receiver(divisor, silence_bits)

        @update
        def up_out():
            s.out.val @= core.offered is not None
            s.out.msg @= core.offered or 0

        @update_ff
        def up_tick():
            if s.reset:
                core.reset()
            else:
                core.tick(int(s.rx), bool(s.out.rdy))

    def line_trace(s) -> str:
        return f"{s.rx} {s.out}"


class _Receiver:
    def __init__(self, divisor: int, silence_bits: int) -> None:
        self.divisor, self.silence_cycles = divisor, divisor * silence_bits
        self.reset()

    def reset(self) -> None:
        self.levels = [1, 1]
        """What the two registers of the line hold, the older one last."""
        self.since: int | None = None
        self.bits: list[int] = []
        self.broken = self.heard = False
        self.quiet = 0
        self.offered: int | None = None

    def tick(self, rx: int, rdy: bool) -> None:
        """A clock edge."""
        level = self.levels.pop()
        self.levels.insert(0, rx)
        if rdy:
            self.offered = None
        resting = self.since is None and not self.broken
        falls_silent = self.heard and self.quiet == self.silence_cycles - 1
        symbol = self._listen(level)
        if symbol is None and falls_silent and self.offered is None:
            symbol, self.heard = SILENCE, False
        if self.offered is None:
            self.offered = symbol
        self.quiet = min(self.quiet + 1, self.silence_cycles - 1) if resting else 0

    def _listen(self, level: int) -> int | None:
        """What the line says in this cycle: a byte that is whole with it."""
        if self.broken:
            self.broken = not level
            return None
        if self.since is None:
            self.since = None if level else 0
            self.bits = []
            return None
        self.since += 1
        half = self.divisor // 2
        if self.since <= half:
            if level:
                self.since = None
            return None
        if len(self.bits) == 8:
            # In its stop bit
            self.heard = True
        if (self.since - half) % self.divisor:
            return None
        if len(self.bits) < 8:
            self.bits.append(level)
            return None
        self.since = None
        self.broken = not level
        return sum(bit << i for i, bit in enumerate(self.bits)) if level else None

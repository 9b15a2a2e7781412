"""Val/rdy ports for a cycle-level core."""

from typing import Any

from pymtl3 import Component, Wire, connect, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.config import AccelConfig
from accel.messages import pack, unpack


class UnitCL(Component):
    """A component around a plain Python core, which holds all state and computes on plain messages.

    A core has ``out``, the message that it offers in this cycle or None; ``reset()``; and
    ``tick(*taken, send_rdy)``, the clock edge, with what was taken from each input in this cycle
    (or None). :meth:`ready` asks it which inputs it takes.
    """

    def ready(s, core: Any, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        """The ``rdy`` of every input in this cycle; ``offered`` holds their messages or None."""
        return (core.ready(send_rdy),)

    def add_core(
        s, cfg: AccelConfig, core: Any, recv_types: dict[str, Any], send_name: str, send_type: Any
    ) -> None:
        """Declares the ports and runs the core behind them; ``construct`` calls it."""
        names = list(recv_types)
        offered: list[Any] = [None] * len(names)

        # Interface
        for name, recv_type in recv_types.items():
            setattr(s, name, RecvIfcRTL(recv_type))
        setattr(s, send_name, SendIfcRTL(send_type))

        # Wires: update blocks name them, whatever the ports are called
        s.recv_msg = [Wire(recv_type) for recv_type in recv_types.values()]
        s.recv_val = [Wire() for _ in names]
        s.recv_rdy = [Wire() for _ in names]
        s.send_msg = Wire(send_type)
        s.send_val = Wire()
        s.send_rdy = Wire()

        # Structure
        for i, name in enumerate(names):
            recv = getattr(s, name)
            connect(recv.msg, s.recv_msg[i])
            connect(recv.val, s.recv_val[i])
            connect(recv.rdy, s.recv_rdy[i])
        send = getattr(s, send_name)
        connect(send.msg, s.send_msg)
        connect(send.val, s.send_val)
        connect(send.rdy, s.send_rdy)

        # Combinational
        @update
        def up_offer():
            s.send_val @= core.out is not None
            if core.out is not None:
                s.send_msg @= pack(cfg, core.out)

        @update
        def up_ready():
            for i in range(len(names)):
                offered[i] = unpack(cfg, s.recv_msg[i]) if s.recv_val[i] else None
            ready = s.ready(core, offered, bool(s.send_rdy))
            for i in range(len(names)):
                s.recv_rdy[i] @= ready[i]

        # Sequential
        @update_ff
        def up_tick():
            if s.reset:
                core.reset()
            else:
                taken = [offered[i] if s.recv_rdy[i] else None for i in range(len(names))]
                core.tick(*taken, bool(s.send_rdy))

        s.trace_names = [*names, send_name]

    def line_trace(s) -> str:
        return " > ".join(str(getattr(s, name)) for name in s.trace_names)

"""Val/rdy ports for a cycle-level core."""

from typing import Any

from pymtl3 import update, update_ff

from accel.hardware.config import AccelConfig
from accel.hardware.messages import pack, unpack
from fl_models.unit import UnitPorts


class UnitCL(UnitPorts):
    """A component around a plain Python core, which holds all state and computes on plain messages.

    A core has ``out``, the message that it offers in this cycle or None; ``reset()``; and
    ``tick(*taken, send_rdy)``, the clock edge, with what was taken from each input in this cycle
    (or None). :meth:`ready` asks it which inputs it takes.
    """

    def ready(s, core: Any, offered: list[Any], send_rdy: bool) -> tuple[bool, ...]:
        """The ``rdy`` of every input in this cycle; ``offered`` holds their messages or None."""
        return (core.ready(send_rdy),)

    flows_through = False
    """What is offered may be what comes in, in the same cycle; then a core has ``offer(*offered)``
    instead of ``out``."""

    def add_core(
        s, cfg: AccelConfig, core: Any, recv_types: dict[str, Any], send_name: str, send_type: Any
    ) -> None:
        """Declares the ports and runs the core behind them; ``construct`` calls it."""
        names = list(recv_types)
        offered: list[Any] = [None] * len(names)

        s.add_ports(recv_types, send_name, send_type)

        def what_comes() -> list[Any]:
            return [
                unpack(cfg, s.recv_msg[i]) if s.recv_val[i] else None for i in range(len(names))
            ]

        # Combinational
        if s.flows_through:

            @update
            def up_flow():
                out = core.offer(*what_comes())
                s.send_val @= out is not None
                if out is not None:
                    s.send_msg @= pack(cfg, out)

        else:

            @update
            def up_offer():
                s.send_val @= core.out is not None
                if core.out is not None:
                    s.send_msg @= pack(cfg, core.out)

        @update
        def up_ready():
            offered[:] = what_comes()
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

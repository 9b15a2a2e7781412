"""Val/rdy ports for a functional core."""

from collections import deque
from typing import Any

from pymtl3 import Component, Wire, connect, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import AccelConfig
from accel.hardware.messages import pack, unpack


class UnitPorts(Component):
    """A unit's streams, whatever they are called, under names that update blocks can write."""

    def add_ports(s, recv_types: dict[str, Any], send_name: str, send_type: Any) -> None:
        """Declares the ports, and for the i-th input the wires ``recv_msg[i]`` and so on."""
        names = list(recv_types)

        # Interface
        for name, recv_type in recv_types.items():
            setattr(s, name, RecvIfcRTL(recv_type))
        setattr(s, send_name, SendIfcRTL(send_type))

        # Wires
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

        s.trace_names = [*names, send_name]

    def line_trace(s) -> str:
        return " > ".join(str(getattr(s, name)) for name in s.trace_names)


class UnitFL(UnitPorts):
    """A component around a plain Python core, which maps messages to messages without time.

    A core has ``take(port, message)``, which returns the messages that follow from it, a list;
    ``wants(port)``, whether it can take one there now; and ``reset()``. The component takes
    messages while it has none to send.
    """

    def add_core(
        s, cfg: AccelConfig, core: Any, recv_types: dict[str, Any], send_name: str, send_type: Any
    ) -> None:
        """Declares the ports and runs the core behind them; ``construct`` calls it."""
        names = list(recv_types)
        queue: deque[Any] = deque()

        s.add_ports(recv_types, send_name, send_type)

        # Combinational
        @update
        def up_ports():
            s.send_val @= len(queue) > 0
            if queue:
                s.send_msg @= pack(cfg, queue[0])
            for i, name in enumerate(names):
                s.recv_rdy[i] @= not queue and core.wants(name)

        # Sequential
        @update_ff
        def up_take():
            if s.reset:
                core.reset()
                queue.clear()
            else:
                if s.send_val & s.send_rdy:
                    queue.popleft()
                for i, name in enumerate(names):
                    if s.recv_val[i] & s.recv_rdy[i]:
                        queue.extend(core.take(name, unpack(cfg, s.recv_msg[i])))

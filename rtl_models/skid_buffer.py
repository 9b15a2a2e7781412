"""A queue of two messages that cuts a stream's ready path."""

from pymtl3 import Component, Wire, update, update_ff
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL


class SkidBufferRTL(Component):
    """Passes messages on a cycle later, one a cycle. ``recv.rdy`` and ``send.val`` are registers:
    what waits behind does not depend on who waits in front, in the same cycle. Reset: empty."""

    def construct(s, Type):
        s.recv = RecvIfcRTL(Type)
        s.send = SendIfcRTL(Type)

        s.head, s.tail = Wire(Type), Wire(Type)
        s.head_val, s.tail_val = Wire(), Wire()
        s.moves = Wire()
        s.send.msg //= s.head
        s.send.val //= s.head_val

        @update
        def up_ready():
            s.recv.rdy @= ~s.tail_val
            s.moves @= ~s.head_val | s.send.rdy

        @update_ff
        def up_state():
            if s.reset:
                s.head_val <<= 0
                s.tail_val <<= 0
            elif s.moves:
                s.head_val <<= s.tail_val | s.recv.val
                s.tail_val <<= 0
            else:
                s.tail_val <<= s.tail_val | s.recv.val

        @update_ff
        def up_messages():
            if s.moves:
                if s.tail_val:
                    s.head <<= s.tail
                else:
                    s.head <<= s.recv.msg
            if ~s.tail_val:
                s.tail <<= s.recv.msg

    def line_trace(s):
        return f"{'H' if s.head_val else '.'}{'T' if s.tail_val else '.'}"

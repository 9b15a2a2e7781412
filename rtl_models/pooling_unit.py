"""The pooling unit: the maximum of each pooling window, in every column."""

from pymtl3 import Component, Wire, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.hardware.config import AccelConfig
from accel.hardware.messages import mk_acc, mk_pooled
from rtl_models.pooling_lane import PoolingLane


class PoolingUnitRTL(Component):
    """Keeps the largest accumulator of each column from ``pool_first`` to ``pool_last``.

    ::

        acc --+------------> max --> [ best ] --> pooled     (one register per column)
              |               ^         |
              +-- pool_first -+---------+

    Latency: 1 cycle from the ``pool_last`` message to ``pooled``. Throughput: 1 message a cycle.
    A message with both flags passes as it is. While ``pooled`` is not taken, ``acc.rdy`` is low.
    Reset: ``pooled.val`` low. The maxima are not reset: a window begins with ``pool_first``.
    """

    def construct(s, cfg: AccelConfig):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"PoolingUnit_{cfg}")
        acc_nbits = cfg.acc_nbits

        # Interface
        s.acc = RecvIfcRTL(mk_acc(cfg))
        s.pooled = SendIfcRTL(mk_pooled(cfg))

        # Wires
        s.advance = Wire()
        s.en = Wire()
        s.pooled_val = Wire()

        # Structure
        s.lanes = [PoolingLane(cfg) for _ in range(cfg.num_cols)]
        for c, lane in enumerate(s.lanes):
            low, high = c * acc_nbits, (c + 1) * acc_nbits
            lane.en //= s.en
            lane.pool_first //= s.acc.msg.pool_first
            lane.acc //= s.acc.msg.acc[low:high]
            s.pooled.msg.acc[low:high] //= lane.best
        s.pooled.val //= s.pooled_val
        s.acc.rdy //= s.advance

        # Combinational
        @update
        def up_advance():
            s.advance @= ~s.pooled_val | s.pooled.rdy
            s.en @= s.advance & s.acc.val

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.pooled_val <<= 0
            elif s.advance:
                s.pooled_val <<= s.acc.val & s.acc.msg.pool_last

    def line_trace(s):
        width = (s.acc.msg.acc.nbits + 3) // 4
        acc = valrdy_to_str(s.acc.msg.acc, s.acc.val, s.acc.rdy, width)
        pooled = valrdy_to_str(s.pooled.msg.acc, s.pooled.val, s.pooled.rdy, width)
        return f"{acc} > {pooled}"

"""The pooling unit: the maximum of each pooling window, in every column."""

from pymtl3 import Component, Wire, mk_bits, update, update_ff
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL, valrdy_to_str

from accel.config import AccelConfig
from accel.messages import mk_acc, mk_pooled


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
        num_cols, acc_nbits = cfg.num_cols, cfg.acc_nbits
        # Bits compare as unsigned: with the sign bit inverted, that is the order of signed numbers.
        sign = mk_bits(acc_nbits)(1 << (acc_nbits - 1))

        # Interface
        s.acc = RecvIfcRTL(mk_acc(cfg))
        s.pooled = SendIfcRTL(mk_pooled(cfg))

        # Wires
        s.advance = Wire()
        s.best = [Wire(acc_nbits) for _ in range(num_cols)]
        s.pooled_val = Wire()

        # Structure
        for c in range(num_cols):
            s.pooled.msg.acc[c * acc_nbits : (c + 1) * acc_nbits] //= s.best[c]
        s.pooled.val //= s.pooled_val
        s.acc.rdy //= s.advance

        # Combinational
        @update
        def up_advance():
            s.advance @= ~s.pooled_val | s.pooled.rdy

        # Sequential
        @update_ff
        def up_control():
            if s.reset:
                s.pooled_val <<= 0
            elif s.advance:
                s.pooled_val <<= s.acc.val & s.acc.msg.pool_last

        @update_ff
        def up_best():
            if s.advance & s.acc.val:
                for c in range(num_cols):
                    if s.acc.msg.pool_first | (
                        (s.acc.msg.acc[c * acc_nbits : c * acc_nbits + acc_nbits] ^ sign)
                        > (s.best[c] ^ sign)
                    ):
                        s.best[c] <<= s.acc.msg.acc[c * acc_nbits : c * acc_nbits + acc_nbits]

    def line_trace(s):
        width = (s.acc.msg.acc.nbits + 3) // 4
        acc = valrdy_to_str(s.acc.msg.acc, s.acc.val, s.acc.rdy, width)
        pooled = valrdy_to_str(s.pooled.msg.acc, s.pooled.val, s.pooled.rdy, width)
        return f"{acc} > {pooled}"

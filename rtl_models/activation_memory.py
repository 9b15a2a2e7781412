"""Activation memory: nine byte-wide banks, and the rotations between taps and banks."""

from pymtl3 import Component, InPort, OutPort, Wire, mk_bits, update, update_ff

from accel.hardware.config import TAPS, AccelConfig
from rtl_models.memory import MemoryRTL
from rtl_models.rotator import RotatorRTL


class ActivationMemoryRTL(Component):
    """Nine taps read and up to nine written in every cycle, each from or to a bank of its own.

    ::

        read_rows, read_bank -> rotate -> banks [read] -> [data] -> rotate -> taps
                            write_* -> rotate -> ^

    The taps' rows come in tap order with the bank of tap 0; tap t is in bank
    ``(bank + t) mod 9``. Banks of taps that are not in ``read_mask`` are not read, and those taps
    mean nothing. Reading takes two cycles, both held while ``go`` is low. A write is in memory in
    the next cycle; a read of the same row in the same cycle gives the old byte.
    """

    def construct(s, cfg: AccelConfig):
        row_nbits = cfg.act_addr_nbits
        Rows, Bytes = mk_bits(TAPS * row_nbits), mk_bits(TAPS * 8)
        s.go = InPort()
        s.read_mask = InPort(TAPS)
        s.read_rows = InPort(Rows)
        s.read_bank = InPort(4)
        s.taps = OutPort(Bytes)
        s.write_mask = InPort(TAPS)
        s.write_rows = InPort(Rows)
        s.write_bank = InPort(4)
        s.write_data = InPort(Bytes)

        s.bank = [MemoryRTL(8, cfg.act_depth) for _ in range(TAPS)]
        s.ren = Wire(TAPS)
        s.bank_at_read, s.bank_at_data = Wire(4), Wire(4)
        s.read, s.data = Wire(Bytes), Wire(Bytes)

        s.rotate_rows = RotatorRTL(row_nbits, to_banks=True)
        s.rotate_rows.in_ //= s.read_rows
        s.rotate_rows.amount //= s.read_bank

        s.rotate_read_mask = RotatorRTL(1, to_banks=True)
        s.rotate_read_mask.in_ //= s.read_mask
        s.rotate_read_mask.amount //= s.read_bank

        s.rotate_taps = RotatorRTL(8, to_banks=False)
        s.rotate_taps.in_ //= s.data
        s.rotate_taps.amount //= s.bank_at_data
        s.rotate_taps.out //= s.taps

        s.rotate_mask = RotatorRTL(1, to_banks=True)
        s.rotate_mask.in_ //= s.write_mask
        s.rotate_mask.amount //= s.write_bank
        s.rotate_write_rows = RotatorRTL(row_nbits, to_banks=True)
        s.rotate_write_rows.in_ //= s.write_rows
        s.rotate_write_rows.amount //= s.write_bank
        s.rotate_data = RotatorRTL(8, to_banks=True)
        s.rotate_data.in_ //= s.write_data
        s.rotate_data.amount //= s.write_bank

        for b in range(TAPS):
            s.bank[b].ren //= s.ren[b]
            s.bank[b].raddr //= s.rotate_rows.out[b * row_nbits : (b + 1) * row_nbits]
            s.bank[b].rdata //= s.read[b * 8 : (b + 1) * 8]
            s.bank[b].wen //= s.rotate_mask.out[b]
            s.bank[b].waddr //= s.rotate_write_rows.out[b * row_nbits : (b + 1) * row_nbits]
            s.bank[b].wdata //= s.rotate_data.out[b * 8 : (b + 1) * 8]

        @update
        def up_enable():
            for b in range(TAPS):
                s.ren[b] @= s.go & s.rotate_read_mask.out[b]

        @update_ff
        def up_read():
            if s.go:
                s.data <<= s.read
                s.bank_at_read <<= s.read_bank
                s.bank_at_data <<= s.bank_at_read

    def line_trace(s):
        return f"{s.taps} w{s.write_mask}"

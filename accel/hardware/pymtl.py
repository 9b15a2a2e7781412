"""What PyMTL3 lacks for a design of this size: wide signals, and memories that simulate fast.

PyMTL3's ``Bits`` stop short of 1,024 bits, but a weight word of a 16-column array has 1,152. It
keeps two tables of the largest and smallest value per width, and one constant in its constructor;
nothing else depends on the limit.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from pymtl3 import Bits, Component
from pymtl3.datatypes import PythonBits
from pymtl3.passes.PassGroups import (
    CLLineTracePass,
    DynamicSchedulePass,
    GenDAGPass,
    LineTraceParamPass,
    PrepareSimPass,
    SimpleTickPass,
    VcdGenerationPass,
    WrapGreenletPass,
)

from accel.process_wide import PYMTL3

MAX_NBITS = 5632
"""Above a ``step`` message of 36 columns with windows, the widest signal there is (5,522 bits)."""

_PYMTL_LIMIT = 1024


def allow_wide_bits() -> None:
    """Raise the limit to ``MAX_NBITS``. Doing it twice does nothing."""
    constructor = PythonBits.Bits.__init__
    constants = constructor.__code__.co_consts
    if _PYMTL_LIMIT not in constants:
        return
    for nbits in range(len(PythonBits._upper), MAX_NBITS + 1):
        PythonBits._upper.append((1 << nbits) - 1)
        PythonBits._lower.append(-(1 << (nbits - 1)))
    constructor.__code__ = constructor.__code__.replace(
        co_consts=tuple(MAX_NBITS + 1 if c == _PYMTL_LIMIT else c for c in constants)
    )


def _memory_word(bits: Any, written: list[Bits]) -> Any:
    """The type ``bits``, but each object asks to be updated when it is written.

    written: where it asks, one list for a simulation, since others run in other threads.

    PyMTL3 updates every register at every clock edge; for the 20,000 words of an accelerator's
    memories that is most of a simulation's time, though at most one word of each is new.
    """

    def write(self: Bits, value: Any) -> Bits:
        bits.__ilshift__(self, value)
        written.append(self)
        return self

    return type(bits.__name__, (bits,), {"__slots__": (), "__ilshift__": write})


def prepare(top: Any, *, vcd: str | None = None) -> Any:
    """Elaborates ``top`` if need be and applies PyMTL3's simulation passes; returns ``top``.

    As ``DefaultPassGroup``, but memories (lists of wires named ``mem`` that an ``update_ff``
    block writes) are updated word by word, and ``top.sim_edge()`` is the clock edge alone: a cycle
    is inputs, ``sim_eval_combinational()``, outputs, ``sim_edge()``, where ``sim_tick()`` would
    settle the combinational logic twice more. ``vcd`` names a waveform file, without its suffix.
    """
    with PYMTL3:
        return _prepare(top, vcd)


def _prepare(top: Any, vcd: str | None) -> Any:
    if not hasattr(top._dsl, "all_components"):
        top.elaborate()
    words = [
        (component.mem, i)
        for component in top.get_all_object_filter(lambda x: isinstance(x, Component))
        if isinstance(getattr(component, "mem", None), list)
        for i in range(len(component.mem))
    ]
    for mem, i in words:
        mem[i]._dsl.needs_double_buffer = False
    if vcd is not None:
        top.set_metadata(VcdGenerationPass.vcd_file_name, vcd)
    for simulation_pass in (
        LineTraceParamPass(),
        GenDAGPass(),
        WrapGreenletPass(),
        CLLineTracePass(),
        DynamicSchedulePass(),
        VcdGenerationPass(),
    ):
        simulation_pass(top)
    written: list[Bits] = []

    def update_written() -> None:
        for word in written:
            word._flip()
        written.clear()

    top._sched.schedule_posedge_flip.append(update_written)
    prepare_sim = PrepareSimPass(print_line_trace=False)
    prepare_sim(top)
    top.sim_edge = SimpleTickPass.gen_tick_function(prepare_sim.collect_ff_funcs(top))
    memory_word = cache(partial(_memory_word, written=written))
    for mem, i in words:
        mem[i] <<= mem[i]
        mem[i].__class__ = memory_word(type(mem[i]))  # type: ignore[arg-type]
    return top

"""The column windows, cycle level."""

from accel.hardware.config import AccelConfig
from accel.hardware.messages import Pixel, Step, mk_pixel, mk_step
from cl_models.unit import UnitCL
from fl_models.column_windows import ColumnWindowsCoreFL


class ColumnWindowsCoreCL:
    """A step is offered in the cycle after its pixel was accepted, if it is used.

    ``out`` is what the ``step`` stream offers in this cycle, or None.
    """

    def __init__(self, cfg: AccelConfig) -> None:
        self.windows = ColumnWindowsCoreFL(cfg)
        self.reset()

    def reset(self) -> None:
        """Nothing is offered, and the next pixel is a row's first."""
        self.windows.reset()
        self.out: Step | None = None

    def ready(self, send_rdy: bool) -> bool:
        return self.out is None or send_rdy

    def tick(self, pixel: Pixel | None, send_rdy: bool) -> None:
        if self.ready(send_rdy):
            steps = [] if pixel is None else self.windows.take("pixel", pixel)
            self.out = steps[0] if steps else None


class ColumnWindowsCL(UnitCL):
    """:class:`ColumnWindowsCoreCL` with val/rdy ports ``pixel`` and ``step``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, ColumnWindowsCoreCL(cfg), {"pixel": mk_pixel(cfg)}, "step", mk_step(cfg))

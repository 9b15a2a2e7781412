"""The column windows, functional."""

import numpy as np

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.messages import Ints, Pixel, Step, mk_pixel, mk_step
from fl_models.unit import UnitFL

ROW, COLUMN = np.divmod(np.arange(TAPS), 3)
OUTSIDE = np.stack([ROW == 0, ROW == 2, COLUMN == 0, COLUMN == 2])
"""(4, 9): the taps of a window that lie outside the map with each of its edges."""


class ColumnWindowsCoreFL:
    """Gives each column nine activations: its own window, or what all of its pixel group have."""

    def __init__(self, cfg: AccelConfig) -> None:
        self.group_cols = cfg.group_cols
        # The two rows before the one that comes, the older one first
        self.rows = np.zeros((2, cfg.line_width, cfg.num_cols), np.int64)
        self.window = np.zeros((cfg.num_cols, 3, 3), np.int64)
        self.reset()

    def reset(self) -> None:
        """The next pixel is a row's first; rows and windows keep what they hold."""
        self.at = 0

    def wants(self, port: str) -> bool:
        return True

    def take(self, port: str, pixel: Pixel) -> list[Step]:
        x = self._shift(pixel) if pixel.windows else np.repeat(pixel.x, self.group_cols, axis=0)
        step = Step(
            x=x,
            w=pixel.w,
            idx=pixel.idx,
            load=pixel.load,
            keep=pixel.keep,
            first=pixel.first,
            last=pixel.last,
            pool_first=pixel.pool_first,
            pool_last=pixel.pool_last,
        )
        return [step] if pixel.used else []

    def _shift(self, pixel: Pixel) -> Ints:
        new = pixel.x[:, : self.group_cols].ravel()
        column = np.stack([*self.rows[:, self.at], new])
        self.rows[:, self.at] = column[1:]
        self.window = np.concatenate([self.window[:, :, 1:], column.T[:, :, None]], axis=2)
        self.at = 0 if pixel.row_end else self.at + 1
        edges = pixel.edges >> np.arange(4) & 1 == 1
        outside = OUTSIDE[edges].any(axis=0)
        return np.where(outside, pixel.pad_value, self.window.reshape(-1, TAPS))


class ColumnWindowsFL(UnitFL):
    """:class:`ColumnWindowsCoreFL` with val/rdy ports ``pixel`` and ``step``."""

    def construct(s, cfg: AccelConfig) -> None:
        s.add_core(cfg, ColumnWindowsCoreFL(cfg), {"pixel": mk_pixel(cfg)}, "step", mk_step(cfg))

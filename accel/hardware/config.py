"""The accelerator's configuration: what a generated instance is made of."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.errors import AccelError

TAPS = 9
"""Multipliers of one column: 3 PEs of 3 taps, one 3x3 window or 9 channels."""

TABLE_SIZE = 256
"""Entries of a table: one for each byte."""

ACT_NBITS = 9
"""A sign-extended (int8) or zero-extended (uint8) activation: both fit 9 signed bits."""

CLASS_NBITS = 16
"""Width of the number of the winning class, and so of how many outputs there may be."""

BUS_NBITS = 64
"""Width of a word on every stream at the accelerator's edge."""


def clog2(n: int) -> int:
    """Bits that count ``n`` different values, at least 1 (a port has no zero width)."""
    return max(1, (n - 1).bit_length())


LIMITS = {
    "num_cols": (1, 64),
    "pixel_groups": (1, 4),
    "num_lanes": (1, 8),
    "acc_nbits": (20, 32),
    "spad_depth": (1, 256),
    "act_depth": (16, 65536),
    "weight_depth": (16, 65536),
    "param_depth": (16, 65536),
    "max_layers": (1, 64),
    "line_width": (0, 511),
    "tables": (0, 16),
}
"""The least and the largest value of each number in a configuration."""
SWITCHES = ("zero_gating", "packed_multipliers", "adder")
"""Its fields that are true or false."""


def largest(name: str) -> int:
    """The largest value of that field of a configuration."""
    return LIMITS[name][1]


@dataclass(frozen=True, kw_only=True)
class AccelConfig:
    """One accelerator instance. Immutable; checked when made.

    Raises :class:`AccelError` naming the field, its value and what is allowed.
    """

    num_cols: int = 8
    """Columns of the PE array, 9 multipliers each: as many output channels at once, unless
    pixel groups share them."""
    pixel_groups: int = 1
    """Copies of the activation memory, each with ``num_cols / pixel_groups`` columns of its own: a
    layer computes as many neighbouring pixels at once, or one pixel in all columns."""
    num_lanes: int = 2
    """Requantizer lanes: accumulators requantized per cycle."""
    acc_nbits: int = 32
    """Width of accumulators, pooling registers and the requantizer's input."""
    spad_depth: int = 16
    """Weight words that each PE keeps: a convolution of at most this many steps an output
    reads each weight from memory once."""
    act_depth: int = 1024
    """Rows of the activation memory, 9 bytes each."""
    weight_depth: int = 2048
    """Words of the weight memory, 9 bytes per column each."""
    param_depth: int = 256
    """Words of the parameter memory: a bias and a multiplier per lane each."""
    max_layers: int = 16
    """Layer descriptors that the program memory holds."""
    zero_gating: bool = True
    """A zero activation switches no multiplier: the registers at its inputs keep what they hold.
    No effect on results or cycles."""
    packed_multipliers: bool = False
    """Two neighbouring columns share multipliers of 18 by 18 bits, each of which makes both their
    products of an activation. No effect on results or cycles."""
    line_width: int = 0
    """Pixels of the widest rows whose depthwise 3x3 convolutions get column windows: two rows of
    line buffer and a window for each column, so that it makes an output of its own channel a step.
    0: there are none."""
    adder: bool = False
    """Lanes behind the requantizer's that add another tensor, and the choice of ties of the
    requantizer's last rounding."""
    tables: int = 0
    """Tables of 256 bytes behind the requantizer, of which a layer looks its outputs up in one:
    what is a function of one value. A power of two; 0: there are none."""

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise AccelError(f"configuration: {name} must be a whole number, not {value!r}")
            if not low <= value <= high:
                raise AccelError(f"configuration: {name} must be from {low} to {high}, not {value}")
        for name in ("pixel_groups", "num_lanes", "spad_depth", "act_depth", "tables"):
            value = getattr(self, name)
            if value & (value - 1):
                raise AccelError(f"configuration: {name} must be a power of two, not {value}")
        for name in SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise AccelError(f"configuration: {name} must be true or false, not {value!r}")
        if self.num_cols % (self.pixel_groups * self.num_lanes):
            raise AccelError(
                f"configuration: pixel_groups * num_lanes must divide num_cols, but "
                f"{self.pixel_groups} * {self.num_lanes} does not divide {self.num_cols}"
            )
        if self.line_width == 1:
            raise AccelError(
                "configuration: line_width must be 0, or from 2 on, not 1: a line buffer is read "
                "where it is not written"
            )
        if self.line_width and self.group_cols > TAPS:
            raise AccelError(
                f"configuration: with line_width a pixel group has at most {TAPS} columns, one for "
                f"each channel that it reads at once, but num_cols / pixel_groups is "
                f"{self.group_cols}"
            )
        if self.packed_multipliers and self.operand_cols % 2:
            raise AccelError(
                f"configuration: with packed_multipliers two columns share each activation, so "
                f"num_cols / pixel_groups must be even and line_width 0, but they are "
                f"{self.group_cols} and {self.line_width}"
            )
        if self.adder and self.group_cols > TAPS:
            raise AccelError(
                f"configuration: with adder a pixel group has at most {TAPS} columns, one for each "
                f"byte that it reads at once, but num_cols / pixel_groups is {self.group_cols}"
            )

    def __str__(self) -> str:
        """A short tag of ``[a-z0-9]``, different for every configuration; it names modules."""
        windows = f"r{self.line_width}" if self.line_width else ""
        tables = f"t{self.tables}" if self.tables else ""
        gating = f"z{int(self.zero_gating)}{'k' * self.packed_multipliers}"
        return (
            f"c{self.num_cols}l{self.num_lanes}a{self.acc_nbits}s{self.spad_depth}"
            f"m{self.act_depth}w{self.weight_depth}p{self.param_depth}d{self.max_layers}"
            f"g{self.pixel_groups}{gating}{windows}{'b' * self.adder}{tables}"
        )

    # Derived widths and counts

    @property
    def num_multipliers(self) -> int:
        return TAPS * self.num_cols

    @property
    def group_cols(self) -> int:
        """Columns of one pixel group."""
        return self.num_cols // self.pixel_groups

    @property
    def operand_sets(self) -> int:
        """Sets of nine activations that the PE array takes in a step: one for each pixel group, or,
        with column windows, for each column."""
        return self.num_cols if self.line_width else self.pixel_groups

    @property
    def operand_cols(self) -> int:
        """Columns that multiply the same nine activations."""
        return self.num_cols // self.operand_sets

    @property
    def num_beats(self) -> int:
        """Requantizer cycles for one vector of all columns."""
        return self.num_cols // self.num_lanes

    @property
    def passes_vectors_on(self) -> bool:
        """The requantizer takes a vector in every cycle, where one is a single beat: what column
        windows make, or all columns have a lane each."""
        return self.line_width > 0 or self.num_beats == 1

    @property
    def spad_idx_nbits(self) -> int:
        return clog2(self.spad_depth)

    @property
    def weight_word_nbits(self) -> int:
        return 8 * self.num_multipliers

    @property
    def weight_word_beats(self) -> int:
        """64-bit stream words that carry one word of the weight memory."""
        return -(-self.weight_word_nbits // BUS_NBITS)

    @property
    def act_addr_nbits(self) -> int:
        return clog2(self.act_depth)

    @property
    def weight_addr_nbits(self) -> int:
        return clog2(self.weight_depth)

    @property
    def param_addr_nbits(self) -> int:
        return clog2(self.param_depth)

    @property
    def table_nbits(self) -> int:
        """Of a table's number."""
        return clog2(self.tables)

    @property
    def layer_nbits(self) -> int:
        return clog2(self.max_layers)

    @property
    def beat_nbits(self) -> int:
        return clog2(self.num_beats)


base = AccelConfig()
tiny = dataclasses.replace(
    base,
    num_cols=2,
    num_lanes=1,
    acc_nbits=25,
    spad_depth=8,
    act_depth=512,
    weight_depth=4608,
    param_depth=512,
    max_layers=8,
)
wide = dataclasses.replace(
    base, num_cols=16, pixel_groups=2, num_lanes=4, weight_depth=1024, param_depth=128
)
# Each of MLPerf Tiny's four networks fits, and its block RAMs and multipliers an ECP5-85k.
tinyml = dataclasses.replace(
    base,
    num_lanes=8,
    act_depth=8192,
    weight_depth=4096,
    param_depth=512,
    max_layers=32,
    line_width=64,
    adder=True,
)
PRESETS = {"tiny": tiny, "base": base, "wide": wide, "tinyml": tinyml}


Configuration = AccelConfig | str | Path | Mapping[str, Any]
"""What stands for a configuration: see :func:`load_config`."""


def load_config(config: Configuration) -> AccelConfig:
    """A preset by name, or a TOML file: ``preset = "base"`` and any fields that differ from it; or
    the same as a dictionary. A configuration is what it is.

    Raises :class:`AccelError` for an unknown name, an unreadable file, an unknown field or a
    value that is not allowed.
    """
    if isinstance(config, AccelConfig):
        return config
    if isinstance(config, Mapping):
        return _from_fields(dict(config), "configuration")
    if not isinstance(config, str | Path):
        raise AccelError(
            f"a configuration must be one of {', '.join(PRESETS)}, a .toml file, a dictionary of "
            f"fields or an AccelConfig, not {type(config).__name__}"
        )
    name_or_path = str(config)
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise AccelError(
            f"unknown configuration '{name_or_path}': expected one of {', '.join(PRESETS)} "
            f"or a .toml file"
        )
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise AccelError(f"cannot read configuration {path}: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise AccelError(f"configuration {path} is not valid TOML: {e}") from e
    return _from_fields(table, f"configuration {path}")


def _from_fields(table: dict[str, Any], where: str) -> AccelConfig:
    """``where``: what messages say is wrong."""
    preset = table.pop("preset", "base")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise AccelError(f"{where}: preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    known = {f.name for f in dataclasses.fields(AccelConfig)}
    for name in table:
        if name not in known:
            raise AccelError(
                f"{where}: unknown field '{name}'; expected preset, {', '.join(sorted(known))}"
            )
    try:
        return dataclasses.replace(PRESETS[preset], **table)
    except AccelError as e:
        raise AccelError(f"{where}{str(e).removeprefix('configuration')}") from e


def toml(cfg: AccelConfig, what: str, command: str = "fit") -> str:
    """A configuration as a file that ``--config`` takes. what: what it is for, on its first line,
    of one line; command: of accel, that writes it."""
    lines = [f"# Written by accel {command}: {what}.", 'preset = "base"']
    lines += [f"{name} = {str(value).lower()}" for name, value in dataclasses.asdict(cfg).items()]
    return "\n".join(lines) + "\n"

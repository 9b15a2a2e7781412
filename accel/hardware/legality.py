"""What a layer's descriptor must not contradict, so that all levels do the same with it.

The hardware has three sequencers that walk one descriptor each for itself. A program whose
descriptors keep these rules means the same to the functional model, the cycle-level model and the
RTL; one that does not may yield wrong outputs, or end in ``ProgramError.STUCK``, and nothing here
or there promises which. All that the compiler makes is legal.
"""

from __future__ import annotations

from collections.abc import Iterator

from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.descriptors import LayerDescriptor
from accel.hardware.walk import (
    OUT_X,
    WINDOW_END,
    iterations,
    num_groups,
    pixels_per_vector,
    steps_per_sum,
    total_steps,
    used_windows,
    vectors_per_group,
)

MAX_OFFSET = 1000
"""Largest row or column that a tap may have: the hardware's numbers have 11 bits, with sign."""

MAX_SHIFT = 31
"""Of the adder's sums."""


def contradictions(d: LayerDescriptor, cfg: AccelConfig) -> list[str]:
    """What is wrong with a descriptor for ``cfg``, a clause each; none if it is legal."""
    return [message for is_wrong, message in _rules(d, cfg) if is_wrong]


def _rules(d: LayerDescriptor, cfg: AccelConfig) -> Iterator[tuple[bool, str]]:
    groups, pixels, lanes = num_groups(d), pixels_per_vector(d), cfg.num_lanes
    vectors = vectors_per_group(d)
    written = iterations(d.write_loops[:-1])
    yield (
        not groups == d.param_groups == d.write_loops[-1].count,
        f"it reads {groups}, requantizes {d.param_groups} and writes {d.write_loops[-1].count} "
        f"groups of output channels",
    )
    yield (
        not vectors == d.param_vectors == written,
        f"it makes {vectors}, requantizes {d.param_vectors} and writes {written} vectors a group",
    )
    for which, requantized, put_away in (
        ("a", d.param_beats, d.write_beats),
        # Beats without outputs follow in the last group only.
        ("the last", d.param_last_beats, d.write_last_beats + d.drop_beats),
    ):
        yield (
            requantized != pixels * put_away and (which == "the last" or groups > 1),
            f"of {which} group's vectors it requantizes {requantized} beats and puts away "
            f"{pixels} times {put_away}",
        )
        yield (
            requantized * lanes > cfg.num_cols,
            f"{which} vector of {requantized} beats has more than num_cols = {cfg.num_cols} "
            f"columns",
        )
    yield not 1 <= d.last_lanes <= lanes, f"last_lanes must be from 1 to num_lanes = {lanes}"
    yield (
        groups > 1 and not 1 <= d.group_lanes <= lanes,
        f"group_lanes must be from 1 to num_lanes = {lanes}",
    )
    yield d.drop_x > d.pixel_x, "it drops a second column of pixels that a vector does not have"
    yield d.drop_y > d.pixel_y, "it drops a second row of pixels that a vector does not have"
    yield (
        not d.reload and steps_per_sum(d) > cfg.spad_depth,
        f"a sum has {steps_per_sum(d)} steps, more than spad_depth = {cfg.spad_depth}, but its "
        f"weights are not read anew",
    )
    words = groups * steps_per_sum(d)
    yield (
        d.weight_base + words > cfg.weight_depth,
        f"weights end at word {d.weight_base + words}, beyond weight_depth = {cfg.weight_depth}",
    )
    end = d.param_base + (groups - 1) * d.param_beats + d.param_last_beats
    yield (
        end > cfg.param_depth,
        f"parameters end at word {end}, beyond param_depth = {cfg.param_depth}",
    )
    lo, hi = (-128, 127) if d.signed else (0, 255)
    yield (
        not lo <= d.pad_value <= hi,
        f"pad_value = {d.pad_value} is none of the input's values, from {lo} to {hi}",
    )
    lo, hi = (-128, 127) if d.out_signed else (0, 255)
    if d.looks_up and not d.adds:
        # What is looked up is a byte of any sign, and so is what is found.
        lo, hi = -128, 255
    least, largest = (d.sum_lo, d.sum_hi) if d.adds else (d.lo, d.hi)
    yield (
        not lo <= least <= largest <= hi,
        f"outputs from {least} to {largest} are not within their type, from {lo} to {hi}",
    )
    yield (
        bool(d.looks_up) and not d.adds and d.table_signed != d.out_signed,
        f"outputs are {'signed' if d.out_signed else 'unsigned'}, but not those of its table",
    )
    yield (
        bool(d.looks_up) and d.table_index >= cfg.tables,
        f"it looks outputs up in table {d.table_index}, of tables = {cfg.tables}",
    )
    yield (
        d.adds != d.pops,
        f"of what is added it reads {'every' if d.adds else 'no'} vector, but takes "
        f"{'every' if d.pops else 'no'} one",
    )
    if d.adds:
        yield from _sum_rules(d)
    if not cfg.adder:
        yield d.adds == 1, "it adds a tensor, which needs an adder"
        yield d.ties_away == 1, "it rounds ties away from zero, which needs an adder"
    yield max(d.read_bank, d.write_bank) >= TAPS, "a bank must be from 0 to 8"
    for what, attribute in (("row", "dy"), ("column", "dx")):
        reach = sum((loop.count - 1) * getattr(loop, attribute) for loop in d.read_loops)
        reach += sum(getattr(offset, attribute) for offset in d.pixel_offsets)
        yield reach > MAX_OFFSET, f"a tap lies {reach} {what}s further, more than {MAX_OFFSET}"
    if d.column_windows:
        yield from _windows(d, cfg)
    total = total_steps(d)
    yield (
        d.safe_steps >= total,
        f"safe_steps = {d.safe_steps} leaves none of its {total} steps to wait in",
    )


def _windows(d: LayerDescriptor, cfg: AccelConfig) -> Iterator[tuple[bool, str]]:
    width = d.read_loops[OUT_X].count
    yield (
        not 2 <= width <= cfg.line_width,
        f"column windows over rows of {width} need a line_width from 2 to that, not "
        f"{cfg.line_width}",
    )
    yield iterations(d.read_loops[:WINDOW_END]) > 1, "a pixel of its raster has several steps"
    yield not d.channel_mode, "the pixels of its raster are read in windows"
    yield (
        d.last_channels != cfg.group_cols,
        f"a pixel group reads {d.last_channels} channels for its {cfg.group_cols} columns",
    )
    yield (
        d.window_columns > cfg.num_cols,
        f"{d.window_columns} columns have a window, more than num_cols = {cfg.num_cols}",
    )
    yield not used_windows(d).any(), "none of its windows is used"
    yield d.adds == 1, "it has column windows, whose steps are pixels, and adds a tensor"


def _sum_rules(d: LayerDescriptor) -> Iterator[tuple[bool, str]]:
    lo, hi = -128, 255
    yield (
        not lo <= d.lo <= d.hi <= hi,
        f"what it adds to is from {d.lo} to {d.hi}, beyond {lo} to {hi}",
    )
    yield (
        d.sum_shift > MAX_SHIFT,
        f"it shifts sums by {d.sum_shift} bits, more than {MAX_SHIFT}",
    )
    yield d.operand_bank >= TAPS, "a bank must be from 0 to 8"

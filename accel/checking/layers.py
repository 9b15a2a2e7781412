"""What is shown of one layer of a program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from accel.checking import residues
from accel.checking.contents import NOTHING, Contents, byte, place
from accel.checking.definition import Definition
from accel.checking.fault import MiscompiledError, require
from accel.checking.replay import (
    Bools,
    Ints,
    Layer,
    Memories,
    Outputs,
    Reads,
    Windows,
    parameters,
    weight_words,
)
from accel.checking.sums import PADDED, Exactly, Part, WithResidues, code
from accel.hardware.config import TABLE_SIZE
from accel.network.order import Order

CHUNK = 1 << 20
"""Taps that are looked at together: more would only take more memory."""

LEAST_NORMAL, INFINITE = 1 << 23, 255 << 23
"""As bits of a float32."""


@dataclass
class Count:
    """How much was shown."""

    products: int = 0
    accumulators: int = 0
    outputs: int = 0
    reads: int = 0
    early_reads: int = 0
    largest_accumulator: int = 0
    residue_sums: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCheck:
    """A layer, what it should be, and what it finds in memory. Each method shows a part, in the
    order in which they stand here, and raises :class:`MiscompiledError` where it cannot."""

    layer: Layer
    want: Definition
    memories: Memories
    contents: Contents
    count: Count
    free_from: int
    """The step from whose issue on no result of an earlier layer waits to be taken."""

    @property
    def where(self) -> str:
        return f"layer '{self.want.name}'"

    def require(self, condition: bool, what: str) -> None:
        """Raises :class:`MiscompiledError` unless ``condition``."""
        require(condition, self.where, what)

    @cached_property
    def outputs(self) -> Outputs:
        return Outputs.of(self.layer)

    @cached_property
    def reads(self) -> Reads:
        return Reads.of(self.layer)

    def shape(self) -> None:
        """As many outputs come as the network defines, and all three sequencers count them."""
        layer, d = self.layer, self.layer.d
        columns, rows, groups = d.write_loops
        tile_rows, tile_columns = layer.tile
        written = (
            sum(layer.channels.tolist()),
            rows.count * tile_rows - d.drop_y,
            columns.count * tile_columns - d.drop_x,
        )
        wanted = self.want.target_shape
        self.require(
            written == wanted,
            f"it writes {' x '.join(map(str, written))} outputs, not "
            f"{' x '.join(map(str, wanted))}",
        )
        self.require(
            layer.window == prod(self.want.pool),
            f"an output is the maximum of {layer.window} sums, not of {prod(self.want.pool)}",
        )
        counts = (
            ("groups", layer.groups, d.param_groups, groups.count),
            ("vectors of a group", layer.vectors, d.param_vectors, rows.count * columns.count),
        )
        for what, steps, params, writes in counts:
            self.require(
                steps == params == writes,
                f"step, parameter and write sequencer count {steps}, {params} and {writes} {what}",
            )
        beats = prod(layer.tile) * layer.pixel_beats
        params_of = [d.param_beats] * (layer.groups - 1) + [d.param_last_beats]
        for group in (0, layer.groups - 1):
            self.require(
                params_of[group] == beats[group],
                f"parameter and write sequencer count {params_of[group]} and {beats[group]} beats "
                f"of a vector in group {group} of output channels",
            )
        self.require(
            bool(d.adds) == (self.want.summand is not None),
            f"it reads {'what is' if d.adds else 'nothing'} to be added",
        )
        self.require(
            d.safe_steps < layer.total_steps, "it ends without having waited for the layer before"
        )

    def room(self) -> None:
        """What is read was loaded, and nothing overflows."""
        layer, d, memories, want = self.layer, self.layer.d, self.memories, self.want
        weights = slice(d.weight_base, d.weight_base + layer.groups * layer.steps)
        beats = (layer.groups - 1) * d.param_beats + d.param_last_beats
        params = slice(d.param_base, d.param_base + beats)
        for what, words, loaded in (
            ("weight", weights, memories.has_weights),
            ("parameter", params, memories.has_params),
        ):
            count, num_loaded = words.stop - words.start, int(loaded[words].sum())
            self.require(
                num_loaded == count,
                f"of the words {words.start} to {words.stop - 1} of the {what} memory that it "
                f"reads, only {num_loaded} have been loaded",
            )
        # Also what goes with columns that are no output channel's is computed with.
        multiplier, _ = parameters(memories.params[params])
        self.require(
            bool(((multiplier >= LEAST_NORMAL) & (multiplier < INFINITE)).all()),
            "one of its multipliers is no positive normal float32",
        )
        # The largest and the smallest sums, before and after the bias
        lo, hi = want.source.limits
        weight = want.weight.reshape(len(want.weight), -1)
        positive = np.maximum(weight, 0).sum(axis=1, dtype=np.int64)
        negative = np.minimum(weight, 0).sum(axis=1, dtype=np.int64)
        ends = np.stack([positive * hi + negative * lo, positive * lo + negative * hi])
        magnitude = np.abs(np.concatenate([ends, ends + want.bias])).max(axis=0)
        nbits = layer.cfg.acc_nbits
        largest, limit = int(magnitude.max()), (1 << (nbits - 1)) - 1
        self.require(
            largest <= limit,
            f"an accumulator of output channel {int(magnitude.argmax())} can reach {largest}, but "
            f"one of {nbits} bits holds {limit}",
        )
        self.count.largest_accumulator = max(self.count.largest_accumulator, largest)

    # Sums

    def sums(self) -> None:
        """Every byte that is read is there, and every accumulator is what it should be."""
        reads, layer, contents, want = self.reads, self.layer, self.contents, self.want
        source = want.source
        self.require(
            layer.d.signed == source.signed,
            f"its input is {'signed' if source.signed else 'unsigned'}, but read otherwise",
        )
        self.require(reads.step.size > 0, "its steps use no tap")
        codes = self._codes()
        exactly = Exactly(self.where, want)
        randomly = WithResidues(self.where, want, contents.rng)
        self.count.accumulators += want.target.size * layer.window
        self.count.products += want.target.size * layer.window * prod(want.weight.shape[1:])
        if layer.d.column_windows:
            self._windows(codes, exactly, randomly)
            return
        pad_limbs = residues.limbs(randomly.pad).astype(float)
        rows = max(1, CHUNK // reads.step.size)
        # What all groups of output channels read is looked at once.
        all_groups = np.arange(layer.groups)
        for groups in all_groups[:, None] if reads.group_at.any() else all_groups[None]:
            for offset, pixel_groups in _distinct(reads.pixel_at):
                further = offset + groups[0] * reads.group_at
                parts = self._parts(groups, pixel_groups)
                for start in range(0, len(reads), rows):
                    sums = np.arange(start, min(len(reads), start + rows))
                    addresses, inside = reads.taps(layer, sums, further)
                    addresses = np.where(inside, addresses, 0)
                    elements = codes.take(addresses, mode="clip")
                    number = layer.step_number(groups[0] * len(reads) + sums[:, None], reads.step)
                    self._are_there(number, addresses, inside, elements)
                    elements[~inside] = PADDED
                    limbs = contents.limbs[:, addresses]
                    limbs[:, ~inside] = pad_limbs
                    for part in parts:
                        exactly.compare(part, sums, elements, layer.d.pad_value)
                        randomly.compare(part, sums, limbs, contents.residues_of(source))
                    self._count_reads(number[inside], len(groups), len(pixel_groups))
        self.count.residue_sums += randomly.count

    def _windows(self, codes: Ints, exactly: Exactly, randomly: WithResidues) -> None:
        """The same of a layer with column windows, column by column."""
        layer, contents, reads, outputs = self.layer, self.contents, self.reads, self.outputs
        cfg, windows = layer.cfg, Windows.of(layer)
        pad_limbs = residues.limbs(randomly.pad).astype(float)
        elements = contents.residues_of(self.want.source)
        weights = self.memories.weights[weight_words(layer, later=False)[:, 0]]
        y, x = self._pixels(0)
        pixels, vectors = np.arange(len(reads)), np.arange(layer.vectors)
        for group, pixel_group in np.ndindex(layer.groups, cfg.pixel_groups):
            columns = pixel_group * cfg.group_cols + np.arange(cfg.group_cols)
            columns = columns[columns < layer.window_columns(group)]
            if not columns.size:
                continue
            further = reads.pixel_at[:, pixel_group] + group * reads.group_at
            addresses, inside = reads.taps(layer, pixels, further)
            inside = inside[:, : columns.size]
            addresses = np.where(inside, addresses[:, : columns.size], 0)
            held = codes.take(addresses, mode="clip")
            number = np.broadcast_to(group * len(reads) + pixels[:, None], addresses.shape)
            self._are_there(number, addresses, inside, held)
            self.count.reads += int(inside.sum())
            self.count.early_reads += int((inside & (number < layer.d.safe_steps)).sum())
            for i, column in enumerate(columns):
                channel = self._channels(group, column)
                if channel.size:
                    pads = windows.outside | ~inside[windows.pixel, i]
                    limbs = contents.limbs[:, addresses[:, i]][:, windows.pixel]
                    limbs[:, pads] = pad_limbs
                    seen = np.where(pads, PADDED, held[windows.pixel, i])
                    weight = weights[group, column][None]
                    part = Part(channel, weight, weight, y, x)
                    exactly.compare(part, vectors, seen, layer.d.pad_value)
                    randomly.compare(part, vectors, limbs, elements)
        for group in range(layer.groups):
            most = layer.window_columns(group)
            of_group = outputs.columns(layer)[0, outputs.group == group]
            self.require(
                of_group.max() < most,
                f"of group {group} it takes outputs from column {of_group.max()}, but {most} "
                f"columns have a channel",
            )
        self.count.residue_sums += randomly.count

    def _channels(self, group: int, column: int) -> Ints:
        """The output channel that a column computes in a group: one, or none."""
        of_column = self.outputs.columns(self.layer)[0] == column
        return np.flatnonzero(of_column & (self.outputs.group == group))

    def _count_reads(self, number: Ints, groups: int, pixel_groups: int) -> None:
        """So many reads, in steps of these numbers, and in those of the groups that follow."""
        left = self.layer.d.safe_steps - number
        early = -(-left // (self.layer.vectors * self.layer.vector_steps))
        self.count.early_reads += int(early.clip(0, groups).sum()) * pixel_groups
        self.count.reads += number.size * groups * pixel_groups

    def _codes(self) -> Ints:
        """Of each byte of memory the code of the element of the input that it holds."""
        codes = np.full(self.contents.size, NOTHING)
        elements = self.contents.elements(self.want.source)
        mine = np.flatnonzero(elements != NOTHING)
        codes[mine] = code(*np.unravel_index(elements[mine], self.want.source_shape))
        return codes

    def _are_there(self, number: Ints, addresses: Ints, inside: Bools, elements: Ints) -> None:
        """Every byte that is read holds an element of the input, and does so by then.

        (sums, taps) each: the number of the step, the byte, whether it is read, and the code of the
        element that it holds.
        """
        size, safe = self.contents.size, self.layer.d.safe_steps
        if addresses.min() < 0 or addresses.max() >= size:
            i = np.argmax((addresses < 0) | (addresses >= size))
            self._fail(f"step {number.flat[i]} reads byte {addresses.flat[i]} of {size}")
        if elements.min() == NOTHING:
            wrong = (elements == NOTHING) & inside
            if wrong.any():
                i = np.argmax(wrong)
                self._fail(
                    f"step {number.flat[i]} reads {byte(addresses.flat[i])}, which holds no "
                    f"element of '{self.want.source.name}' then"
                )
        early = (number < safe) & inside
        if early.any():
            wrong = early & (number < self.contents.readable[addresses])
            if wrong.any():
                i = np.argmax(wrong)
                self._fail(
                    f"step {number.flat[i]} reads {byte(addresses.flat[i])}, which may be on its "
                    f"way from the layer before, but only steps from {safe} on wait for it"
                )

    def _parts(self, groups: Ints, pixel_groups: Ints) -> list[Part]:
        """The columns of these pixel groups, in these groups of output channels, by the pixel of a
        vector that they belong to."""
        cfg, reads, outputs = self.layer.cfg, self.reads, self.outputs
        columns = outputs.columns(self.layer)
        self.require(
            columns.max() < cfg.num_cols,
            f"it takes outputs from column {columns.max()} of {cfg.num_cols}",
        )
        words = [weight_words(self.layer, later=later) for later in (False, True)]
        same = len(reads) == 1 or bool((words[0] == words[1]).all())
        parts = []
        for pixel, of_pixel in enumerate(columns):
            mine = np.isin(of_pixel // cfg.group_cols, pixel_groups)
            channels = np.flatnonzero(mine & np.isin(outputs.group, groups))
            y, x = self._pixels(pixel)
            for part in self._by_input(channels):
                group, column = outputs.group[part, None], of_pixel[part, None]
                first, later = (
                    self.memories.weights[word[group, reads.step], column, reads.tap]
                    for word in (words[:1] * 2 if same else words)
                )
                parts.append(Part(part, first, first if same else later, y, x))
        return parts

    def _by_input(self, channels: Ints) -> list[Ints]:
        """Output channels, taken apart by the input channels that they are made of."""
        outputs = len(self.want.weight) // self.want.groups
        group = channels // outputs
        return [channels[group == number] for number in np.unique(group)]

    def _pixels(self, pixel: int) -> tuple[Ints, Ints]:
        """Row and column before pooling of each sum, as far as this pixel of its vector is kept."""
        layer, outputs, stride = self.layer, self.outputs, self.want.pool_stride
        y, x = np.full((2, layer.vectors, layer.window), NOTHING)
        rows, columns = np.nonzero(outputs.pixel == pixel)
        vectors = outputs.vector[rows, columns]
        in_window = np.divmod(np.arange(layer.window), self.want.pool[1])
        y[vectors] = rows[:, None] * stride[0] + in_window[0]
        x[vectors] = columns[:, None] * stride[1] + in_window[1]
        return y.ravel(), x.ravel()

    # From accumulators to outputs

    def parameters(self) -> None:
        """Each output is requantized with the numbers of its channel."""
        d, want = self.layer.d, self.want
        for what, number, meant in (
            ("zero point", d.zero_point, want.zero_point),
            ("least output", d.lo, want.lo),
            ("largest output", d.hi, want.hi),
            ("rounding of ties away from zero", d.ties_away, int(want.ties_away)),
        ):
            self.require(number == meant, f"its {what} is {number}, not {meant}")
        self.require(
            self.layer.cfg.adder or (not want.ties_away and want.summand is None),
            "it needs an adder, which the configuration has not",
        )
        self._lookup()
        if self.layer.cfg.adder:
            self._terms()
        multiplier, bias = parameters(self.memories.params[self.outputs.param_words(self.layer)])
        patterns = want.multiplier.astype(np.float32).view(np.uint32).astype(np.int64)
        for what, loaded, wanted in (
            ("multiplier (as bits)", multiplier, patterns),
            ("bias", bias, want.bias),
        ):
            wrong = loaded != wanted
            if wrong.any():
                pixel, channel = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
                self._fail(
                    f"output channel {channel}: its {what} is {loaded[pixel, channel]}, not "
                    f"{wanted[channel]}"
                )
        self.count.outputs += want.target.size

    def _lookup(self) -> None:
        """Each output is looked up in the table that the network defines, or in none."""
        d, table, memories = self.layer.d, self.want.table, self.memories
        if table is None:
            self.require(not d.looks_up, "it looks its outputs up in a table, but in none is right")
            return
        self.require(bool(d.looks_up), "it does not look its outputs up in a table")
        places = np.arange(TABLE_SIZE) + TABLE_SIZE * d.table_index
        self.require(
            places[-1] < len(memories.tables) and bool(memories.has_tables[places].all()),
            f"not all of table {d.table_index}, in which it looks its outputs up, has been loaded",
        )
        self.require(
            d.table_signed == table.output.signed,
            f"what it finds is {'signed' if d.table_signed else 'unsigned'}, but should not be",
        )
        # Entries of the network are in the order of values, those of the hardware of bytes.
        value = np.arange(table.input.limits[0], table.input.limits[1] + 1)
        entries, wanted = (
            memories.tables[places].astype(np.int64) & 0xFF,
            table.integers(value) & 0xFF,
        )
        wrong = entries[value & 0xFF] != wanted
        if wrong.any():
            i = int(np.argmax(wrong))
            self._fail(
                f"table {d.table_index} has {entries[value[i] & 0xFF]} for {value[i]}, not "
                f"{wanted[i]}"
            )

    def _terms(self) -> None:
        """The adder computes the sum that the network defines, or changes nothing."""
        d, summand = self.layer.d, self.want.summand
        if summand is None:
            self.require(not d.pops, "its adder takes what is to be added, but nothing is")
            return
        for what, number, meant in (
            ("taking of what is added", d.pops, 1),
            ("multiplier of outputs", d.own_multiplier, summand.own_multiplier),
            ("multiplier of what is added", d.operand_multiplier, summand.multiplier),
            ("constant", d.sum_constant, summand.constant),
            ("shift", d.sum_shift, summand.shift),
            ("rounding of ties away from zero", d.sum_ties_away, int(summand.ties_away)),
            ("zero point", d.sum_zero_point, summand.zero_point),
            ("least sum", d.sum_lo, summand.lo),
            ("largest sum", d.sum_hi, summand.hi),
        ):
            self.require(number == meant, f"its adder's {what} is {number}, not {meant}")

    def summands(self) -> None:
        """To each output the element of its own place is added, which is there by then."""
        d, summand, outputs, contents = self.layer.d, self.want.summand, self.outputs, self.contents
        if summand is None:
            return
        tensor = summand.tensor
        self.require(
            d.operand_signed == tensor.signed,
            f"what it adds is {'signed' if tensor.signed else 'unsigned'}, but read otherwise",
        )
        addresses, number = outputs.summands(self.layer)
        within = (addresses >= 0) & (addresses < contents.size)
        held = np.where(within, contents.elements(tensor).take(addresses, mode="clip"), NOTHING)
        wrong = held != np.arange(held.size).reshape(held.shape)
        if wrong.any():
            i = int(np.argmax(wrong))
            occupant = "no element" if held.flat[i] == NOTHING else f"element {held.flat[i]}"
            self._fail(
                f"to output {place(wrong)} it adds byte {addresses.flat[i]} of the activation "
                f"memory, which holds {occupant} of '{tensor.name}' then"
            )
        number = np.broadcast_to(number, addresses.shape)
        early = number < d.safe_steps
        wrong = early & (number < contents.readable[addresses])
        if wrong.any():
            i = int(np.argmax(wrong))
            self._fail(
                f"step {number.flat[i]} reads {byte(addresses.flat[i])}, which may be on its way "
                f"from the layer before, but only steps from {d.safe_steps} on wait for it"
            )
        self.count.reads += addresses.size
        self.count.early_reads += int(early.sum())

    def writes(self) -> Ints:
        """Outputs go to memory. Returns their bytes."""
        contents, outputs = self.contents, self.outputs
        self.require(not self.layer.d.to_result, "its outputs go to the results")
        addresses = outputs.channel_at[:, None, None] + outputs.pixel_at
        over = contents.holds(self.want.source)
        if self.want.summand is not None:
            over |= contents.holds(self.want.summand.tensor)
        over = over.take(addresses, mode="clip")
        if over.any():
            self._fail(
                f"output {place(over)} is written to {byte(addresses.flat[np.argmax(over)])}, "
                f"which holds an element of its input"
            )
        contents.put(self.where, self.want.target, addresses.ravel(), np.arange(addresses.size))
        contents.readable[:] = 0
        contents.readable[addresses] = self._readable()
        return addresses.ravel()

    def _readable(self) -> Ints:
        """The first step of the next layer by which each output is in memory, whatever stalls:
        (channels, rows, columns)."""
        return self.layer.first_reads(self.free_from)[self.outputs.beats(self.layer)]

    def results(self, output_bytes: Ints, order: Order) -> None:
        """Outputs go to the results. output_bytes: (outputs,), where the program says they are, in
        that order."""
        d, target = self.layer.d, self.want.target
        self.require(bool(d.to_result), "its outputs go to memory")
        self.require(
            d.out_signed == target.signed,
            f"outputs are {'signed' if target.signed else 'unsigned'}, but compared otherwise",
        )
        coming, wanted = self.outputs.result_bytes(self.layer), np.ravel(output_bytes)
        self.require(
            wanted.size == coming.size,
            f"{coming.size} outputs come, but the program places {wanted.size}",
        )
        wanted = order.inward(wanted.reshape(1, *order.shape(coming.shape)))[0]
        wrong = coming != wanted
        if wrong.any():
            i = int(np.argmax(wrong))
            self._fail(
                f"output {place(wrong)} is byte {coming.flat[i]} of the results, not "
                f"{wanted.flat[i]}"
            )

    def _fail(self, what: str) -> None:
        raise MiscompiledError(self.where, what)


def _distinct(offsets: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Pixel groups that read the same: what they add to the first one's reads, and their numbers.
    offsets: (3, pixel groups)."""
    distinct, inverse = np.unique(offsets, axis=1, return_inverse=True)
    for i, offset in enumerate(distinct.T):
        yield offset, np.flatnonzero(inverse.ravel() == i)

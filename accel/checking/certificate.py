"""What was shown of a program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What was shown of a program, in numbers."""

    network: str
    configuration: str
    layers: int
    words: int
    """Of the program stream."""
    products: int
    """Pairs of weight and activation, padded ones included, in all accumulators."""
    accumulators: int
    """Sums before pooling, one for each output channel and pixel."""
    outputs: int
    """Of all layers."""
    reads: int
    """Bytes of activation memory that the steps read."""
    early_reads: int
    """Of those, the ones for which a layer does not wait until the one before is in memory."""
    weight_words: int
    """Loaded."""
    param_words: int
    act_rows: int
    """Of the activation memory, from the first to the last one that holds an element."""
    largest_accumulator: int
    """Bound of any accumulator's magnitude."""
    seed: int
    """Of the residues."""
    residue_sums: int
    """That were compared; each is the sum of one pixel's accumulators of several channels."""
    bound: float
    """Probability, at most, that a certain wrong accumulator was missed by the residues alone."""
    bound_of_all: float
    """That any was."""
    seconds: float

    def table(self) -> Table:
        """For a terminal."""
        table = Table(
            title=f"{self.network} on {self.configuration}: for every input",
            box=SIMPLE_HEAD,
            title_justify="left",
        )
        table.add_column("shown")
        table.add_column("counted", justify="right")
        for shown, counted in self._rows():
            table.add_row(shown, counted)
        return table

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "packets that the hardware takes", f"{self.words:,} words"
        yield "sums of exactly the network's products", f"{self.accumulators:,} accumulators"
        yield "", f"{self.products:,} products"
        yield "the same with random residues modulo 2^61 - 1", f"{self.residue_sums:,} sums"
        yield "written once, at its place, with its bias and limits", f"{self.outputs:,} outputs"
        yield "read where an element of the layer's input lies", f"{self.reads:,} bytes"
        yield "there in time without waiting, whatever stalls", f"{self.early_reads:,} of them"
        yield "loaded, and enough", f"{self.weight_words:,} weight words"
        yield "", f"{self.param_words:,} parameter words"
        yield "addresses within the activation memory", f"{self.act_rows:,} rows"
        yield "no accumulator overflows", f"{self.largest_accumulator:,} at most"

    def notes(self) -> list[str]:
        """What else is to be known of it."""
        return [
            f"residues: seed {self.seed}; a wrong sum is missed with a probability of at most "
            f"{self.bound:.2g}, any at all with {self.bound_of_all:.2g}",
            "not shown here: how accumulators are rounded to activations (make exhaustive)",
            f"took {self.seconds:.2f} s",
        ]

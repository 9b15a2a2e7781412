"""Draws what came out of a run."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from accel.hardware.status import Activity
from accel.images import pictures
from accel.reports.evaluation import Evaluation

GOOD, BAD, STEP, LOST = "#1b6e3c", "#b3261e", "#3b6ea5", "#e0a030"
NUM_RIGHT, NUM_WRONG = 16, 8


def draw(evaluation: Evaluation) -> bytes:
    """A PNG: images with predicted and true classes, some of the wrong ones among them, and the
    cycles of each layer with what they went into."""
    figure = Figure(figsize=(12, 7.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1.35, 1))  # type: ignore[misc]
    _draw_images(left, evaluation)
    _draw_cycles(right, evaluation)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": "accel"})
    return file.getvalue()


def _draw_images(figure: Any, evaluation: Evaluation) -> None:
    winners, correct, n = evaluation.winners, evaluation.correct, len(evaluation)
    labels = winners if evaluation.labels is None else evaluation.labels
    is_right = winners == labels
    wrong = np.flatnonzero(~is_right)[:NUM_WRONG]
    right = np.flatnonzero(is_right)[: NUM_RIGHT + NUM_WRONG - len(wrong)]
    shown = [*right, *wrong]
    figure.suptitle(
        (
            f"{n:,} images"
            if correct is None
            else f"{correct:,} of {n:,} images in their class ({correct / n:.1%})"
        )
        + f", {evaluation.mismatched_outputs} outputs differ from those of "
        f"{evaluation.comparison.reference}"
    )
    axes = figure.subplots(4, 6).ravel()
    seen = pictures(evaluation.images.values[shown], evaluation.run.program.input)
    for axis, i, picture in zip(axes, shown, seen, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        said, true = evaluation.class_name(winners[i]), evaluation.class_name(labels[i])
        text = said if said == true else f"{said}\n(is: {true})"
        axis.set_title(text, fontsize=9, color=GOOD if said == true else BAD)
    for axis in axes:
        axis.axis("off")


def _draw_cycles(figure: Any, evaluation: Evaluation) -> None:
    run = evaluation.run
    axis = figure.subplots()
    names = [layer.name for layer in run.program.layers]
    spent = run.spent
    if spent is None:
        figure.suptitle("the functional level has no cycles")
        axis.barh(names, [layer.steps for layer in run.program.layers], color=STEP)
        axis.set_xlabel("steps of the mapping")
    else:
        figure.suptitle(
            f"{run.cycles_per_image:,.0f} cycles an image, {run.utilization:.1%} of what "
            f"{run.program.cfg.num_multipliers} multipliers can do"
        )
        steps = spent[:, Activity.STEP]
        lost = spent.sum(axis=1) - steps
        axis.barh(names, steps, color=STEP, label="a step was issued")
        axis.barh(names, lost, left=steps, color=LOST, label="none was")
        for i, (cycles, less) in enumerate(zip(spent.sum(axis=1), lost, strict=True)):
            axis.annotate(
                f" {cycles:,.0f}" + (f" ({less:,.0f} lost)" if less else ""),
                (cycles, i), va="center", fontsize=9,
            )  # fmt: skip
        axis.legend(loc="lower right", fontsize=9)
        axis.set_xlabel("cycles")
        axis.margins(x=0.25)
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)

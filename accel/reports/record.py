"""What ``accel run --json`` writes: the figures of a run, and all that its page shows.

The file is one JSON object, a :class:`Record`. Cycles are null where a level has no time or does
not say it, and figures of an image are means over images, of one after another where there were
several.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from accel.errors import AccelError
from accel.hardware.status import TRAFFIC

RECORD: Final = "accel run"
VERSION: Final = 3
"""What a file says that it is. Files of the first version said nothing, and had no images; those of
the second knew only Fashion-MNIST's, and no reference."""

MAX_FILE_BYTES = 1 << 26

# Whatever passes is small enough to be divided, added up and drawn.
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Positive = Annotated[int, Field(ge=1, le=2**53)]
_Amount = Annotated[float, Field(ge=0, le=2**53)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class LayerRecord(_Model):
    """A layer, for one image."""

    name: str
    kind: str
    macs: _Count
    """Multiply-accumulates."""
    steps: _Positive
    """Cycles that the mapping needs at least."""
    array_steps: _Positive
    """Those of them in which the array multiplies."""
    cycles: Annotated[float, Field(gt=0, le=2**53)] | None
    utilization: _Amount | None
    """Multiply-accumulates over what all multipliers could do in these cycles."""
    lost_cycles: dict[str, _Amount] | None
    """Cycles without a step, by cause: see :class:`accel.hardware.status.Activity`."""
    traffic: dict[str, _Amount]
    """What the hardware counted: see :data:`accel.hardware.status.TRAFFIC`."""
    energy: Annotated[dict[str, dict[str, _Amount]], Field(min_length=1)]
    """By variant ("as it is", and without what saves energy) and kind of access, in units of one
    multiply-accumulate: see :class:`accel.reports.energy.Accesses`."""


class TensorRecord(_Model):
    """A tensor in the activation memory, as :class:`accel.compiler.program.StoredTensor`."""

    name: str
    shape: list[_Positive]
    first_row: _Count
    rows: _Positive
    kept: Annotated[list[tuple[_Count, _Positive]], Field(min_length=1)]
    """First layer and layer after the last of each time while which it is kept."""


class ImageRecord(_Model):
    """An image that is worth a look."""

    index: _Count
    """Among those that were run."""
    label: _Count | None
    """Its class, if it is known."""
    winner: _Count
    logits: list[int]
    """The accelerator's integers: q stands for (q - ``logit_zero_point``) * ``logit_scale``."""
    pixels: Base64Bytes
    """The picture, of the shape that the record says."""


class BoardRecord(_Model):
    """A board and the line to it, as :class:`accel.simulation.runner.BoardFigures`."""

    activity: dict[str, _Count]
    """Cycles of ``counted_images``, by what the accelerator did."""
    counted_images: _Positive
    bytes_sent: _Count
    bytes_received: _Count
    loads: _Count
    fresh_starts: _Count


class Record(_Model):
    """A run, what it should have been, and what it ran on."""

    record: Literal["accel run"]
    version: Literal[3]
    made: AwareDatetime
    command: str | None
    """The command line that made it; null from Python."""
    versions: dict[str, str]
    """Of Python, accel and the packages that computed."""
    network: str
    notes: list[str]
    """What a user should know of how the network was read."""
    reference: str
    """With what outputs were compared: see :class:`accel.runtimes.reference.Reference`."""
    level: str
    config: str
    """The configuration's short name."""
    configuration: dict[str, int | bool]
    """All its fields."""
    images: _Positive
    images_source: str
    """Where they were from."""
    correct: _Count | None
    """Null, as accuracy and confusion, where nobody knows their classes."""
    accuracy: _Amount | None
    mismatched_outputs: _Count
    """Logits and classes that differ from those of ``reference``."""
    outputs: _Positive
    """Logits and classes that were compared."""
    classes: list[str]
    confusion: list[list[_Count]] | None
    """Images of class i that were put in class j; null also where there are very many."""
    cycles_per_image: Annotated[float, Field(gt=0, le=2**53)] | None
    latency_cycles: _Count | None
    macs_per_image: _Count
    multipliers: _Positive
    memory_bytes_per_cycle: _Positive
    """Most bytes that the activation and weight memories yield in a cycle."""
    utilization: _Amount | None
    seconds: _Amount
    build_seconds: _Amount
    cycles_per_second: _Amount | None
    board: BoardRecord | None = None
    """At level board alone."""
    layers: Annotated[list[LayerRecord], Field(min_length=1)]
    memory_rows: _Positive
    """Rows of the activation memory, 9 bytes each."""
    memory_rows_used: _Positive
    tensors: list[TensorRecord]
    """The image, and what layers write there."""
    logit_scale: _Amount
    logit_zero_point: int
    picture_shape: Annotated[list[_Positive], Field(min_length=2, max_length=3)]
    """Height and width, and three colours if it has them, of the images' pictures."""
    wrong: list[ImageRecord]
    """Misclassified images, those with the largest distance between the logits first; not all if
    they are many."""
    least_certain: list[ImageRecord]
    """Images, right or wrong, whose two largest logits are closest."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        num = len(self.classes)
        rows = self.confusion or []
        if self.confusion is not None and {len(rows), *map(len, rows)} != {num}:
            raise ValueError("confusion must have a row and a column for each of classes")
        if (self.correct is None) != (self.accuracy is None):
            raise ValueError("accuracy must be null where correct is")
        if self.correct is None and (self.confusion is not None or self.wrong):
            raise ValueError("confusion and wrong must be empty where correct is null")
        if self.picture_shape[2:] not in ([], [3]):
            raise ValueError("pictures must have three colours, or none")
        if any(not a < b <= len(self.layers) for t in self.tensors for a, b in t.kept):
            raise ValueError("tensors must be kept while some of the layers run")
        variants = self.layers[0].energy
        for layer in self.layers:
            if set(layer.traffic) != set(TRAFFIC):
                raise ValueError(f"traffic of layers must be of {', '.join(TRAFFIC)}")
            for name in ("cycles", "utilization", "lost_cycles"):
                if (getattr(layer, name) is None) != (self.cycles_per_image is None):
                    raise ValueError(f"{name} of layers must be null as cycles_per_image is")
            if layer.energy.keys() != variants.keys() or any(
                kinds.keys() != variants[variant].keys() for variant, kinds in layer.energy.items()
            ):
                raise ValueError("energy must have the same variants and kinds in all layers")
        for image in (*self.wrong, *self.least_certain):
            if len(image.pixels) != prod(self.picture_shape):
                raise ValueError(f"pixels of an image must be {prod(self.picture_shape)} bytes")
            if (image.label is None) != (self.correct is None):
                raise ValueError("label of an image must be null where correct is")
            if max(image.label or 0, image.winner, len(image.logits) - 1) >= num:
                raise ValueError("label, winner and logits of an image must be among classes")
            if any(abs(q) > 255 for q in image.logits):
                raise ValueError("logits of an image must be int8 or uint8")
        return self


def load(path: Path) -> Record:
    """The record in a file that ``accel run --json`` wrote.

    Raises :class:`AccelError` when the file cannot be read, is no such record or one of another
    version, or contradicts itself.
    """
    again = "write one with accel run --json FILE"
    try:
        with open(path, "rb") as f:
            raw = f.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror}; {again}") from e
    if len(raw) > MAX_FILE_BYTES:
        raise AccelError(f"{path} is larger than any record of accel run: {again}")
    try:
        found: Any = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise AccelError(f"{path} is not JSON: {again}") from e
    if not isinstance(found, dict) or found.get("record") != RECORD:
        first = isinstance(found, dict) and {"level", "cycles_per_image", "layers"} <= found.keys()
        if first:
            raise AccelError(f"{path} was written by an older accel, without images: {again}")
        raise AccelError(f"{path} is JSON, but not what accel run wrote: {again}")
    if found.get("version") != VERSION:
        raise AccelError(
            f"{path} is a record of version {found.get('version')!r}, but this accel reads "
            f"{VERSION}: {again}"
        )
    try:
        return Record.model_validate_json(raw)
    except ValidationError as e:
        error = e.errors(include_url=False, include_input=False)[0]
        # Keys of a damaged file may be anything: one line all the same.
        where = repr(".".join(str(part) for part in error["loc"]))[1:-1]
        what = f"{where}: {error['msg']}" if where else error["msg"]
        raise AccelError(f"{path} is a damaged record of accel run ({what}): {again}") from e

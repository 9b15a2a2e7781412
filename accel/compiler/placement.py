"""The third pass: every tensor gets a place in the activation memory while it lives, every layer
its words of the weight and the parameter memory, and what does not fit is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accel.compiler.layout import Layout
from accel.compiler.mapping import Mapping
from accel.compiler.refusal import Refusal
from accel.hardware.config import TAPS, AccelConfig, largest
from accel.network.tensor import Tensor

IMAGE = "image"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor lies, from the layer that writes it to the last one that reads it. The image,
    which no layer writes, is there when the first layer begins: see :class:`Placement`."""

    tensor: Tensor
    layout: Layout
    base: int
    """Its first byte."""
    written_by: int | None
    """The first layer that does."""
    last_read_by: int
    is_part: bool = False
    """It lies in another tensor's place."""

    @property
    def first_row(self) -> int:
        return self.base // TAPS

    @property
    def end_row(self) -> int:
        """The row after its last."""
        return -(-(self.base + self.layout.num_bytes) // TAPS)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """tensors: of each tensor in memory its place, by name; the last layer's output is in none.
    image_freed_by: the layer after which the next image loads. weight_bases, param_bases: first
    words of each layer's."""

    tensors: dict[str, Place]
    image_freed_by: int
    weight_bases: tuple[int, ...]
    param_bases: tuple[int, ...]
    act_rows: int
    weight_words: int
    param_words: int

    def stored(self, written: Iterable[Tensor]) -> Iterator[Place]:
        """The image's place, and of those tensors each that has one. What others are joined in is
        there with its parts."""
        names = {tensor.name for tensor in written}
        for place in self.tensors.values():
            if place.written_by is None or place.tensor.name in names:
                yield place


def place(mappings: list[Mapping], act_depth: int) -> Placement:
    """Places for all there is, whether the memories are that large or not: :func:`excess` says.

    The next image loads as early as the activation memory allows: after the last layer that reads
    this one, if there is room for it beside all that the layers write; else after a later one, and
    what is alive only in between lies where the image was::

        layer       0       1       2       3       4
        image       ####################################  freed by 0: a place of its own
        image       ########                    ########  freed by 3
        in between          xxxxxxxxxxxxxxxxxxxx          written by 1 and 2, read by 3 at last
    """
    last_reader = _last_readers(mappings)
    first = last_reader[mappings[0].layer.source.name]
    ways = [
        (freed_by, _place_tensors(mappings, freed_by)) for freed_by in range(first, len(mappings))
    ]
    rows = [max(p.end_row for p in tensors.values()) for _, tensors in ways]
    fits = [i for i, needed in enumerate(rows) if needed <= act_depth]
    chosen = fits[0] if fits else rows.index(min(rows))
    image_freed_by, tensors = ways[chosen]
    weight_bases, param_bases = [0], [0]
    for m in mappings:
        weight_bases.append(weight_bases[-1] + m.weight_words)
        param_bases.append(param_bases[-1] + m.param_words)
    return Placement(
        tensors=tensors,
        image_freed_by=image_freed_by,
        weight_bases=tuple(weight_bases[:-1]),
        param_bases=tuple(param_bases[:-1]),
        act_rows=rows[chosen],
        weight_words=weight_bases[-1],
        param_words=param_bases[-1],
    )


def _last_readers(mappings: list[Mapping]) -> dict[str, int]:
    return {t.name: i for i, m in enumerate(mappings) for t in m.layer.sources}


def _place_tensors(mappings: list[Mapping], image_freed_by: int) -> dict[str, Place]:
    """The image lies at the start; any other tensor gets the lowest place that is free while it
    lives, which where the image is it is not before its last reader and after ``image_freed_by``.
    """
    last_reader = _last_readers(mappings)
    first = mappings[0]
    image = first.layer.source.name
    places = {
        image: Place(
            tensor=first.layer.source,
            layout=first.source,
            base=0,
            written_by=None,
            last_read_by=last_reader[image],
        )
    }
    families = _families(mappings)
    for i, m in enumerate(mappings[:-1]):
        nested = [(m.layer.target, 0), *((w.whole, w.first_channel) for w in m.layer.within)]
        whole = nested[-1][0]
        if whole.name not in places:
            layout = Layout(*whole.shape)
            until = max((last_reader.get(name, i) for name in families[whole.name]), default=i)
            alive = [p for p in places.values() if p.last_read_by >= i and not p.is_part]
            # It is read, and so is in memory whole, before the next image comes.
            if not last_reader[image] < i < until <= image_freed_by:
                alive.append(places[image])
            start = 0
            for other in sorted(alive, key=lambda p: p.first_row):
                if start + layout.num_rows <= other.first_row:
                    break
                start = max(start, other.end_row)
            places[whole.name] = Place(
                tensor=whole,
                layout=layout,
                base=TAPS * start,
                written_by=i,
                last_read_by=until,
            )
        # From the outermost to what the layer writes, which has the strides of all around it
        outer = places[whole.name]
        for (tensor, _), (_, channel) in zip(nested[-2::-1], nested[:0:-1], strict=True):
            outer = places.setdefault(
                tensor.name,
                Place(
                    tensor=tensor,
                    layout=Layout(*tensor.shape),
                    base=outer.base + channel * outer.layout.channel_stride,
                    written_by=i,
                    last_read_by=outer.last_read_by,
                    is_part=True,
                ),
            )
    return places


def _families(mappings: list[Mapping]) -> dict[str, set[str]]:
    """Of each tensor that has a place of its own, the names of all that lie in it."""
    parts: dict[str, set[str]] = {}
    for m in mappings:
        names = [m.layer.target.name, *(w.whole.name for w in m.layer.within)]
        parts.setdefault(names[-1], set()).update(names)
    return parts


def excess(mappings: list[Mapping], placement: Placement, cfg: AccelConfig) -> Iterator[Refusal]:
    """For each memory that is too small, the first layer with which it is."""
    image, *others = (p for p in placement.tensors.values() if not p.is_part)
    yield from _too_many(
        "act_depth",
        cfg.act_depth,
        placement.act_rows,
        [
            *(
                (
                    mappings[p.written_by or 0].layer.name,
                    p.end_row,
                    f"with its output of {p.layout.num_rows} rows the activation memory",
                    "rows",
                )
                for p in others
            ),
            (IMAGE, image.end_row, "it", "rows of activation memory"),
        ],
    )
    for limit, bases, total in (
        ("weight_depth", placement.weight_bases, placement.weight_words),
        ("param_depth", placement.param_bases, placement.param_words),
    ):
        ends = (*bases[1:], total)
        yield from _too_many(
            limit,
            getattr(cfg, limit),
            total,
            [
                (m.layer.name, end, "with it the network", "words")
                for m, end in zip(mappings, ends, strict=True)
            ],
        )


def _too_many(
    limit: str, room: int, total: int, needs: list[tuple[str, int, str, str]]
) -> Iterator[Refusal]:
    """The first of ``needs`` (layer, amount, what needs it, its unit) that is beyond ``room``."""
    for layer, needed, what, unit in needs:
        if needed > room:
            name = "the image" if layer == IMAGE else f"layer '{layer}'"
            yield Refusal(
                layer=layer,
                limit=limit,
                needed=needed,
                room=room,
                sentence=f"{name} does not fit: {what} needs {needed} {unit}, {needed - room} more "
                f"than {limit} = {room}",
                would_do=would_do(limit, total),
            )
            return


def would_do(limit: str, needed: int) -> int | None:
    """The value of the configuration's field that is enough, if one is."""
    power_of_two = limit in ("act_depth", "tables")
    value = 1 << (needed - 1).bit_length() if power_of_two else needed
    return value if value <= largest(limit) else None

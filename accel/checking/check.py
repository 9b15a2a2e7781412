"""A program is checked before it is used: it computes its network, for every input.

What is shown, layer by layer, from the words of the program alone:

Sums
    Each accumulator, of every pixel of every pooling window, is the sum of exactly the products
    that the network defines: the pairs of weight and element of the layer's input are the same,
    each as often, whatever the values of the elements. Products with a weight of zero are left out
    on both sides. Padded taps are products with the pad value that the network defines.
Outputs
    Each is the maximum of the accumulators of its window, gets its channel's bias, multiplier, zero
    point and limits, and is written once: to a byte of its own, or to its place in the results.
    To it the element of the other tensor of a sum is added that has its place, with the numbers
    that the network defines, and where it defines none, nothing.
Memory
    No step reads a byte that does not hold an element of its layer's input by then, whatever
    stalls: none on its way to memory, of another tensor, or of the next image.
Room
    Every word that is read was loaded, every address lies within its memory, no accumulator
    overflows, and the three sequencers count alike, so that none waits for ever.

Sums that read the same elements relative to their windows are compared once, for all output
channels together, so that the proof takes a time linear in the reads and in the weights, which is
less than the products.

A second, independent way: bytes of memory hold random residues modulo the prime p = 2^61 - 1, one
for each element, and weights are other residues, one for each channel and value. Then the sums of
the program are those of the network's own arithmetic (:mod:`accel.numerics`). Their difference is a
polynomial of degree 2 in what was drawn, after the program was fixed; unless it is zero, it
vanishes with a probability of at most 2/p (Schwartz and Zippel).

It ends where accumulators become activations. That requantizing never decreases when the
accumulator grows, and rounds as the runtime does, is for ``make exhaustive``.
"""

from __future__ import annotations

import secrets
from math import prod
from time import perf_counter

import numpy as np

from accel.checking import residues
from accel.checking.certificate import Certificate
from accel.checking.contents import NOTHING, Contents
from accel.checking.definition import definitions, map_shape
from accel.checking.fault import require
from accel.checking.layers import Count, LayerCheck
from accel.checking.replay import Bools, ImageWrites, Layer, Memories, load
from accel.compiler.program import Program
from accel.hardware.config import TAPS
from accel.hardware.descriptors import BYTES_PER_WORD
from accel.network.graph import Network
from accel.network.tensor import Tensor


def check(network: Network, program: Program, seed: int | None = None) -> Certificate:
    """Show that ``program`` computes ``network``, for every input.

    seed: of the residues; without, one that no one could have known when the program was made.

    Raises :class:`~accel.checking.fault.MiscompiledError` naming layer, output and difference when
    it does not.
    """
    start = perf_counter()
    seed = secrets.randbits(64) if seed is None else seed
    memories = load(program.words, program.cfg)
    contents = Contents(TAPS * program.cfg.act_depth, np.random.default_rng(seed))
    count = _replay(network, program, memories, contents)
    bound = 2 / residues.PRIME
    return Certificate(
        network=network.name,
        configuration=str(program.cfg),
        layers=len(memories.layers),
        words=len(program.words),
        products=count.products,
        accumulators=count.accumulators,
        outputs=count.outputs,
        reads=count.reads,
        early_reads=count.early_reads,
        weight_words=int(memories.has_weights.sum()),
        param_words=int(memories.has_params.sum()),
        act_rows=-(-contents.end // TAPS),
        largest_accumulator=count.largest_accumulator,
        seed=seed,
        residue_sums=count.residue_sums,
        bound=bound,
        bound_of_all=bound * count.residue_sums,
        seconds=perf_counter() - start,
    )


def _replay(network: Network, program: Program, memories: Memories, contents: Contents) -> Count:
    """All layers, in their order, for one image."""
    where, count, wanted = "the program", Count(), definitions(network)
    num_layers = len(memories.layers)
    require(
        num_layers == len(wanted),
        where,
        f"it runs {num_layers} layers, but the network has {len(wanted)}",
    )
    frees = [i for i, d in enumerate(memories.layers) if d.frees_input]
    require(
        len(frees) == 1,
        where,
        f"{len(frees)} layers say that nothing reads the image any more, not one",
    )
    image = _load_image(network.input, memories, contents)
    for i, (d, want) in enumerate(zip(memories.layers, wanted, strict=True)):
        layer = LayerCheck(
            layer=Layer(d, program.cfg),
            want=want,
            memories=memories,
            contents=contents,
            count=count,
            # Before the first layer comes the last one of the image before.
            free_from=d.safe_steps if memories.layers[i - 1].to_result else 0,
        )
        layer.shape()
        layer.room()
        layer.sums()
        layer.summands()
        layer.parameters()
        if i == num_layers - 1:
            layer.results(program.output_bytes, program.order)
            continue
        written = layer.writes()
        for join in want.joined:
            contents.join(join.whole, join.parts)
        # From the last step of its last reader on, the next image may come at any time.
        require(
            i < frees[0] or not image[written].any(),
            layer.where,
            "it writes where the next image is loaded",
        )
        if i == frees[0]:
            contents.forget(image)
    return count


def _load_image(image: Tensor, memories: Memories, contents: Contents) -> Bools:
    """Returns which bytes of memory are written with an image."""
    where, d = "the image", memories.image
    channels, height, width = _stream_shape(image)
    row_words = -(-width // BYTES_PER_WORD)
    words, found = channels * height * row_words, prod(loop.count for loop in d.loops)
    require(found == words, where, f"it has {words} words, but the hardware waits for {found}")
    writes = ImageWrites.of(d)
    # Each row of each channel starts a word.
    element = np.full((channels, height, row_words * BYTES_PER_WORD), NOTHING)
    element[:, :, :width] = np.arange(image.size).reshape(channels, height, width)
    at = writes.address[writes.writes]
    contents.put(where, image, at, element.reshape(writes.address.shape)[writes.writes])
    written = np.zeros(contents.size, bool)
    written[at] = True
    return written


def _stream_shape(tensor: Tensor) -> tuple[int, int, int]:
    """Channels, rows and columns in which an image comes: a vector is one row."""
    channels, height, width = map_shape(tensor)
    return (channels, height, width) if height * width > 1 else (1, 1, channels)

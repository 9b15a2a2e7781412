"""A network from a file of any kind that there is a reader for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from accel.errors import AccelError
from accel.network.graph import Network
from accel.network.tensor import short

READERS = {
    ".safetensors": "network.file",
    ".onnx": "frontends.onnx",
    ".tflite": "frontends.litert",
}
"""By suffix, the module in which ``load(path)`` reads such a file."""

PICKLES = {".pt2": "torch.export.load", ".pt": "torch.load", ".pth": "torch.load"}
"""By suffix, what reads a file that may hold pickles."""

_SUPPORTED = f"{', '.join(READERS)} (the first is what accel quantize writes)"


def load(source: Any, input_shape: Sequence[int] | None = None) -> Network:
    """The network in a file: one that ``Network.save`` or ``accel quantize`` wrote
    (``.safetensors``), a quantized ONNX model (``.onnx``), or one for LiteRT (``.tflite``). Or that
    of a PyTorch model that ``convert_fx`` or ``convert`` has quantized, or ``convert_pt2e``,
    exported once more or not.

    source: the file's path, or the model. input_shape: of an image that a PyTorch model takes,
    (channels, height, width), (features,) or (channels, length), if it does not say that itself; of
    no file. A file is data: nothing in it runs. A network is returned as it is.

    Raises :class:`AccelError` for a file that cannot be read, is damaged, or holds what no network
    has; for a suffix that is not known; and for a float model, which ``accel.quantize`` takes.
    """
    if input_shape is not None and isinstance(source, Network | str | Path):
        raise AccelError(
            "input_shape is for a PyTorch model: a file or a network says itself which images it "
            "takes, so leave it out"
        )
    if isinstance(source, Network):
        return source
    if (exported := _exported()) is not None and exported.is_exported(source):
        quantized: Network = exported.network_of(source, input_shape)
        return quantized
    if _is_converted(source):
        network: Network = import_module("accel.frontends.converted").network_of(
            source, input_shape
        )
        return network
    if not isinstance(source, str | Path):
        raise AccelError(_not_a_file(source))
    path = Path(source)
    reader = READERS.get(path.suffix.lower())
    if reader is None and (not path.is_file() or _is_safetensors(path)):
        # Such a file may have any name.
        reader = READERS[".safetensors"]
    if reader is None and (how := PICKLES.get(path.suffix.lower())):
        raise AccelError(
            f"{path} is a file of PyTorch's, which can run anything when it is read: if you trust "
            f"it, read it with {how}, and give what that returns"
        )
    if reader is None:
        raise AccelError(
            f"cannot tell what {path} holds: expected a file whose name ends in {_SUPPORTED}"
        )
    network = import_module(f"accel.{reader}").load(path)
    return network


def _exported() -> Any:
    # Whoever has a model has loaded torch.
    return import_module("accel.frontends.exported") if "torch" in sys.modules else None


def _is_converted(source: Any) -> bool:
    # Whoever has a model has loaded torch.
    if "torch" not in sys.modules or isinstance(source, str | Path):
        return False
    found: bool = import_module("accel.frontends.converted").is_converted(source)
    return found


def _is_safetensors(path: Path) -> bool:
    """Whether it begins like a safetensors file: the length of a JSON object, and the object."""
    try:
        with open(path, "rb") as f:
            return f.read(9)[8:] == b"{"
    except OSError as e:
        raise AccelError(f"cannot read {path}: {e.strerror}; name another file") from e


def _not_a_file(source: Any) -> str:
    kind = type(source).__name__
    # Whoever has such an object has loaded torch.
    torch = sys.modules.get("torch")
    models = () if torch is None else (torch.nn.Module, torch.export.ExportedProgram)
    if isinstance(source, models):
        return (
            f"{kind} is a float model: accel.quantize(model, calibration_images) makes a network "
            f"of it"
        )
    return f"accel.load takes a path to a file ({_SUPPORTED}) or a Network, not {short(kind)}"

"""What a network has too much of for a configuration, or for any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accel.errors import AccelError


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One limit that one layer goes beyond."""

    layer: str
    """Name of the layer; of the network or ``image`` where it is no layer's."""
    limit: str
    """A field of the configuration, or what the hardware counts."""
    needed: int
    room: int
    sentence: str
    would_do: int | None = None
    """A value of that field with which it would fit, as far as this limit goes, if there is one."""


class DoesNotFitError(AccelError):
    """All that does not fit, and what would do."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        self.would_do: dict[str, int] = {}
        """Values of the configuration's fields with which these limits would be none; True of a
        part that it may have."""
        for r in refusals:
            if r.would_do is not None:
                self.would_do[r.limit] = max(r.would_do, self.would_do.get(r.limit, 0))
        sentences = [r.sentence for r in refusals]
        if self.would_do:
            # As TOML has it
            settings = (f"{field} = {str(value).lower()}" for field, value in self.would_do.items())
            sentences.append(f"{' and '.join(settings)} would do")
        super().__init__("; ".join(sentences))

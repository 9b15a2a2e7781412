"""The smallest configuration that holds some networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from accel.compiler.compile import compile
from accel.compiler.refusal import DoesNotFitError
from accel.errors import AccelError
from accel.hardware.config import LIMITS, AccelConfig, largest
from accel.network.graph import Network
from accel.reports.tables import add_numbers, new_table

DEPTHS = ("act_depth", "weight_depth", "param_depth")
"""Memories that can be made as small as the networks allow."""
FITTED = (*DEPTHS, "acc_nbits", "max_layers")
"""All that can."""


def needs(network: Network, cfg: AccelConfig, fields: Sequence[str] = FITTED) -> dict[str, int]:
    """The least value of each of ``fields`` with which ``network`` fits ``cfg``.

    Raises :class:`AccelError` if it does not fit whatever they are.
    """
    roomy: dict[str, Any] = {name: largest(name) for name in fields}
    program = compile(network, dataclasses.replace(cfg, **roomy))
    least = {
        "act_depth": _least_act_depth(network, dataclasses.replace(cfg, **roomy)),
        "weight_depth": program.weight_words,
        "param_depth": program.param_words,
        "acc_nbits": program.max_accumulator.bit_length() + 1,
        "max_layers": len(program.layers),
    }
    return {name: max(least[name], LIMITS[name][0]) for name in fields}


def _least_act_depth(network: Network, cfg: AccelConfig) -> int:
    """Where there is room, the next image has a place of its own; how little would do is said only
    where there is too little."""
    try:
        compile(network, dataclasses.replace(cfg, act_depth=LIMITS["act_depth"][0]))
    except DoesNotFitError as e:
        return e.would_do["act_depth"]
    return LIMITS["act_depth"][0]


def smallest(networks: Sequence[Network], cfg: AccelConfig) -> AccelConfig:
    """``cfg`` with all of :data:`FITTED` as small as these networks allow.

    Raises :class:`AccelError` if one of them does not fit whatever they are.
    """
    needed = [needs(network, cfg) for network in networks]
    fitted: dict[str, Any] = {name: max(n[name] for n in needed) for name in FITTED}
    return dataclasses.replace(cfg, **fitted)


@dataclass(frozen=True)
class Candidate:
    """A number of columns, and the smallest configuration that has so many; or why there is
    none."""

    num_cols: int
    cfg: AccelConfig | None
    reason: str = ""
    steps: int = 0
    """Of all networks together: about so many cycles."""


def candidates(
    networks: Sequence[Network], base: AccelConfig, columns: Sequence[int]
) -> list[Candidate]:
    """The smallest configuration for each number of columns, few columns first."""
    found = []
    for num_cols in sorted(set(columns)):
        try:
            cfg = smallest(networks, dataclasses.replace(base, num_cols=num_cols))
        except AccelError as e:
            found.append(Candidate(num_cols, None, str(e)))
        else:
            steps = sum(compile(network, cfg).steps for network in networks)
            found.append(Candidate(num_cols, cfg, steps=steps))
    return found


def table(found: Sequence[Candidate]) -> Table:
    """For a terminal: what each number of columns takes."""
    from accel.exploration.sweep import storage_bytes

    shown = new_table("smallest configurations", "columns")
    add_numbers(shown, "multipliers", *(name.replace("_", "\n") for name in FITTED))
    add_numbers(shown, "bytes of\nmemory", "steps")
    for candidate in found:
        cfg = candidate.cfg
        if cfg is None:
            continue
        numbers = [cfg.num_multipliers, *(getattr(cfg, name) for name in FITTED)]
        numbers += [storage_bytes(cfg), candidate.steps]
        shown.add_row(str(cfg.num_cols), *(f"{n:,}" for n in numbers))
    shown.caption = "Steps are the least cycles that the mapping needs."
    return shown


def point(path: Path, line: int) -> AccelConfig:
    """The configuration in a line of the file of ``accel explore``; its first line has the columns'
    names.

    Raises :class:`AccelError` if the file is none, or has no such line.
    """
    from accel.exploration.sweep import FIELDS, read_rows

    rows = read_rows(path)
    if not 2 <= line <= len(rows) + 1:
        raise AccelError(
            f"{path} has no point in line {line}: its points are in lines 2 to {len(rows) + 1}"
        )
    return AccelConfig(**{name: rows[line - 2][name] for name in FIELDS})

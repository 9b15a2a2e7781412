"""Where the cells of each unit lie after place and route, as a picture."""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

KINDS = {
    "o": ("LUTs and flip-flops", 1.6, r"TRELLIS_(COMB|FF|RAMW|SLICE)|LUT4|CCU2C|TRELLIS_DPR16X4"),
    "s": ("block RAM", 26, r"DP16KD|PDPW16KD"),
    "D": ("multipliers", 12, r"MULT18X18D|ALU54B"),
}
"""By the marker that shows them: what cells of this type are, and how large they are drawn."""
NUM_COLOURS = 10
_PLACE = re.compile(r"X(?P<x>\d+)/Y(?P<y>\d+)/(SLICE(?P<slice>[A-D])\.[A-Z]+(?P<half>\d))?")


def draw(placed: str, title: str, unit_of: Callable[[str], str]) -> bytes:
    """A PNG. placed: what nextpnr-ecp5 writes with ``--write``. unit_of: to which unit a cell
    belongs, by its name: ``a.b.c`` for the cell c in b in the top's a."""
    found: defaultdict[str, defaultdict[str, list[tuple[float, float]]]]
    found = defaultdict(lambda: defaultdict(list))
    modules = json.loads(placed)["modules"]
    (module,) = modules.values()
    for name, cell in module["cells"].items():
        place = _PLACE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        marker = next((m for m, (_, _, p) in KINDS.items() if re.fullmatch(p, cell["type"])), None)
        if place and marker:
            x, y = float(place["x"]), float(place["y"])
            if place["slice"]:
                # Four slices a tile beside each other, of two halves each
                x += ("ABCD".index(place["slice"]) - 1.5) / 4
                y += (int(place["half"]) - 0.5) / 2
            found[unit_of(name)][marker].append((x, y))
    sizes = Counter({unit: sum(map(len, cells.values())) for unit, cells in found.items()})
    figure = Figure(figsize=(10, 6.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (unit, size) in enumerate(sizes.most_common()):
        colour = f"C{number}" if number < NUM_COLOURS else "0.6"
        for marker, (_, area, _) in KINDS.items():
            cells = found[unit][marker]
            axis.scatter(
                [x for x, _ in cells],
                [y for _, y in cells],
                area,
                color=colour,
                marker=marker,
                linewidths=0,
            )
        if number <= NUM_COLOURS:
            label = f"{unit}: {size:,}" if number < NUM_COLOURS else "others"
            axis.scatter([], [], 30, color=colour, marker="o", label=label)
    for marker, (what, area, _) in KINDS.items():
        axis.scatter([], [], max(area, 6), color="0.3", marker=marker, label=what)
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.set_title(title, fontsize=11)
    axis.set_xlabel("column of the device")
    axis.set_ylabel("row")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": "accel"})
    return file.getvalue()

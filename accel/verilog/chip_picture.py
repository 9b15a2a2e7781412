"""Where the cells of each unit lie after place and route, as a picture."""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

KINDS = {
    "o": ("LUTs and flip-flops", 1.2, r"TRELLIS_(COMB|FF|RAMW|SLICE)|LUT4|CCU2C|TRELLIS_DPR16X4"),
    "s": ("block RAM", 26, r"DP16KD|PDPW16KD"),
    "D": ("multipliers", 12, r"MULT18X18D|ALU54B"),
}
"""By the marker that shows them: what cells of this type are, and how large they are drawn."""
NUM_COLOURS = 10
BETWEEN = "between units"


def draw(placed: str, title: str, depth: int) -> bytes:
    """A PNG. placed: what nextpnr-ecp5 writes with ``--write``. depth: of the units in the names of
    cells, which are ``a.b.c`` for the cell c in b in the top's a."""
    found: defaultdict[str, defaultdict[str, list[tuple[int, int]]]]
    found = defaultdict(lambda: defaultdict(list))
    modules = json.loads(placed)["modules"]
    (module,) = modules.values()
    for name, cell in module["cells"].items():
        place = re.match(r"X(\d+)/Y(\d+)/", cell["attributes"].get("NEXTPNR_BEL", ""))
        marker = next((m for m, (_, _, p) in KINDS.items() if re.fullmatch(p, cell["type"])), None)
        if place and marker:
            found[_unit(name, depth)][marker].append((int(place[1]), int(place[2])))
    sizes = Counter({unit: sum(map(len, cells.values())) for unit, cells in found.items()})
    figure = Figure(figsize=(9, 6.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (unit, size) in enumerate(sizes.most_common()):
        colour = f"C{number}" if number < NUM_COLOURS else "0.6"
        for marker, (_, area, _) in KINDS.items():
            cells = found[unit][marker]
            x, y = zip(*cells, strict=True) if cells else ((), ())
            axis.scatter(x, y, area, color=colour, marker=marker, linewidths=0)
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


def _unit(name: str, depth: int) -> str:
    """The unit that a cell belongs to, by its name."""
    parts = name.split(".")
    return parts[depth] if len(parts) > depth + 1 else BETWEEN

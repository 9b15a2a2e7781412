"""From RTL components to Verilog."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

from pymtl3.passes.backends.verilog import VerilogTranslationPass

from accel.config import AccelConfig
from rtl_models.accelerator import AcceleratorRTL


def module_name(cfg: AccelConfig) -> str:
    """Name of the accelerator's Verilog module; different for every configuration."""
    return f"accelerator_{cfg}"


def translate(cfg: AccelConfig) -> str:
    """The accelerator as one (System)Verilog text; the same configuration gives the same text."""
    return translate_component(AcceleratorRTL(cfg), module_name(cfg))


def translate_component(component: Any, name: str) -> str:
    """Any RTL component as Verilog, its top module called ``name``."""
    component.elaborate()
    component.set_metadata(VerilogTranslationPass.enable, True)
    component.set_metadata(VerilogTranslationPass.explicit_module_name, name)
    # PyMTL3 writes to the current folder, under a name of its own.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        component.apply(VerilogTranslationPass())
        text = Path(component.get_metadata(VerilogTranslationPass.translated_filename)).read_text()
    # Loop variables have 32 bits, but PyMTL3 gives their constants as few bits as hold them.
    return re.sub(
        r"for \( int unsigned (\w+) = \d+'d(\d+); (.*); \1 \+= \d+'d(\d+) \)",
        r"for ( int unsigned \1 = \2; \3; \1 += \4 )",
        text,
    )

"""Translating beside other threads."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

from accel.hardware.config import PRESETS
from accel.verilog.translation import translate


def test_threads_translate_side_by_side(tmp_path, monkeypatch) -> None:
    """What each would get alone; and the current folder is as it was, without a file."""
    monkeypatch.chdir(tmp_path)
    small = dataclasses.replace(PRESETS["tiny"], act_depth=64, weight_depth=256, param_depth=16)
    configs = [dataclasses.replace(small, max_layers=n) for n in (2, 3)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(translate, configs))
    assert found == [translate(cfg) for cfg in configs]
    assert os.getcwd() == str(tmp_path) and not list(tmp_path.iterdir())

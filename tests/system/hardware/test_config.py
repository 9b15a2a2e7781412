"""Configurations: what is allowed, and where they come from."""

import dataclasses

import pytest

from accel.errors import AccelError
from accel.hardware.config import PRESETS, AccelConfig, base, load_config


def test_presets() -> None:
    columns = {name: cfg.num_cols for name, cfg in PRESETS.items()}
    assert columns == {"tiny": 2, "base": 8, "wide": 16, "tinyml": 8}
    assert base.num_multipliers == 72
    assert all(load_config(name) == cfg for name, cfg in PRESETS.items())


def test_tag_tells_configurations_apart() -> None:
    """Verilog modules are named after it: a field that it left out would mix two designs up."""
    fields = dataclasses.fields(AccelConfig)
    other = {f.name: getattr(base, f.name) * 2 for f in fields}
    other |= {"packed_multipliers": True}
    other |= {"acc_nbits": 20, "zero_gating": False, "line_width": 64, "adder": True, "tables": 1}
    tags = {str(dataclasses.replace(base, **{name: value})) for name, value in other.items()}
    assert len(tags | {str(base)}) == len(fields) + 1
    assert all(tag.isalnum() and tag.islower() and tag.isascii() for tag in tags)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_cols", 0, "num_cols must be from 1 to 64, not 0"),
        ("num_cols", 65, "num_cols must be from 1 to 64, not 65"),
        ("num_cols", 2.5, "num_cols must be a whole number, not 2.5"),
        ("num_cols", True, "num_cols must be a whole number, not True"),
        ("num_lanes", 3, "num_lanes must be a power of two, not 3"),
        ("num_cols", 7, r"must divide num_cols, but 1 \* 2 does not divide 7"),
        ("pixel_groups", 8, "pixel_groups must be from 1 to 4, not 8"),
        ("pixel_groups", 3, "pixel_groups must be a power of two, not 3"),
        ("zero_gating", 1, "zero_gating must be true or false, not 1"),
        ("acc_nbits", 33, "acc_nbits must be from 20 to 32, not 33"),
        ("spad_depth", 12, "spad_depth must be a power of two, not 12"),
        ("act_depth", 1000, "act_depth must be a power of two, not 1000"),
        ("max_layers", 65, "max_layers must be from 1 to 64, not 65"),
        ("tables", 3, "tables must be a power of two, not 3"),
        ("tables", 32, "tables must be from 0 to 16, not 32"),
        ("line_width", 512, "line_width must be from 0 to 511, not 512"),
        ("line_width", 1, "line_width must be 0, or from 2 on, not 1"),
    ],
)
def test_impossible_values_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(AccelError, match=message):
        dataclasses.replace(base, **{field: value})


def test_a_column_of_windows_has_a_channel_of_its_own() -> None:
    """No more than nine are read of a pixel at once."""
    with pytest.raises(AccelError, match=r"at most 9 columns, .* num_cols / pixel_groups is 16"):
        dataclasses.replace(base, num_cols=16, line_width=8)
    cfg = dataclasses.replace(base, num_cols=16, pixel_groups=2, line_width=8)
    assert (cfg.operand_sets, cfg.operand_cols) == (16, 1)


@pytest.mark.parametrize(
    "fields",
    [{"num_cols": 1, "num_lanes": 1}, {"num_cols": 2, "pixel_groups": 2, "num_lanes": 1},
     {"line_width": 8}],
)  # fmt: skip
def test_two_columns_share_a_multiplier(fields: dict[str, int]) -> None:
    """They need the same activations."""
    with pytest.raises(AccelError, match=r"with packed_multipliers two columns share .* must be"):
        dataclasses.replace(base, packed_multipliers=True, **fields)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        base.num_cols = 4


def test_toml_file(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('preset = "tiny"\nnum_cols = 4\n')
    assert load_config(str(file)) == dataclasses.replace(PRESETS["tiny"], num_cols=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_cols = ", "is not valid TOML"),
        ("columns = 4", "unknown field 'columns'; expected preset, acc_nbits"),
        ('preset = "huge"', "preset must be one of tiny, base, wide, tinyml, not 'huge'"),
        ("preset = [1]", "preset must be one of tiny, base, wide, tinyml"),
        ("num_cols = 3", "2 does not divide 3"),
        ("pixel_groups = 4\nnum_lanes = 4", "4 does not divide 8"),
        ("num_cols = 'x'", "num_cols must be a whole number, not 'x'"),
    ],
)
def test_wrong_toml_files_are_named(tmp_path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(AccelError, match=f"^configuration {file}[: ].*{message}"):
        load_config(str(file))


@pytest.mark.parametrize("name", ["hugo", "missing.toml", ""])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(AccelError, match=rf"configuration '?{name}'?:"):
        load_config(name)

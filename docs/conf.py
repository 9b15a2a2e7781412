"""How Sphinx builds the site: `make docs`. Warnings are errors, and nothing is fetched."""

import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import typer.main
from typer.cli import get_docs_for_click

# fl_models and its like are found whether the project is installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))

from accel.cli import app
from accel.hardware import descriptors, fields, packets, pipeline, registers
from accel.operations import KINDS

project = "accel"
author = "The accel authors"
version = release = metadata.version("accel-cnn")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "accel"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["accel.css"]
html_show_sourcelink = False
exclude_patterns: list[str] = []


nitpicky = True
# Types of others, whose documentation is not at hand without a network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(numpy|np|torch|nn|rich|NDArray|Path|pathlib|collections|typing|Any|Callable|Mapping).*",
    ),
    # What a public name is made of, and is not itself for users.
    (
        "py:.*",
        r"(accel\.(\w+\.)+)?(Words|Progress|Chunk|Task|Result|Tensor\.size|Activity|LayerDescriptor|StoredTensor)",
    ),
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The notebook runs whenever the site is built, and an error in it is one of the build.
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True


def _command_line() -> str:
    command = typer.main.get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name="accel")


def _kinds() -> str:
    """What a network's file has of each kind of operation, besides what all have."""
    lines = ["| `kind` | besides | |", "|---|---|---|"]
    for name, kind in KINDS.items():
        options = ", ".join(f"`{option}`" for option in kind.OPTIONS)
        role = f"{{py:class}}`{kind.__name__} <{kind.__module__}.{kind.__name__}>`"
        lines.append(f'| `"{name}"` | {options} | {role} |')
    return "\n".join(lines) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "command line": _command_line,
    "registers": registers.markdown,
    "pipeline": pipeline.diagram,
    "adder pipeline": lambda: pipeline.diagram(pipeline.ADDER_STAGES),
    "tables pipeline": lambda: pipeline.diagram(pipeline.TABLE_STAGES),
    "packet header": lambda: fields.markdown(packets.HEADER),
    "parameter beat": lambda: fields.markdown(packets.PARAM),
    "kinds of operations": _kinds,
    "layer descriptor": lambda: fields.markdown(descriptors.FIELDS.values()),
    "input descriptor": lambda: fields.markdown(descriptors.INPUT_FIELDS.values()),
}
"""What takes the place of a line ``<!-- generated: marker -->``, by the marker."""


def generated(marker: str) -> str:
    """The text for a marker, without the title that its page has."""
    if marker not in GENERATED:
        raise ValueError(f"nothing generates '{marker}': expected one of {', '.join(GENERATED)}")
    text = GENERATED[marker]()
    title, _, rest = text.partition("\n")
    return rest if title.startswith("# ") else text


def fill_in(sphinx_app: object, name: str, source: list[str]) -> None:
    """Put generated text into a page as it is read, so that it cannot be stale."""
    lines = source[0].split("\n")
    for i, line in enumerate(lines):
        if line.startswith("<!-- generated: "):
            lines[i] = generated(line.removeprefix("<!-- generated: ").removesuffix(" -->"))
    source[0] = "\n".join(lines)


def plain_text(
    sphinx_app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Docstrings are plain text with roles: (N, *shape) and |w| mean what they say."""
    for i, line in enumerate(lines):
        parts = line.replace(":class:`AccelError`", ":class:`~accel.errors.AccelError`").split("``")
        parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
        lines[i] = "``".join(parts)


def setup(sphinx_app) -> None:  # type: ignore[no-untyped-def]
    sphinx_app.connect("source-read", fill_in)
    sphinx_app.connect("autodoc-process-docstring", plain_text)

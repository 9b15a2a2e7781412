"""Boards that bitstreams are made for: FPGA, oscillator and pins."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accel.errors import AccelError

Pin = Annotated[str, Field(pattern=r"^[A-Z]{1,2}\d{1,2}( [A-Z0-9_]+)?$")]
"""A site, or a site and an IO type."""


class Fpga(BaseModel):
    """What a device of the ECP5 family has, as far as accelerators run out of it."""

    luts: int
    dsps: int
    block_rams: int


FPGAS = {
    "12k": Fpga(luts=24_288, dsps=28, block_rams=56),
    "25k": Fpga(luts=24_288, dsps=28, block_rams=56),
    "45k": Fpga(luts=43_848, dsps=72, block_rams=108),
    "85k": Fpga(luts=83_640, dsps=156, block_rams=208),
}
"""By nextpnr's names, which also come with ``um-`` and ``um5g-`` before them."""


class Board(BaseModel):
    """One board. The fields are those of ``assets/boards.toml``, which says more of them.

    clock: MHz of the oscillator. led_pins: up to eight, lowest first. high_pins: those that have to
    be high. loader: what openFPGALoader calls the board. serial: where the line comes out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    fpga: Annotated[str, Field(pattern=r"^(um-|um5g-)?(12|25|45|85)k$")]
    package: str
    speed: Annotated[int, Field(ge=6, le=8)]
    io_type: Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")]
    clock: Annotated[float, Field(ge=8, le=400)]
    clock_pin: Pin
    rx_pin: Pin
    tx_pin: Pin
    reset_pin: Pin
    reset_is_low: bool = False
    led_pins: Annotated[tuple[Pin, ...], Field(max_length=8)] = ()
    leds_are_low: bool = False
    high_pins: tuple[Pin, ...] = ()
    loader: str
    serial: str

    @property
    def has(self) -> Fpga:
        return FPGAS[self.fpga.rpartition("-")[2]]

    @property
    def ports(self) -> dict[str, Pin]:
        """The top module's ports, and where they are."""
        ports = {
            "clock": self.clock_pin,
            "rx": self.rx_pin,
            "tx": self.tx_pin,
            "button": self.reset_pin,
        }
        for name, pins in (("leds", self.led_pins), ("high", self.high_pins)):
            ports |= {f"{name}[{i}]": pin for i, pin in enumerate(pins)}
        return ports

    def constraints(self) -> str:
        """The pins and the oscillator as a text of Lattice's preference language (LPF)."""
        lines = ["# Written by accel bitstream.", f"# {self.title}"]
        for port, pin in self.ports.items():
            site, _, io_type = pin.partition(" ")
            pull = " PULLMODE=UP" if port == "rx" else ""
            lines.append(f'LOCATE COMP "{port}" SITE "{site}";')
            lines.append(f'IOBUF PORT "{port}" IO_TYPE={io_type or self.io_type}{pull};')
        lines.append(f'FREQUENCY PORT "clock" {self.clock:g} MHZ;')
        return "\n".join(lines) + "\n"


def bundled() -> dict[str, Board]:
    """The boards that come with accel, by their names."""
    text = (resources.files("accel") / "verilog" / "assets" / "boards.toml").read_text()
    return {name: Board.model_validate(fields) for name, fields in tomllib.loads(text).items()}


def find_board(name: str) -> Board:
    """A board by its name, or that of a TOML file.

    Raises :class:`AccelError` if there is no such board, or the file describes none.
    """
    boards = bundled()
    if name in boards:
        return boards[name]
    path = Path(name)
    if path.suffix != ".toml":
        raise AccelError(
            f"unknown board '{name}': expected {', '.join(boards)}, or a TOML file (.toml) with "
            f"the fields of another"
        )
    try:
        fields = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as e:
        raise AccelError(f"cannot read board file {path}: {e.strerror}; name another") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise AccelError(f"board file {path} is not TOML: {e}; mend it there") from e
    try:
        board = Board.model_validate(fields)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AccelError(
            f"board file {path}: {where}: {first['msg']}; accel/verilog/assets/boards.toml has "
            f"examples"
        ) from e
    sites = [pin.partition(" ")[0] for pin in board.ports.values()]
    twice = {site for site in sites if sites.count(site) > 1}
    if twice:
        raise AccelError(f"board file {path}: site {min(twice)} is given to two ports; mend one")
    return board

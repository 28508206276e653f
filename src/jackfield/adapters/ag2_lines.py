"""Which of AG2's two lines a toolkit is made for: 1.x (`ag2`), or 0.x (`autogen`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from ..errors import ConfigError
from ..extras import extra_needed
from ..toolkit.toolkit import Toolkit

Line = Literal["1.x", "0.x"]


def own_toolkit(toolkit: Toolkit, *, line: Line | None = None, images: bool = True) -> Any:
    """All tools of a toolkit as AG2's own; see `Toolkit.ag2`."""
    if line not in (None, "1.x", "0.x"):
        raise ConfigError(f"There is no line {line!r} of AG2.", hint="Give '1.x' or '0.x', or leave it out.")
    if line is None:
        line = "0.x" if find_spec("ag2") is None and find_spec("autogen") is not None else "1.x"
    if line == "1.x":
        with extra_needed("toolkit.ag2()"):
            from .ag2 import ag2_toolkit

        return ag2_toolkit(toolkit, images=images)
    with extra_needed("toolkit.ag2()"):
        from .ag2_classic import ag2_classic_toolkit  # pyright: ignore[reportUnknownVariableType]

    return ag2_classic_toolkit(toolkit)  # pyright: ignore[reportUnknownVariableType]

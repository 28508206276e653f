"""`StartedConfig`: a server as its caller would have started it, which the catalog still knows as it was configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import PrivateAttr

from ..config.servers import StdioConfig


class StartedConfig(StdioConfig):
    """A stdio server with the folder and the variables of its opener."""

    inherits_nothing: ClassVar[bool] = True

    _catalog_key: str = PrivateAttr(default="")
    _withheld: Sequence[str] = PrivateAttr(default=())

    @classmethod
    def of(cls, config: StdioConfig, changes: Mapping[str, Any], withheld: Sequence[str]) -> StartedConfig:
        """The configuration with `changes`; `withheld` are the caller's variables that are not among them."""
        values = {name: getattr(config, name) for name in type(config).model_fields}
        started = cls.model_validate({**values, **changes})
        started._catalog_key = config.catalog_key
        started._withheld = withheld
        return started

    @property
    def catalog_key(self) -> str:
        """Its identity in the catalog: the same for every opener."""
        return self._catalog_key

    def withheld(self) -> Sequence[str]:
        """Names of the caller's variables that are not passed on to it."""
        return self._withheld

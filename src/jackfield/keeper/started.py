"""`StartedConfig`: a server as its caller would have started it, which the catalog still knows as it was configured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from ..catalog.store import Catalog
from ..config.servers import BaseServerConfig, StdioConfig


class StartedConfig(StdioConfig):
    """A stdio server with the folder and the variables of whoever opens it."""

    _as_configured: StdioConfig | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, config: StdioConfig, changes: Mapping[str, Any]) -> StartedConfig:
        """The configuration with `changes`."""
        values = {name: getattr(config, name) for name in type(config).model_fields}
        started = cls.model_validate({**values, **changes})
        started._as_configured = config
        return started

    @property
    def as_configured(self) -> StdioConfig:
        """The configuration itself."""
        return self._as_configured or self


class KeptCatalog(Catalog):
    """The user's catalog, in which a server is found whoever started it."""

    def _path(self, config: BaseServerConfig) -> Path:
        return super()._path(config.as_configured if isinstance(config, StartedConfig) else config)

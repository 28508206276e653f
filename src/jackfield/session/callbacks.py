"""What a server may ask of its client, and what it tells unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.client import ClientRequestContext
    from mcp.client.session import ElicitationFnT, ListRootsFnT, LoggingFnT, MessageHandlerFnT, SamplingFnT
    from mcp.types import ListRootsResult, LoggingLevel


@dataclass(frozen=True)
class SessionCallbacks:
    """Callbacks in the SDK's shapes, given for a whole manager or for one `open_session`.

    A capability is announced to the server only where its callback is given.
    """

    sampling: SamplingFnT | None = None
    """Answers `sampling/createMessage`: the server asks this side's model."""

    elicitation: ElicitationFnT | None = None
    """Answers `elicitation/create`: the server asks the user."""

    roots: Sequence[str] | ListRootsFnT | None = None
    """`file://` URIs the server may work in, or a callback that lists them."""

    logging: LoggingFnT | None = None
    """Gets the server's log messages; see `log_level`."""

    log_level: LoggingLevel | None = None
    """The least severe level to ask for; with a `logging` callback it is `info` if omitted."""

    notification: MessageHandlerFnT | None = None
    """Gets every notification, such as `ToolListChangedNotification`."""

    def over(self, below: SessionCallbacks) -> SessionCallbacks:
        """These, and those of `below` where none is given here."""
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return replace(below, **given)

    @property
    def wanted_log_level(self) -> LoggingLevel | None:
        """The level to ask the server for, or `None` to ask for nothing."""
        return self.log_level or ("info" if self.logging else None)

    def client_options(self) -> dict[str, Any]:
        """The arguments of the SDK's `Client`."""
        roots = self.roots
        return {
            "sampling_callback": self.sampling,
            "elicitation_callback": self.elicitation,
            "list_roots_callback": roots if roots is None or callable(roots) else _fixed_roots(list(roots)),
            "logging_callback": self.logging,
            "log_level": self.wanted_log_level,
        }


def _fixed_roots(uris: list[str]) -> ListRootsFnT:
    async def list_roots(context: ClientRequestContext) -> ListRootsResult:
        from mcp.types import ListRootsResult, Root

        return ListRootsResult(roots=[Root.model_validate({"uri": uri}) for uri in uris])

    return list_roots

"""The session of `jackfield.ag2`: it takes and gives what the SDK's session did before version 2, which AG2's is.

Results, tools, resources and prompts have the protocol's camelCase names, too, and `call_tool` takes
`read_timeout_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from mcp.types import (
    GetPromptResult,
    InitializeResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceResult,
    ServerCapabilities,
)

from ..errors import InvalidArgumentsError
from ..loops import Bound
from ..pool.lease import SessionLease
from ..session.results import ToolResult
from ..session.session import Session
from .camel_case import with_camel_case

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT


class AG2Session(Session):
    """An open session; `Session` says what each method does."""

    async def initialize(self) -> InitializeResult:
        """What the server said of itself when the session was opened."""
        return with_camel_case(await super().initialize())

    @property
    def server_capabilities(self) -> ServerCapabilities:
        """The capabilities that the server reports."""
        return with_camel_case(super().server_capabilities)

    async def list_tools(self, cursor: str | None = None, *, call_timeout: Bound = None) -> ListToolsResult:
        """List all tools. There is one page, so that `nextCursor` is `None`; `cursor` is not used."""
        return with_camel_case(await super().list_tools(call_timeout=call_timeout))

    async def call_tool(  # pyright: ignore[reportIncompatibleMethodOverride] - it takes more by position, as the SDK's did
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        read_timeout_seconds: timedelta | float | None = None,
        progress_callback: ProgressFnT | None = None,
        *,
        call_timeout: float | None = None,
        meta: Mapping[str, Any] | None = None,
        reset_timeout_on_progress: bool | None = None,
        max_total_timeout: float | None = None,
        raise_on_error: bool = False,
    ) -> ToolResult:
        """Call one tool; `read_timeout_seconds` is another name of `call_timeout`, and may be a `timedelta`.

        Raises:
            InvalidArgumentsError: Both are given; nothing was sent.
            JackfieldError: As `Session.call_tool` does.
        """
        if read_timeout_seconds is not None:
            if call_timeout is not None:
                raise InvalidArgumentsError(
                    "call_tool was given both read_timeout_seconds and call_timeout, which mean the same.",
                    server_name=self.server_name,
                    sent=False,
                    hint="Give one of them.",
                )
            given = read_timeout_seconds
            call_timeout = given.total_seconds() if isinstance(given, timedelta) else given
        result = await super().call_tool(
            name,
            arguments,
            call_timeout=call_timeout,
            progress_callback=progress_callback,
            meta=meta,
            reset_timeout_on_progress=reset_timeout_on_progress,
            max_total_timeout=max_total_timeout,
            raise_on_error=raise_on_error,
        )
        return with_camel_case(result)

    async def list_resources(self, cursor: str | None = None, *, call_timeout: Bound = None) -> ListResourcesResult:
        """List all resources; `cursor` is not used."""
        return with_camel_case(await super().list_resources(call_timeout=call_timeout))

    async def list_resource_templates(
        self, cursor: str | None = None, *, call_timeout: Bound = None
    ) -> ListResourceTemplatesResult:
        """List all resource templates; `cursor` is not used."""
        return with_camel_case(await super().list_resource_templates(call_timeout=call_timeout))

    async def read_resource(self, uri: Any, *, call_timeout: Bound = None) -> ReadResourceResult:
        """Read one resource, by a text or pydantic's `AnyUrl`."""
        return with_camel_case(await super().read_resource(str(uri), call_timeout=call_timeout))

    async def list_prompts(self, cursor: str | None = None, *, call_timeout: Bound = None) -> ListPromptsResult:
        """List all prompts; `cursor` is not used."""
        return with_camel_case(await super().list_prompts(call_timeout=call_timeout))

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: Bound = None
    ) -> GetPromptResult:
        """Get one prompt with its arguments filled in."""
        return with_camel_case(await super().get_prompt(name, arguments, call_timeout=call_timeout))


class AG2Lease(SessionLease):
    """What `open_session()` of `jackfield.ag2` returns; entered, it is an `AG2Session`."""

    session_type: ClassVar[type[Session] | None] = AG2Session

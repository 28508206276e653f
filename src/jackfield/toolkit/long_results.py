"""Results that are too long for a model: it gets the beginning and can read the rest in parts."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..plain import as_table
from .own_tool import own_tool, text_result
from .tool import CallOptions, Tool

if TYPE_CHECKING:
    from ..session.results import ToolResult

_MAX_KEPT_RESULTS = 20

_READ_ON_SCHEMA = {
    "type": "object",
    "properties": {
        "handle": {"type": "string", "description": "As the shortened result says."},
        "offset": {"type": "integer", "description": "The character to continue from.", "minimum": 0},
    },
    "required": ["handle"],
}


class LongResults:
    """The last results that were too long.

    Args:
        max_chars: The longest text that one answer brings.
        how: The call that reads on, with `{handle}` and `{offset}`; `with_read_on` sets it.
    """

    def __init__(self, max_chars: int, how: str = "") -> None:
        if max_chars < 1:
            raise ConfigError(f"max_result_chars={max_chars} would leave nothing of a result.", hint="Give 1 or more.")
        self.how: str = how
        self.max_chars: int = max_chars
        self._kept: OrderedDict[str, str] = OrderedDict()

    def shortened(self, result: ToolResult, notes: Sequence[str]) -> ToolResult:
        """The result with its text truncated to the limit, and with the corrections made in the call."""
        from mcp.types import TextContent

        content = list(result.content)
        if len(text := result.text) > self.max_chars:
            others = [block for block in content if not isinstance(block, TextContent)]
            content = [TextContent(type="text", text=self._part(self._keep(text), 0)), *others]
            # Structured content is as long, and for code.
            result = result.model_copy(update={"server_content": result.for_code().content})
        if notes:
            content.append(TextContent(type="text", text=f"(Corrected in your call: {'; '.join(notes)}.)"))
        if content == list(result.content):
            return result
        return result.model_copy(update={"content": content})

    def read_on(self, arguments: object) -> ToolResult:
        """The next part of a long result; `arguments` are those that its previous part asked for."""
        values = as_table(arguments)
        handle, offset = str(values.get("handle", "")), values.get("offset", 0)
        if handle not in self._kept or not isinstance(offset, int):
            return text_result("This result does not exist or is no longer kept. Call the tool again.", is_error=True)
        return text_result(self._part(handle, offset))

    def _keep(self, text: str) -> str:
        handle = secrets.token_hex(4)
        self._kept[handle] = text
        if len(self._kept) > _MAX_KEPT_RESULTS:
            self._kept.popitem(last=False)
        return handle

    def _part(self, handle: str, offset: int) -> str:
        text = self._kept[handle]
        end = min(len(text), offset + self.max_chars)
        part = text[offset:end]
        if end == len(text):
            return part
        more = self.how.format(handle=handle, offset=end)
        return f"{part}\n(Characters {offset} to {end} of {len(text)}. To read more: {more})"

    def bound(self, tool: Tool) -> Tool:
        """The same tool with its results shortened."""

        async def shortening(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
            return self.shortened((await tool.handler(arguments, options)).for_model(), ())

        return replace(tool, handler=shortening)

    def read_on_tool(self) -> Tool:
        """The tool that reads on."""

        async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
            return self.read_on(arguments)

        about = "Read the rest of a result that was too long. The result says which handle and offset to pass."
        return own_tool("read_on", about, _READ_ON_SCHEMA, answer, is_read_only=True)

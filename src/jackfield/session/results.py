"""`ToolResult`: the SDK's result of a tool call with what one mostly wants of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import ConfigDict, Field

from ..errors import ToolError
from ..transport.flaws import take_flaws

_PLAIN_NAMES = {
    "content": "content",
    "structuredContent": "structured_content",
    "isError": "is_error",
    "resultType": "result_type",
}
_PLAIN_KEYS = frozenset(_PLAIN_NAMES)


class ToolResult(CallToolResult):
    """A tool's result: `content` blocks, `structured_content`, `is_error`; see `text` and `images`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    server_name: str = Field(default="", exclude=True)
    tool_name: str = Field(default="", exclude=True)
    generation: int = Field(default=1, exclude=True)
    """How often the session behind this result was opened."""
    state_lost: bool = Field(default=False, exclude=True)
    """Whether the session was reopened since the last result, so that its state was lost."""
    problems: list[str] = Field(default_factory=list[str], exclude=True)
    """What the server did wrong in this result, in words: what could be read is there all the same."""
    server_content: list[ContentBlock] | None = Field(default=None, exclude=True)
    """The server's own `content`, where ours is for a model: with a note (see `for_model`), or cut."""

    @classmethod
    def of(cls, result: CallToolResult, *, server_name: str, tool_name: str, generation: int = 1) -> ToolResult:
        """Wrap a result of the SDK without validating it once more; one of `plain` is given its names."""
        if isinstance(result, ToolResult):
            vars(result).update(server_name=server_name, tool_name=tool_name, generation=generation)
            return result
        flaws = take_flaws(result)
        values = {
            **result.__dict__,
            "server_name": server_name,
            "tool_name": tool_name,
            "generation": generation,
            "state_lost": False,
            "problems": list(flaws.problems),
            "server_content": None,
        }
        given = set(result.model_fields_set)
        if flaws.structured:
            values["structured_content"] = flaws.structured[0]
            given.add("structured_content")
        return cls._made(values, given, dict(result.model_extra or {}))

    @classmethod
    def plain(cls, raw: Mapping[str, Any]) -> ToolResult | None:
        """The result of a call as it came over the wire, if it is made of texts, as most are; `None` for any other.

        The same as validation makes of it, at a part of what that costs.
        """
        if not _PLAIN_KEYS.issuperset(raw) or raw.get("resultType", "complete") != "complete":
            return None
        blocks, is_error = raw.get("content"), raw.get("isError", False)
        if type(blocks) is not list or type(is_error) is not bool:
            return None
        content: list[ContentBlock] = []
        for block in cast("list[Any]", blocks):
            if type(block) is not dict:
                return None
            parts = cast("dict[str, Any]", block)
            text = parts.get("text")
            if len(parts) != 2 or parts.get("type") != "text" or type(text) is not str:
                return None
            content.append(TextContent(type="text", text=text))
        values = {
            "meta": None,
            "content": content,
            "structured_content": raw.get("structuredContent"),
            "is_error": is_error,
            "result_type": "complete",
            "server_name": "",
            "tool_name": "",
            "generation": 1,
            "state_lost": False,
            "problems": [],
            "server_content": None,
        }
        return cls._made(values, {_PLAIN_NAMES[key] for key in raw}, {})

    @classmethod
    def _made(cls, values: dict[str, Any], given: set[str], extra: dict[str, Any]) -> ToolResult:
        # What `model_construct` does, without looking for each field by each of its names: a call's own cost.
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", values)
        object.__setattr__(made, "__pydantic_fields_set__", given)
        object.__setattr__(made, "__pydantic_extra__", extra)
        object.__setattr__(made, "__pydantic_private__", None)
        return made

    @property
    def text(self) -> str:
        """The text of the result; other content is described in brackets.

        A result with structured content and no blocks reads as JSON.
        """
        if not self.content and self.structured_content is not None:
            return json.dumps(self.structured_content, ensure_ascii=False)
        return "\n".join(describe_block(block) for block in self.content)

    @property
    def images(self) -> list[ImageContent]:
        """The image blocks; `data` is base64."""
        return [block for block in self.content if isinstance(block, ImageContent)]

    @property
    def data(self) -> Any:
        """The structured content; a single value that the server wrapped as `result` is unwrapped."""
        structured = cast("dict[str, Any] | None", self.structured_content)
        return structured["result"] if isinstance(structured, dict) and list(structured) == ["result"] else structured

    def for_model(self) -> ToolResult:
        """The result for a model: if state was lost, `content` begins with a line that says so.

        If an error has no text, its content says that the tool reported an error. Everything else, including
        `structured_content`, is unchanged. Tools of a toolkit return such results.
        """
        is_silent_error = self.is_error and not self.text.strip()
        if self.server_content is not None or not (self.state_lost or is_silent_error):
            return self
        content = list(self.content) or ([] if self.structured_content is None else [_text(self.text)])
        if is_silent_error:
            content = [_text(self._reported)]
        if self.state_lost:
            content = [_text(state_note(self.server_name)), *content]
        return self.model_copy(update={"content": content, "server_content": list(self.content)})

    def for_code(self) -> ToolResult:
        """The result as the server sent it."""
        if self.server_content is None:
            return self
        return self.model_copy(update={"content": self.server_content, "server_content": None})

    @property
    def _reported(self) -> str:
        return f"Tool {self.tool_name!r} of server {self.server_name!r} reported an error."

    def raise_for_error(self) -> ToolResult:
        """Return the result itself.

        Raises:
            ToolError: The tool reported an error; its content is kept.
        """
        error = self.tool_error()
        if error is None:
            return self
        del self  # A traceback with variables shall not show what the server wrote.
        raise error

    def tool_error(self) -> ToolError | None:
        """The error that the tool reported; its content is kept."""
        if not self.is_error:
            return None
        own = self.for_code()
        return ToolError(
            self._reported,
            content=own.content,
            server_name=self.server_name,
            sent=True,
            state_lost=self.state_lost,
            server_output=own.text or None,
            generation=self.generation - 1 if self.state_lost else self.generation,
        )


def state_note(server_name: str) -> str:
    """The first line that a model reads after a session was lost."""
    return (
        f"Note: the session with server {server_name!r} was lost and reopened; anything the server kept for it "
        "(transactions, open files, logins) was lost. Set up again what you need before you continue."
    )


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def describe_block(block: object) -> str:
    """One content block in words."""
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return f"[image: {block.mime_type}, {_size(block.data)}]"
        case AudioContent():
            return f"[audio: {block.mime_type}, {_size(block.data)}]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return resource.text
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            return f"[resource: {resource.uri}, {resource.mime_type or 'binary'}, {_size(resource.blob)}]"
        case ResourceLink():
            return f"[resource: {block.uri}" + (f", {block.description}]" if block.description else "]")
        case _:
            return f"[{type(block).__name__}]"


def _size(data: str) -> str:
    count = len(data) * 3 // 4 - data[-2:].count("=")
    return f"{count} bytes" if count < 10_000 else f"{count // 1000} kB"


def decode(data: str) -> bytes:
    """The bytes of a base64 block."""
    return base64.b64decode(data)

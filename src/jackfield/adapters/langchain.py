"""LangChain: a server's tools as `StructuredTool`s, its prompts as messages, its resources as blobs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict, TypeVar, cast

from langchain_core.documents.base import Blob
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool as BaseTool
from langchain_core.tools import StructuredTool, ToolException
from mcp.types import AudioContent, BlobResourceContents, ImageContent, TextContent
from pydantic import PrivateAttr

from ..errors import SessionTimeoutError
from ..pool.refusals import OtherLoopError
from ..session.results import ToolResult, decode, describe_block
from ..session.session import Session, caller_of
from ..session.session_loop import BlockedLoopError, run_on_own_loop, session_loop_here
from ..session.user_code import as_error
from ..toolkit.create import create_toolkit
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .model_calls import is_picture

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

# A checkpointer of LangGraph writes msgpack, which has integers of 64 bits and a nesting of some 250 levels.
_SMALLEST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**64 - 1
_DEEPEST = 100

_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _quick_to_read(method: _Method) -> _Method:
    """LangChain inspects signature and annotations for each call, which takes a third of its time."""
    method.__annotations__ = {}
    vars(method)["__signature__"] = inspect.signature(method)
    return method


class MCPToolArtifact(TypedDict):
    """The artifact of a tool's message, in the shape of `langchain-mcp-adapters`.

    It is plain data, so that any checkpointer keeps it. A result without structured content has no artifact.
    """

    structured_content: Any
    """The server's structured content, or `None`. Integers beyond 64 bits are converted to text."""
    state_lost: NotRequired[Literal[True]]
    """Present if the session was reopened since the last result, so that its state was lost."""


_Answer = tuple[str | list[dict[str, Any]], MCPToolArtifact | None]


class MCPTool(StructuredTool):
    """A tool of a server. It takes all arguments by name, also such as `config` that LangChain's own tools keep."""

    # Private, so that pydantic neither copies nor checks them.
    _tool: Any = PrivateAttr()
    _session_loop: Any = PrivateAttr()

    @classmethod
    def of(cls, tool: Tool, session_loop: Reach) -> MCPTool:
        """The tool, whose calls run on that event loop."""
        made = cls(
            name=tool.name,
            description=tool.description,
            args_schema=dict(tool.input_schema),
            response_format="content_and_artifact",
            handle_tool_error=True,
            metadata={
                "mcp_server": tool.server_name,
                "mcp_tool": tool.original_name,
                **(tool.annotations.model_dump(exclude_none=True) if tool.annotations else {}),
            },
        )
        made._tool, made._session_loop = tool, session_loop
        # Without these, `ainvoke` would call `_run` in a thread, where it cannot be cancelled.
        made.func, made.coroutine = made._run, made._arun
        return made

    async def _call(self, arguments: Mapping[str, Any], on_progress: ProgressFnT | None) -> _Answer:
        try:
            result = (await self._tool.call(arguments, progress_callback=on_progress)).raise_for_error()
            return content_of(result), artifact_of(result)
        except SessionTimeoutError:
            raise  # Not for the model: the code that runs the agent calls `refresh_session()`.
        except BaseException as error:
            raise ToolException(str(as_error(error, f"The call of {self.name!r}"))) from error

    @_quick_to_read
    async def _arun(self, /, **arguments: Any) -> _Answer:  # type: ignore[override]  # pyright: ignore
        on_progress = self._progress_writer()
        return await self._session_loop.run(lambda: self._call(arguments, on_progress))

    @_quick_to_read
    def _run(self, /, **arguments: Any) -> _Answer:  # type: ignore[override]  # pyright: ignore
        on_progress = self._progress_writer()
        try:
            return self._session_loop.run_blocking(lambda: self._call(arguments, on_progress))
        except BlockedLoopError as blocked:
            try:
                # The session itself may live on another loop, or move there.
                return run_on_own_loop(lambda: self._call(arguments, on_progress))
            except ToolException as failure:
                if isinstance(failure.__cause__, OtherLoopError | BlockedLoopError):
                    raise blocked from None  # not for the model
                raise

    def _progress_writer(self) -> ProgressFnT | None:
        """Writes progress to the stream of the LangGraph run that calls, for `stream_mode="custom"`."""
        try:
            from langgraph.config import get_stream_writer

            write = get_stream_writer()
        except (ImportError, RuntimeError, KeyError):  # no LangGraph, or called outside of a run
            return None
        # The writer looks up the run in the context of its caller; progress arrives in the session's.
        context, tool = copy_context(), self._tool

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            context.copy().run(
                write,
                {
                    "type": "mcp_progress",
                    "server": tool.server_name,
                    "tool": tool.name,
                    "progress": progress,
                    "total": total,
                    "message": message,
                },
            )

        return on_progress


class Reach(Protocol):
    """How to reach the event loop on which a tool is called."""

    async def run(self, function: Callable[[], Awaitable[_T]]) -> _T: ...

    def run_blocking(self, function: Callable[[], Awaitable[_T]]) -> _T: ...


def langchain_tools(toolkit: Toolkit, session_loop: Reach | None = None) -> list[BaseTool]:
    """All tools of a toolkit, for the event loop that runs here or the one given; see `Toolkit.langchain`."""
    session_loop = session_loop or session_loop_here()
    return [MCPTool.of(tool, session_loop) for tool in toolkit.for_models()]


def content_of(result: ToolResult) -> str | list[dict[str, Any]]:
    """The part of a result for the model: text, or LangChain's content blocks if there is more than text."""
    if all(isinstance(block, TextContent) for block in result.content):
        return result.text
    return [_content_block(block) for block in result.content]


def artifact_of(result: ToolResult) -> MCPToolArtifact | None:
    """The part of a result for code, in addition to what the model sees."""
    if result.structured_content is None and not result.state_lost:
        return None
    artifact = MCPToolArtifact(structured_content=_storable(result.structured_content))
    if result.state_lost:
        artifact["state_lost"] = True
    return artifact


def _storable(value: Any, depth: int = 0) -> Any:
    """JSON as msgpack can hold it: an integer that is too large, or a value that lies too deep, becomes JSON text."""
    match value:
        case dict() | list() if depth == _DEEPEST:
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return {key: _storable(item, depth + 1) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_storable(item, depth + 1) for item in cast("list[Any]", value)]
        case int() if not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            return str(value)
        case _:
            return value


def _content_block(block: object) -> dict[str, Any]:
    match block:
        case TextContent():
            return {"type": "text", "text": block.text}
        case ImageContent() if is_picture(block):
            return {"type": "image", "base64": block.data, "mime_type": block.mime_type}
        case AudioContent():
            return {"type": "audio", "base64": block.data, "mime_type": block.mime_type}
        case _:
            return {"type": "text", "text": describe_block(cast("Any", block))}


async def load_mcp_tools(session: Session) -> list[BaseTool]:
    """All tools of a session; the name is that in `langchain-mcp-adapters`.

    Raises:
        JackfieldError: They could not be listed.
    """
    return langchain_tools(
        await create_toolkit(session, use_mcp_resources=False), caller_of(session).owner.session_loop
    )


async def load_mcp_prompt(
    session: Session, name: str, *, arguments: Mapping[str, str] | None = None
) -> list[BaseMessage]:
    """A prompt of the server as messages; images and audio become content blocks.

    Args:
        session: An open session.
        name: As the server lists it.
        arguments: What the prompt is filled in with.

    Raises:
        JackfieldError: The server does not know it, or its arguments.
    """
    prompt = await session.get_prompt(name, arguments)
    return [
        (AIMessage if message.role == "assistant" else HumanMessage)(
            message.content.text if isinstance(message.content, TextContent) else [_content_block(message.content)]
        )
        for message in prompt.messages
    ]


async def load_mcp_resources(session: Session, *, uris: str | Iterable[str] | None = None) -> list[Blob]:
    """Resources of the server as blobs, whose metadata have the `uri`.

    Args:
        session: An open session.
        uris: One or several; all that the server lists if omitted.

    Raises:
        JackfieldError: One could not be read.
    """
    if uris is None:
        uris = [resource.uri for resource in (await session.list_resources()).resources]
    blobs: list[Blob] = []
    for uri in [uris] if isinstance(uris, str) else uris:
        for content in (await session.read_resource(uri)).contents:
            data = decode(content.blob) if isinstance(content, BlobResourceContents) else content.text
            blobs.append(Blob.from_data(data, mime_type=content.mime_type, metadata={"uri": content.uri}))
    return blobs

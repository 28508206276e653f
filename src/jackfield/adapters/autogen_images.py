"""AutoGen AgentChat: an agent whose model sees the images of tool results.

In AgentChat 0.7.5 a tool's result reaches the model as text, whatever it consists of. What AgentChat does carry are the
images of a `MultiModalMessage`. So this agent looks at what its tools return and, between a round of tools and the next
call of the model, where AgentChat yields a `ToolCallExecutionEvent`, adds such a message with their images.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any, ClassVar, Self

import anyio.to_thread
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.agents._assistant_agent import AssistantAgentConfig
from autogen_agentchat.base import Response
from autogen_agentchat.messages import (
    BaseAgentEvent,
    BaseChatMessage,
    HandoffMessage,
    MultiModalMessage,
    TextMessage,
    ToolCallExecutionEvent,
    ToolCallSummaryMessage,
)
from autogen_core import CancellationToken, ComponentModel, Image
from autogen_core.models import ChatCompletionClient, UserMessage
from autogen_core.tools import BaseTool, ImageResultContent, StaticStreamWorkbench, ToolSchema, Workbench
from autogen_core.tools import ToolResult as AutoGenResult
from mcp.types import ImageContent
from PIL import Image as PillowImage
from pydantic import Field

from ..errors import ConfigError, ToolError
from ..extras import missing_extra
from .autogen_result import images_of
from .autogen_tool import JackfieldTool

_MAX_IMAGES = 4
# More than vendors show a model of one image; they scale down what is larger, or refuse it.
_MAX_PIXELS = 1_500_000
_MAX_SIDE = 8000  # an API that is given more refuses the whole conversation
# As PNG, which is what AgentChat sends. In base64 that is less than the 5 MB that vendors take.
_MAX_BYTES = 3_500_000
_IMAGES = (ImageContent, ImageResultContent)
_NOT_SHOWN = "[image: no longer shown]"


class VisionAgentConfig(AssistantAgentConfig):
    """The stored configuration of a `VisionAssistantAgent`."""

    max_images: int = Field(default=_MAX_IMAGES, ge=1)
    max_image_pixels: int = Field(default=_MAX_PIXELS, ge=1)
    max_image_bytes: int = Field(default=_MAX_BYTES, ge=1)
    share_images: bool = False


class VisionAssistantAgent(AssistantAgent):
    """An `AssistantAgent` whose model sees the images of tool results.

    After a round of tools that returned images, a `MultiModalMessage` with them joins the agent's messages and its
    model context. If the model client has no vision (`model_info["vision"]`), this is a plain `AssistantAgent`: the
    model reads `[image: image/png, 70 bytes]`.

    Args:
        name: The agent's name.
        model_client: Its model.
        tools: Those of `toolkit.autogen()` return images; others are called as usual.
        workbench: One or several, such as `manager.workbench()`.
        max_images: Number of images of tool results that the model sees. Older ones are replaced by text.
        max_image_pixels: Larger images are scaled down; the message says from which size.
        max_image_bytes: Size limit for one image as PNG; larger ones are scaled down.
        share_images: Send the images of a turn along with the agent's answer, as a `MultiModalMessage`, so that the
            other agents of a team see them. A handoff always includes the images of its own round of tools.
        max_tool_iterations: Rounds of tools in one turn; with 1 the model never sees what a tool returned.
        options: Further arguments of `AssistantAgent`.

    Raises:
        ConfigError: A limit is below 1.
    """

    component_provider_override: ClassVar[str | None] = "jackfield.autogen.VisionAssistantAgent"
    component_config_schema: ClassVar[type[VisionAgentConfig]] = VisionAgentConfig  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        name: str,
        model_client: ChatCompletionClient,
        *,
        tools: Sequence[BaseTool[Any, Any] | Callable[..., Any]] | None = None,
        workbench: Workbench | Sequence[Workbench] | None = None,
        max_images: int = _MAX_IMAGES,
        max_image_pixels: int = _MAX_PIXELS,
        max_image_bytes: int = _MAX_BYTES,
        share_images: bool = False,
        max_tool_iterations: int = 10,
        **options: Any,
    ) -> None:
        self._bounds = _Bounds.checked(max_images, max_image_pixels, max_image_bytes)
        self._share_images = share_images
        self._seen: list[_Seen] = []
        self._shown: list[UserMessage] = []
        if model_client.model_info.get("vision"):
            tools = tools and [
                _WatchedTool(tool, self._seen) if isinstance(tool, JackfieldTool) else tool for tool in tools
            ]
            given = [workbench] if isinstance(workbench, Workbench) else workbench
            workbench = given and [_watched(each, self._seen) for each in given]
        super().__init__(
            name,
            model_client,
            tools=None if tools is None else list(tools),
            workbench=workbench,
            max_tool_iterations=max_tool_iterations,
            **options,
        )

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        """What this agent may answer with."""
        return [*super().produced_message_types, MultiModalMessage]

    async def on_messages_stream(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
        """Take a turn; a message with images follows each round of tools that returned some."""
        self._seen.clear()
        added: dict[str, MultiModalMessage] = {}  # by the event that they follow
        async with aclosing(super().on_messages_stream(messages, cancellation_token)) as stream:
            async for item in stream:
                if isinstance(item, Response):
                    yield self._answer(item, added)
                    continue
                yield item
                if isinstance(item, ToolCallExecutionEvent) and (message := await self._look(item)) is not None:
                    added[item.id] = message
                    yield message

    async def _look(self, event: ToolCallExecutionEvent) -> MultiModalMessage | None:
        """The message with what the tools of a round returned, which the model sees from now on."""
        order = [result.call_id for result in event.content]
        seen = [each for each in self._seen if any(isinstance(part, _IMAGES) for part in each.parts)]
        seen.sort(key=lambda each: order.index(each.call_id) if each.call_id in order else len(order))
        self._seen.clear()
        if not seen:
            return None
        # Decoding and scaling may take a second, in which an event loop serves others.
        content = await anyio.to_thread.run_sync(_content, seen, self._bounds, abandon_on_cancel=True)
        if not _count(content):
            return None
        message = MultiModalMessage(content=content, source=self.name)
        shown = message.to_model_message()
        await self._model_context.add_message(shown)
        self._shown.append(shown)
        self._forget_old()
        return message

    def _forget_old(self) -> None:
        left = self._bounds.images
        for message in reversed(self._shown):
            left -= _count(message.content)
            if left < 0:
                message.content = _in_words(message.content)
        self._shown = [message for message in self._shown if _count(message.content)]

    def _answer(self, response: Response, added: Mapping[str, MultiModalMessage]) -> Response:
        """The end of a turn, with the messages that were added."""
        if not added:
            return response
        inner = list[BaseAgentEvent | BaseChatMessage]()
        for item in response.inner_messages or ():
            inner += [item, added[item.id]] if item.id in added else [item]
        answer, newest = response.chat_message, list(added.values())[-1]
        if isinstance(answer, HandoffMessage) and inner[-1] is newest:
            context = [*answer.context, newest.to_model_message()]
            answer = answer.model_copy(update={"context": context})
        elif self._share_images and isinstance(answer, TextMessage | ToolCallSummaryMessage):
            images = _newest([part for message in added.values() for part in message.content], self._bounds.images)
            answer = MultiModalMessage(
                id=answer.id,
                source=answer.source,
                models_usage=answer.models_usage,
                metadata=answer.metadata,
                content=[answer.content, *images],
            )
        return Response(chat_message=answer, inner_messages=inner)

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        """Forget the conversation."""
        self._shown.clear()
        await super().on_reset(cancellation_token)

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue a saved conversation, including its images."""
        await super().load_state(state)
        self._shown = [
            message
            for message in await self._model_context.get_messages()
            if isinstance(message, UserMessage) and message.source == self.name and _count(message.content)
        ]
        self._forget_old()

    def _to_config(self) -> VisionAgentConfig:
        return VisionAgentConfig(
            **dict(super()._to_config()),
            max_images=self._bounds.images,
            max_image_pixels=self._bounds.pixels,
            max_image_bytes=self._bounds.bytes,
            share_images=self._share_images,
        )

    @classmethod
    def _from_config(cls, config: AssistantAgentConfig) -> Self:
        assert isinstance(config, VisionAgentConfig)
        try:
            agent = super()._from_config(config)
        except ModuleNotFoundError as error:
            if (missing := missing_extra(error, cls.__name__)) is None:
                raise
            raise missing from error
        agent._bounds = _Bounds(config.max_images, config.max_image_pixels, config.max_image_bytes)
        agent._share_images = config.share_images
        return agent


@dataclass(frozen=True)
class _Bounds:
    images: int
    pixels: int
    bytes: int

    @classmethod
    def checked(cls, images: int, pixels: int, bytes_: int) -> Self:
        for name, bound in (("max_images", images), ("max_image_pixels", pixels), ("max_image_bytes", bytes_)):
            if bound < 1:
                raise ConfigError(f"{name} is {bound}, but must be 1 or more.", hint="Without images: AssistantAgent.")
        return cls(images, pixels, bytes_)


@dataclass(frozen=True)
class _Seen:
    """A tool's result, as AutoGen's parts or MCP's blocks."""

    call_id: str | None
    tool: str
    parts: Sequence[object]

    def pictures(self) -> list[PillowImage.Image]:
        """The images that can be read and are not too large."""
        read = [part.content.image for part in self.parts if isinstance(part, ImageResultContent)]
        return read + [image.image for image in images_of(self.parts) if image is not None]


def _watched(workbench: Workbench, seen: list[_Seen]) -> Workbench:
    # AgentChat streams the events of tools of this class only; its results are text.
    return workbench if isinstance(workbench, StaticStreamWorkbench) else _WatchedWorkbench(workbench, seen)


class _WatchedWorkbench(Workbench):
    """A workbench, and a look at what its tools return."""

    def __init__(self, workbench: Workbench, seen: list[_Seen]) -> None:
        self._workbench = workbench
        self._seen = seen

    async def list_tools(self) -> list[ToolSchema]:
        return await self._workbench.list_tools()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AutoGenResult:
        result = await self._workbench.call_tool(name, arguments, cancellation_token, call_id)
        self._seen.append(_Seen(call_id, name, result.result))
        return result

    async def start(self) -> None:
        await self._workbench.start()

    async def stop(self) -> None:
        await self._workbench.stop()

    async def reset(self) -> None:
        await self._workbench.reset()

    async def save_state(self) -> Mapping[str, Any]:
        return await self._workbench.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        await self._workbench.load_state(state)

    def dump_component(self) -> ComponentModel:
        return self._workbench.dump_component()


class _WatchedTool(JackfieldTool):
    """A tool that records the images in its results."""

    def __init__(self, tool: JackfieldTool, seen: list[_Seen]) -> None:
        super().__init__(tool.tool)
        self._seen = seen

    async def _run_json(self, args: Mapping[str, Any], token: CancellationToken, call_id: str | None) -> Any:
        try:
            result = await super()._run_json(args, token, call_id)
        except ToolError as error:
            self._seen.append(_Seen(call_id, self.name, error.content))
            raise
        self._seen.append(_Seen(call_id, self.name, result.content))
        return result


def _content(seen: Sequence[_Seen], bounds: _Bounds) -> list[str | Image]:
    """Images of a round of tools, each after a description, so that the model does not attribute them to the user."""
    content, left_out = list[str | Image](), 0
    for each in seen:
        for picture in each.pictures():
            shown = None if _count(content) == bounds.images else _fitted(picture, bounds)
            if shown is None:
                left_out += 1
                continue
            size, now = _size(picture), _size(shown.image)
            scaled = "" if now == size else f", scaled down to {now}"
            content += [f"Image in the result of the tool {each.tool!r} (not from the user), {size}{scaled}:", shown]
    if left_out:
        content.append(f"[images left out: {left_out}]")
    return content


def _fitted(picture: PillowImage.Image, bounds: _Bounds) -> Image | None:
    """The image within the bounds for pixels and bytes; `None` if that cannot be."""
    try:
        area, side = picture.width * picture.height, max(picture.size)
        scale = min(1.0, sqrt(bounds.pixels / area), _MAX_SIDE / side)
        while True:
            size = int(picture.width * scale), int(picture.height * scale)
            if not all(size):
                return None
            image = Image(picture if scale == 1 else picture.convert("RGB").resize(size))
            buffer = BytesIO()
            image.image.save(buffer, format="PNG")
            if buffer.tell() <= bounds.bytes:
                return image
            scale *= min(0.9, sqrt(bounds.bytes / buffer.tell()))
    except Exception:  # Pillow raises all kinds
        return None


def _size(picture: PillowImage.Image) -> str:
    return f"{picture.width}x{picture.height}"


def _count(content: str | Sequence[str | Image]) -> int:
    return 0 if isinstance(content, str) else sum(isinstance(part, Image) for part in content)


def _in_words(content: str | Sequence[str | Image]) -> str:
    parts = [content] if isinstance(content, str) else content
    return "\n".join(part if isinstance(part, str) else _NOT_SHOWN for part in parts)


def _newest(content: Sequence[str | Image], images: int) -> list[str | Image]:
    """The content without its oldest images beyond the limit."""
    surplus = _count(content) - images
    kept = list[str | Image]()
    for part in content:
        if isinstance(part, Image) and surplus > 0:
            surplus -= 1
            kept.append(_NOT_SHOWN)
        else:
            kept.append(part)
    return kept

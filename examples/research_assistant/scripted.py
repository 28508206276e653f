"""`ScriptedModel`: stands in for a language model, so that the examples run without a key.

Its script says which tools to call; what they return is real, and the answer is made of that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autogen_core import FunctionCall
from autogen_core.models import (
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    RequestUsage,
    UserMessage,
)
from autogen_ext.models.replay import ReplayChatCompletionClient


@dataclass(frozen=True)
class Call:
    """A tool that the script wants called."""

    tool: str
    arguments: Mapping[str, Any]


class Reply:
    """What a tool returned, as a model sees it: text, here mostly JSON."""

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def items(self) -> list[Any]:
        """The JSON values in the text; a list of records comes as one after the other."""
        decoder, rest, found = json.JSONDecoder(), self.text.strip(), []
        while rest:
            value, end = decoder.raw_decode(rest)
            found.append(value)
            rest = rest[end:].strip()
        return found

    @property
    def item(self) -> Any:
        """The first of them."""
        return self.items[0]


Script = Generator[list[Call], list[Reply], str]
"""Yields calls to make side by side, is sent their replies, and returns the answer."""


def call(tool: str, **arguments: Any) -> Call:
    """A call as a script writes it: `call("get_paper", paper_id="...")`."""
    return Call(tool, arguments)


class ScriptedModel(ReplayChatCompletionClient):
    """Follows a script for each question.

    Args:
        scripts: By the question they answer, as a function that begins the script.
        pace: Seconds to wait before each step, for people who watch.
    """

    def __init__(self, scripts: Mapping[str, Callable[[], Script]], pace: float = 0.0) -> None:
        can = ModelInfo(
            vision=False,
            function_calling=True,
            json_output=False,
            family=ModelFamily.UNKNOWN,
            structured_output=False,
        )
        super().__init__([], model_info=can)
        self._scripts = scripts
        self._pace = pace
        self._running: Script | None = None
        self._calls = 0

    async def create(self, messages: Sequence[LLMMessage], **options: Any) -> CreateResult:  # type: ignore[override]
        """The next step: calls, or the answer."""
        await asyncio.sleep(self._pace)
        step = self._next_step(messages[-1])
        if isinstance(step, str):
            return _result("stop", step)
        calls = []
        for wanted in step:
            self._calls += 1
            calls.append(FunctionCall(f"call-{self._calls}", json.dumps(dict(wanted.arguments)), wanted.tool))
        return _result("function_calls", calls)

    def _next_step(self, message: LLMMessage) -> list[Call] | str:
        if isinstance(message, UserMessage):
            self._running = self._scripts[str(message.content)]()
            return next(self._running)
        assert isinstance(message, FunctionExecutionResultMessage)
        assert self._running is not None
        for result in message.content:
            if result.is_error:
                return f"I could not finish: {result.name} failed.\n{result.content}"
        try:
            return self._running.send([Reply(result.content) for result in message.content])
        except StopIteration as finished:
            return finished.value


def _result(reason: str, content: str | list[FunctionCall]) -> CreateResult:
    usage = RequestUsage(prompt_tokens=0, completion_tokens=0)
    return CreateResult(finish_reason=reason, content=content, usage=usage, cached=False)  # type: ignore[arg-type]

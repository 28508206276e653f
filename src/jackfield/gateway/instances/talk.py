"""`Talk`: what the instances of a gateway tell and ask all others, over the store's messages.

Everything is encrypted with the shared keys, so that it counts only from an instance. Messages may be lost; what must
arrive is in the store.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import cast

import anyio
from mcp.server.request_state import InvalidRequestState

from ...plain import as_list
from ...serving import StoreUnavailableError
from ...serving.backplane_messages import Said
from ...serving.host import SessionHost
from .keys import InstanceKeys

logger: logging.Logger = logging.getLogger("jackfield")

_TOPIC = "talk"
_TELL, _ASK, _TAKEN, _ANSWER = "tell", "ask", "taken", "answer"

_TAKEN_SECONDS = 1.5
"""An instance that can answer says so within this time."""

_MAX_CHARS = 64 * 1024
_MOST_ASKED = 200

Hear = Callable[[str, str], Awaitable[None]]
"""Takes what another instance tells: its name, and a text."""

Answers = Callable[[str], Awaitable[str] | None]
"""Takes a question; `None` if another instance has to answer it."""


class _Asked:
    def __init__(self) -> None:
        self.taken = anyio.Event()
        self.answered = anyio.Event()
        self.text = ""


class Talk:
    """Tells and asks the other instances.

    Args:
        host: Serves the sessions.
        keys: What the instances share.
    """

    def __init__(self, host: SessionHost, keys: InstanceKeys) -> None:
        self._host = host
        self._keys = keys
        self.hears: dict[str, Hear] = {}
        """By topic, what is done with what others tell."""
        self.answers: dict[str, Answers] = {}
        """By topic, what answers the questions of others."""
        self._numbers = itertools.count()
        self._asked: dict[str, _Asked] = {}

    async def tell_all(self, topic: str, text: str) -> None:
        """Tell all others something; it is not said how many hear it."""
        await self._say(_TELL, topic, "", text)

    async def ask_all(self, topic: str, text: str, seconds: float) -> str | None:
        """The answer of the instance that has one; `None` if none has, or not in time.

        Args:
            topic: Which of them answer.
            text: The question.
            seconds: How long the answer may take.
        """
        if len(self._asked) >= _MOST_ASKED:
            return None
        number, asked = f"{self.name}{next(self._numbers)}", _Asked()
        self._asked[number] = asked
        try:
            await self._say(_ASK, topic, number, text)
            with anyio.move_on_after(_TAKEN_SECONDS):
                await asked.taken.wait()
            if not asked.taken.is_set():
                return None
            with anyio.move_on_after(seconds):
                await asked.answered.wait()
                return asked.text
            return None
        finally:
            del self._asked[number]

    @property
    def name(self) -> str:
        """Of this instance."""
        return self._host.instance.name

    async def _say(self, kind: str, topic: str, number: str, text: str) -> None:
        if len(text) > _MAX_CHARS:
            logger.warning("[MCP][gateway] %s was not sent to the other instances: it is too long", topic)
            return
        sealed = self._keys.codec.seal(json.dumps([self.name, kind, topic, number, text]).encode())
        try:
            await self._host.instance.tell_all(Said(self.name, _TOPIC, sealed))
        except StoreUnavailableError as error:
            logger.warning("[MCP][gateway] %s was not sent to the other instances: %s", topic, error.message)

    def heard(self, message: Said) -> None:
        """Take what an instance says."""
        if message.topic != _TOPIC or message.instance == self.name:
            return
        try:
            read = as_list(json.loads(self._keys.codec.unseal(message.text)))
        except (InvalidRequestState, ValueError):
            logger.warning("[MCP][gateway] A message from an instance cannot be read: it uses another key")
            return
        if len(read) != 5 or not all(isinstance(part, str) for part in read) or read[0] != message.instance:
            return
        instance, kind, topic, number, text = cast("list[str]", read)
        background = self._host.instance.background
        if kind == _TELL and (hear := self.hears.get(topic)) is not None:
            background.start(hear, instance, text)
        elif kind == _ASK and (answers := self.answers.get(topic)) is not None:
            if (answer := answers(text)) is not None:
                background.start(self._answer, topic, number, answer)
        elif kind in (_TAKEN, _ANSWER) and (asked := self._asked.get(number)) is not None:
            asked.taken.set()
            if kind == _ANSWER:
                asked.text = text
                asked.answered.set()

    async def _answer(self, topic: str, number: str, answer: Awaitable[str]) -> None:
        await self._say(_TAKEN, topic, number, "")
        await self._say(_ANSWER, topic, number, await answer)

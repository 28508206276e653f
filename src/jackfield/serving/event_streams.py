"""`EventStreams`: what clients read by GET: the standalone stream of a session, or a stream that they come back to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import anyio
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST
from starlette.requests import Request
from starlette.types import Send

from .errors import StoreUnavailableError, UnknownEventError
from .inbound import SESSION_HEADER, Refused, not_found
from .instance import Instance
from .log_reading import LogReader, StreamSettings, write_events
from .stores import PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED
from .streams import STANDALONE
from .wire import EVENT_STREAM_HEADERS, beginning, position

_LISTS = (TOOLS_CHANGED, PROMPTS_CHANGED, RESOURCES_CHANGED)
_DETACH_SECONDS = 2.0
_WAS_READ = "jackfield.was_read"
"""Is set in the state of a session once its client has read the standalone stream."""
_RESUMED = b": resumed\n\n"


class EventStreams:
    """Answers GET requests.

    Args:
        instance: Answers them.
        settings: Settings for writing streams.
    """

    def __init__(self, instance: Instance, settings: StreamSettings) -> None:
        self._instance = instance
        self._settings = settings

    async def open(self, request: Request, send: Send, session_id: str) -> None:
        """Let the client read until the stream ends or it leaves.

        Raises:
            UnknownEventError: It asks to resume after an event that is not available.
            ServingLimitError: Too many streams are open here.
            Refused: Another connection reads the stream, or this instance is stopping.
        """
        here = self._instance
        if here.is_draining:
            text = "This instance is being stopped; no stream was opened. Try again."
            raise Refused(503, INTERNAL_ERROR, text, {"retry-after": "1"})
        last_event_id = request.headers.get("last-event-id")
        if last_event_id is None:
            after = await self._beginning(session_id)
            stream, first, has_all = STANDALONE, beginning(STANDALONE, after, self._settings.retry_ms), False
        else:
            found = position(last_event_id)
            if found is None or (found[0] != STANDALONE and found[1] == 0):
                raise UnknownEventError("The Last-Event-ID was not issued by this server.", sent=False)
            stream, after, first = *found, _RESUMED
            has_all = await self._has_all(session_id, stream, after)
        reader = LogReader(here.streams, session_id, stream, after)
        async with AsyncExitStack() as stack:
            # From here on, it can be told to end.
            name = stack.enter_context(here.reading(reader))
            if stream == STANDALONE:
                await stack.enter_async_context(self._attached(session_id, name, takes_over=last_event_id is not None))
            stack.enter_context(here.using(session_id, is_stream=stream == STANDALONE))
            await stack.enter_async_context(here.streams.listen(session_id, stream, reader.heard))
            # What was added before it listened.
            reader.heard(())
            if has_all or here.is_draining:
                reader.end()
            headers = EVENT_STREAM_HEADERS | {SESSION_HEADER: session_id}
            await write_events(reader, request.receive, send, self._settings, headers=headers, first=first)

    async def _beginning(self, session_id: str) -> int:
        """The event after which a client begins if it names none.

        The first time, it reads from the beginning, so that messages sent during connecting are not lost. Later, it
        gets messages from now on; to get earlier ones, it must name an event.
        """
        here = self._instance
        if await here.sessions.get_state(session_id, _WAS_READ) is None:
            await here.sessions.set_state(session_id, _WAS_READ, "true")
            with contextlib.suppress(UnknownEventError):
                await here.streams.read(session_id, STANDALONE, 0, max_events=1)
                return 0
        return await here.streams.tip(session_id, STANDALONE)

    async def _has_all(self, session_id: str, stream: str, after: int) -> bool:
        """Whether the event to resume after answers the request, so that nothing follows.

        Raises:
            UnknownEventError: There is nothing to resume.
        """
        streams = self._instance.streams
        with contextlib.suppress(UnknownEventError):
            if after and (events := await streams.read(session_id, stream, after - 1, max_events=1)):
                return events[0].is_final
        # The event itself may be gone as long as the next one is there.
        await streams.read(session_id, stream, after, max_events=1)
        return False

    @contextlib.asynccontextmanager
    async def _attached(self, session_id: str, name: str, *, takes_over: bool) -> AsyncGenerator[None]:
        """Be the reader of the standalone stream for a while."""
        here = self._instance
        try:
            if takes_over:
                await self._take_over(session_id, name)
            else:
                await self._attach(session_id, name)
            if await here.sessions.touch([session_id]):
                # It was ended meanwhile, so that nobody would end this stream.
                raise not_found()
            yield
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _DETACH_SECONDS) as scope:
                try:
                    await here.streams.detach(session_id, name)
                except StoreUnavailableError:
                    here.late_detaches[name] = session_id
            if scope.cancelled_caught:
                here.late_detaches[name] = session_id

    async def _attach(self, session_id: str, name: str) -> None:
        """Become the reader, unless a living instance has one."""
        here, over = self._instance, None
        while (other := await here.streams.attach(session_id, name, over=over)) is not None:
            instance = other.partition(":")[0]
            is_here = other in here.readers
            if is_here if instance == here.name else await here.sessions.backplane.is_alive(instance):
                text = "Conflict: another connection reads this session's stream. Resume it by Last-Event-ID."
                raise Refused(409, INVALID_REQUEST, text)
            over = other
        await here.sessions.subscribe(session_id, _LISTS, here.limits)

    async def _take_over(self, session_id: str, name: str) -> None:
        """Become the reader, and end the one before."""
        here = self._instance
        holder = await here.streams.reader(session_id)
        while (other := await here.streams.attach(session_id, name, over=holder)) is not None:
            holder = other
        if holder is not None and holder != name:
            await here.detach(session_id, holder)

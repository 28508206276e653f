"""`Passing`: passes a client's request on in the client's session with the server, and the answer back, as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..config.servers import HttpConfig
from ..loops import Deadline
from ..plain import as_list, as_table
from ..session.relay import OnProgress, relay
from ..session.results import state_note
from ..session.session import Session, caller_of
from .asking import with_input
from .broadcast import ask_for_log
from .client import Client
from .clients import Clients
from .eras import is_modern, named_params
from .messages import Answer, Context, server_notification
from .parked import invalid_state
from .relayed_call import RelayedCall
from .running_request import RunningRequest
from .tasks import given_result
from .uris import with_given_uris
from .views import Views


class Passing:
    """Passes requests on.

    Args:
        clients: Whose sessions with servers are used.
        views: Know what clients call a server's resources.
    """

    def __init__(self, clients: Clients, views: Views) -> None:
        self._clients = clients
        self._views = views

    async def request(self, call: RelayedCall) -> Answer:
        """The server's answer to a request.

        Raises:
            MCPError: The client's `requestState` is not one of a call that waits here.
            JackfieldError: The server answered with an error, or not at all.
        """
        config, client, context = call.target.config, call.client, call.context
        deadline = call.deadline or Deadline.of(None, config.session.call_timeout)
        hints = as_table(call.target.raw.get("annotations"))
        is_read_only = hints.get("readOnlyHint") is True
        is_safe = call.method != "tools/call" or is_read_only or hints.get("idempotentHint") is True
        # Where there are no sessions there is no state to be lost.
        refuses = config.session.on_state_lost == "refuse" and not is_read_only and client.has_session
        state_lost = False
        async with self._clients.upstream(client, config, deadline) as session:
            with client.requesting(config.server_name, context, deadline) as under_way:

                async def passed(more: Mapping[str, Any]) -> Answer:
                    nonlocal state_lost
                    answer = await relay(
                        caller_of(session),
                        call.method,
                        named_params({**call.params, **more}, client.info, client.capabilities, client.log_level),
                        deadline=deadline,
                        on_progress=_progress_of(under_way),
                        is_safe=is_safe,
                        refuses=call.target.name if refuses and call.method == "tools/call" else None,
                        about=under_way,
                        headers=call.headers,
                    )
                    state_lost = state_lost or answer.state_lost
                    return answer.result

                if not is_modern(session.protocol_version):
                    if "requestState" in call.params:
                        # It would run the call once more: only a call that is parked here has such a state.
                        raise invalid_state()
                    await ask_for_log(client, session, config, context)
                try:
                    result = await passed({})
                    if not is_modern(client.protocol_version) or _ends_with(session, client):
                        result = await with_input(client, under_way, result, passed)
                finally:
                    await client.notices.sent()
        given_uri = self._views.of(context).listings.given_uri
        given = partial(given_uri, config, own=self._clients.own_listings(client))
        result = with_given_uris(call.method, result, given)
        result = given_result(config.server_name, call.method, result)
        return _with_state_note(result, config.server_name) if state_lost and client.has_session else result


def _ends_with(session: Session, client: Client) -> bool:
    """Whether a process ends with the very request, and with it what its server knows of a `requestState`."""
    return not client.has_session and session.key == client.key and not isinstance(session.config, HttpConfig)


def _progress_of(under_way: RunningRequest) -> OnProgress | None:
    """Tells the client of the progress of its request, if it asked for that."""
    if _progress_token(under_way.context) is None:
        return None

    async def tell(params: Mapping[str, Any]) -> None:
        context = under_way.context
        token = _progress_token(context)
        if token is not None:
            notification = server_notification("notifications/progress", {**params, "progressToken": token})
            await context.session.send_notification(notification, context.request_id)

    async def report(params: Mapping[str, Any]) -> None:
        later = partial(tell, params)
        if under_way.parked is None or not under_way.parked.holds(later):
            await later()

    return report


def _progress_token(context: Context) -> str | int | None:
    return as_table((context.params or {}).get("_meta")).get("progressToken")


def _with_state_note(result: Answer, server_name: str) -> Answer:
    """The first result after a loss, which says so to the model."""
    note = {"type": "text", "text": state_note(server_name)}
    content = result.get("content")
    words = [{"type": "text", "text": content}] if isinstance(content, str) else as_list(content)
    if not words and "structuredContent" in result:
        # A model that is shown the content would otherwise see no more than the note.
        words = [{"type": "text", "text": json.dumps(result["structuredContent"], ensure_ascii=False)}]
    return {**result, "content": [note, *words]}

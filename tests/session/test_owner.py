"""The owner's turns that a session seldom takes: what it does when nobody has it, or what it is told raises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import LoggingMessageNotificationParams
from tests.reliability.scenario import settled
from tests.session.conftest import Start
from tests.session.watched import HANDSHAKE, INFO, QUICK, kill

from jackfield import (
    HttpConfig,
    RecoveryFailed,
    ServerUnavailableError,
    SessionCallbacks,
    SessionClosed,
    SessionConfig,
    SessionLost,
    SessionTerminatedError,
    StreamRenewed,
    ToolsChanged,
)
from jackfield.session.conflicts import Refused
from jackfield.session.lifecycle import Cause


async def test_what_a_person_sees_of_it(watch: Start) -> None:
    assert repr(watch().owner) == "<SessionOwner 'rig' private opening leases=0 in_flight=0>"
    assert repr(watch(key="ada").owner) == "<SessionOwner 'rig' 'ada' opening leases=0 in_flight=0>"


async def test_it_is_closed_once_and_for_the_first_reason(watch: Start) -> None:
    watched = watch()
    owner = await watched.opened()
    owner.request_close(Cause.IDLE)
    owner.request_close(Cause.MANAGER)
    await watched.closed()
    owner.request_close(Cause.MANAGER)
    assert owner.state == "closed"
    assert [event.reason for event in watched.of_kind(SessionClosed)] == ["idle"]


async def test_a_check_of_what_is_not_open_does_nothing(watch: Start) -> None:
    watched = watch()
    await watched.owner.check_alive()
    assert (watched.owner.state, watched.seen) == ("opening", [])


async def test_what_an_observer_raises_ends_the_session_and_no_more(watch: Start, tmp_path: Path) -> None:
    def raises() -> None:
        raise ValueError("the observer's fault")

    (tmp_path / "program").unlink()
    watched = watch()
    watched.on_failed = raises
    owner = await watched.opened()
    await watched.closed()
    assert isinstance(owner.error, SessionTerminatedError)
    assert owner.error.message == "Session task failed: the observer's fault"
    with pytest.raises(SessionTerminatedError):
        await owner.ready()


async def test_one_that_is_closed_after_a_recovery_does_not_say_that_it_was_lost(watch: Start) -> None:
    watched = watch()
    owner = await watched.opened()
    owner.leases = 1
    kill(owner)
    assert await settled(lambda: owner.generation == 2)
    assert owner.error is None
    owner.request_close(Cause.RELEASED)
    assert owner.ended(sent=False).message == "Session of server 'rig' was closed."
    await watched.closed()
    assert owner.ended(sent=False).message == "Session of server 'rig' was closed."


async def test_one_that_is_closed_while_others_make_way_for_it_is_closed(watch: Start) -> None:
    """The server refuses a second session (409); what nobody needs is being ended when the session itself is closed."""
    is_making_way = anyio.Event()

    async def busy(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def end_others(refused: Refused) -> int:
        is_making_way.set()
        await anyio.sleep_forever()
        return 0

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, busy)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        url = f"http://127.0.0.1:{port}/mcp"
        watched = watch(
            HttpConfig(server_name="rig", url=url, protocol="handshake", session=SessionConfig(**QUICK)),
            end_others=end_others,
        )
        watched.is_started = True
        watched.owner.start()
        with anyio.fail_after(20):
            await is_making_way.wait()
        watched.owner.request_close(Cause.RELEASED)
        await watched.closed()
        tasks.cancel_scope.cancel()
    assert not watched.of_kind(RecoveryFailed)


async def test_one_that_is_lost_while_nobody_has_it_is_closed(watch: Start) -> None:
    watched = watch(key="ada")
    owner = await watched.opened()
    kill(owner)
    await watched.closed()
    assert owner.lifecycle.closed_by is Cause.UNNEEDED
    assert owner.generation == 1
    assert not watched.of_kind(RecoveryFailed)


async def test_one_that_is_left_while_it_is_recovered_in_vain_is_closed(watch: Start, tmp_path: Path) -> None:
    watched = watch(key="ada")
    owner = await watched.opened()
    owner.leases = 1
    watched.on_failed = lambda: setattr(owner, "leases", 0)
    (tmp_path / "program").unlink()
    kill(owner)
    await watched.closed()
    assert owner.lifecycle.closed_by is Cause.UNNEEDED
    assert len(watched.of_kind(RecoveryFailed)) == 1


async def test_where_it_is_left_alone_whoever_asks_is_told_at_once(watch: Start, tmp_path: Path) -> None:
    watched = watch(failure_threshold=1, max_retry_delay=60, retry_delay=60)
    owner = await watched.opened()
    owner.leases = 1
    (tmp_path / "program").unlink()
    kill(owner)
    assert await settled(lambda: owner.state == "lost")
    with pytest.raises(ServerUnavailableError, match="in cool-down") as caught:
        await owner.ready()
    assert caught.value.sent is False
    assert caught.value.state_lost
    assert owner.state == "lost"


async def test_a_server_that_always_says_later_is_asked_so_often_and_no_more(watch: Start) -> None:
    asked = 0

    async def busy(stream: anyio.abc.SocketStream) -> None:
        nonlocal asked
        async with stream:
            await stream.receive()
            asked += 1
            await stream.send(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, busy)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        config = HttpConfig(
            server_name="rig",
            url=f"http://127.0.0.1:{port}/mcp",
            protocol="handshake",
            session=SessionConfig(**{**QUICK, "retry_attempts": 2}),
        )
        watched = watch(config)
        owner = await watched.opened()
        tasks.cancel_scope.cancel()
    await watched.closed()
    assert asked == 2
    assert isinstance(owner.error, ServerUnavailableError)
    assert "503" in owner.error.message


async def test_what_an_observer_of_changes_raises_loses_the_connection_and_is_recovered(watch: Start) -> None:
    async def raises() -> None:
        raise ValueError("the observer's fault")

    heard: list[str] = []

    async def notified(message: Any) -> None:
        heard.append(message.method)

    changed = {"method": "notifications/tools/list_changed"}
    says = HANDSHAKE | {"ping": [{"result": {}, "first": [changed]}]}
    watched = watch(says, callbacks=SessionCallbacks(notification=notified))
    watched.on_change = raises
    owner = await watched.opened()
    owner.leases = 1
    await owner.check_alive()
    assert await settled(lambda: owner.generation == 2)
    (lost,) = watched.of_kind(SessionLost)
    assert '(ValueError("the observer\'s fault"))' in lost.error.message
    assert len(watched.of_kind(ToolsChanged)) == 1
    assert heard == ["notifications/tools/list_changed"]


async def test_a_closing_that_is_not_clean_is_a_closing_all_the_same(watch: Start) -> None:
    begun = anyio.Event()

    async def raises_at_the_end() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("the observer's fault")

    changed = {"method": "notifications/tools/list_changed"}
    watched = watch(HANDSHAKE | {"ping": [{"result": {}, "first": [changed]}]})
    watched.on_change = raises_at_the_end
    owner = await watched.opened()
    await owner.check_alive()
    await begun.wait()
    owner.request_close(Cause.IDLE)
    await watched.closed()
    assert [event.reason for event in watched.of_kind(SessionClosed)] == ["idle"]
    assert not watched.of_kind(SessionLost)


async def test_log_messages_are_asked_for_at_the_level_that_is_wanted(watch: Start, tmp_path: Path) -> None:
    async def logs(params: LoggingMessageNotificationParams) -> None:
        """Makes `info` the level that is wanted."""

    says = HANDSHAKE | {"logging/setLevel": [{"result": {}}]}
    owner = await watch(says, callbacks=SessionCallbacks(logging=logs)).opened()
    assert owner.state == "open"
    assert "logging/setLevel" in (tmp_path / "asked").read_text().split()
    quiet = replace(owner.callbacks, logging=None)
    (tmp_path / "asked").unlink()
    await watch(says, callbacks=quiet).opened()
    assert "logging/setLevel" not in (tmp_path / "asked").read_text().split()


async def test_one_that_was_leased_at_the_last_moment_stays(watch: Start) -> None:
    watched = watch(key="ada")
    watched.may_expire = False
    owner = await watched.opened()
    owner.expire_after(0.01)
    await anyio.sleep(0.05)
    assert owner.state == "open"
    watched.may_expire = True
    owner.expire_after(0.01)
    await watched.closed()
    assert [event.reason for event in watched.of_kind(SessionClosed)] == ["idle"]


async def test_an_error_is_an_answer_too(watch: Start) -> None:
    """Not every server knows `ping`."""
    watched = watch()
    owner = await watched.opened()
    before = owner.last_heard_at
    await owner.check_alive()
    assert owner.state == "open"
    assert owner.last_heard_at > before
    assert not watched.of_kind(SessionLost)


async def test_one_that_ends_while_it_is_checked_is_lost(watch: Start) -> None:
    watched = watch(HANDSHAKE | {"ping": [{"wait": True}]})
    owner = await watched.opened()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(owner.check_alive)
        await anyio.sleep(0.02)
        kill(owner)
    assert owner.state != "open"
    await watched.closed()
    assert len(watched.of_kind(SessionLost)) == 1


async def test_a_stream_of_changes_that_ends_is_asked_for_again(watch: Start) -> None:
    info = INFO | {"capabilities": {"tools": {"listChanged": True}}}
    discovered = {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private", **info}
    meta = {"io.modelcontextprotocol/subscriptionId": "$id"}
    heeded = {
        "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {"toolsListChanged": True}, "_meta": meta},
    }
    changed = {"method": "notifications/tools/list_changed", "params": {"_meta": meta}}
    says = {
        "server/discover": [{"result": discovered}],
        "subscriptions/listen": [
            {"result": {"_meta": meta}, "first": [heeded]},
            {"error": {"code": -32603, "message": "over"}, "first": [heeded]},
            {"wait": True, "first": [heeded, changed]},
        ],
    }
    watched = watch(says, modern=True)
    await watched.opened()
    assert await settled(lambda: watched.of_kind(ToolsChanged))
    assert [event.resumed for event in watched.of_kind(StreamRenewed)] == [False, False]
    assert not watched.of_kind(SessionLost)


async def test_a_server_without_such_a_stream_is_asked_once(watch: Start, tmp_path: Path) -> None:
    info = INFO | {"capabilities": {"tools": {"listChanged": True}}}
    discovered = {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private", **info}
    watched = watch({"server/discover": [{"result": discovered}]}, modern=True)
    owner = await watched.opened()
    asked = (tmp_path / "asked").read_text
    assert await settled(lambda: "subscriptions/listen" in asked())
    await anyio.sleep(0.05)
    assert asked().split().count("subscriptions/listen") == 1
    assert owner.state == "open"


async def test_who_listens_hears_each_message_also_after_a_recovery(watch: Start) -> None:
    watched = watch()
    owner = await watched.opened()
    owner.leases = 1
    heard: list[tuple[bool, str]] = []
    owner.listen_to_messages(lambda is_sent, message: heard.append((is_sent, getattr(message, "method", "answer"))))
    await owner.refresh()
    assert heard[:3] == [(True, "initialize"), (False, "answer"), (True, "notifications/initialized")]
    owner.listen_to_messages(None)
    before = len(heard)
    await owner.check_alive()
    assert len(heard) == before

"""Scopes: what a server says that it wants is remembered, and asked for with what was granted before."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from tests.auth.conftest import Protected, answering, signed_in

from jackfield import AuthenticationError, HttpConfig, MCPClientSessionManager
from jackfield.auth.account import sign_in_status
from jackfield.auth.challenge import MAX_SCOPES_CHARS, Challenge, united

Start = Callable[..., Protected]

LACKING = 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    "refusal",
    [
        f'403 {LACKING}, scope="notes:write", resource_metadata="https://elsewhere.example/x"',
        '403 Basic realm=r, Bearer error_description="scope=\\"no\\"", Scope = notes:write,error=insufficient_scope',
        f'401 {LACKING}, scope="notes:write"',
        '401 Bearer error="invalid_token", scope="notes:write"',
    ],
)
async def test_a_scope_that_is_wanted_is_asked_for_at_the_next_sign_in(refusal: str, protected: Start) -> None:
    server = protected("--step-up", refusal)
    config = server.config()
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(AuthenticationError, match="jackfield auth notes") as failed:
            await session.call_tool("add_note", {"text": "a"})
        assert failed.value.required_scopes == ["notes:write"]
        if refusal.startswith("403"):
            server.forget("access")
        assert (await session.call_tool("whose")).text.startswith("ada's")  # by a renewed token, too
        status = await sign_in_status(config)
        assert (status.scope, status.wanted_scope) == ("notes:read", "notes:write")

        await signed_in(config)
        assert [asked["scopes"] for asked in server.log()["asked"]] == [["notes:read"], ["notes:read", "notes:write"]]
        assert (await session.call_tool("add_note", {"text": "a"})).data == 1  # in the same session
    await signed_in(config)
    assert server.log()["asked"][-1]["scopes"] == ["notes:read", "notes:write"]
    status = await sign_in_status(config)
    assert (status.scope, status.wanted_scope) == ("notes:read notes:write", None)


async def test_a_scope_that_is_not_named_or_not_granted(protected: Start) -> None:
    server = protected("--step-up", f"403 {LACKING}", "--grants", "notes:read")
    config = server.config()
    await signed_in(config)

    async def refused() -> AuthenticationError:
        with pytest.raises(AuthenticationError) as failed:
            async with MCPClientSessionManager().open_session(config) as session:
                await session.call_tool("add_note", {"text": "a"})
        return failed.value

    assert "--scope" in str(await refused())
    assert (await sign_in_status(config)).wanted_scope == ""
    credentials = await signed_in(config, "notes:write")
    assert (credentials.scope, credentials.wanted_scope) == ("notes:read", "notes:write")

    server.change(step_up=f'403 {LACKING}, scope="notes:read"')
    error = await refused()
    assert error.required_scopes == ["notes:read"]
    assert "The token already has the required scope (notes:read)" in str(error)
    assert "jackfield auth" not in str(error)

    server.change(grants="notes:read notes:write")
    assert (await signed_in(config)).wanted_scope is None


async def test_another_kind_of_credentials_is_told_the_scope(protected: Start) -> None:
    async def refuse(stream) -> None:  # type: ignore[no-untyped-def]
        head = f'HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: {LACKING}, scope="a b"\r\n'
        await stream.send(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())

    async with answering(refuse) as url:
        with pytest.raises(AuthenticationError, match=r"The token lacks a scope \(a b\)") as failed:
            async with MCPClientSessionManager().open_session(
                HttpConfig(server_name="own", url=url, headers={"Authorization": "Bearer mine"})
            ):
                pass
    assert failed.value.required_scopes == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "added", "asked"),
    [
        ([], [], "notes:read"),  # of the server's metadata
        ([], ["notes:write"], "notes:read notes:write"),
        (["--challenge", 'Bearer scope="notes:write"'], [], "notes:write"),
        (["--metadata", "no-scopes"], [], "notes:read notes:write"),  # of the authorization server's metadata
        (["--metadata", "no-scopes"], ["notes:read"], "notes:read"),
    ],
)
async def test_which_scopes_are_asked_for(options: list[str], added: list[str], asked: str, protected: Start) -> None:
    server = protected("--scope", "notes:read", *options)
    await signed_in(server.config(auth={"scopes": added[:1]}), *added)
    assert sorted(server.log()["asked"][0]["scopes"]) == asked.split()


async def test_a_server_that_names_no_scope_gets_all_that_it_publishes(protected: Start) -> None:
    server = protected(
        "--challenge", 'Bearer scope="notes:read"', "--metadata", "both-scopes", "--step-up", f"403 {LACKING}"
    )
    config = server.config()
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(AuthenticationError):
            await session.call_tool("add_note", {"text": "a"})
        await signed_in(config)
        assert [asked["scopes"] for asked in server.log()["asked"]] == [["notes:read"], ["notes:read", "notes:write"]]
        await session.call_tool("add_note", {"text": "a"})


# Reading a challenge


@pytest.mark.parametrize(
    ("lines", "error", "scopes"),
    [
        ([], None, ""),
        (["Bearer"], None, ""),
        (['Bearer error="insufficient_scope", scope="a b"'], "insufficient_scope", "a b"),
        (["bearer ERROR=insufficient_scope,SCOPE=a"], "insufficient_scope", "a"),
        (['Basic realm="r"', 'Bearer scope="a"'], None, "a"),
        (['DPoP algs="ES256", scope="a"'], None, "a"),
        (['Bearer x-scope="no", error_description="or scope=\\"no\\", \\\\", scope="a"'], None, "a"),
        (['Bearer scope="a a b", scope="c"'], None, "a b"),
        (['Bearer scope="a \u00e9 b"'], None, "a b"),
        (["Bearer error='insufficient_scope', scope='a b'"], "insufficient_scope", "a b"),
        (["Bearer scope=a b, error=insufficient_scope"], "insufficient_scope", "a b"),
        (['Bearer error=insufficient_scope; realm="x" scope="a"'], "insufficient_scope", "a"),
        (['Negotiate YII=, Bearer scope="a", error="insufficient_scope"'], "insufficient_scope", "a"),
        ([f'Bearer scope="{"a " * 9_000}", error="insufficient_scope"'], "insufficient_scope", "a"),
        (['Bearer scope="never ends'], None, ""),
        (["Bearer " + 'a="' * 100_000], None, ""),
        ([f'Bearer scope="{" ".join(str(n) for n in range(1000))}"'], None, None),
    ],
)
def test_reading_a_challenge(lines: list[str], error: str | None, scopes: str | None) -> None:
    response = httpx2.Response(403, headers=[(b"WWW-Authenticate", line.encode()) for line in lines])
    challenge = Challenge.of(response)
    assert challenge.error == error
    if scopes is None:
        assert 100 < len(" ".join(challenge.scopes)) <= MAX_SCOPES_CHARS
    else:
        assert challenge.scopes == tuple(scopes.split())


def test_scopes_are_united_in_order() -> None:
    assert united("b a", None, ["a", "c"], 'd"') == ("b", "a", "c")

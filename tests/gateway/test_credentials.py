"""Users call servers with their own credentials, never with another's, and no server ever sees a client's token."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from tests.conftest import MARK, SERVERS, TOKEN, quick_python
from tests.daily import daily
from tests.gateway.conftest import behind
from tests.gateway.in_process import Here, gateway_of
from tests.gateway.test_both_ways import settled
from tests.relayed import Client, opened
from tests.serving.authorized import listening

from jackfield import AuthenticationError, ConfigError, HttpConfig, MCPConfig, Session, StdioConfig
from jackfield.config.credentials import CredentialsConfig
from jackfield.gateway.credentials import UserCredentials
from jackfield.gateway.users import User, user_of
from jackfield.serving import Principal, serve_sessions
from jackfield.session.relay import relay
from jackfield.session.session import caller_of

USERS = ("ann", "bob")
CALLS = daily(50, whole=1000)


def token_of(user: str) -> str:
    """What a client of this user sends to the gateway."""
    return f"client-token-of-{user}"


class Recording:
    """A server over HTTP that says with what it was called, and keeps all that it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.accepted: set[str] | None = None
        """Credentials that are accepted; all if omitted."""
        self.server: MCPServer[Any] = MCPServer("recording", log_level="ERROR")
        self.url = ""

        @self.server.tool()
        def who(ctx: Context[Any, Any]) -> list[str]:
            """Whose credential came with the call, and everything else."""
            headers = dict(ctx.request_context.request.headers)
            return [headers.get("authorization", "nobody").removeprefix("Bearer "), json.dumps(headers)]

        self._app = serve_sessions(self.server)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.got += [b"%s: %s" % pair for pair in scope["headers"]] + [scope["path"].encode(), scope["query_string"]]
        given = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if self.accepted is not None and given not in self.accepted:
            challenge = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": challenge})
            await send({"type": "http.response.body", "body": b""})
            return

        async def recorded() -> Any:
            message = await receive()
            self.got.append(message.get("body", b""))
            return message

        await self._app(scope, recorded, send)


@asynccontextmanager
async def recording() -> AsyncIterator[Recording]:
    server = Recording()
    async with listening(server) as address:
        server.url = f"{address}/mcp"
        yield server


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def stdio(name: str, log: Path, **credentials: Any) -> StdioConfig:
    return StdioConfig(
        server_name=name,
        command=quick_python(),
        args=[str(SERVERS / "credentialed.py"), str(log)],
        protocol="handshake",
        environment={MARK: TOKEN},
        credentials={"env": {"SECRET": "{credential}"}, **credentials},
    )


@asynccontextmanager
async def gateway(folder: Path, configs: list[Any], **options: Any) -> AsyncIterator[Here]:
    async with gateway_of(folder, configs, with_users=True, **options) as here:
        yield here


PRINTS = "import os; print(f\"{os.environ['JACKFIELD_SERVER']} of {os.environ['JACKFIELD_USER']}\")"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in USERS:
        monkeypatch.setenv(f"SECRET_OF_{user}", f"variable of {user}")


async def offered(session: Session, *tools: str) -> None:
    """Wait until a client is offered these tools, and no others: a busy machine takes its time to start servers."""
    with anyio.fail_after(60):
        while {tool.name for tool in (await session.list_tools()).tools} != {*tools}:
            await anyio.sleep(0.05)


async def who(session: Session, tool: str) -> list[str]:
    """What a server says of the credential that it was called with, and all that it knows."""
    result = (await relay(caller_of(session), "tools/call", {"name": tool, "arguments": {}})).result
    assert "isError" not in result or not result["isError"], result
    return [block["text"] for block in result["content"]]


@pytest.mark.usefixtures("variables")
async def test_mixed_calls_of_users_go_with_their_own_credentials(tmp_path: Path) -> None:
    """Two gateways that share their files, four servers, both eras, calls of both users at the same time."""
    log = tmp_path / "log"
    file = private(
        tmp_path / "credentials.toml", "".join(f'[{u}]\nweb = "web of {u}"\nfiled = "filed of {u}"\n' for u in USERS)
    )
    async with recording() as web, AsyncExitStack() as stack:
        configs = [
            HttpConfig(server_name="web", url=web.url, credentials={"file": file}),
            stdio("filed", log, file=file),
            stdio("command", log, command=[sys.executable, "-c", PRINTS]),
            stdio("variable", log, environment="SECRET_OF_{user}"),
        ]
        gateways = [await stack.enter_async_context(gateway(tmp_path, configs)) for _ in range(2)]
        sessions = [
            (user, await stack.enter_async_context(opened(here.config(era, user=token_of(user)), Client())))
            for user in USERS
            for here in gateways
            for era in ("handshake", "modern")
        ]
        for _, session in sessions:
            await offered(session, *[f"{config.server_name}_who" for config in configs])
        chosen = random.Random(19)
        wrong: list[tuple[str, str, str]] = []
        limit = anyio.CapacityLimiter(8)

        async def call(user: str, session: Session, server: str) -> None:
            async with limit:
                used, known = await who(session, f"{server}_who")
                if used != f"{server} of {user}" or "client-token" in known:
                    wrong.append((user, used, known))

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS):
                tasks.start_soon(call, *chosen.choice(sessions), chosen.choice(configs).server_name)
        assert wrong == []
    assert await settled(lambda: behind() == [])
    everything = log.read_bytes() + b"\n".join(web.got)
    assert b"of ann" in everything
    assert b"client-token" not in everything, "a server saw the token of a client"


async def refused(session: Session, tool: str) -> str:
    """What a client is told of a call that is not made."""
    result = (await relay(caller_of(session), "tools/call", {"name": tool, "arguments": {}})).result
    assert result["isError"] is True, result
    return str(result["content"][0]["text"])


async def test_a_user_without_a_credential_is_told_what_to_do(tmp_path: Path) -> None:
    file = private(tmp_path / "credentials.toml", '[ann]\nweb = "one"\n[bob]\nother = "two"\n')
    async with recording() as web:
        settings = {"file": file, "help": "Get one at https://example.org/tokens."}
        config = HttpConfig(server_name="web", url=web.url, credentials=settings)
        async with gateway(tmp_path, [config]) as here:
            async with opened(here.config("handshake", user=token_of("ann")), Client()) as ann:
                await offered(ann, "who")
                assert (await who(ann, "who"))[0] == "one"
                async with opened(here.config("handshake", user=token_of("bob")), Client()) as bob:
                    # Nothing of what is listed for others is shown, either.
                    assert (await bob.list_tools()).tools == []
                private(file, '[ann]\nweb = "newer"\n')
                # The file was changed: the next request goes with what stands there now, in the same session.
                assert (await who(ann, "who"))[0] == "newer"
                private(file, "[bob]\n")
                text = await refused(ann, "who")
                assert "User 'ann' has no credential for server 'web'. Nothing was sent." in text
                assert "https://example.org/tokens" in text
                file.chmod(0o644)
                assert "file of credentials cannot be read. Nothing was sent." in await refused(ann, "who")
                private(file, "[ann]\nweb = 3\n")
                assert "file of credentials cannot be read. Nothing was sent." in await refused(ann, "who")
                private(file, '[ann]\nweb = "one"\n')
                assert (await who(ann, "who"))[0] == "one"


async def test_a_command_is_asked_again_when_its_credential_is_refused(tmp_path: Path) -> None:
    says, asked = tmp_path / "says", tmp_path / "asked"
    program = (
        "import os, pathlib, sys; "
        f"pathlib.Path({str(asked)!r}).open('a').write(os.environ['JACKFIELD_USER'] + chr(10)); "
        f"print(pathlib.Path({str(says)!r}).read_text())"
    )
    async with recording() as web:
        config = HttpConfig(server_name="web", url=web.url, credentials={"command": [sys.executable, "-c", program]})
        says.write_text('{"credential": "first", "expires_in": 600}')
        async with gateway(tmp_path, [config]) as here:
            async with opened(here.config("handshake", user=token_of("ann")), Client()) as ann:
                await offered(ann, "who")
                for _ in range(3):
                    assert (await who(ann, "who"))[0] == "first"
                assert asked.read_text() == "ann\n", "it is kept for as long as it is good"
                says.write_text("second")
                web.accepted = {"second"}
                assert (await who(ann, "who"))[0] == "second"
                assert asked.read_text() == "ann\nann\n"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import time; time.sleep(60)", "the gateway's command for credentials failed"),
        ("import sys; print('s3cret-value'); sys.exit(3)", "the gateway's command for credentials failed"),
        ("print('{\"credential\": 1}')", "the gateway's command for credentials failed"),
        ("print('two'); print('lines')", "the gateway's command for credentials failed"),
        ("print('x' * 100_000)", "the gateway's command for credentials failed"),
        ("", "User 'ann' has no credential for server 'one'"),
    ],
)
async def test_a_command_that_finds_nothing(
    program: str, says: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, TOKEN)
    settings = CredentialsConfig(command=[sys.executable, "-c", program], timeout=5 if "sleep" not in program else 0.5)
    with pytest.raises(AuthenticationError) as failure:
        await UserCredentials().of(User("ann"), "one", settings)
    assert says in str(failure.value)
    assert failure.value.sent is False
    assert "s3cret" not in str(failure.value) + caplog.text
    assert await settled(lambda: behind() == []), "all that it started has ended"


async def test_a_name_stands_for_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_a_b", "of a_b")
    credentials, settings = UserCredentials(), CredentialsConfig(environment="SECRET_OF_{user}")
    assert (await credentials.of(User("a_b"), "one", settings)).values == {"credential": "of a_b"}
    for subject in ("a-b", "a.b", "a b", "A_B", "", "a_b\n", "../a_b"):
        with pytest.raises(AuthenticationError):
            await credentials.of(User(subject), "one", settings)
    # The same name at another issuer is somebody else, and a program without a user is nobody.
    assert User("ann").digest != User("ann", "https://login.example").digest
    assert user_of(Principal(None, None, "program")) is None
    assert user_of(None) is None


async def test_a_process_gets_the_present_credential(tmp_path: Path) -> None:
    file = private(tmp_path / "credentials.toml", '[ann]\none = "first"\n')
    async with gateway(tmp_path, [stdio("one", tmp_path / "log", file=file)]) as here:
        async with opened(here.config("handshake", user=token_of("ann")), Client()) as ann:
            await offered(ann, "who")
            assert (await who(ann, "who"))[0] == "first"
            [before] = behind()
            assert (await who(ann, "who"))[0] == "first"
            assert behind() == [before]
            private(file, '[ann]\none = "second"\n')
            said = await who(ann, "who")
            assert "second" in said
            assert "the session with server 'one' was lost and reopened" in said[0], "what the process knew is gone"
            assert (await who(ann, "who"))[0] == "second"
            assert len(behind()) == 1
            private(file, "[ann]\n")
            assert "has no credential" in await refused(ann, "who")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"url": "http://x/", "credentials": {}}, "give one of file, command, environment, oauth; it has none"),
        ({"url": "http://x/", "credentials": {"file": "a", "oauth": True}}, "it has file and oauth"),
        ({"url": "http://x/", "credentials": {"environment": "TOKEN"}}, "it must contain {user} once"),
        ({"url": "http://x/", "credentials": {"file": "a", "env": {"A": "b"}}}, "env is for servers over stdio"),
        ({"command": "x", "credentials": {"file": "a"}}, "env must say which variable"),
        ({"command": "x", "credentials": {"oauth": True}}, "oauth is for servers over HTTP"),
        ({"command": "x", "credentials": {"fil": "a"}}, "did you mean 'file'"),
    ],
)
def test_settings_that_make_no_sense(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        MCPConfig.from_dict({"mcpServers": {"one": entry}})


def test_a_file_is_where_the_configuration_says(tmp_path: Path) -> None:
    entry = {"url": "http://x/", "credentials": {"file": "users.toml"}}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"one": entry}}))
    [config] = MCPConfig.load(tmp_path / "servers.json").servers
    assert config.credentials is not None
    assert config.credentials.file == tmp_path / "users.toml"

"""Programs that run without a person: sessions get tokens by client credentials, by themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from mcp.client.auth.extensions.client_credentials import SignedJWTParameters
from tests.auth.conftest import Protected
from tests.auth.test_renewal import age, kept
from tests.config.test_secrets import assert_hidden, texts

from jackfield import (
    AuthenticationError,
    ConfigError,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    OAuthConfig,
    ServerUnavailableError,
)
from jackfield.auth.account import sign_in_status, sign_out
from jackfield.auth.sign_in import sign_in

Start = Callable[..., Protected]

SECRET = "s3cret of the robot: 100 %"
ROBOT = OAuthConfig(grant="client_credentials", client_id="robot", client_secret=SECRET)  # type: ignore[arg-type]
KEYS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def pem(key: Any, passphrase: bytes | None = None) -> str:
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


def public_file(key: Any, folder: Path) -> str:
    path = folder / "public.pem"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)


async def nobody(url: str) -> None:
    raise AssertionError(f"a person was asked to open {url}")


async def add_note(config: Any) -> int:
    async with MCPClientSessionManager().open_session(config) as session:
        result = await session.call_tool("add_note", {"text": "a"})
        assert isinstance(result.data, int)
        return result.data


@pytest.mark.parametrize(
    ("takes", "settings", "shown"),
    [
        ("", {}, "client_secret_basic"),
        ("client_secret_post private_key_jwt", {}, "client_secret_post"),
        ("client_secret_basic client_secret_post", {}, "client_secret_basic"),
        ("", {"token_endpoint_auth_method": "client_secret_post"}, "client_secret_post"),
    ],
)
async def test_a_secret_is_shown_as_the_authorization_server_takes_it(
    takes: str, settings: dict[str, Any], shown: str, protected: Start
) -> None:
    server = protected("--client", f"robot:{SECRET}", "--token-auth", takes)
    config = server.config(auth=ROBOT.model_copy(update=settings))
    assert await add_note(config) == 1
    asked = server.log()["asked"]
    assert [one["method"] for one in asked] == [shown]
    assert asked[0]["grant_type"] == "client_credentials"
    assert asked[0]["resource"] == server.url
    status = await sign_in_status(config)
    assert (status.is_signed_in, status.is_renewable, status.client_id) == (True, True, "robot")


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("given", ["text", "one line", "file"])
async def test_a_key_signs_in_place_of_a_secret(algorithm: str, given: str, protected: Start, tmp_path: Path) -> None:
    key = KEYS[algorithm]()
    text = pem(key)
    (tmp_path / "robot.pem").write_text(text)
    server = protected("--client", "robot", "--client-key", public_file(key, tmp_path))
    entry = {"file": {"private_key_file": "robot.pem"}}.get(given, {"private_key": "${ROBOT_KEY}"})
    (tmp_path / "mcp.json").write_text(
        json.dumps(
            {
                "mcpServers": {
                    "notes": {
                        "url": server.url,
                        "auth": {"grant": "client_credentials", "client_id": "robot", **entry},
                    }
                }
            }
        )
    )
    value = text.replace("\n", "\\n") if given == "one line" else text
    config = MCPConfig.load(tmp_path / "mcp.json", variables={"ROBOT_KEY": value})
    assert await add_note(config["notes"]) == 1
    assert server.log()["asked"][0]["method"] == "private_key_jwt"
    assert_hidden(text.splitlines()[1], [repr(config), str(config.model_dump()), json.dumps(config.to_portable())])


async def test_an_assertion_of_the_platform_is_read_each_time(protected: Start, tmp_path: Path) -> None:
    key = KEYS["ES256"]()
    file = tmp_path / "token"
    server = protected("--client", "robot", "--client-key", public_file(key, tmp_path))
    config = server.config(auth=OAuthConfig(grant="client_credentials", client_id="robot", client_assertion_file=file))
    parameters = SignedJWTParameters(issuer="robot", subject="robot", signing_key=pem(key), signing_algorithm="ES256")
    with pytest.raises(ConfigError, match=r"client_assertion_file .* cannot be read"):
        await add_note(config)
    for number in (1, 2):
        file.write_text(await parameters.create_assertion_provider()(server.issuer) + "\n")
        assert await add_note(config) == number
        await age(config)
    shown = [one["client_assertion"] for one in server.log()["asked"]]
    assert len(set(shown)) == 2


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"private_key": "nonsense"}, "is not a PEM private key"),
        ({"private_key": pem(KEYS["ES256"](), b"passphrase")}, "without a passphrase"),
        ({"private_key": pem(KEYS["ES256"]()), "signing_algorithm": "RS256"}, "cannot sign with RS256"),
        ({"private_key_file": Path("/nowhere/key.pem")}, "/nowhere/key.pem cannot be read"),
    ],
)
async def test_a_key_that_cannot_be_used_is_named_and_not_shown(
    settings: dict[str, Any], problem: str, protected: Start
) -> None:
    server = protected("--client", "robot")
    config = server.config(auth=OAuthConfig(grant="client_credentials", client_id="robot", **settings))
    with pytest.raises(ConfigError, match=problem) as caught:
        await add_note(config)
    assert caught.value.sent is False
    for line in str(settings.get("private_key", "")).splitlines()[1:-1]:
        assert_hidden(line, texts(caught.value))
    assert "programs" not in server.log()


async def test_tokens_are_shared_renewed_and_kept_without_the_secret(protected: Start, state_folder: Path) -> None:
    server = protected("--client", f"robot:{SECRET}", "--token-auth", "client_secret_post")
    config = server.config(auth=ROBOT)
    assert await add_note(config) == 1
    assert await add_note(config) == 2
    assert server.log()["programs"] == 1
    assert (await kept(config)).refresh_token is None
    assert_hidden(SECRET, [path.read_text() for path in state_folder.glob("*.json")])
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(config) as one, manager.open_session(config) as other:
            for forget in (lambda: server.forget("access"), lambda: anyio.from_thread.run(age, config)):
                before = server.log()["programs"]
                await anyio.to_thread.run_sync(forget)
                async with anyio.create_task_group() as tasks:
                    for session in (one, other) * 5:
                        tasks.start_soon(session.call_tool, "whose")
                assert server.log()["programs"] == before + 1
    assert (await sign_out(config)).is_revoked
    assert not (await sign_in_status(config)).is_signed_in


async def test_jackfield_auth_tries_it_and_asks_no_person(protected: Start) -> None:
    server = protected("--client", f"robot:{SECRET}")
    config = server.config(auth=ROBOT)
    credentials = await sign_in(config, show_url=nobody)
    assert credentials == await kept(config)
    assert await add_note(config) == 1
    assert server.log()["programs"] == 1


async def test_a_scope_that_is_wanted_is_asked_for_once_and_by_itself(protected: Start) -> None:
    challenge = 'Bearer error="insufficient_scope", scope="notes:write"'
    server = protected("--client", f"robot:{SECRET}", "--step-up", f"403 {challenge}")
    config = server.config(auth=ROBOT)
    assert await add_note(config) == 1
    assert [one["scope"] for one in server.log()["asked"]] == ["notes:read", "notes:read notes:write"]
    await age(config)
    assert await add_note(config) == 2
    assert server.log()["asked"][-1]["scope"] == "notes:read notes:write", "what was granted once is asked for again"
    server.change(no_such_scope="notes:write")
    await age(config)
    for _ in range(2):
        with pytest.raises(AuthenticationError) as caught:
            await add_note(config)
        assert caught.value.required_scopes == ["notes:write"]
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's"), "the rest goes on with less"


@pytest.mark.parametrize(
    ("options", "kind", "words", "retryable"),
    [
        (["--client", "robot:other"], AuthenticationError, "invalid_client", False),
        (["--client", "robot:other", "--token-auth", "client_secret_post"], AuthenticationError, "_client", False),
        (["--client", f"robot:{SECRET}", "--busy", "503"], ServerUnavailableError, "HTTP 503", True),
        (["--client", f"robot:{SECRET}", "--bad-token", "useless"], AuthenticationError, "does not accept", False),
        (["--client", f"robot:{SECRET}", "--metadata", "other-issuer"], AuthenticationError, "evil.example", False),
        (["--open"], AuthenticationError, "does not require a sign-in", False),
    ],
)
async def test_a_refusal_says_which_step_failed_and_shows_no_secret(
    options: list[str],
    kind: type[JackfieldError],
    words: str,
    retryable: bool,
    protected: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    config = protected(*options).config(auth=ROBOT)
    with pytest.raises(kind, match=words) as caught:
        await add_note(config)
    assert (caught.value.sent, caught.value.retryable) == (False, retryable)
    assert ("does not require a sign-in" if options == ["--open"] else "Getting a token") in str(caught.value)
    assert_hidden(SECRET, [*texts(caught.value), caplog.text])


async def test_credentials_go_only_to_the_authorization_server_that_is_theirs(protected: Start) -> None:
    right = protected("--client", f"robot:{SECRET}")
    config = right.config(auth=ROBOT.model_copy(update={"issuer": right.issuer}))
    assert await add_note(config) == 1
    elsewhere = config.model_copy(update={"auth": ROBOT.model_copy(update={"issuer": "https://login.example"})})
    await sign_out(elsewhere)
    with pytest.raises(AuthenticationError, match=r"not https://login\.example, as auth\.issuer"):
        await add_note(elsewhere)
    assert right.log()["programs"] == 1


async def test_without_a_configured_issuer_the_first_one_stays(protected: Start) -> None:
    server = protected("--client", f"robot:{SECRET}")
    config = server.config(auth=ROBOT)
    assert await add_note(config) == 1
    await age(config, authorization_server={"issuer": "https://login.example"}, expires_at=1.0)
    with pytest.raises(AuthenticationError, match=r"not https://login\.example, as before") as caught:
        await add_note(config)
    assert "jackfield auth notes" in str(caught.value)
    assert server.log()["programs"] == 1
    await sign_in(config, show_url=nobody)
    assert await add_note(config) == 2


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grant": "client_credentials", "client_secret": "s"}, "a client_secret requires a client_id"),
        ({"grant": "client_credentials"}, "needs the client_id"),
        ({"grant": "client_credentials", "client_id": "c"}, "needs one of client_secret, private_key"),
        (
            {"grant": "client_credentials", "client_id": "c", "client_secret": "s", "private_key": "k"},
            "secret, private_key, not all",
        ),
        ({"grant": "client_credentials", "client_id": "c", "private_key": "k", "signing_algorithm": "HS256"}, "PS384"),
        ({"client_id": "c", "private_key": "k"}, "private_key is for grant: client_credentials"),
        ({"client_id": "c", "client_secret": "s", "signing_algorithm": "ES256"}, "needs a private key"),
        ({"client_id": "c", "token_endpoint_auth_method": "client_secret_post"}, "needs a client_secret"),
        ({"issuer": "login.example"}, "an issuer is"),
        ({"grant": "password"}, "grant"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        MCPConfig.from_dict({"mcpServers": {"a": {"url": "https://a.example/mcp", "auth": settings}}})

"""What may be a secret is shown nowhere: not by repr, a dump, an error or a stored configuration."""

from __future__ import annotations

import copy
import json
import pprint
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from jackfield import (
    ConfigError,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    SseConfig,
    StdioConfig,
)

# Long enough not to be part of a rendering by chance.
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=40).map("S3".__add__)
url_secrets = secrets.map(lambda text: quote(text, safe=""))


def renderings(thing: Any) -> list[str]:
    """All the ways in which somebody may come to see a configuration."""
    shown = [repr(thing), str(thing), f"{thing}", pprint.pformat(thing), repr(vars(thing)), repr([thing])]
    shown += [thing.model_dump_json(), thing.model_dump_json(by_alias=True, exclude_unset=True)]
    for mode in ("python", "json"):
        dumped = thing.model_dump(mode=mode)
        shown += [repr(dumped), json.dumps(dumped, default=str, ensure_ascii=False)]
    return shown


def assert_hidden(secret: str, shown: list[str]) -> None:
    """Neither the secret nor what escaping makes of it is in any of the texts."""
    for form in {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret)}:
        for text in shown:
            assert form not in text, text


def texts(error: BaseException) -> list[str]:
    """All that an error shows, with those it was raised from, as far as a traceback would show them."""
    found = [str(error), repr(error)]
    if isinstance(error, JackfieldError):
        found += [repr(error.__dict__), repr(error.args)]
    following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found + (texts(following) if following is not None else [])


def of_config(config: MCPConfig) -> list[str]:
    """All renderings of a config and what holds it."""
    stored = config.to_portable()
    shown = [*renderings(config), repr(stored), json.dumps(stored, ensure_ascii=False)]
    for server in config:
        shown += [*renderings(server), server.address]
    return [*shown, repr(MCPClientSessionManager(config)), repr(copy.deepcopy(config))]


@given(secrets)
def test_secrets_given_in_code(secret: str) -> None:
    config = MCPConfig(
        servers=[
            StdioConfig(server_name="a", command="c", environment={"TOKEN": secret}),  # type: ignore[dict-item]
            SseConfig(server_name="b", url="http://h/sse", headers={"Authorization": f"Bearer {secret}"}),  # type: ignore[dict-item]
            HttpConfig(server_name="c", url="http://h/mcp", headers={"X-Key": secret}),  # type: ignore[dict-item]
            HttpConfig(server_name="d", url="http://h/mcp", auth={"client_id": "c", "client_secret": secret}),
            HttpConfig(server_name="e", url="http://h/mcp", auth=("user", secret)),
        ]
    )
    assert config["d"].auth.client_secret.get_secret_value() == secret  # type: ignore[union-attr]
    assert config["a"].environment_values() == {"TOKEN": secret}  # type: ignore[union-attr]
    assert config["b"].header_values() == {"Authorization": f"Bearer {secret}"}  # type: ignore[union-attr]
    assert_hidden(secret, of_config(config))


@pytest.mark.parametrize("kind", [SseConfig, HttpConfig])
@pytest.mark.parametrize(
    "url",
    [
        "https://{}@h/mcp",
        "https://user:{}@h:8443/mcp",
        "https://h/mcp?key={}",
        "https://h/mcp?a=1&key={}&b=2",
        "https://h/mcp?{}",
        "https://h/mcp#{}",
    ],
)
@given(secret=url_secrets)
def test_secrets_in_a_url(kind: Any, url: str, secret: str) -> None:
    server = kind(server_name="a", url=url.format(secret))
    assert server.url == url.format(secret)
    assert server.address.startswith("https://h")
    assert_hidden(secret, of_config(MCPConfig(servers=[server])))


@given(secrets)
def test_secrets_from_variables(secret: str) -> None:
    config = MCPConfig.from_dict(
        {
            "mcpServers": {
                "a": {
                    "command": "${SECRET}",
                    "args": ["--key=${SECRET}", "plain"],
                    "env": {"T": "${env:SECRET}", "U": "<${SECRET:-x}>"},
                    "cwd": "/${SECRET}",
                },
                "b": {"url": "http://h/${QUOTED}/sse", "headers": {"X": "Bearer ${SECRET}"}},
                "c": {"url": "http://${QUOTED}@h/mcp?k=${QUOTED}", "transport": "http"},
                "d": {"url": "http://h/mcp", "auth": {"client_id": "${SECRET}", "client_secret": "${SECRET}"}},
            }
        },
        variables={"SECRET": secret, "QUOTED": quote(secret, safe="")},
    )
    a = config["a"]
    assert isinstance(a, StdioConfig)
    assert a.args == [f"--key={secret}", "plain"]
    shown = of_config(config)
    assert_hidden(secret, shown)
    assert_hidden(quote(secret, safe=""), shown)


@given(secrets)
def test_a_command_from_a_variable_stays_hidden_when_it_is_a_path(secret: str) -> None:
    config = MCPConfig.from_dict(
        {"mcpServers": {"a": {"command": "./${SECRET}/run"}}}, variables={"SECRET": secret.replace("/", "")}
    )
    assert_hidden(secret.replace("/", ""), of_config(config))


WRONG: list[dict[str, Any]] = [
    {"command": "c", "env": {"T": "SECRET"}, "bogusHeaders": 1},
    {"command": "c", "env": "SECRET"},
    {"command": "c", "env": ["SECRET"]},
    {"command": "c", "env": {"T": ["SECRET"]}},
    {"command": "c", "env": {"T": {"x": "SECRET"}}},
    {"command": "c", "args": "SECRET"},
    {"command": "c", "env": {"T": "SECRET"}, "args": 3},
    {"command": "c", "env": {"T": "SECRET"}, "encoding": 3},
    {"command": [["SECRET"]]},
    {"url": "SECRET"},
    {"url": "ftp://SECRET@h/"},
    {"url": "http://SECRET@"},
    {"url": "http://user:SECRET@[bad/"},
    {"url": "http://user:SECRET@ho\u2100st/"},
    {"url": "http://h", "headers": ["SECRET"]},
    {"url": "http://h", "headers": "Authorization: SECRET"},
    {"url": "http://h", "headers": {"X": "SECRET"}, "timeout": -1},
    {"url": "http://h", "headers": {"X": "SECRET"}, "transport": "stdio"},
    {"url": "http://h", "auth": "SECRET"},
    {"url": "http://h", "auth": ["SECRET"]},
    {"url": "http://h", "auth": {"client_secret": "SECRET"}},
    {"url": "http://h", "auth": {"client_id": "c", "client_secret": ["SECRET"]}},
    {"url": "http://h", "auth": {"client_id": ["SECRET"]}},
    {"url": "http://h", "auth": {"redirect_uri": "https://user:SECRET@h/"}},
    {"url": "http://h", "auth": {"client_metadata_url": "http://SECRET"}},
    {"url": "http://h", "auth": {"bogus": "SECRET"}},
    {"transport": "SECRET", "command": "c"},
    {"session": "SECRET", "command": "c"},
]


def with_secret(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {key: with_secret(item, secret) for key, item in value.items()}
    if isinstance(value, list):
        return [with_secret(item, secret) for item in value]
    return value.replace("SECRET", secret) if isinstance(value, str) else value


@pytest.mark.parametrize("entry", WRONG, ids=str)
@given(secret=url_secrets)
def test_errors_do_not_show_secrets(entry: dict[str, Any], secret: str) -> None:
    filled = with_secret(entry, secret)
    with pytest.raises(ConfigError) as from_file:
        MCPConfig.from_dict({"mcpServers": {"a": filled}})
    assert_hidden(secret, texts(from_file.value))
    with pytest.raises(ConfigError) as from_variable:
        MCPConfig.from_dict({"mcpServers": {"a": with_secret(entry, "${SECRET}")}}, variables={"SECRET": secret})
    assert_hidden(secret, texts(from_variable.value))


@pytest.mark.parametrize("entry", WRONG, ids=str)
@given(secret=url_secrets)
def test_validation_errors_do_not_show_secrets(entry: dict[str, Any], secret: str) -> None:
    filled = {"server_name": "a", **with_secret(entry, secret)}
    with pytest.raises(ValidationError) as of_config:
        MCPConfig(servers=[filled])  # type: ignore[list-item]
    assert_hidden(secret, texts(of_config.value))
    kind = HttpConfig if "url" in entry else StdioConfig
    with pytest.raises(ValidationError) as of_server:
        kind.model_validate(filled)
    assert_hidden(secret, texts(of_server.value))


# What can be stored


def test_a_stored_config_gives_the_same_config_again() -> None:
    variables = {"TOKEN": "t0ken", "HOST": "example.org", "TOOL": "/opt/tool"}
    data = {
        "mcpServers": {
            "a": {
                "command": "${TOOL}",
                "args": ["--token=${TOKEN}", "plain", "$${LITERAL}"],
                "env": {"T": "Bearer ${TOKEN}", "E": "${NONE:-default}"},
                "cwd": "/srv",
                "protocol": "handshake",
                "include": ["r*"],
                "session": {"timeout": 3, "call_timeout": None},
            },
            "b": {"url": "https://${HOST}/mcp?key=${TOKEN}", "headers": {"X": "${TOKEN}"}, "verify": False},
            "d": {"url": "https://h/mcp", "auth": {"client_id": "c", "client_secret": "${TOKEN}", "scopes": ["a"]}},
            "e": {"url": "https://h/mcp", "auth": "oauth"},
            "c": {"url": "http://h/sse", "sse_read_timeout": 9},
        }
    }
    config = MCPConfig.from_dict(data, variables=variables)
    stored = json.loads(json.dumps(config.to_portable()))
    assert "t0ken" not in json.dumps(stored)
    again = MCPConfig.from_dict(stored, variables=variables)
    assert again == config
    assert again.to_portable() == config.to_portable()
    other = MCPConfig.from_dict(stored, variables={**variables, "TOKEN": "an0ther"})
    assert other["b"].header_values() == {"X": "an0ther"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "server",
    [
        StdioConfig(server_name="a", command="c", environment={"T": "s3cret"}),  # type: ignore[dict-item]
        HttpConfig(server_name="a", url="http://h/mcp", headers={"X": "s3cret"}),  # type: ignore[dict-item]
        HttpConfig(server_name="a", url="http://h/mcp?key=s3cret"),
        HttpConfig(server_name="a", url="http://user:s3cret@h/mcp"),
        HttpConfig(server_name="a", url="http://h/mcp", auth={"client_id": "c", "client_secret": "s3cret"}),
    ],
    ids=["environment", "header", "query", "userinfo", "oauth"],
)
def test_a_secret_given_in_full_is_not_stored_and_its_absence_is_an_error(server: Any) -> None:
    stored = MCPConfig(servers=[server]).to_portable()
    assert "s3cret" not in repr(stored)
    with pytest.raises(ConfigError, match="the secret was not stored"):
        MCPConfig.from_dict(stored)


plain = st.lists(
    st.sampled_from(["$", "{", "}", "${", "$${", "${HOME}", "${{ secrets.A }}", "${{}}", "HOME", "a b", "'", '"', "\\"])
).map("".join)


@given(plain)
def test_plain_text_of_code_means_itself_after_storing(text: str) -> None:
    assume(text)
    config = MCPConfig(servers=[StdioConfig(server_name="a", command=f"/c{text}", args=[text])])
    assert MCPConfig.from_dict(config.to_portable()) == config

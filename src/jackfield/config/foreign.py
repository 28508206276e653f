"""Other programs' entries in our words: their keys, transports, times, tools and clients. Knows no models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from ..plain import as_list, as_table
from .keys import SWITCHES, from_milliseconds, one_spelling
from .notations import Ours, remarks
from .programs.table import ALWAYS, Program, Times
from .source import OWN_KEYS, sign_of

_RENAMED = {
    **dict.fromkeys(("type", "transportType"), "transport"),
    **dict.fromkeys(("serverUrl", "baseUrl", "base_url", "uri"), "url"),  # Windsurf, mcporter, Goose
    "cmd": "command",  # Goose
    "envs": "env",
    "http_headers": "headers",  # Codex
    "workingDirectory": "cwd",
    "envFile": "env_file",  # VS Code, Cursor
}
_ALLOWING = ("enabled_tools", "enabledTools", "includeTools", "allowedTools", "allowed_tools", "available_tools")
_DENYING = ("disabled_tools", "excludeTools", "disabledTools", "blockedTools", "blocked_tools")
_TIMES = {
    "startup_timeout_sec": Times(("timeout",)),  # Codex
    "startup_timeout_ms": Times(("timeout",), ALWAYS),
    "tool_timeout_sec": Times(("call_timeout",)),
    "initTimeout": Times(("timeout",), ALWAYS),  # LibreChat
    "connectionTimeout": Times(("timeout",), ALWAYS),  # Continue
    **dict.fromkeys(("timeoutMs", "timeout_ms", "toolTimeoutMs"), Times(("call_timeout",), ALWAYS)),  # Factory, Kimi
    "startupTimeoutMs": Times(("timeout",), ALWAYS),
    **dict.fromkeys(("timeout_seconds", "timeoutSeconds"), Times(("call_timeout",))),  # Antigravity's SDK
}
_PHASES = {"startup": "timeout", "request": "call_timeout", "execution": "call_timeout"}

APPROVAL = frozenset(
    {
        *("alwaysAllow", "alwaysAllowTools", "autoApprove", "autoApproveAll", "auto_approve", "approval_mode"),
        *("default_tools_approval_mode", "trust"),
    }
)
"""Keys that say which calls are made without asking. Jackfield asks for none unless a hook does."""

NOT_USED: dict[str, str] = {
    "headersHelper": "the command that computes headers is not run; give headers",
    "sandboxEnabled": "the server is not confined",
    "sandbox": "the server is not confined",
    "authProviderType": "it does not sign in that way; give headers or `auth`",
    "targetAudience": "it does not sign in that way; give headers or `auth`",
    "targetServiceAccount": "it does not sign in that way; give headers or `auth`",
    "oauth_resource": "the resource is the server's url",
    "clientCertificate": "no client certificate is sent",
    "tcp": "WebSocket is not a transport of MCP",
    "registry": "the command is taken as it stands",
}
"""Keys that change what a server is or gets, and that have no effect here."""

IGNORED = frozenset(
    {
        "author",
        "chatMenu",
        "description",
        "icon",
        "inputs",
        "name",
        "source",
        "startup",
        "version",
        *APPROVAL,
        *NOT_USED,
    }
)
"""Keys that have no meaning here."""

_OAUTH = {
    "clientId": "client_id",
    "client_id": "client_id",
    "CLIENT_ID": "client_id",
    "clientSecret": "client_secret",
    "client_secret": "client_secret",
    "CLIENT_SECRET": "client_secret",
    "scopes": "scopes",
    "scope": "scopes",
    "redirectUri": "redirect_uri",
    "redirect_uri": "redirect_uri",
}


def in_our_words(entry: Mapping[str, Any], program: Program) -> dict[str, Any]:
    """The entry with Jackfield's names, without keys that only its own program uses and without empty ones.

    Args:
        entry: As written in the file.
        program: Whose file it is.
    """
    if not program.name:
        program = sign_of(entry)
    left_out = IGNORED | SWITCHES | (program.own_keys if program.name else OWN_KEYS)
    ours = {key: value for key, value in entry.items() if value is not None and key not in left_out}
    for theirs, name in _RENAMED.items():
        if theirs in ours:
            value = ours.pop(theirs)
            ours.setdefault(name, value)  # what is said in our words wins
    if "httpUrl" in ours:  # Gemini
        ours["url"] = ours.pop("httpUrl")
        ours.setdefault("transport", "http")
    _command(ours)
    _choose_transport(ours)
    _connection(ours)
    _tools(ours, program)
    _times(ours, program)
    _client(ours)
    _forward_variables(ours)
    if isinstance(ours.get("args"), list):
        ours["args"] = [_as_text(item) for item in as_list(ours["args"])]
    for key in ("env", "environment", "headers"):
        if isinstance(ours.get(key), Mapping):
            ours[key] = {name: value for name, value in as_table(ours[key]).items() if value is not None}
    return ours


def notes(entry: Mapping[str, Any], program: Program, is_set: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """The keys of an entry that mean something and have no effect here, or another one than a reader may expect, and
    what follows from it.

    Args:
        entry: As written in the file.
        program: Whose file it is.
        is_set: Whether a variable is set.
    """
    used = {key: value for key, value in entry.items() if key not in IGNORED and key not in program.own_keys}
    yield from remarks(used, program, is_set)
    for key, value in entry.items():
        if not value or (key in program.own_keys):
            continue
        if key in NOT_USED:
            yield key, NOT_USED[key]
        elif key in APPROVAL or (key == "tools" and isinstance(value, Mapping)):
            yield key, "no call is asked for here unless a hook does"


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _command(ours: dict[str, Any]) -> None:
    command: object = ours.get("command")
    if isinstance(command, Mapping):  # Zed, of old
        nested = as_table(cast("object", command))
        ours |= {"command" if key == "path" else key: value for key, value in nested.items()}
    elif isinstance(command, list) and command:  # opencode, mcporter
        first, *rest = cast("list[Any]", command)
        ours["command"] = first
        ours["args"] = [*rest, *as_list(ours.get("args"))]
    for key in ("command", "url"):
        if isinstance(ours.get(key), str):
            ours[key] = ours[key].strip()


def _choose_transport(ours: dict[str, Any]) -> None:
    """Take the word for a transport, and the one of command and url that it means if there are both."""
    named = one_spelling(ours.get("transport"))
    if named is None:
        ours.pop("transport", None)
    else:
        ours["transport"] = named
    if "command" in ours and "url" in ours:
        if ours["command"] == "" or named in ("sse", "streamable-http"):
            del ours["command"]
        elif ours["url"] == "" or named == "stdio":
            del ours["url"]


def _connection(ours: dict[str, Any]) -> None:
    for key in ("requestOptions", "requestInit"):  # Continue; the TypeScript SDK
        options = as_table(ours.pop(key, None))
        if isinstance(options.get("headers"), Mapping):
            _set(ours, "headers", as_table(options["headers"]))
        if options.get("verifySsl") is False:
            ours.setdefault("verify", False)
        elif isinstance(options.get("caBundlePath"), str):
            ours.setdefault("verify", options["caBundlePath"])


def _tools(ours: dict[str, Any], program: Program) -> None:
    tools: object = ours.pop("tools", None)
    if isinstance(tools, Mapping):
        off = [
            name
            for name, value in as_table(cast("object", tools)).items()
            if value is False or as_table(value).get("enabled") is False
        ]
        if off:
            ours.setdefault("exclude", off)
    elif isinstance(tools, list) and all(isinstance(name, str) for name in cast("list[object]", tools)):
        if tools or program.name == "Copilot CLI":
            ours.setdefault("allowedTools", tools)
    elif isinstance(tools, str):
        ours.setdefault("allowedTools", [tools] if tools == "*" else tools)
    for key in _DENYING:
        if key in ours:
            value = ours.pop(key)
            ours.setdefault("exclude", _tool_names(value))
    for key in _ALLOWING:
        if key not in ours:
            continue
        value = ours.pop(key)
        if value == [] and not program.is_empty_list_all:
            ours["exclude"] = ["*"]
        elif value not in ([], ["*"]):
            ours.setdefault("include", _tool_names(value))


def _tool_names(value: object) -> object:
    """Names of tools without the arguments that Gemini lets follow them: `run(git)`."""
    if not isinstance(value, list):
        return value
    names = cast("list[object]", value)
    return [name.partition("(")[0] if isinstance(name, str) else name for name in names]


def _times(ours: dict[str, Any], program: Program) -> None:
    is_plain = not program.name and "url" in ours  # there, `timeout` is Jackfield's own
    if "sseReadTimeout" in ours:  # LibreChat
        ours.setdefault("sse_read_timeout", from_milliseconds(ours.pop("sseReadTimeout")))
    for key, times in {**_TIMES, **program.times}.items():
        if key not in ours or (key == "timeout" and is_plain):
            continue
        value: object = ours.pop(key)
        if isinstance(value, Mapping):  # opencode
            table = as_table(cast("object", value))
            _set(ours, "session", {_PHASES[name]: _seconds(table[name], times) for name in _PHASES if name in table})
            continue
        seconds = _seconds(value, times)
        if isinstance(seconds, float) and seconds <= 0:
            continue  # no limit, or the default
        settings = dict.fromkeys(times.settings, seconds)
        if len(settings) > 1 and isinstance(seconds, float):
            settings["call_timeout"] = 2 * seconds  # opening and the call each have this long
        _set(ours, "session", settings)


def _seconds(value: object, times: Times) -> object:
    milliseconds = from_milliseconds(value)
    if not isinstance(milliseconds, float):
        return value
    seconds = milliseconds * 1000
    return milliseconds if seconds >= times.milliseconds_from else seconds


def _client(ours: dict[str, Any]) -> None:
    """The OAuth client that the user registered; that one is to sign in is found out here."""
    theirs: object = ours.pop("oauth", None)
    client = {name: value for key, name in _OAUTH.items() if (value := as_table(theirs).get(key)) is not None}
    for key, name in (
        ("oauthScopes", "scopes"),
        ("scopes", "scopes"),
        ("oauthRedirectUrl", "redirect_uri"),
        ("oauthScope", "scopes"),
    ):
        if key in ours:
            client.setdefault(name, ours.pop(key))
    table = as_table(theirs)
    port: object = table.get("callbackPort", table.get("callback_port"))
    if isinstance(port, int):
        client.setdefault("redirect_uri", f"http://localhost:{port}/callback")
    if client:
        ours.setdefault("auth", client)
    elif theirs is False:
        ours.setdefault("auth", "none")
    elif theirs is True or ours.get("requiresOAuth") is True:
        ours.setdefault("auth", "oauth")
    ours.pop("requiresOAuth", None)


_BEARER = ("bearerToken", "bearer_token", "authorization_token", "apiKey")
_BEARER_VARIABLE = ("bearer_token_env_var", "bearerTokenEnv", "bearer_token_env", "bearerTokenEnvVar")


def _forward_variables(ours: dict[str, Any]) -> None:
    """Codex and others name the variables that a value comes from, instead of writing `${VAR}`."""
    for key in _BEARER:
        if isinstance(ours.get(key), str):
            _set(ours, "headers", {"Authorization": f"Bearer {ours.pop(key)}"})
    for key in _BEARER_VARIABLE:
        if isinstance(variable := ours.get(key), str):
            del ours[key]
            _set(ours, "headers", {"Authorization": Ours(f"Bearer ${{{variable}}}")})
    if isinstance(names := ours.get("env_keys"), list):  # Goose
        del ours["env_keys"]
        _set(ours, "env", {str(name): Ours(f"${{{name}}}") for name in cast("list[Any]", names)})
    if isinstance(given := ours.get("env_vars"), list):
        del ours["env_vars"]
        # What is not set here is not set there either.
        _set(ours, "env", dict(_forwarded(cast("list[object]", given))))


def _forwarded(given: list[object]) -> Iterator[tuple[str, object]]:
    for number, item in enumerate(given):
        name: object = as_table(item).get("name", item)
        # A list is the value of no variable: the models refuse it, and name the item.
        yield (name, Ours(f"${{{name}:-}}")) if isinstance(name, str) else (f"env_vars[{number}]", [])


def _set(ours: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    ours[key] = {**values, **as_table(ours.get(key))}

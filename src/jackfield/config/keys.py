"""The keys of an entry: ours, times with their units, what turns a server off, and other programs' keys in our words.

Uses no models. Other programs' names for the settings of a session are in `session_keys`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from ..names import nearest
from ..plain import as_list, as_table
from .files import OWN_KEYS, sign_of
from .programs.table import ALWAYS, Program, Times
from .references import Ours

_COMMON = {
    *("server_name", "protocol", "session", "sessionConfig", "session_options", "include", "exclude", "transport"),
    *("keep_alive", "keepAlive", "volatile", "credentials"),
}
_REMOTE = {*_COMMON, "url", "headers", "sse_read_timeout", "verify", "auth", "timeout"}
KEYS = {
    "stdio": {
        *_COMMON,
        *("command", "args", "environment", "env", "inherit_environment", "working_dir", "cwd"),
        *("encoding", "encoding_error_handler"),
    },
    "sse": _REMOTE,
    "streamable-http": {*_REMOTE, "terminate_on_close"},
}
"""What an entry may have, by transport."""

SESSION_SETTINGS = frozenset(
    {
        *("timeout", "probe_timeout", "call_timeout", "attempt_timeout", "close_timeout", "idle_timeout"),
        *("reset_timeout_on_progress", "max_total_timeout"),
        *("max_concurrency", "max_sessions", "retry_attempts", "retry_on_503", "retry_delay", "max_retry_delay"),
        *("failure_threshold", "on_state_lost", "liveness_interval", "liveness_after", "liveness_timeout"),
        *("max_message_bytes", "max_notifications", "max_server_requests", "max_pages", "max_tools"),
        *("max_schema_bytes", "max_stderr_bytes", "check_arguments", "strict_output"),
    }
)
"""What `session` in an entry may have."""

CheckMode = Literal["lenient", "strict", "off"]
CHECK_MODES: tuple[CheckMode, ...] = ("lenient", "strict", "off")
"""How closely arguments are checked before a call is sent; the first is the default. See `SessionConfig`."""

FIVE_MINUTES = 300.0
HOUR = 3600.0
SIX_HOURS = 6 * HOUR
WEEK = 7 * 24 * HOUR

_IN_WORDS = {FIVE_MINUTES: "five minutes", HOUR: "an hour", SIX_HOURS: "six hours", WEEK: "a week"}


def unknown_key(keys: Iterable[str], known: Collection[str]) -> str | None:
    """The problem with the first unknown key, if any."""
    for key in keys:
        if key not in known:
            close = nearest(key, known, 1)
            meant = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
            return f"unknown key {key!r}; {meant}"
    return None


_TRANSPORTS = {
    **dict.fromkeys(("stdio", "local", "process"), "stdio"),
    "sse": "sse",
    **dict.fromkeys(("http", "streamable", "streamablehttp", "httpstream", "httpstreamable"), "streamable-http"),
    "remote": None,  # opencode: the url tells
}
"""The field's words for the transports, without case and separators."""


def one_spelling(transport: object) -> object:
    """The transport by the name it has here; `None` if the word says only that there is one."""
    if not isinstance(transport, str):
        return transport
    return _TRANSPORTS.get(transport.lower().replace("-", "").replace("_", "").strip(), transport)


def transport_of_entry(entry: Mapping[Any, Any]) -> str | None:
    """The transport of an entry: as named, else as its keys tell."""
    named = one_spelling(entry.get("transport"))
    if named is not None:
        return str(named)
    if "command" in entry:
        return "stdio"
    if "url" not in entry:
        return None
    from urllib.parse import urlsplit

    try:
        # The path is the only sign there is; the field's programs read it the same way.
        path = urlsplit(str(entry["url"])).path
    except ValueError:
        path = ""  # The model says what is wrong with it.
    return "sse" if path.rstrip("/").endswith("/sse") else "streamable-http"


def implausible(seconds: float, longest: float) -> str | None:
    """The problem with an implausible time in seconds; `None` if it is at most `longest`, a constant above."""
    return f"{seconds:.12g} s is over {_IN_WORDS[longest]}: is it milliseconds?" if seconds > longest else None


def from_milliseconds(value: object) -> object:
    """A number of milliseconds, perhaps as text, in seconds; anything else as it is, for the models to refuse."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        return float(value) / 1000
    except (ValueError, OverflowError):
        return value


# Off

_MEANS_OFF = {
    **dict.fromkeys(("disabled", "disable", "isDisabled", "is_disabled"), True),
    **dict.fromkeys(("enabled", "enable", "isEnabled", "is_enabled", "isActive", "is_active", "active"), False),
}
"""By key: the value that turns the server off."""

SWITCHES = frozenset(_MEANS_OFF)

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f", ""), False),
}


class UnclearError(ValueError):
    """A switch that says neither on nor off."""

    def __init__(self, key: str) -> None:
        super().__init__("it is neither on nor off")
        self.key = key


def is_off(entry: Mapping[str, Any]) -> bool:
    """Whether its file turns a server off. A key without a value says nothing.

    Raises:
        UnclearError: A key says neither; the server must not be used.
    """
    unclear: str | None = None
    for key in SWITCHES & set(entry):
        value: object = entry[key]
        if value is None:
            continue
        said = _truth(value)
        if said is None:
            unclear = key
        elif said is _MEANS_OFF[key]:
            return True
    if unclear is not None:
        raise UnclearError(unclear)
    return False


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    return None


# Other programs' keys

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
    "authProviderType": "Jackfield does not sign in that way; give headers or `auth`",
    "targetAudience": "Jackfield does not sign in that way; give headers or `auth`",
    "targetServiceAccount": "Jackfield does not sign in that way; give headers or `auth`",
    "oauth_resource": "the resource is the server's url",
    "clientCertificate": "no client certificate is sent",
    "tcp": "WebSocket is not an MCP transport",
    "registry": "the command is used as it is",
}
"""Keys that change what a server is or gets, and that have no effect here."""

IGNORED = frozenset(
    {
        *("author", "chatMenu", "description", "icon", "inputs", "name", "source", "startup", "version"),
        *APPROVAL,
        *NOT_USED,
    }
)
"""Keys that have no meaning here."""

_OAUTH = {
    **dict.fromkeys(("clientId", "client_id", "CLIENT_ID"), "client_id"),
    **dict.fromkeys(("clientSecret", "client_secret", "CLIENT_SECRET"), "client_secret"),
    **dict.fromkeys(("scopes", "scope"), "scopes"),
    **dict.fromkeys(("redirectUri", "redirect_uri"), "redirect_uri"),
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
        ours["args"] = [_as_text(item) for item in cast("list[object]", ours["args"])]
    for key in ("env", "environment", "headers"):
        if isinstance(table := ours.get(key), Mapping):
            values = cast("Mapping[str, object]", table)
            ours[key] = {name: value for name, value in values.items() if value is not None}
    return ours


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
        if key not in ours:
            continue
        options = as_table(ours.pop(key))
        if isinstance(options.get("headers"), Mapping):
            add_to_table(ours, "headers", as_table(options["headers"]))
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
            seconds_of = {setting: _seconds(table[name], times) for name, setting in _PHASES.items() if name in table}
            add_to_table(ours, "session", seconds_of)
            continue
        seconds = _seconds(value, times)
        if isinstance(seconds, float) and seconds <= 0:
            continue  # no limit, or the default
        settings = dict.fromkeys(times.settings, seconds)
        if len(settings) > 1 and isinstance(seconds, float):
            settings["call_timeout"] = 2 * seconds  # opening and the call each have this long
        add_to_table(ours, "session", settings)


def _seconds(value: object, times: Times) -> object:
    milliseconds = from_milliseconds(value)
    if not isinstance(milliseconds, float):
        return value
    seconds = milliseconds * 1000
    return milliseconds if seconds >= times.milliseconds_from else seconds


def _client(ours: dict[str, Any]) -> None:
    """The OAuth client that the user registered; that one is to sign in is found out here."""
    theirs: object = ours.pop("oauth", None)
    table: Mapping[str, Any] = {} if theirs is None else as_table(theirs)
    client = {name: table[key] for key, name in _OAUTH.items() if table.get(key) is not None}
    for key, name in (
        ("oauthScopes", "scopes"),
        ("scopes", "scopes"),
        ("oauthRedirectUrl", "redirect_uri"),
        ("oauthScope", "scopes"),
    ):
        if key in ours:
            client.setdefault(name, ours.pop(key))
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
            add_to_table(ours, "headers", {"Authorization": f"Bearer {ours.pop(key)}"})
    for key in _BEARER_VARIABLE:
        if isinstance(variable := ours.get(key), str):
            del ours[key]
            add_to_table(ours, "headers", {"Authorization": Ours(f"Bearer ${{{variable}}}")})
    if isinstance(names := ours.get("env_keys"), list):  # Goose
        del ours["env_keys"]
        add_to_table(ours, "env", {str(name): Ours(f"${{{name}}}") for name in cast("list[Any]", names)})
    if isinstance(given := ours.get("env_vars"), list):
        del ours["env_vars"]
        # What is not set here is not set there either.
        add_to_table(ours, "env", dict(_forwarded(cast("list[object]", given))))


def _forwarded(given: list[object]) -> Iterator[tuple[str, object]]:
    for number, item in enumerate(given):
        name: object = as_table(item).get("name", item)
        # A list is the value of no variable: the models refuse it, and name the item.
        yield (name, Ours(f"${{{name}:-}}")) if isinstance(name, str) else (f"env_vars[{number}]", [])


def add_to_table(ours: dict[str, Any], key: str, values: Mapping[str, Any]) -> None:
    """Add values to the table under a key of an entry; values that it already has take precedence."""
    ours[key] = {**values, **as_table(ours.get(key))}

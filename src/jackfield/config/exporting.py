"""A server's entry for another file: in Jackfield's words for its own file (`copied_entry`), or in another program's
words (`exported_entry`), the reverse of `in_our_words` in `keys`. A value that comes from a variable is never written
in full.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError
from ..plain import as_list, as_table
from .entries import ENV_FILE, FROM_VARIABLES, entry_error, inherited, is_place, kept_keys
from .files import Source
from .keys import in_our_words, transport_of_entry
from .programs.table import ALWAYS, FROM_A_SECOND, Program, Writing
from .references import ExpansionError, rewritten, runs_shell

_FOLDER = re.compile(r"(?<!\$)\$\{([^{}]+?)(?::-[^{}]*)?\}")


def copied_entry(name: str, entry: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The entry in Jackfield's words and notation, with absolute paths, and with the folder that it is started in.

    Args:
        name: The server.
        entry: As written in its file.
        source: Where it stands.

    Raises:
        ConfigError: A text of it is not understood.
    """
    row, folder = source.row, source.file_folder
    # What means the current project in one's own file does so in Jackfield's as well.
    folders = {
        key: path
        for key, path in source.known_folders.items()
        if source.workspace is None or key in ("extensionPath", "CLAUDE_PLUGIN_ROOT")
    }

    kept = kept_keys(in_our_words(entry, row), source)
    has_shell = runs_shell(kept)

    def text(value: str, key: str) -> str:
        try:
            in_shell = has_shell and key == "args"
            value = rewritten(value, row, folder, os.environ.__contains__, in_shell=in_shell)
        except ExpansionError as error:
            raise entry_error(str(source.path), name, key, f"{error}.", error.hint) from None
        return _FOLDER.sub(lambda match: _escaped(folders[match[1]]) if match[1] in folders else match[0], value)

    def copied(key: str, value: Any) -> Any:
        if isinstance(value, str):
            return _absolute(key, text(value, key), source.folder)
        if isinstance(value, Mapping):
            return {str(inner): copied(str(inner), item) for inner, item in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [text(item, key) if isinstance(item, str) else item for item in cast("list[Any]", value)]
        return value

    ours = {key: copied(key, value) for key, value in kept.items()}
    has_folder = bool({"cwd", "working_dir"} & set(ours))
    if transport_of_entry(ours) == "stdio" and source.default_folder is not None and not has_folder:
        ours["cwd"] = str(source.default_folder)
    if transport_of_entry(ours) == "stdio" and "inherit_environment" not in ours and (more := inherited(source)):
        ours["inherit_environment"] = more
    return ours


def _escaped(path: str) -> str:
    return path.replace("${", "$${")


def _absolute(key: str, text: str, folder: Path) -> str:
    return str(folder / text) if is_place(key, text) and not text.startswith(("/", "~", "${")) else text


# For another program

_REFERENCE = re.compile(r"(?<!\$)\$\{(?:env:)?(?P<name>[A-Za-z_]\w*)(?P<default>:-[^{}]*)?\}")
_BEARER = re.compile(r"Bearer \$\{(?P<name>[A-Za-z_]\w*)\}")
_READ_FILES_OF_VARIABLES = ("VS Code", "Cursor")
_TYPES = {
    "Roo": {"streamable-http": "streamable-http"},
    "Kilo": {"streamable-http": "streamable-http"},
    "Cline": {"streamable-http": "streamableHttp"},
    "Continue": {"streamable-http": "streamable-http"},
}
_TOOLS = {
    "Gemini": ("includeTools", "excludeTools"),
    "Codex": ("enabled_tools", "disabled_tools"),
    "Crush": ("enabled_tools", "disabled_tools"),
    "Goose": ("available_tools", ""),
    "Copilot CLI": ("tools", ""),
    "mcporter": ("allowedTools", "blockedTools"),
    "Kiro": ("", "disabledTools"),
    "Windsurf": ("", "disabledTools"),
    "Roo": ("", "disabledTools"),
}
"""The keys of lists of allowed and denied tools; empty if there is none."""


def exported_entry(name: str, ours: Mapping[str, Any], program: Program, writing: Writing) -> dict[str, Any]:
    """The entry as the program would write it.

    Args:
        name: The server.
        ours: Its entry in Jackfield's words and notation.
        program: The program that it is for.
        writing: How that program writes an entry.

    Raises:
        ConfigError: The program cannot be told something that the entry says, such as a variable.
    """
    transport = transport_of_entry(ours)
    if FROM_VARIABLES in ours:
        names = as_table(ours[FROM_VARIABLES])
        headers = {key: f"${{{variable}}}" for key, variable in names.items()}
        ours = {**ours, "headers": {**headers, **as_table(ours.get("headers"))}}
    if ENV_FILE in ours and program.name not in _READ_FILES_OF_VARIABLES:
        raise ConfigError(
            f"{program.name} cannot read a file of variables for {name!r}.",
            server_name=name,
            hint="Serve it through the gateway, which can: jackfield install",
        )
    theirs = _child(ours, writing) if transport == "stdio" else _remote(ours, program, writing, str(transport))
    if writing.style == "vscode" or (writing.style == "crush" and transport == "stdio"):
        theirs = {"type": "stdio" if transport == "stdio" else theirs.pop("type"), **theirs}
    theirs |= {**_client(name, ours, program), **_tools(name, ours, program)}
    if writing.style == "copilot":
        theirs.setdefault("tools", ["*"])
    theirs |= _time(ours, program)
    if writing.style == "codex":
        theirs = _variables_by_name(theirs)
    elif writing.style == "goose":
        theirs = _for_goose(name, theirs)

    def told(value: Any) -> Any:
        if isinstance(value, str):
            return _told(name, value, program, writing)
        if isinstance(value, Mapping):
            return {str(key): told(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        return [told(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value

    return told(theirs)


def _child(ours: Mapping[str, Any], writing: Writing) -> dict[str, Any]:
    args = list(ours.get("args") or ())
    environment = as_table(ours.get("environment", ours.get("env")))
    folder = ours.get("working_dir", ours.get("cwd"))
    is_opencode = writing.style == "opencode"
    entry: dict[str, Any] = {"type": "local"} if writing.style in ("opencode", "copilot") else {}
    if is_opencode:
        entry["command"] = [ours["command"], *args]
    else:
        entry |= {"command": ours["command"], "args": args}
    if environment:
        entry["environment" if is_opencode else "env"] = dict(environment)
    if ENV_FILE in ours:
        entry["envFile"] = ours[ENV_FILE]
    return {**entry, **({"cwd": folder} if folder else {})}


def _remote(ours: Mapping[str, Any], program: Program, writing: Writing, transport: str) -> dict[str, Any]:
    word = _TYPES.get(program.name, {}).get(transport, "sse" if transport == "sse" else "http")
    headers = {"http_headers" if writing.style == "codex" else "headers": dict(as_table(ours.get("headers")))}
    more = headers if ours.get("headers") else {}
    match writing.style:
        case "opencode":
            return {"type": "remote", "url": ours["url"], **more}
        case "windsurf":
            return {"serverUrl": ours["url"], **more}
        case "gemini":
            return {"url" if transport == "sse" else "httpUrl": ours["url"], **more}
        case "codex" | "zed":
            return {"url": ours["url"], **more}
        case _:
            return {"type": word, "url": ours["url"], **more}


def _client(name: str, ours: Mapping[str, Any], program: Program) -> dict[str, Any]:
    """The OAuth client; that one is to sign in, the program finds out itself."""
    auth = ours.get("auth")
    if not isinstance(auth, Mapping):
        return {}
    client = as_table(cast("object", auth))
    words = {
        "client_id": "clientId",
        "client_secret": "clientSecret",
        "scopes": "scopes",
        "redirect_uri": "redirectUri",
    }
    if program.name not in ("Claude Code", "Gemini") or not set(client) <= set(words):
        raise ConfigError(
            f"{program.name} has no setting for the OAuth client of {name!r}.",
            server_name=name,
            hint="Serve it through the gateway, which uses it: jackfield install",
        )
    return {"oauth": {words[key]: value for key, value in client.items()}}


def _tools(name: str, ours: Mapping[str, Any], program: Program) -> dict[str, Any]:
    keys = _TOOLS.get(program.name, ("", ""))
    entry: dict[str, Any] = {}
    for key, ours_key in zip(keys, ("include", "exclude"), strict=True):
        tools = ours.get(ours_key)
        if not tools:
            continue
        if not key or any("*" in str(tool) or "?" in str(tool) for tool in tools):
            raise ConfigError(
                f"{program.name} has no setting for {ours_key!r} of {name!r}: it would offer more tools.",
                server_name=name,
                hint="Serve it through the gateway, which applies it: jackfield install",
            )
        entry[key] = list(tools)
    return entry


def _time(ours: Mapping[str, Any], program: Program) -> dict[str, Any]:
    seconds: object = as_table(ours.get("session")).get("call_timeout")
    times = program.times.get("timeout")
    if times is None or times.settings != ("call_timeout",) or not isinstance(seconds, int | float):
        return {}
    value = seconds * 1000 if times.milliseconds_from in (ALWAYS, FROM_A_SECOND) else seconds
    return {"timeout": int(value) if value == int(value) else value}


def _variables_by_name(entry: dict[str, Any]) -> dict[str, Any]:
    """Codex names the variables that a value comes from."""
    environment, headers = dict(as_table(entry.pop("env", None))), dict(as_table(entry.pop("http_headers", None)))
    names = [name for name, value in environment.items() if value in (f"${{{name}}}", f"${{{name}:-}}")]
    if names:
        entry["env_vars"] = names
    rest = {name: value for name, value in environment.items() if name not in names}
    if rest:
        entry["env"] = rest
    for name, value in list(headers.items()):
        if name.lower() == "authorization" and (match := _BEARER.fullmatch(str(value))):
            entry["bearer_token_env_var"] = match["name"]
            del headers[name]
        elif match := _REFERENCE.fullmatch(str(value)):
            entry.setdefault("env_http_headers", {})[name] = match["name"]
            del headers[name]
    if headers:
        entry["http_headers"] = headers
    return entry


def _for_goose(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Goose takes the variables that are named to it, and what headers refer to from among them."""
    if "cwd" in entry:
        raise ConfigError(
            f"Goose has no setting for the folder in which {name!r} is started.",
            server_name=name,
            hint="Serve it through the gateway, which starts it there: jackfield install",
        )
    given = dict(as_table(entry.get("env")))
    names = [key for key, value in given.items() if value in (f"${{{key}}}", f"${{{key}:-}}")]
    headers = as_table(entry.get("headers"))
    names += [match["name"] for value in headers.values() for match in _REFERENCE.finditer(str(value))]
    kind = {"http": "streamable_http"}.get(str(entry.get("type")), entry.get("type", "stdio"))
    words = {"command": "cmd", "url": "uri"}
    theirs: dict[str, Any] = {"name": name, "description": "", "type": kind, "enabled": True}
    theirs |= {words.get(key, key): value for key, value in entry.items() if key not in ("type", "env")}
    envs = {key: value for key, value in given.items() if key not in names}
    if any(_REFERENCE.search(str(value)) for value in (entry.get("url"), *as_list(entry.get("args")), *envs.values())):
        raise ConfigError(
            f"Goose can take a value of {name!r} only from a variable of the same name.",
            server_name=name,
            hint="Serve it through the gateway, which can: jackfield install",
        )
    return theirs | ({"envs": envs} if envs else {}) | ({"env_keys": list(dict.fromkeys(names))} if names else {})


def _told(name: str, text: str, program: Program, writing: Writing) -> str:
    def told(match: re.Match[str]) -> str:
        if writing.variable == "${VAR}" and not (match["default"] and writing.style == "goose"):
            return f"${{{match['name']}{match['default'] or ''}}}"
        is_optional = match["default"] == ":-" and program.is_empty_if_unset
        if not writing.variable or (match["default"] and not is_optional):
            raise ConfigError(
                f"{program.name} cannot take {match[0]} of {name!r} from a variable.",
                server_name=name,
                hint="Serve it through the gateway, which can: jackfield install",
            )
        return writing.variable.replace("VAR", match["name"])

    if "${file:" in text:
        raise ConfigError(f"{program.name} cannot read a file for {name!r}.", server_name=name)
    if "$${" in text and "${VAR}" in program.references:
        raise ConfigError(
            f"{program.name} cannot use ${{ as text in {name!r}.",
            server_name=name,
            hint="Serve it through the gateway, which can: jackfield install",
        )
    return _REFERENCE.sub(told, text).replace("$${", "${")

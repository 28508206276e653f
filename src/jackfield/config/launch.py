"""`Launch`: everything needed to start a stdio server's program, and the variables that it inherits.

A launch is derived from an entry without building the models, so that a program can be started before they are
imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..plain import as_strings

if TYPE_CHECKING:
    from ..masking import NamedValue

_UNDERSTOOD = {
    *("server_name", "transport", "command", "args", "environment", "env", "inherit_environment", "working_dir", "cwd"),
}
"""With anything else in it, an entry may be wrong in ways that only the models know."""


class Launch(NamedTuple):
    """How the program of a server is started."""

    # No dataclass: `dataclasses` imports `inspect`, which a call on a kept session would wait for.

    server_name: str
    command: str
    args: Sequence[str] = ()
    environment: Mapping[str, str] = MappingProxyType({})
    """Variables with their values, which may be secrets."""
    working_dir: Path | None = None
    inherit_environment: bool | Sequence[str] = False
    """Whether it gets all of this process's variables, or which in addition to the few that any program gets."""
    inherits_nothing: bool = False
    """It gets nothing of this process's variables: all that it is to have is in `environment`."""

    def __repr__(self) -> str:
        return f"Launch(server_name={self.server_name!r}, command={self.command!r}, working_dir={self.working_dir})"


def launch_of(prepared: Mapping[str, Any]) -> Launch | None:
    """The launch of an entry from `prepare()`; `None` if it is not a stdio server, or needs the models."""
    if not set(prepared) <= _UNDERSTOOD or prepared.get("transport", "stdio") != "stdio":
        return None
    if {"env", "environment"} <= set(prepared) or {"cwd", "working_dir"} <= set(prepared):
        return None
    name, command = prepared.get("server_name"), prepared.get("command")
    args, environment = as_strings(prepared.get("args", [])), _texts(prepared.get("environment", prepared.get("env")))
    folder: object = prepared.get("working_dir", prepared.get("cwd"))
    inherits: object = prepared.get("inherit_environment", False)
    if not isinstance(name, str) or not isinstance(command, str) or not name or not command:
        return None
    if isinstance(inherits, list):
        inherits = as_strings(cast("list[object]", inherits))
    if args is None or environment is None or not isinstance(folder, str | None):
        return None
    if not isinstance(inherits, bool | list):
        return None
    return Launch(name, command, tuple(args), environment, None if folder is None else Path(folder), inherits)


def _texts(value: object) -> dict[str, str] | None:
    """The table if all in it is text; by which rules other values become text, the models know."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return None
    table = cast("Mapping[object, object]", value)
    if not all(isinstance(word, str) for pair in table.items() for word in pair):
        return None
    return cast("dict[str, str]", dict(table))


_INHERITED = frozenset({"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"})
"""What any program needs. Source: MCP Python SDK, `get_default_environment`."""

_OF_LAUNCHERS = re.compile(
    r"(?i:https?_proxy|all_proxy|no_proxy|npm_config_.+)"
    r"|SSL_CERT_DIR|(\w+_)?(SSL_CERT_FILE|SSL_CAINFO|CA_BUNDLE|CA_CERTS(_FILE)?)|NODE_EXTRA_CA_CERTS|NODE_USE_(ENV_PROXY|SYSTEM_CA)"
    r"|(UV|PIP|PIPX|BUN_CONFIG|DENO)_.+|DENO_CERT|DOCKER_(HOST|CONTEXT|CONFIG|CERT_PATH|TLS|TLS_VERIFY)"
)
"""How the network is reached, and where packages come from. A launcher that lacks these hangs, or finds nothing."""

_CREDENTIALS = re.compile(r"(?i)auth|token|passw|secret|username|_key$")
"""Of a package registry: only programs that are known to fetch packages get them."""

_LAUNCHERS = frozenset(
    {
        *("npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "deno"),
        *("uv", "uvx", "pip", "pip3", "pipx", "poetry", "pdm", "hatch", "docker", "podman", "nerdctl"),
    }
)
_INTERPRETERS = re.compile(r"(python|pypy|node|ruby|perl|php|java)[\d.]*")
"""Their arguments are a program's own, but for `python -m pip`."""

_WORDS_APART = re.compile(r"[\s'\"`()$;&|]+")
_FIRST_WORDS = 6

_OF_THE_SHELL = re.compile(
    r"_|PWD|OLDPWD|SHLVL|PS\d|LINES|COLUMNS|COLORTERM|MAIL|EDITOR|VISUAL|PAGER|HOSTNAME|DISPLAY|WINDOWID"
    r"|(PROMPT|HIST|LS_|LESS|TERM_|BASH|ZSH|WAYLAND_|DESKTOP|GNOME_|KDE_|GTK_|QT_|DBUS_|VSCODE_|ITERM_|SSH_(CON|CLI|TTY)).*"
    r"|LANG|LANGUAGE|LC_.*|XDG_(?!CONFIG_HOME|CACHE_HOME|DATA_HOME).*|(JACKFIELD|MCP_SESSION|PYTEST|COVERAGE)_.*"
)
"""No server ever misses these."""

_LIKELY = re.compile(r"(?i)proxy|cert|ssl|registry|index|token|key|docker|node|python|java|config|cache|_home$|_path$")
"""Variables whose absence may keep a server from starting."""


def inherited_environment(
    command: str = "",
    args: Sequence[str] = (),
    given: Collection[str] = (),
    *,
    more: bool | Sequence[str] = False,
) -> dict[str, str]:
    """What is handed on of this process's variables: the few that any program needs, how the network is reached and
    where packages come from; or more. No exported functions, unless all is handed on.

    Args:
        command: The program.
        args: Its arguments.
        given: Names of the variables in its entry, which take precedence, in upper or lower case.
        more: All of them; or those of these names. A name may be a glob, which means no variables that are named like
            secrets.
    """
    if more is True:
        return dict(os.environ)
    names = more or ()
    is_launcher = _starts_launcher(command, args)
    own = {name.lower() for name in given}

    def is_handed_on(name: str) -> bool:
        if name in _INHERITED or name in names:
            return True
        if any(fnmatchcase(name, glob) for glob in names) and not _is_named_like_a_secret(name):
            return name.lower() not in own
        is_allowed = is_launcher or not _CREDENTIALS.search(name)
        return is_allowed and name.lower() not in own and _OF_LAUNCHERS.fullmatch(name) is not None

    return {name: value for name, value in os.environ.items() if not value.startswith("()") and is_handed_on(name)}


def inherited_secrets(environment: Mapping[str, str]) -> list[NamedValue]:
    """What is secret in variables that are handed on: values whose name says so, and credentials in URLs, such as those
    of proxies."""
    from ..masking import SECRET_NAME, secrets_within

    found = [(name, value) for name, value in environment.items() if SECRET_NAME.search(name)]
    for name, value in environment.items():
        if "://" in value and not SECRET_NAME.search(name):
            found += [("password", part) for part in secrets_within(name, value)]
    return found


def _is_named_like_a_secret(name: str) -> bool:
    from ..masking import SECRET_NAME

    return SECRET_NAME.search(name) is not None or _CREDENTIALS.search(name) is not None


def _starts_launcher(command: str, args: Sequence[str]) -> bool:
    """Whether a program fetches packages, be it started by `env`, `sh -c` or the like."""
    words = [word for text in (command, *args) for word in _WORDS_APART.split(text)]
    for number, word in enumerate(words):
        if _INTERPRETERS.fullmatch(os.path.basename(word)):
            words[number + 1 :] = words[number + 2 : number + 3] if words[number + 1 : number + 2] == ["-m"] else []
            break
    # Options and variables of `env` come before what is started.
    first = [os.path.basename(word) for word in words if not re.match(r"-|\w+=", word)]
    return not _LAUNCHERS.isdisjoint(first[:_FIRST_WORDS])


def withheld_variables(
    command: str, args: Sequence[str], given: Collection[str], more: bool | Sequence[str] = False
) -> list[str]:
    """Names of this process's variables that a program does not get, the most likely needed first.

    Args:
        command: The program.
        args: Its arguments.
        given: Names of the variables in its entry.
        more: As for `inherited_environment()`.
    """
    if more is True:
        return []
    handed_on = inherited_environment(command, args, given, more=more)
    names = (name for name in os.environ if name not in handed_on and name not in given)
    return sorted(
        (name for name in names if not _OF_THE_SHELL.fullmatch(name)),
        key=lambda name: (_LIKELY.search(name) is None, name),
    )


def withheld_text(names: Sequence[str], limit: int = 6) -> str:
    """Says which variables a program does not get, and how to pass them; empty if there are none.

    Args:
        names: Of the variables.
        limit: How many to name.
    """
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (
        f"Not passed on from your environment: {', '.join(names[:limit])}{more}; "
        'to pass NAME on, add "NAME": "${NAME}" to env.'
    )

"""How a server of the registry becomes an entry of a configuration: the command that starts it, or its URL.

Published text is not trusted: only known programs are started, and no value may name a variable of this machine, which
would be sent to the server's publisher.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..plain import as_list, as_table
from .server_registry import ListedServer

_TRANSPORTS = {"streamable-http": "http", "sse": "sse"}
_VARIABLE = re.compile(r"\{([^{}]+)\}")


@dataclass
class Needed:
    """A value that the user has to set."""

    variable: str
    description: str


@dataclass
class NewEntry:
    """An entry, and what it needs."""

    entry: dict[str, Any]
    needed: list[Needed] = field(default_factory=list[Needed])


def entry_for(server: ListedServer, way: str | None = None) -> NewEntry:
    """The entry of a server.

    Args:
        server: As listed.
        way: A kind of package, or `http` or `sse`, if there are several; the first one that can be used if omitted.

    Raises:
        ConfigError: It cannot be used in this way, or in none.
    """
    problems: list[str] = []
    candidates = [(str(one.get("registryType")), one, _package) for one in server.packages]
    for remote in server.remotes:
        kind = str(remote.get("type"))
        candidates.append((_TRANSPORTS.get(kind, kind), remote, _remote))
    for kind, one, make in candidates:
        if way is not None and kind != way:
            continue
        try:
            return make(one)
        except ConfigError as error:
            problems.append(f"{kind}: {error.message}")
    ways = ", ".join(dict.fromkeys(kind for kind, _, _ in candidates)) or "none"
    raise ConfigError(
        f"The server {server.name!r} cannot be added{'' if way is None else f' by {way}'}. "
        + (" ".join(problems) or f"It can be used by: {ways}."),
        hint="See its own page, and write the entry by hand: jackfield config add --help",
    )


def _package(package: Mapping[str, Any], /) -> NewEntry:
    kind, transport = str(package.get("registryType")), as_table(package.get("transport")).get("type", "stdio")
    if transport != "stdio":
        raise ConfigError(f"It must be started by hand, and then uses {transport}.")
    if package.get("registryBaseUrl") and kind in ("npm", "pypi") and not _is_usual(kind, package):
        raise ConfigError("It comes from a package index other than the default.")
    start = _STARTS.get(kind)
    if start is None:
        raise ConfigError(f"Packages of the kind {kind!r} are not started by Jackfield.")
    made = NewEntry({})
    env = _named(package.get("environmentVariables"), made)
    words = [*start(package, list(env), _arguments(package.get("runtimeArguments"), made))]
    words += _arguments(package.get("packageArguments"), made)
    made.entry = {"command": words[0], "args": words[1:], **({"env": env} if env else {})}
    return made


def _is_usual(kind: str, package: Mapping[str, Any]) -> bool:
    host = {"npm": "registry.npmjs", "pypi": "pypi"}[kind]
    return re.match(rf"https://{re.escape(host)}\.org/?$", str(package["registryBaseUrl"])) is not None


def _remote(listed: Mapping[str, Any], /) -> NewEntry:
    kind = _TRANSPORTS.get(str(listed.get("type")))
    if kind is None:
        raise ConfigError(f"Its transport {listed.get('type')!r} is not known.")
    made = NewEntry({})
    url = _filled(_plain(str(listed.get("url"))), as_table(listed.get("variables")), made)
    headers = _named(listed.get("headers"), made)
    made.entry = {"type": kind, "url": url, **({"headers": headers} if headers else {})}
    return made


def _npm(package: Mapping[str, Any], env: Sequence[str], runtime: Sequence[str]) -> list[str]:
    return ["npx", *(runtime or ["-y"]), _at_version(package, "@")]


def _pypi(package: Mapping[str, Any], env: Sequence[str], runtime: Sequence[str]) -> list[str]:
    return ["uvx", *runtime, _at_version(package, "==")]


def _nuget(package: Mapping[str, Any], env: Sequence[str], runtime: Sequence[str]) -> list[str]:
    return ["dnx", *runtime, _at_version(package, "@"), "--yes", "--"]


def _oci(package: Mapping[str, Any], env: Sequence[str], runtime: Sequence[str]) -> list[str]:
    given = [] if runtime[:1] == ["run"] else ["run"]
    image = _plain(str(package.get("identifier")))
    version = package.get("version")
    image = f"{image}:{_plain(str(version))}" if version and ":" not in image.rpartition("/")[2] else image
    passed = [word for name in env for word in ("-e", name)]
    return ["docker", *given, "-i", "--rm", *[word for word in runtime if word not in ("-i", "--rm")], *passed, image]


_STARTS: Mapping[str, Callable[[Mapping[str, Any], Sequence[str], Sequence[str]], list[str]]] = {
    "npm": _npm,
    "pypi": _pypi,
    "oci": _oci,
    "nuget": _nuget,
}


def _at_version(package: Mapping[str, Any], sign: str) -> str:
    name, version = _plain(str(package.get("identifier") or "")), str(package.get("version") or "")
    if not name or name.startswith("-"):
        raise ConfigError("Its package has no name.")
    return f"{name}{sign}{_plain(version)}" if version and version != "latest" else name


def _arguments(listed: object, made: NewEntry) -> list[str]:
    words: list[str] = []
    for argument in map(as_table, as_list(listed)):
        value, name = _value(argument, made), str(argument.get("name") or "")
        if argument.get("type") == "named" and name:
            if value is not None:
                words += [_plain(name), value]
            elif argument.get("value") is None and argument.get("format") == "boolean" and argument.get("isRequired"):
                words.append(_plain(name))
        elif value is not None:
            words.append(value)
    return words


def _named(listed: object, made: NewEntry) -> dict[str, str]:
    """Variables or headers by name, those that are set."""
    found = [(str(one.get("name") or ""), _value(one, made)) for one in map(as_table, as_list(listed))]
    return {_plain(name): value for name, value in found if name and value is not None}


def _value(listed: Mapping[str, Any], made: NewEntry) -> str | None:
    """What a variable, a header or an argument is set to; `None` if it is left out."""
    name = str(listed.get("name") or listed.get("valueHint") or "VALUE")
    for key in ("value", "default"):
        if (value := listed.get(key)) is not None:
            text = "true" if value is True else "false" if value is False else str(value)
            return _filled(_plain(text), as_table(listed.get("variables")), made)
    if not listed.get("isRequired"):
        return None
    return _ask(name, listed, made)


def _filled(text: str, variables: Mapping[str, Any], made: NewEntry) -> str:
    def fill(found: re.Match[str]) -> str:
        about = as_table(variables.get(found[1]))
        if (default := about.get("value", about.get("default"))) is not None:
            return _plain(str(default))
        return _ask(found[1], about, made)

    return _VARIABLE.sub(fill, text)


def _ask(name: str, about: Mapping[str, Any], made: NewEntry) -> str:
    variable = re.sub(r"\W+", "_", name).strip("_").upper() or "VALUE"
    if all(one.variable != variable for one in made.needed):
        made.needed.append(Needed(variable, str(about.get("description") or "")))
    return f"${{{variable}}}"


def _plain(text: str) -> str:
    """Published text that is taken as it is.

    Raises:
        ConfigError: It names a variable of this machine, or has control characters.
    """
    if "$" in text or "%" in text.replace("%20", "") or not text.isprintable():
        raise ConfigError("Its entry names variables of this machine, or has unreadable characters.")
    return text

"""What of the servers behind a gateway is offered, and which calls a person has to approve.

Decided from names and from the tools' annotations alone. What a rule leaves out is neither listed nor callable. Every
doubt counts as no: a tool without annotations is not read-only, and not safe.

Source: MCP 2025-11-25, schema "ToolAnnotations": `destructiveHint` is true by default, and means nothing where
`readOnlyHint` is true. Annotations are the server's own claims.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any, Literal, cast
from unicodedata import normalize
from urllib.parse import unquote

from ..catalog.entry import KINDS, NAMED_BY, CatalogEntry, Kind
from ..config.outline import Outlined
from ..errors import ConfigError, listed
from ..names import did_you_mean

DESTRUCTIVE = "destructive"
"""As an `ask` rule: all tools that are not annotated as safe."""

# A server may decode what was escaped more than once.
_MOST_ESCAPED = 3

# What parsers of URLs leave out, wherever it stands, and at both ends.
_IGNORED = re.compile("[\t\r\n]")
_STRIPPED = "".join(map(chr, range(33)))

_QUERY = re.compile("[?#]")
_FILE = re.compile("(?:file://[^/]*)?(/.*)", re.IGNORECASE | re.DOTALL)
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
"""As the host of a file: the same as none."""

Need = Literal["none", "named", "destructive", "unknown"]
"""Why a call needs approval: its tool was named, says that it is destructive, or does not say that it is safe."""


@dataclass(frozen=True)
class Rules:
    """Limits what a gateway offers. A pattern is a glob of `SERVER.NAME`, or of a name of any server; the name of a
    resource is its URI.

    Raises:
        ConfigError: A rule without the one that it is an exception to.
    """

    include: Sequence[str] = ()
    """Offer only what one of these matches: tools, prompts and resources."""

    exclude: Sequence[str] = ()
    """Do not offer what one of these matches."""

    read_only: bool = False
    """Offer only tools that are annotated with `readOnlyHint`. Prompts and resources stay."""

    allow: Sequence[str] = ()
    """With `read_only`: offer these tools, too."""

    ask: Sequence[str] = ()
    """Have the client's user approve each call of these tools; `destructive` stands for all that are not annotated as
    safe, by `readOnlyHint: true` or `destructiveHint: false`."""

    no_ask: Sequence[str] = ()
    """With `ask="destructive"`: do not ask for these. A tool that `ask` itself names is asked for all the same."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "read_only":
                object.__setattr__(self, field.name, tuple(listed(field.name, getattr(self, field.name))))
        if self.allow and not self.read_only:
            raise _wrong("allow", "it is an exception to read_only, but read_only is not set")
        if self.no_ask and DESTRUCTIVE not in self.ask:
            raise _wrong("no_ask", f"it is an exception to ask={DESTRUCTIVE!r}, which is not set")


class Policy:
    """Rules, for the servers of one gateway.

    Args:
        rules: No limits if omitted.
        servers: The names of all servers behind it.

    Raises:
        ConfigError: A pattern is empty, or names no server.
    """

    def __init__(self, rules: Rules | None = None, servers: Sequence[str] = ()) -> None:
        self._rules = rules or Rules()
        self.serve(servers)

    def serve(self, servers: Sequence[str]) -> None:
        """Apply the rules to other servers from now on.

        Args:
            servers: The names of all of them.

        Raises:
            ConfigError: A pattern names no server; then nothing changes.
        """
        rules = self._rules
        named = [text for text in rules.ask if text != DESTRUCTIVE]
        patterns = {
            "include": rules.include,
            "exclude": rules.exclude,
            "allow": rules.allow,
            "ask": named,
            "no_ask": rules.no_ask,
        }
        parsed = {key: [Pattern(text, servers, key) for text in texts] for key, texts in patterns.items()}
        self._read_only = rules.read_only
        self._asks_destructive = DESTRUCTIVE in rules.ask
        self._patterns = [(key, pattern) for key, given in parsed.items() for pattern in given]
        self._include, self._exclude, self._allow = parsed["include"], parsed["exclude"], parsed["allow"]
        self._ask, self._no_ask = parsed["ask"], parsed["no_ask"]

    def unmatched(self, entries: Sequence[tuple[Outlined, CatalogEntry]]) -> list[tuple[str, str]]:
        """Rules and their patterns that match nothing: probably misspelled.

        Args:
            entries: All servers, and what the catalog knows of them.
        """
        known = [
            (config.server_name, str(entry[NAMED_BY[kind]]))
            for config, of_server in entries
            for kind in KINDS
            if (listing := of_server.listing(kind)) is not None
            for entry in listing.entries
        ]
        return [
            (rule, pattern.text)
            for rule, pattern in self._patterns
            if not any(pattern.matches(server, name) for server, name in known)
        ]

    @property
    def offers_all(self) -> bool:
        """Whether nothing is left out."""
        return not (self._read_only or self._include or self._exclude)

    @property
    def is_open(self) -> bool:
        """Whether there are no rules at all, so that even what nobody knows may pass."""
        return self.offers_all and not self.asks

    @property
    def asks(self) -> bool:
        """Whether there are calls that need approval."""
        return bool(self._asks_destructive or self._ask)

    def offers(self, config: Outlined, entry: Mapping[str, Any], kind: Kind = "tools") -> bool:
        """Whether an entry of a server's listing is offered.

        Args:
            config: The server.
            entry: As it came over the wire.
            kind: What it is.
        """
        if self.offers_all:
            return True
        name = entry.get(NAMED_BY[kind])
        if not isinstance(name, str) or not self.offers_name(config, name, kind):
            return False
        if kind != "tools" or not self._read_only:
            return True
        return is_read_only(entry) or _matches(self._allow, config.server_name, name)

    def offers_name(self, config: Outlined, name: str, kind: Kind) -> bool:
        """Whether the name, or the URI, is one that is offered; of a tool, that alone does not say that it is.

        A URI counts by all that a server may take it for; see `_forms_of`.
        """
        server, forms = config.server_name, _forms_of(name) if kind == "resources" else [name]
        if self._include and not all(_matches(self._include, server, form) for form in forms):
            return False
        # Schemes and hosts are the same in any case, and so are files on some machines.
        in_any_case = kind in ("resources", "templates")
        doubtful = [*forms, *map(_as_file, forms)] if in_any_case else forms
        return not any(pattern.matches(server, form, in_any_case) for pattern in self._exclude for form in doubtful)

    def need_of_approval(self, config: Outlined, tool: Mapping[str, Any]) -> Need:
        """Whether a call of this tool needs approval, and why."""
        server, name = config.server_name, str(tool.get("name", ""))
        if _matches(self._ask, server, name):
            return "named"
        if not self._asks_destructive or is_safe(tool) or _matches(self._no_ask, server, name):
            return "none"
        return "destructive" if _hints(tool).get("destructiveHint") is True else "unknown"


class Pattern:
    """A glob of `SERVER.NAME`, or of a name or URI of any server.

    Args:
        text: As it was given.
        servers: The names of the servers. A pattern that names another one is an error: it would let through what it
            was meant to keep out.
        rule: The field of `Rules` that it is for.

    Raises:
        ConfigError: It is empty, or names no server.
    """

    def __init__(self, text: str, servers: Sequence[str], rule: str) -> None:
        self.text = text
        if not text.strip():
            raise _wrong(rule, "a pattern is empty", "Write SERVER.NAME; * matches anything.")
        if text in servers:
            hint = f"Write '{text}.*' for all of it, '*.{text}' for a tool of that name."
            raise _wrong(rule, f"{text!r} is the name of a server", hint)
        self._pairs = _split(text, servers)
        if "." in text and not self._pairs and not _is_uri(text):
            head = text.partition(".")[0]
            meant = did_you_mean(head, servers, "server")
            hint = f"{meant} For a name with a dot, of any server, write '*.{text}'."
            raise _wrong(rule, f"{text!r} names no server that is served here", hint)

    def __repr__(self) -> str:
        return f"<Pattern {self.text!r}>"

    def matches(self, server: str, name: str, in_any_case: bool = False) -> bool:
        """Whether it is for this name of this server, or for one that differs only in its case."""
        fold = _folded if in_any_case else str
        if self._pairs:
            return any(
                fnmatchcase(server, left) and fnmatchcase(fold(name), fold(right)) for left, right in self._pairs
            )
        return fnmatchcase(fold(name), fold(self.text))


def _wrong(rule: str, problem: str, hint: str | None = None) -> ConfigError:
    return ConfigError(f"{rule}: {problem}.", key=rule, problem=f"{problem}.", hint=hint)


def _split(text: str, servers: Sequence[str]) -> list[tuple[str, str]]:
    """The globs of a server and of a name in it: names of servers may have dots, too."""
    dots = [at for at, char in enumerate(text) if char == "."]
    pairs = [(text[:at], text[at + 1 :]) for at in dots]
    return [(left, right) for left, right in pairs if any(fnmatchcase(server, left) for server in servers)]


def _is_uri(text: str) -> bool:
    return "://" in text.partition(".")[0]


def _folded(text: str) -> str:
    return normalize("NFC", text).casefold()


def _matches(patterns: Sequence[Pattern], server: str, name: str) -> bool:
    return any(pattern.matches(server, name) for pattern in patterns)


def _forms_of(uri: str) -> list[str]:
    """A URI as it is, and all that a server may take it for: its escapes resolved up to some depth, with and without
    query and fragment, its host taken for a folder, and as parsers of URLs read it."""
    plain = _IGNORED.sub("", uri).strip(_STRIPPED)
    forms = [uri]
    for _ in range(_MOST_ESCAPED + 1):
        for read in (plain, _QUERY.split(plain, maxsplit=1)[0]):
            forms += _spellings(read)
        plain = unquote(plain)
    return list(dict.fromkeys(forms))


def _spellings(uri: str) -> list[str]:
    scheme, separator, rest = uri.replace("\\", "/").partition(":")
    if not separator:
        return [_resolved(uri)]
    is_file = scheme.lower() == "file"
    if not rest.startswith("//"):
        # `file:/x` is the same as `file:///x`.
        return [f"{scheme}:///{_resolved(rest).lstrip('/')}" if is_file else f"{scheme}:{_resolved(rest)}"]
    host, slash, path = rest[2:].partition("/")
    if is_file and host.lower() in _THIS_MACHINE:
        host = ""
    spellings = [f"{scheme}://{host}{_resolved(slash + path)}"]
    return [*spellings, f"{scheme}://{_resolved(rest[2:])}"] if host else spellings


def _as_file(uri: str) -> str:
    """The file that a server means by a URI if it looks at nothing but the path, without parameters of its parts."""
    found = _FILE.fullmatch(uri)
    return uri if found is None else f"file://{_resolved(re.sub(';[^/]*', '', found[1]))}"


def _resolved(path: str) -> str:
    if not path:
        return path
    # Some servers take what follows a `;` for no part of the name.
    path = re.sub(r"(?<![^/])(\.\.?);[^/]*", r"\1", path)
    slash = "/" if path.endswith("/") else ""
    return re.sub("/+", "/", normpath(path) + slash)


def _hints(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    hints: object = tool.get("annotations")
    return cast("Mapping[str, Any]", hints) if isinstance(hints, Mapping) else {}


def is_read_only(tool: Mapping[str, Any]) -> bool:
    """Whether a tool says that it changes nothing."""
    return _hints(tool).get("readOnlyHint") is True


def is_safe(tool: Mapping[str, Any]) -> bool:
    """Whether a tool says that it destroys nothing."""
    return is_read_only(tool) or _hints(tool).get("destructiveHint") is False

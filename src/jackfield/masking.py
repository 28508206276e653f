"""Masks secrets in all text that Jackfield emits: errors, logs, spans and quoted server output.

The values that are sent to servers are known (`keep_secret`), each in every form that it is usually quoted in, for as
long as the object that holds them lives and a while longer. `mask` replaces them in any text. What a tool returns is
data, and never goes through here.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

MASK = "**********"
"""Stands where a secret was."""

SHORTEST_SECRET_CHARS = 6
"""What is shorter is not masked: it would be found everywhere."""

# Released last: what a server still says of a connection that was closed.
_RECENT = 256
_MANY_FORMS = 500


class _Known:
    """The values known now, in all their forms, found by their first and last characters."""

    def __init__(self) -> None:
        self.forms: Counter[str] = Counter()
        self.starts: dict[str, tuple[str, ...]] = {}
        self.ends: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self._released: deque[frozenset[str]] = deque()

    def keep(self, owner: object, forms: frozenset[str]) -> None:
        with self._lock:
            while len(self._released) > _RECENT:
                for form in self._released.popleft():
                    self._drop(form)
            for form in forms:
                self.forms[form] += 1
                if self.forms[form] == 1:
                    self._index(form)
        # A finalizer may run at any moment, also inside of the lock.
        weakref.finalize(owner, self._released.append, forms).atexit = False

    def _index(self, form: str) -> None:
        for index, part in self._parts(form):
            index[part] = tuple(sorted({*index.get(part, ()), form}, key=len, reverse=True))

    def _drop(self, form: str) -> None:
        self.forms[form] -= 1
        if self.forms[form] == 0:
            del self.forms[form]
            for index, part in self._parts(form):
                index[part] = tuple(other for other in index[part] if other != form)
                if not index[part]:
                    del index[part]

    def _parts(self, form: str) -> tuple[tuple[dict[str, tuple[str, ...]], str], ...]:
        return (self.starts, form[:SHORTEST_SECRET_CHARS]), (self.ends, form[-SHORTEST_SECRET_CHARS:])


KNOWN = _Known()
"""As long as its `starts` are empty, there is nothing to mask, and nobody has to ask for it."""


def mask(text: str, *, is_cut: bool = False) -> str:
    """The text with all known secrets masked.

    Args:
        text: Of any length.
        is_cut: It was taken out of a longer one, so that part of a secret may stand at its beginning or end.
    """
    if not KNOWN.starts or len(text) < SHORTEST_SECRET_CHARS:
        return text
    # Quicker than to look at each place, unless there are many.
    if not is_cut and len(KNOWN.forms) < _MANY_FORMS and not any(form in text for form in list(KNOWN.forms)):
        return text
    pieces: list[str] = []
    begin = end = done = 0
    for start, stop in _places(text, is_cut):
        if start > end:
            pieces += [text[done:begin], MASK] if end else []
            begin, done = start, end
        end = max(end, stop)
    return "".join([*pieces, text[done:begin], MASK, text[end:]]) if end else text


def _places(text: str, is_cut: bool) -> Iterator[tuple[int, int]]:
    """Where secrets are, from the beginning on; they may overlap."""
    width, starts, ends = SHORTEST_SECRET_CHARS, KNOWN.starts, KNOWN.ends
    if is_cut:
        longest = max(map(len, list(KNOWN.forms)), default=0)
        for at in range(min(longest, len(text)), width - 1, -1):
            if any(form.endswith(text[:at]) for form in ends.get(text[at - width : at], ())):
                yield 0, at
                break
    for at in range(len(text) - width + 1):
        for form in starts.get(text[at : at + width], ()):
            if text.startswith(form, at) or (is_cut and form.startswith(text[at:])):
                yield at, min(at + len(form), len(text))
                break


def masked(value: Any) -> Any:
    """The value with what is text in it masked: in lists, tuples and tables, too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked(item) for item in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return tuple(masked(item) for item in cast("tuple[Any, ...]", value))
    if isinstance(value, dict):
        return {masked(name): masked(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value


class HiddenValues(dict[str, str]):
    """Headers or variables whose values are not shown."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, MASK))


# Which values are secrets, what else in them is one, and in which forms they are quoted.

SECRET_NAME: re.Pattern[str] = re.compile(
    r"auth(?!ors?(?![a-z]))|key|token|secret|passw|pwd|pass$|credential|cookie|session|private|signature|\bsig\b|\bpat\b|dsn|jwt",
    re.IGNORECASE,
)
"""Names of variables, headers, options and parameters whose values are secrets."""

AMOUNT_NAME = re.compile(r"max|min|limit|count|budget|timeout|ttl|age|size|length|port", re.IGNORECASE)
"""Of `MAX_TOKENS=100000`, whose value is not a secret."""

_SHORTEST_VALUE_CHARS = 8
_LONGEST_WORD_CHARS = 16
_WORDS = frozenset(
    {
        *("basic", "bearer", "default", "development", "disabled", "enabled", "localhost", "passwd", "password"),
        *("production", "secret", "staging", "testing", "undefined", "warning"),
    }
)
# Users without a password in a URL, where there may also be a token: names that would be found everywhere.
_ACCOUNTS = frozenset({"anonymous", "elastic", "mongodb", "mariadb", "oracle", "postgres", "readonly", "ubuntu"})
# Numbers, dates, addresses, regions, locales, media types: `10.0.0.1`, `us-east-1`, `en_US.UTF-8`, `text/plain`.
_PLAIN = re.compile(
    r"[\d\W_]+|[a-z]{2}(-[a-z]{2,12}){1,2}-\d|[a-z]{2}_[A-Z]{2}(\.[\w-]+)?|[a-z]+/[a-z*.+-]+|https?://[\w.-]+(:\d+)?/?"
)
# What a file names and does not hold: `${TOKEN}`, `${env:TOKEN}`, `{env:TOKEN}`.
_REFERENCE = re.compile(r"\$?\{[\w:.-]+\}")
# The name of a variable in the template of a value.
_REPLACED = re.compile(r"\$\{(?:env:)?([^{}:]*)[^{}]*\}")
# Of variables and headers.
_PLAIN_NAMES = frozenset(
    {
        *("home", "lang", "logname", "path", "pwd", "shell", "term", "tmpdir", "tz", "user"),
        *("accept", "accept-encoding", "accept-language", "content-type", "host", "user-agent"),
    }
)
_PAIR = re.compile(r"([\w.-]+)=[\"']?(.*?)[\"']?")
_NAMED_ARGUMENT = re.compile(r"([\w.-]+)(?:=|:\s*)(.+)")

# In a part of a URL, in a path, and in a query by httpx2 and browsers.
_UNQUOTED = ("", "/", "!$&'()*+,;=:@/?", "!$'()*,:@/?")

NamedValue = tuple[str, str]
"""A value and its name, such as that of a variable or a header."""


def keep_secret(owner: object, values: Iterable[NamedValue]) -> None:
    """Mask these values in all texts from now on.

    Args:
        owner: Holds them; they are forgotten some time after it is gone.
        values: A name that says so makes a value a secret from 6 characters on. Under any other name it takes 8, and
            what is plain is none: words, numbers, regions, media types, paths that exist.
    """
    forms = frozenset(form for name, value in values for part in _parts(name, value) for form in _forms(part))
    if forms:
        KNOWN.keep(owner, forms)


def argument_secrets(args: Sequence[str]) -> Iterator[NamedValue]:
    """What is secret in a command line: `--token X`, `--token=X`, `-e TOKEN=X`, `--header "X-Key: X"`, passwords in
    URLs."""
    for index, text in enumerate(args):
        if "${" in text:
            continue
        if (named := _NAMED_ARGUMENT.fullmatch(text)) and SECRET_NAME.search(named[1]):
            yield named[1], named[2]
        before = args[index - 1] if index else ""
        if before.startswith("-") and "=" not in before and SECRET_NAME.search(before) and not text.startswith("-"):
            yield before, text
        yield from (("password", part) for part in secrets_within("", text))


def without_secrets(args: Sequence[str]) -> list[str]:
    """A command line for people."""
    hidden = {part for name, value in argument_secrets(args) for part in _parts(name, value)}
    for secret in sorted(hidden, key=len, reverse=True):
        args = [text.replace(secret, MASK) for text in args]
    return list(args)


def _is_plain(name: str, value: str) -> bool:
    """Whether a value is nothing that needs to be masked, or would be found everywhere."""
    if len(value) < SHORTEST_SECRET_CHARS or value.lower() in _WORDS or name.lower() in _PLAIN_NAMES or _is_path(value):
        return True
    if _REFERENCE.fullmatch(value):
        return True
    if value.isdigit() and AMOUNT_NAME.search(name):
        return True
    if SECRET_NAME.search(name):
        return False
    is_word = value.isalpha() and len(value) <= _LONGEST_WORD_CHARS
    is_plain = is_word or _PLAIN.fullmatch(value) is not None
    return is_plain or len(value) < _SHORTEST_VALUE_CHARS


def _is_path(value: str) -> bool:
    paths = [path for path in value.split(os.pathsep) if path]
    if not paths or not all(os.path.isabs(path) for path in paths):
        return False
    try:
        return os.path.exists(paths[0])
    except ValueError:
        return False


def _parts(name: str, value: str) -> Iterator[str]:
    """A value, and what in it is a secret of its own: a token after its scheme, a password in a URL, ..."""
    value = value.strip()
    if not _is_plain(name, value):
        yield value
        lines = value.splitlines() if "\n" in value else ()
        yield from (line.strip() for line in lines if not _is_plain(name, line.strip()))
    yield from secrets_within(name, value)


def secrets_within(name: str, value: str) -> Iterator[str]:
    """The secrets that are part of a value."""
    found: list[tuple[str, str]] = []
    scheme, _, rest = value.partition(" ")
    if rest and SECRET_NAME.search(name) and scheme.isalnum():
        found.append((name, rest.strip()))
        if scheme.lower() == "basic":
            found += _of_basic(rest.strip())
    if "://" in value:
        found += _of_url(value)
    is_cookie = name.lower() == "cookie"
    found += [(key, part) for key, part in _pairs(rest) or _pairs(value) if is_cookie or SECRET_NAME.search(key)]
    if value[:1] in ("{", "["):
        found += _of_json(value)
    yield from (part for key, part in found if part != value and not _is_plain(key, part))


def replaced_values(text: str, template: str) -> Iterator[NamedValue]:
    """What variables were replaced by, each with its variable's name."""
    names = _REPLACED.findall(template)
    pattern = "(.+?)".join(re.escape(part.replace("$${", "${")) for part in _between(template))
    found = re.fullmatch(pattern, text, re.DOTALL)
    yield from zip(names, found.groups(), strict=False) if found else [(" ".join(names), text)]


def _between(template: str) -> list[str]:
    return re.split(r"(?<!\$)\$\{[^{}]*\}", template)


def _pairs(value: str) -> list[tuple[str, str]]:
    """What `a=b; c=d` and `a="b", c="d"` consist of; nothing of any other text."""
    words = [_PAIR.fullmatch(word) for word in re.split(r"[\s;,&]+", value) if word]
    return [(word[1], word[2]) for word in words if word] if all(words) else []


def _of_basic(credentials: str) -> Iterator[tuple[str, str]]:
    import base64

    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return
    yield "password", text
    yield "password", text.partition(":")[2]


def _of_url(value: str) -> Iterator[tuple[str, str]]:
    from base64 import b64encode
    from urllib.parse import parse_qsl, unquote, urlsplit

    try:
        parts = urlsplit(value)
        user, password = parts.username, parts.password
    except ValueError:
        return
    if password is not None:
        both = f"{unquote(user or '')}:{unquote(password)}"
        yield from (("password", text) for text in (password, unquote(password), b64encode(both.encode()).decode()))
    elif user is not None and user.lower() not in _ACCOUNTS:
        yield from (("token", text) for text in (user, unquote(user)))
    for pair in parts.query.split("&"):
        yield pair.partition("=")[0], pair.partition("=")[2] or pair
    yield from parse_qsl(parts.query)
    yield from (("fragment", text) for text in (parts.fragment, unquote(parts.fragment)))
    yield from parse_qsl(parts.fragment)


def _of_json(value: str) -> Iterator[tuple[str, str]]:
    try:
        pending: list[tuple[str, Any]] = [("", json.loads(value))]
    except (ValueError, RecursionError):
        return
    while pending:
        key, item = pending.pop()
        if isinstance(item, str) and SECRET_NAME.search(key):
            yield key, item
            pending += [(key, line) for line in item.splitlines() if line != item]
        elif isinstance(item, dict):
            pending += [(str(inner), held) for inner, held in cast("dict[Any, Any]", item).items()]
        elif isinstance(item, list):
            pending += [(key, held) for held in cast("list[Any]", item)]


def _forms(value: str) -> set[str]:
    """How a value is quoted: as it is, escaped for JSON, Python, URLs and HTML, in base64."""
    import base64
    import html
    from urllib.parse import quote, quote_plus

    data = value.encode("utf-8", "surrogateescape")
    plain = {value, data.decode("latin-1"), "".join(char if char.isprintable() else "?" for char in value)}
    forms = {*_either_quotes(repr(b'"' + data)[3:-1]), *plain, *map(html.escape, plain)}
    # Twice, for what was quoted is quoted again.
    for _ in range(2):
        forms |= {escaped for form in forms for escaped in _escaped(form)}
    for quoted in (quote_plus(data), *(quote(data, safe=safe) for safe in _UNQUOTED)):
        forms |= {quoted, re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)}
    forms |= {base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("=")}
    return {form for form in forms if len(form) >= SHORTEST_SECRET_CHARS}


def _escaped(text: str) -> set[str]:
    """A text as it appears in a JSON string, and in the repr of a longer string."""
    return {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], *_either_quotes(repr(f'"{text}')[2:-1])}


def _either_quotes(text: str) -> tuple[str, str]:
    """A repr escapes single quotes or does not, by what else is in it."""
    return text, text.replace("\\'", "'")

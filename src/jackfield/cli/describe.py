"""Describes a server's entry for people: before they accept it, and to explain it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ..config.discover import FoundServer
from ..config.keys import in_our_words
from ..config.outline import redact_url
from ..config.references import rewritten_entry
from ..masking import MASK, SECRET_NAME, secrets_within, without_secrets
from ..plain import as_list
from .output import Output, shown_path
from .text import printable


def described(found: FoundServer) -> Iterator[tuple[str, str]]:
    """The content of an entry, complete except for its secrets, as pairs of label and value."""
    source = found.source
    # In our notation a reference is seen to be one, and shown: which variable or file is read matters.
    entry = rewritten_entry(
        in_our_words(found.entry, source.row), source.row, source.file_folder, os.environ.__contains__
    )
    for key, value in entry.items():
        match key:
            case "command":
                yield "command", _command(value, as_list(entry.get("args")))
            case "args":
                if "command" not in entry:
                    yield key, _plain(without_secrets(list(map(str, as_list(value)))))
            case "url":
                yield key, redact_url(value) if isinstance(value, str) else _plain(value)
            case "env" | "environment" | "headers" if isinstance(value, Mapping):
                what = "header" if key == "headers" else "variable"
                for name, text in cast("Mapping[str, Any]", value).items():
                    yield what, f"{name} = {_unless_secret(name, text, is_header=key == 'headers')}"
            case "transport":
                pass  # shown by the other keys, or next to them
            case "auth" if isinstance(value, Mapping):
                for name, text in cast("Mapping[str, Any]", value).items():
                    # Which file is read matters to the person who accepts it.
                    is_open = name.lower().endswith(("_file", "_method"))
                    yield key, f"{name} = {_plain(text) if is_open else _unless_secret(name, text, is_header=False)}"
            case "auth":
                # Some programs take a token here; Jackfield will not, but it must not be shown either.
                yield key, _plain(value) if value in ("oauth", "none", True, False, None) else MASK
            case _:
                yield key, _shown(value)


def without_plain_secrets(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry in our words, with what may be a secret in it masked; references such as `${TOKEN}` stay."""
    shown = dict(entry)
    for key in ("env", "environment", "headers"):
        if isinstance(shown.get(key), Mapping):
            shown[key] = {
                name: _unless_secret(name, text, is_header=key == "headers")
                for name, text in cast("Mapping[str, Any]", shown[key]).items()
            }
    if isinstance(shown.get("args"), list):
        shown["args"] = without_secrets([str(word) for word in as_list(shown["args"])])
    if isinstance(shown.get("url"), str):
        shown["url"] = redact_url(shown["url"])
    if isinstance(shown.get("auth"), Mapping):
        client = cast("Mapping[str, Any]", shown["auth"])
        shown["auth"] = {name: _unless_secret(name, value, is_header=False) for name, value in client.items()}
    return shown


def asked_about(title: str, servers: Sequence[FoundServer], output: Output) -> bool:
    """Show servers on the terminal, and ask whether to accept them."""
    output.ask(title)
    show(servers, output)
    output.ask("Accept? It is remembered until the entry changes. [y/N] ", end="")
    try:
        answer = sys.stdin.readline()
    except UnicodeDecodeError:
        answer = ""
    if not answer.endswith("\n"):
        output.ask("")
    return answer.strip().lower() in ("y", "yes")


def show(servers: Sequence[FoundServer], output: Output) -> None:
    """Write what servers are, for people, on stderr."""
    for found in servers:
        output.ask(f"\n  {printable(found.name)}   ({shown_path(found.source.path)})")
        for label, text in described(found):
            output.ask(f"    {printable(label):<10} {printable(text)}")
    output.ask("")


def _command(command: object, args: Sequence[object]) -> str:
    import shlex

    return shlex.join(without_secrets([str(command), *map(str, args)]))


def _shown(value: object) -> str:
    """What Jackfield does not know, without what may be secret in it."""
    text = _plain(value)
    for secret in secrets_within("", text):
        text = text.replace(json.dumps(secret, ensure_ascii=False)[1:-1], MASK)
    return text


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _unless_secret(name: str, value: object, *, is_header: bool) -> str:
    """The value, unless it is a secret given in full; a reference such as `${TOKEN}` is none."""
    text = _plain(value)
    return MASK if "${" not in text and (is_header or SECRET_NAME.search(name)) else text

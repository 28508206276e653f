"""Adds and removes the tokens of users in the file of a `BearerFile`. Of a token, its SHA-256 alone is written."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError
from ..files import write_private
from ..plain import as_table
from .tokens import Bearer, digest_of, read_bearers

_LOCK_SECONDS = 10.0
_HEAD = (
    "# Who may use the gateway: `jackfield serve-token` writes this file, `jackfield serve --token-file` reads it.\n"
)
_ENTRY = "[[tokens]]"


@dataclass(frozen=True)
class NewToken:
    """A token that was added. It is known here and nowhere else."""

    token: str
    bearer: Bearer


def add_token(path: Path, subject: str, *, scopes: Sequence[str] = (), expires_at: datetime | None = None) -> NewToken:
    """Add a token for a user, who may have others already.

    Args:
        path: The file; made if it is not there.
        subject: The user.
        scopes: What the user may do with it.
        expires_at: Until when.

    Raises:
        ConfigError: The file is wrong or cannot be written, or an argument cannot be stood for there.
    """
    if not subject.strip() or not subject.isprintable():
        raise ConfigError(f"{subject!r} is not the name of a user.", hint="Give one line of text.")
    token = secrets.token_urlsafe(32)
    lines = [_ENTRY, f"subject = {_text(subject)}", f'sha256 = "{digest_of(token)}"']
    lines += [f"scopes = [{', '.join(map(_text, scopes))}]"] if scopes else []
    lines += [f"expires = {expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"] if expires_at is not None else []
    with _edited(path) as text:
        before = text[0] or _HEAD
        text[0] = f"{before.rstrip()}\n\n{chr(10).join(lines)}\n"
    [*_, bearer] = read_bearers(path)
    return NewToken(token, bearer)


def remove_tokens(path: Path, subject: str) -> int:
    """Remove all tokens of a user; returns how many there were.

    Raises:
        ConfigError: The file is wrong, or cannot be written.
    """
    if not path.exists():
        return 0
    with _edited(path) as text:
        head, *entries = text[0].split(f"\n{_ENTRY}")
        kept = [entry for entry in entries if _subject_of(entry) != subject]
        text[0] = f"\n{_ENTRY}".join([head, *kept])
        return len(entries) - len(kept)


def _subject_of(entry: str) -> object:
    [table] = tomllib.loads(f"{_ENTRY}{entry}")["tokens"]
    return as_table(table).get("subject")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _edited(path: Path) -> Generator[list[str]]:
    """The text of the file, in a list, for one editor at a time; what the list has in the end is written."""
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600):
            if path.exists():
                read_bearers(path)
            text = [f"\n{path.read_text(encoding='utf-8')}" if path.exists() else ""]
            yield text
            tomllib.loads(text[0])
            write_private(path, text[0].removeprefix("\n"), is_durable=True)
    except Timeout:
        raise ConfigError(f"The token file {path} is being changed by another process.", hint="Try again.") from None
    except OSError as error:
        raise ConfigError(f"The token file {path} cannot be changed: {error.strerror or error}.") from None

"""Makes an entry of a file ready for the models: our words, references replaced, paths absolute. Knows no models."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, cast

from ..errors import ConfigError, did_you_mean, nearest
from ..masking import MASK
from ..plain import as_table
from .foreign import in_our_words
from .keys import KEYS, SESSION_SETTINGS, UnclearError, is_off, transport_of_entry, unknown_key
from .notations import rewritten, runs_shell
from .programs.table import OF_THE_SDK
from .source import Source, is_comment
from .templates import Expanded, ExpansionError, expand, template_of, variables_in

_ALL_KEYS = frozenset[str]().union(*KEYS.values())
_TYPO = 0.8
"""How like a known key one must be to be a slip rather than another program's own."""


def entry_error(source: str, name: str, key: str, problem: str, hint: str | None = None) -> ConfigError:
    """The error for an invalid entry; names file, server and key."""
    at = f", key {key!r}" if key else ""
    message = f"{source}: server {name!r}{at}: {problem}"
    return ConfigError(message, server_name=name, key=key, problem=problem, hint=hint)


def prepare(name: str, entry: Mapping[str, Any], source: Source, variables: Mapping[str, str] | None) -> dict[str, Any]:
    """The entry in the form that the models accept.

    Args:
        name: The server.
        entry: As written in the file.
        source: Where it stands.
        variables: Values for `${VAR}`; `None` is the environment, and keeps references that are not set.

    Raises:
        ConfigError: A variable is not set, a key is not known, or it has neither a command nor a url.
    """
    file = str(source.path)
    try:
        is_off(entry)
    except UnclearError as error:
        raise entry_error(file, name, error.key, f"{error}.", "Write true or false.") from None
    values = os.environ if variables is None else variables
    folder, folders, row = source.file_folder, source.known_folders, source.row

    def expanded(value: Any, key: str) -> Any:
        if isinstance(value, str):
            if MASK in value and variables is not None:
                raise entry_error(
                    file, name, key, "the secret was not stored.", "Write it as ${VAR} and set that variable."
                )
            try:
                in_shell = has_shell and key.startswith("args")
                return expand(rewritten(value, row, folder, values.__contains__, in_shell=in_shell), values, folders)
            except ExpansionError as error:
                if variables is None:
                    return value
                raise entry_error(file, name, key, f"{error}.", error.hint) from None
        if isinstance(value, Mapping):
            return {str(k): expanded(v, f"{key}.{k}") for k, v in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [expanded(item, f"{key}[{index}]") for index, item in enumerate(cast("list[Any]", value))]
        return value

    ours = kept_keys(in_our_words(entry, row), source)
    has_shell = runs_shell(ours)
    data = {key: _anchored(key, expanded(value, key), source.folder) for key, value in ours.items()}
    if FROM_VARIABLES in data:
        _set_headers(data, values)
    if ENV_FILE in data:
        try:
            _set_variables(data)
        except ExpansionError as error:
            raise entry_error(file, name, ENV_FILE, f"{error}.", error.hint) from None
    data["server_name"] = name
    transport = transport_of_entry(data)
    if transport is None:
        unknown = next((key for key in data if key not in _ALL_KEYS), "")
        hint = did_you_mean(unknown, _ALL_KEYS, "key") if nearest(unknown, _ALL_KEYS) else None
        raise entry_error(file, name, unknown, "it has neither a command (stdio) nor a url (sse, http).", hint)
    if transport == "stdio" and source.default_folder is not None and not {"cwd", "working_dir"} & set(data):
        data["cwd"] = str(source.default_folder)
    if transport == "stdio" and "inherit_environment" not in data and (more := inherited(source)):
        data["inherit_environment"] = more
    return data


def inherited(source: Source) -> bool | list[str]:
    """What a server of a file inherits in addition to what all do, as `inherit_environment` has it: what its program
    names; what its program does not name only if that was asked for, since secrets may be among it."""
    given = source.row.inherits
    if isinstance(given, tuple):
        return sorted(set(given).difference(OF_THE_SDK))
    is_asked_for = source.inherits_as_program or os.environ.get("JACKFIELD_INHERIT", "").strip().lower() == "program"
    if not is_asked_for or given is None:
        return False
    return True if given == "everything" else ["*"]


FROM_VARIABLES = "env_http_headers"
"""Codex's table of headers and the variables that they come from. It stays in an entry that is imported: one whose
variable is not set is not sent, which no reference says."""

ENV_FILE = "env_file"
"""A file of variables for the server; those in its entry take precedence. It stays in an entry that is imported."""

_NOT_OF_MODELS = frozenset({FROM_VARIABLES, ENV_FILE})


def _set_variables(data: dict[str, Any]) -> None:
    given: object = data.pop(ENV_FILE)
    if not isinstance(given, str):
        raise ExpansionError("it must be the path of a file", "Give one path.")
    path = str.__str__(given)
    key = "environment" if "environment" in data else "env"
    found = {name: Expanded(value, f"${{file:{path}#{name}}}") for name, value in variables_in(path).items()}
    data[key] = {**found, **as_table(data.get(key))}


def _set_headers(data: dict[str, Any], values: Mapping[str, str]) -> None:
    names = as_table(data.pop(FROM_VARIABLES))
    headers = {
        name: Expanded(values[variable], f"${{{variable}}}")
        for name, variable in names.items()
        if isinstance(variable, str) and values.get(variable)
    }
    data["headers"] = {**headers, **as_table(data.get("headers"))}


def kept_keys(ours: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The keys of an entry in our words without those that its program passes over, and without those of another
    transport, which generators write."""
    kept = {key: value for key, value in ours.items() if _is_kept(key, source)}
    transport = transport_of_entry(kept)
    if transport not in KEYS or source.row.name == "Jackfield":
        return kept
    known = {*KEYS[transport], ENV_FILE if transport == "stdio" else FROM_VARIABLES}
    return {key: value for key, value in kept.items() if key in known or key not in _ALL_KEYS | _NOT_OF_MODELS}


# In a file of nobody knows which program, what may say how a server is started or used, such as `arguments`.
_MAY_MATTER = re.compile(
    r"(?<![a-z])(arg|env)|header|folder|(?<![a-z])(work|dir)|directory|command|cmd|ur[li](?![a-z])|auth(?!or)|token"
    r"|timeout|allow|deny|denied|disabl|enabl|exclu|inclu|tools",
    re.IGNORECASE,
)


def _is_kept(key: str, source: Source) -> bool:
    """Whether a key is ours or must be refused as a slip; others are another program's own, or comments."""
    if key in _ALL_KEYS | _NOT_OF_MODELS:
        return True
    if not source.row.name and (key in SESSION_SETTINGS or _MAY_MATTER.search(key)):
        return True
    return not is_comment(key) and (not source.is_foreign or _is_slip(key))


def misplaced_key(prepared: Mapping[str, Any], transport: str) -> str | None:
    """The problem with the first key of an entry that its transport does not have, if any."""
    unknown = next((key for key in prepared if key not in KEYS[transport]), None)
    if unknown is None:
        return None
    if {"command", "url"} <= set(prepared):
        return "it has both a command (stdio) and a url (sse, http); leave one out."
    if unknown in SESSION_SETTINGS:
        return f'{unknown!r} is a setting of its session: write "session": {{"{unknown}": ...}}.'
    return unknown_key([unknown], KEYS[transport])


_SLIPPED_FROM = [*_ALL_KEYS, "disabled", "enabled"]


def _is_slip(key: str) -> bool:
    key = key.lower()
    if any(_is_misspelt(key, known) for known in _SLIPPED_FROM):
        return True
    import difflib

    return bool(difflib.get_close_matches(key, _SLIPPED_FROM, n=1, cutoff=_TYPO))


def _is_misspelt(key: str, known: str) -> bool:
    """Whether two neighbours are swapped, or one letter is missing or too many: `evn`, `agrs`, `urll`."""
    if len(key) < 3 or abs(len(key) - len(known)) > 1:
        return False
    if len(key) == len(known):
        pairs = [(one, other) for one, other in zip(key, known, strict=True) if one != other]
        return len(pairs) == 2 and pairs[0] == pairs[1][::-1]
    longer, shorter = (key, known) if len(key) > len(known) else (known, key)
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))


_PLACES = (ENV_FILE, "working_dir", "cwd", "verify", "private_key_file", "client_assertion_file", "file")


def is_place(key: str, value: object) -> TypeGuard[str]:
    """Whether a value of an entry names a place, which is relative to the file; a bare command is one of the PATH."""
    return isinstance(value, str) and (key in _PLACES or (key == "command" and "/" in value))


def _anchored(key: str, value: Any, folder: Path) -> Any:
    """Take a relative path from the file's folder, as its author meant it."""
    if key in ("auth", "credentials", "oauth") and isinstance(value, dict):
        return {name: _anchored(name, item, folder) for name, item in cast("dict[str, Any]", value).items()}
    if not is_place(key, value):
        return value
    path = Path(value).expanduser()
    if path.is_absolute() and not value.startswith("~"):
        return value
    absolute = str(folder / path)
    if not isinstance(value, Expanded):
        return absolute
    template = value.template if path.is_absolute() else f"{template_of(folder)}/{value.template}"
    return Expanded(absolute, template)

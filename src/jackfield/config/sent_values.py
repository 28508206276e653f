"""What a configuration has that may be secret: all that is sent to its server, or given to its process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..secret_values import NamedValue, argument_secrets, secrets_within
from .expand import Expanded, ExpandedPath

if TYPE_CHECKING:
    from .servers import RemoteConfig, StdioConfig

_REFERENCE = re.compile(r"\$\{(?:env:)?([^{}:]*)[^{}]*\}")


def of_child(config: StdioConfig) -> Iterator[NamedValue]:
    """Variables, and what is secret in the command line: `--token X`, `--token=X`, `-e TOKEN=X`, passwords in URLs."""
    yield from config.environment_values().items()
    for value in (config.command, config.working_dir, *config.args):
        if isinstance(value, Expanded | ExpandedPath):
            yield from _expanded(str.__str__(value) if isinstance(value, str) else str(value), value.template)
    yield from argument_secrets(config.args)


def of_remote(config: RemoteConfig) -> Iterator[NamedValue]:
    """Headers, what is secret in the URL, and the secret of an OAuth client."""
    yield from config.header_values().items()
    url = str.__str__(config.url)
    yield from (("password", part) for part in secrets_within("url", url))
    if isinstance(config.url, Expanded):
        yield from _expanded(url, config.url.template)
    if isinstance(config.verify, ExpandedPath):
        yield from _expanded(str(config.verify), config.verify.template)
    for name in ("client_secret", "private_key"):
        if (secret := getattr(config.auth, name, None)) is not None:
            value = secret.get_secret_value()
            # A variable may hold a key with its line ends escaped.
            yield from ((name, text) for text in (value, value.replace("\\n", "\n")))


def _expanded(text: str, template: str) -> Iterator[NamedValue]:
    """What variables were replaced by, each with its variable's name."""
    names = _REFERENCE.findall(template)
    pattern = "(.+?)".join(re.escape(part.replace("$${", "${")) for part in _between(template))
    found = re.fullmatch(pattern, text, re.DOTALL)
    yield from zip(names, found.groups(), strict=False) if found else [(" ".join(names), text)]


def _between(template: str) -> list[str]:
    return re.split(r"(?<!\$)\$\{[^{}]*\}", template)

"""The requests of a command, step by step: requests are yielded and results sent in, all as plain JSON.

The same steps work on a session of this process (`live`) and on a kept one (`kept`), which needs no SDK.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..catalog.tools import ToolEntry
from ..errors import InvalidArgumentsError, RequestError, SessionTimeoutError
from ..names import did_you_mean, nearest
from .argument_syntax import Given
from .arguments import arguments_for
from .exits import UsageError
from .targets import Target, find_tool

Result = Mapping[str, Any]
ProgressListener = Callable[[float, float | None, str | None], None]
"""Called with the progress, the total (if known) and a message."""


@dataclass(frozen=True)
class Request:
    """One request of MCP."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


Steps = Generator[Request, Result, Result]

_LEAST_SECONDS = 0.001


def seconds_left(deadline: float) -> float:
    """Seconds for the next step, by a deadline on the monotonic clock that all steps share; never none at all."""
    return max(_LEAST_SECONDS, deadline - time.monotonic())


def call_steps(
    target: Target, given: Given, *, dry_run: bool = False, warn: Callable[[str], None] | None = None
) -> Steps:
    """Call a tool; or return what would be sent, as `{"server", "tool", "arguments"}`.

    Args:
        target: The tool.
        given: Its arguments.
        dry_run: Do not call it.
        warn: Called for arguments that look like a mistake.

    Raises:
        UnknownToolError: There is no such tool.
        InvalidArgumentsError: The arguments do not fit.
    """
    # The server's own word counts: it may offer something else than the catalog remembers.
    try:
        listing = yield Request("tools/list")
    except SessionTimeoutError as error:
        raise error.told(message=f"{error.message} The tool was not called.", sent=False) from None
    tools = (ToolEntry.of(target.server_name, tool) for tool in listing.get("tools", ()))
    tool = find_tool(target, [tool for tool in tools if target.server.lets_in(tool.name)], is_fresh=True)
    arguments = arguments_for(tool, given, mode=target.server.check_arguments, warn=warn)
    if dry_run:
        return planned(tool, arguments)
    return (yield Request("tools/call", {"name": tool.name, "arguments": arguments}))


def check_by_catalog(
    target: Target, given: Given, warn: Callable[[str], None] | None = None
) -> tuple[ToolEntry, dict[str, Any]] | None:
    """The call as checked against the catalog, before anything is started; `None` if the tool is not in the catalog.

    Args:
        target: The tool.
        given: Its arguments.
        warn: Called for arguments that look like a mistake.

    Raises:
        UnknownToolError: There is no such tool.
        InvalidArgumentsError: The arguments do not fit.
    """
    if target.tools is None:
        return None
    tool = find_tool(target, target.tools)
    mode = target.server.check_arguments
    return tool, arguments_for(tool, given, listed_at=target.listed_at, mode=mode, warn=warn)


def planned(tool: ToolEntry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The output of a dry run."""
    return {"server": tool.server_name, "tool": tool.name, "arguments": arguments}


def read_steps(target: Target) -> Steps:
    """Read a resource.

    Raises:
        RequestError: The server does not have it; the hint has the nearest.
    """
    try:
        return (yield Request("resources/read", {"uri": target.name}))
    except RequestError as error:
        listed = yield from _listed("resources/list", "resources")
        uris = [str(resource.get("uri")) for resource in listed]
        if target.name in uris:
            raise
        templates = yield from _listed("resources/templates/list", "resourceTemplates")
        hint = _which(target.name, [*uris, *(str(template.get("uriTemplate")) for template in templates)])
        raise error.told(hint=hint) from None


def _which(uri: str, known: list[str]) -> str:
    if not known:
        return "The server offers no resources."
    return did_you_mean(uri, known, "resource")


def list_resources_steps() -> Steps:
    """A server's resources and templates, as `{"resources", "templates"}`; empty if it has none."""
    resources = yield from _listed("resources/list", "resources")
    templates = yield from _listed("resources/templates/list", "resourceTemplates")
    return {"resources": resources, "templates": templates}


def list_prompts_steps() -> Steps:
    """A server's prompts, as `{"prompts"}`; empty if it has none."""
    return {"prompts": (yield from _listed("prompts/list", "prompts"))}


def prompt_steps(target: Target, given: Given) -> Steps:
    """Fill in a prompt.

    Raises:
        UsageError: The server has no such prompt; the hint has the nearest.
        InvalidArgumentsError: An argument is missing, unknown, or no text.
    """
    prompts = {str(prompt.get("name")): prompt for prompt in (yield from _listed("prompts/list", "prompts"))}
    prompt = prompts.get(target.name)
    if prompt is None:
        raise UsageError(
            f"Server {target.server_name!r} has no prompt {target.name!r}.",
            server_name=target.server_name,
            sent=False,
            hint=did_you_mean(target.name, prompts, "prompt") if prompts else "The server offers no prompts.",
        )
    arguments = _prompt_arguments(target, prompt, given)
    return (yield Request("prompts/get", {"name": target.name, "arguments": arguments}))


def _prompt_arguments(target: Target, prompt: Mapping[str, Any], given: Given) -> dict[str, str]:
    known = {str(argument.get("name")): argument for argument in prompt.get("arguments") or ()}
    problems: list[str] = []
    for name in (*given.texts, *given.values):
        if name not in known:
            close = nearest(name, known, 1)
            problems.append(f"unknown {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    problems += [
        f"{name} (text) is missing"
        for name, argument in known.items()
        if argument.get("required") and name not in given.texts and name not in given.values
    ]
    problems += [f"{name}: it was given {len(texts)} times" for name, texts in given.texts.items() if len(texts) > 1]
    problems += [
        f"{name}: arguments of prompts are text" for name, value in given.values.items() if not isinstance(value, str)
    ]
    if problems:
        shown = ", ".join(f"{name}{'' if known[name].get('required') else '?'}" for name in known)
        raise InvalidArgumentsError(
            f"Arguments of {target.name!r} do not fit: {'; '.join(problems[:3])}. Nothing was sent.",
            server_name=target.server_name,
            sent=False,
            hint=f"Fill it in as {target.name}({shown})",
        )
    return {**{name: texts[0] for name, texts in given.texts.items()}, **given.values}


def _listed(method: str, key: str) -> Generator[Request, Result, list[Mapping[str, Any]]]:
    """A server's listing; empty if the server does not support it."""
    try:
        listing = yield Request(method)
    except RequestError:
        return []
    return list(listing.get(key, ()))

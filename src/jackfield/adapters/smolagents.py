"""smolagents: a server's tools as `Tool`s, which its agents call synchronously from threads.

smolagents describes parameters without JSON Schema, so a schema is converted parameter by parameter, with `$ref`s
expanded. Tools with arbitrary argument names cannot be converted.
"""

from __future__ import annotations

import keyword
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from smolagents import Tool as SmolagentsTool

from ..session.session_loop import SessionLoop, session_loop_here
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .parameters import Parameter, parameters_of

# smolagents has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

logger: logging.Logger = logging.getLogger("jackfield")


class _MCPTool(SmolagentsTool):
    """A tool of a server."""

    skip_forward_signature_validation = True
    output_type = "string"

    def __init__(self, name: str, tool: Tool, parameters: Mapping[str, Parameter], session_loop: SessionLoop) -> None:
        super().__init__()
        self.name = name
        self.description: str = tool.description
        self.inputs: dict[str, dict[str, str | type | bool]] = {
            name: _input(parameter) for name, parameter in parameters.items()
        }
        self._tool = tool
        self._parameters = parameters
        self._session_loop = session_loop

    def __call__(self, /, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> Any:
        """Call the tool, as smolagents does."""
        if not args and kwargs.keys() <= self.inputs.keys():
            # As one mapping, where `self` is a name like any other.
            args, kwargs = (kwargs,), {}
        return super().__call__(*args, sanitize_inputs_outputs=sanitize_inputs_outputs, **kwargs)

    def forward(self, /, *args: Any, **kwargs: Any) -> str:
        """Call the tool.

        Raises:
            JackfieldError: With what happened and what to do; smolagents tells the model.
        """
        if len(args) > len(self._parameters):
            raise TypeError(f"{self.name} accepts {len(self._parameters)} arguments, not {len(args)}.")
        given = dict(zip(self._parameters, args, strict=False)) | kwargs
        # smolagents tells models that what may be left out may be null.
        arguments = {
            name: value
            for name, value in given.items()
            if value is not None or name not in self._parameters or self._parameters[name].takes_null
        }
        return self._session_loop.run_blocking(partial(self._tool.call, arguments)).raise_for_error().text


def smolagents_tools(toolkit: Toolkit) -> list[SmolagentsTool]:
    """All tools of a toolkit that smolagents can call; see `Toolkit.smolagents`."""
    session_loop = session_loop_here()
    tools: dict[str, SmolagentsTool] = {}
    for tool in toolkit.for_models():
        parameters, name = parameters_of(tool.input_schema), _identifier(tool.name)
        if parameters is None or name in tools:
            second = f"would be a second tool named {name!r}"
            why = "accepts more than a list of arguments" if parameters is None else second
            logger.warning("[MCP][%s] Tool %r is omitted: it %s.", tool.server_name, tool.name, why)
            continue
        tools[name] = _MCPTool(name, tool, parameters, session_loop)
    return list(tools.values())


def _identifier(name: str) -> str:
    """The name as Python would take it: smolagents' agents write code."""
    changed = name.replace("-", "_")
    return f"_{changed}" if changed[0].isdigit() or keyword.iskeyword(changed) else changed


def _input(parameter: Parameter) -> dict[str, str | type | bool]:
    told = dict(parameter.schema)
    if "anyOf" in told:
        # smolagents would keep no more of the alternatives than their types.
        told["allOf"] = [*told.get("allOf", []), {"anyOf": told.pop("anyOf")}]
    types = list(parameter.types)
    if "number" in types and len(types) > 1 and "integer" not in types:
        types.append("integer")
    told["type"] = types[0] if len(types) == 1 else types
    if "array" in types:
        told.setdefault("items", {})
    told["description"] = str(told.get("description") or told.get("title") or "")
    if not parameter.required:
        told["nullable"] = True
    return cast("dict[str, str | type | bool]", told)

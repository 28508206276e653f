"""What the contract asks of an adapter: one small driver each, in `drivers/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jackfield import Toolkit


@dataclass
class Answer:
    """What came back of a call, in the words of no framework."""

    text: str
    """All that a model is given in words."""
    images: list[bytes] = field(default_factory=list)
    """The pictures that the framework was handed."""
    structured: Any = None
    """The structured content, where the framework hands code more than it hands the model."""
    is_error: bool = False


class Driver(Protocol):
    """Calls tools as its framework does.

    `cannot`, where a driver has it, names those tests that its framework's public interface rules out, and why.
    """

    holds_images: bool
    """Whether the framework takes pictures from a tool; else they are named in the text."""
    holds_structured: bool
    """Whether code can get at the structured content."""
    tells_errors: bool
    """Whether the framework marks a result as an error; else its text says so."""

    def __init__(self, toolkit: Toolkit) -> None: ...

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """The parameters' schema of each tool, by the name that the model is given."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool by the name that the model is given. An error becomes an answer."""
        ...

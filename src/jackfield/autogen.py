"""AutoGen AgentChat: an agent whose model sees the images of tool results; the types of workbench, tool and result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .extras import load

if TYPE_CHECKING:
    from .adapters.autogen import JackfieldTool, JackfieldToolResult, JackfieldWorkbench
    from .adapters.autogen_images import VisionAssistantAgent

_HOMES = {
    "JackfieldTool": "autogen",
    "JackfieldToolResult": "autogen",
    "JackfieldWorkbench": "autogen",
    "VisionAssistantAgent": "autogen_images",
}

__all__ = ["JackfieldTool", "JackfieldToolResult", "JackfieldWorkbench", "VisionAssistantAgent"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'jackfield.autogen' has no attribute {name!r}")
    return load(f"jackfield.adapters.{_HOMES[name]}", name)

"""AutoGen AgentChat: an agent whose model sees the images of tool results; the types of workbench, tool and result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .extras import extra_needed

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
    with extra_needed(name):
        return getattr(import_module(f".adapters.{_HOMES[name]}", __package__), name)

"""Makes the model client that `--model` names, or says what is missing for it."""

from __future__ import annotations

import os
from typing import Any

from autogen_core.models import ChatCompletionClient, ModelFamily, ModelInfo

# For models that are newer than autogen-ext.
_NEW_MODEL = ModelInfo(
    vision=False, function_calling=True, json_output=True, family=ModelFamily.UNKNOWN, structured_output=False
)


class ModelMissingError(Exception):
    """The model cannot be used; the text says what to do."""


def real_model(name: str) -> ChatCompletionClient:
    """A client of the vendor that the name belongs to.

    Raises:
        ModelMissingError: The vendor is not known, or its API key or its package is missing.
    """
    if name.startswith("claude-"):
        variable, package = "ANTHROPIC_API_KEY", "anthropic"
    elif name.startswith(("gpt-", "o1", "o3", "o4")):
        variable, package = "OPENAI_API_KEY", "openai"
    else:
        raise ModelMissingError(f"No vendor is known for the model {name!r}: give one of gpt-..., o3... or claude-...")
    if not os.environ.get(variable):
        raise ModelMissingError(
            f"--model {name} needs the environment variable {variable}. Without --model the demo needs no key."
        )
    try:
        client = _client_class(package)
    except ImportError:
        raise ModelMissingError(f'--model {name} needs a package: pip install "autogen-ext[{package}]"') from None
    try:
        return client(model=name)
    except ValueError:
        return client(model=name, model_info=_NEW_MODEL)


def _client_class(package: str) -> Any:
    if package == "anthropic":
        from autogen_ext.models.anthropic import AnthropicChatCompletionClient

        return AnthropicChatCompletionClient
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    return OpenAIChatCompletionClient

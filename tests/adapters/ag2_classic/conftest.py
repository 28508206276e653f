"""AG2 0.x cannot be installed beside AG2 1.x: what is here runs in an environment of its own.

See `tests/third_party/test_ag2_classic.py`, which runs it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

if find_spec("autogen") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from autogen import LLMConfig
    from tests.adapters.ag2_classic.chat_api import ChatApi, Script

    @pytest.fixture
    def scripted(nothing_left: None) -> Iterator[Callable[[Script], LLMConfig]]:
        """Makes an `LLMConfig` whose model is a script."""
        started: list[ChatApi] = []

        def start(script: Script) -> LLMConfig:
            started.append(ChatApi(script))
            model = {"model": "scripted", "api_type": "openai", "api_key": "none", "base_url": started[-1].url}
            return LLMConfig(model)

        yield start
        for api in started:
            api.stop()

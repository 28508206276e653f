"""What counts as plain is what the SDK accepts as it is, in each version of the protocol."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from mcp.types import methods

from jackfield.transport.exchange import is_plain
from jackfield.transport.repairs import repaired

VERSIONS = st.sampled_from(["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"])
ODD = st.sampled_from([None, True, 1, "x", [], ["x"], [1], {}, {"a": 1}])
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("object") | ODD,
        "properties": st.dictionaries(st.sampled_from("ab"), st.just({"type": "string"}) | ODD, max_size=2) | ODD,
        "required": st.lists(st.sampled_from("ab"), max_size=2) | ODD,
        "$schema": st.just("x") | ODD,
        "more": ODD,
    },
)
TOOLS = st.fixed_dictionaries(
    {"name": st.just("work") | ODD, "inputSchema": SCHEMAS | ODD},
    optional={
        "title": ODD,
        "description": ODD,
        "outputSchema": SCHEMAS | ODD,
        "annotations": st.dictionaries(st.sampled_from(["title", "readOnlyHint", "more"]), ODD, max_size=2) | ODD,
        "icons": ODD,
        "execution": ODD,
        "_meta": ODD,
    },
)
ENVELOPE = {
    "resultType": st.just("complete") | ODD,
    "ttlMs": st.integers(-1, 5) | ODD,
    "cacheScope": st.sampled_from(["private", "public", "x"]) | ODD,
    "_meta": ODD,
}
LISTINGS = st.fixed_dictionaries({"tools": st.lists(TOOLS, max_size=2) | ODD}, optional={"nextCursor": ODD, **ENVELOPE})
BLOCKS = st.fixed_dictionaries({"type": st.just("text") | ODD, "text": st.just("words") | ODD}, optional={"more": ODD})
CALLS = st.fixed_dictionaries(
    {"content": st.lists(BLOCKS, max_size=2) | ODD},
    optional={"structuredContent": ODD, "isError": st.booleans() | ODD, **ENVELOPE},
)


@for_all(version=VERSIONS, results=st.tuples(LISTINGS, CALLS))
def test_what_is_plain_is_accepted_as_it_is(version: str, results: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for method, result in zip(("tools/list", "tools/call"), results, strict=True):
        if is_plain(method, version, result):
            methods.parse_server_result(method, version, result)
            assert repaired(method, version, result) is result


TOOL = {"name": "work", "description": "Does it.", "inputSchema": {"type": "object", "properties": {"a": {}}}}


@pytest.mark.parametrize(
    ("method", "version", "result", "plain"),
    [
        ("tools/list", "2025-11-25", {"tools": [TOOL]}, True),
        ("tools/list", "2025-11-25", {"tools": [TOOL], "nextCursor": "2"}, True),
        ("tools/list", "2025-11-25", {"tools": [{**TOOL, "annotations": {"readOnlyHint": True, "title": "T"}}]}, True),
        ("tools/list", "2025-11-25", {"tools": [{**TOOL, "icons": []}]}, False),
        ("tools/list", "2025-11-25", {"tools": [{**TOOL, "inputSchema": {}}]}, False),
        ("tools/list", "2026-07-28", {"tools": [TOOL]}, False),
        (
            "tools/list",
            "2026-07-28",
            {"tools": [TOOL], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"},
            True,
        ),
        ("tools/call", "2025-11-25", {"content": [{"type": "text", "text": "x"}]}, True),
        ("tools/call", "2025-11-25", {"content": [{"type": "image", "data": "", "mimeType": "image/png"}]}, False),
        ("prompts/list", "2025-11-25", {"prompts": []}, False),
    ],
)
def test_what_is_plain(method: str, version: str, result: dict[str, Any], plain: bool) -> None:
    assert is_plain(method, version, result) is plain

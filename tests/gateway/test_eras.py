"""What either era writes around a result is taken off and put on; all else is the server's."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.types import SERVER_INFO_META_KEY

from jackfield.gateway.eras import passed_result

OLDER, NEWER = "2025-11-25", "2026-07-28"
STAMP = {"name": "gateway"}
STAMPED = {"_meta": {SERVER_INFO_META_KEY: STAMP}}
COMPLETE = {"resultType": "complete"}
TASK = {"resultType": "task", "taskId": "7", "ttlMs": 1}


@pytest.mark.parametrize(
    ("method", "result", "for_older", "for_newer"),
    [
        ("tools/call", {"content": []}, {"content": []}, {"content": [], **COMPLETE, **STAMPED}),
        ("tools/call", {"_meta": None}, {"_meta": None}, {**COMPLETE, **STAMPED}),
        ("tools/call", {**COMPLETE, "_meta": {SERVER_INFO_META_KEY: 1}}, {}, {**COMPLETE, **STAMPED}),
        ("tools/call", {"ttlMs": 5}, {"ttlMs": 5}, {"ttlMs": 5, **COMPLETE, **STAMPED}),
        ("tools/call", TASK, TASK, {**TASK, **STAMPED}),
        ("tasks/get", {**TASK, **COMPLETE}, {"taskId": "7", "ttlMs": 1}, {**TASK, **COMPLETE, **STAMPED}),
        (
            "resources/read",
            {**COMPLETE, "ttlMs": 5, "cacheScope": "public"},
            {},
            {**COMPLETE, "ttlMs": 5, "cacheScope": "public", **STAMPED},
        ),
        ("resources/read", {}, {}, {**COMPLETE, "ttlMs": 0, "cacheScope": "private", **STAMPED}),
    ],
)
def test_a_result_for_each_era(
    method: str, result: dict[str, Any], for_older: dict[str, Any], for_newer: dict[str, Any]
) -> None:
    assert passed_result(method, result, OLDER, STAMP) == for_older
    assert passed_result(method, result, NEWER, STAMP) == for_newer

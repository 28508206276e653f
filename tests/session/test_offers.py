"""What a server offers besides tools gets into the catalog as it came over the wire."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.conftest import Scripted
from tests.session.watched import scripted as told_to_say

from jackfield import (
    Catalog,
    MCPClientSessionManager,
    ServerConfig,
    ServerLimitError,
    SessionConfig,
)
from jackfield.catalog.entry import KINDS, CatalogEntry, Kind
from jackfield.session.offers import list_for_catalog
from jackfield.session.session import caller_of

LINES = ["stdio handshake", "stdio modern", "http handshake", "http modern"]
TOOL: dict[str, Any] = {
    "name": "work",
    "inputSchema": {"type": "object", "$comment": "kept"},
    "annotations": {"readOnlyHint": True, "newHint": 1},
    "fromTheFuture": {"a": [None]},
    "_meta": {"ui/resourceUri": "ui://a"},
}
PROMPT = {"name": "ask", "arguments": [{"name": "a", "new": 1}], "fromTheFuture": 1}
RESOURCE = {"uri": "notes://a?b=c#d", "name": "n", "size": 0, "fromTheFuture": 1}
TEMPLATE = {"uriTemplate": "notes://{day}", "name": "t", "fromTheFuture": 1}
DECLARED = {
    "tools": {"new": 1},
    "prompts": {},
    "resources": {"subscribe": True},
    "new": {"a": 1},
    "extensions": {"a/b": {}},
}


def introduced(line: str, capabilities: dict[str, Any]) -> dict[str, Any]:
    about = {"capabilities": capabilities, "serverInfo": {"name": "scripted", "version": "1"}}
    if "modern" in line:
        return {"server/discover": {"supportedVersions": ["2026-07-28"], **about}}
    return {"initialize": {"protocolVersion": "2025-11-25", **about}}


async def learnt(config: ServerConfig, folder: Path) -> CatalogEntry:
    """What the catalog knows once the server was asked for all it has."""
    catalog = Catalog(folder / "catalog")
    async with MCPClientSessionManager(catalog=catalog) as manager:
        async with manager.open_session(config) as session:
            caller = caller_of(session)
            await list_for_catalog(caller, caller.deadline(None))
    entry = Catalog(catalog.folder).entry(config)
    assert entry is not None
    return entry


@pytest.mark.in_turn("line")
@pytest.mark.parametrize("line", LINES)
async def test_all_pages_of_each_kind_as_they_came(line: str, scripted: Scripted, tmp_path: Path) -> None:
    others = [{"uri": f"notes://{number}", "name": "n"} for number in range(2)]
    modern = "modern" in line
    config = scripted(
        {
            **introduced(line, DECLARED),
            "tools/list": {"tools": [TOOL], **({"ttlMs": 900, "cacheScope": "public"} if modern else {})},
            "prompts/list": {"prompts": [PROMPT]},
            "resources/list": [
                {"resources": [RESOURCE], "nextCursor": "2", **({"ttlMs": 50} if modern else {})},
                {"resources": others, **({"ttlMs": 70} if modern else {})},
            ],
            "resources/templates/list": {"resourceTemplates": [TEMPLATE]},
        },
        line=line,
    )
    entry = await learnt(config, tmp_path)
    assert entry.capabilities == DECLARED
    known = {kind: listing for kind in KINDS if (listing := entry.listing(kind)) is not None}
    assert {kind: listing.entries for kind, listing in known.items()} == {
        "tools": [TOOL],
        "prompts": [PROMPT],
        "resources": [RESOURCE, *others],
        "templates": [TEMPLATE],
    }
    hints = {kind: (listing.ttl_ms, listing.cache_scope) for kind, listing in known.items()}
    if modern:
        assert hints == {
            "tools": (900, "public"),
            "prompts": (0, "private"),
            "resources": (50, "private"),
            "templates": (0, "private"),
        }
    else:
        assert set(hints.values()) == {(None, None)}


async def test_what_is_not_declared_is_not_asked_for(scripted: Scripted, tmp_path: Path) -> None:
    config = scripted(introduced("stdio", {"tools": {}}))
    entry = await learnt(config, tmp_path)
    assert [listing.entries for kind in KINDS[1:] if (listing := entry.listing(kind))] == [[], [], []]
    assert not {"prompts/list", "resources/list", "resources/templates/list"} & set(scripted.asked)


async def test_a_server_without_tools_is_known_to_have_none(scripted: Scripted, tmp_path: Path) -> None:
    refused = {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32601, "message": "no tools"}}'}
    config = scripted(
        {**introduced("stdio", {"prompts": {}}), "tools/list": refused, "prompts/list": {"prompts": [PROMPT]}}
    )
    entry = await learnt(config, tmp_path)
    assert [entry.tools, entry.listings["prompts"].entries] == [[], [PROMPT]]
    assert entry.fetched_at


async def test_a_listing_that_is_refused_costs_only_itself(scripted: Scripted, tmp_path: Path) -> None:
    refused = {"raw": '{"jsonrpc": "2.0", "id": @ID, "error": {"code": -32603, "message": "broken"}}'}
    declared = {"tools": {}, "prompts": {}, "resources": {}}
    config = scripted(
        {
            **introduced("stdio", declared),
            "prompts/list": refused,
            "resources/list": {"resources": [RESOURCE]},
        }
    )
    entry = await learnt(config, tmp_path)
    assert entry.listing("prompts") is None
    assert [listing.entries for kind in ("resources", "templates") if (listing := entry.listing(kind))] == [
        [RESOURCE],
        [],
    ]


async def test_the_bounds_of_tools_are_those_of_all(scripted: Scripted, tmp_path: Path) -> None:
    many = {"resources": [{"uri": f"notes://{number}", "name": "n"} for number in range(3)]}
    results = {**introduced("stdio", {"tools": {}, "resources": {}}), "resources/list": many}
    with pytest.raises(ServerLimitError, match="max_tools"):
        await learnt(scripted(results, session=SessionConfig(max_tools=2)), tmp_path)
    endless = {"resources": [], "nextCursor": "next"}
    results["resources/list"] = [{**endless, "nextCursor": str(number)} for number in range(5)]  # type: ignore[assignment]
    with pytest.raises(ServerLimitError, match="max_pages"):
        await learnt(scripted(results, session=SessionConfig(max_pages=2)), tmp_path)


async def test_listing_by_hand_is_remembered(scripted: Scripted, tmp_path: Path) -> None:
    config = scripted({**introduced("stdio", DECLARED), "prompts/list": {"prompts": [PROMPT]}})
    catalog = Catalog(tmp_path / "catalog")
    async with MCPClientSessionManager(catalog=catalog) as manager, manager.open_session(config) as session:
        assert [prompt.name for prompt in (await session.list_prompts()).prompts] == ["ask"]
    entry = catalog.entry(config)
    assert entry is not None
    assert entry.listings["prompts"].entries == [PROMPT]
    assert set(entry.listings) == {"prompts"}, "nothing else was asked for"


async def test_a_refresh_of_the_catalog_learns_all(scripted: Scripted, tmp_path: Path) -> None:
    config = scripted({**introduced("stdio", DECLARED), "prompts/list": {"prompts": [PROMPT]}})
    catalog = Catalog(tmp_path / "catalog")
    async with MCPClientSessionManager(catalog=catalog) as manager:
        refresh = await manager.refresh_catalog([config])
    assert not refresh.errors
    entry = catalog.entry(config)
    assert entry is not None
    assert [entry.listing(kind) is not None for kind in KINDS] == [True] * 4


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "tools": ("tools/list", "tools", TOOL),
    "prompts": ("prompts/list", "prompts", PROMPT),
    "resources": ("resources/list", "resources", RESOURCE),
    "templates": ("resources/templates/list", "resourceTemplates", TEMPLATE),
}


@pytest.mark.parametrize("kind", CHANGES)
async def test_a_change_that_is_announced_is_learnt(kind: Kind, tmp_path: Path) -> None:
    """While a session is open; what was never listed is not listed for it."""
    method, key, added = CHANGES[kind]
    told = "resources" if kind == "templates" else kind
    work = {"name": "call", "inputSchema": {"type": "object"}}
    says: dict[str, Any] = {
        "initialize": [{"result": introduced("stdio", DECLARED)["initialize"]}],
        "tools/list": [{"result": {"tools": [work]}}],
        "prompts/list": [{"result": {"prompts": []}}],
        "resources/list": [{"result": {"resources": []}}],
        "resources/templates/list": [{"result": {"resourceTemplates": []}}],
        "tools/call": [
            {"first": [{"method": f"notifications/{told}/list_changed"}], "result": {"content": []}},
        ],
    }
    before = says[method][0]["result"][key]
    says[method] = [says[method][0], {"result": {key: [*before, added]}}]
    (tmp_path / "program").symlink_to(sys.executable)
    config, catalog = told_to_say(tmp_path, says), Catalog(tmp_path / "catalog")

    def known() -> list[Any]:
        entry = catalog.entry(config)
        found = entry.listing(kind) if entry is not None else None
        return list(found.entries) if found is not None else []

    def asked() -> list[str]:
        return (tmp_path / "asked").read_text().split()

    async with MCPClientSessionManager(catalog=catalog) as manager, manager.open_session(config) as session:
        caller = caller_of(session)
        if kind != "tools":
            await session.call_tool("call")
            assert method not in asked(), "nobody wants to know"
        await list_for_catalog(caller, caller.deadline(None))
        assert known() == before
        await session.call_tool("call")
        with anyio.fail_after(10):
            while known() != [*before, added]:
                await anyio.sleep(0.01)
    assert asked().count(method) == 2

"""What the catalog keeps of servers besides their tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.catalog.test_store import CONFIG, the_file, tool

from jackfield import Catalog, CatalogEntry
from jackfield.catalog.entry import KINDS, Kind, Listing

PROMPT = {"name": "p", "arguments": [{"name": "a", "required": True}], "_meta": {"x/y": 1}, "fromTheFuture": [None]}
RESOURCE = {"uri": "notes://a b", "name": "a", "icons": [{"src": "data:,"}]}
TEMPLATE = {"uriTemplate": "notes://{day}", "name": "t"}
CAPABILITIES = {"prompts": {"listChanged": True, "other": 1}, "extensions": {"a/b": {}}}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog")


def listing(catalog: Catalog, kind: Kind) -> Listing | None:
    entry = Catalog(catalog.folder).entry(CONFIG)
    return entry.listing(kind) if entry is not None else None


def test_each_kind_is_kept_as_it_came(catalog: Catalog) -> None:
    assert [listing(catalog, kind) for kind in KINDS] == [None] * 4
    for kind, entry in (("prompts", PROMPT), ("resources", RESOURCE), ("templates", TEMPLATE)):
        assert catalog.inside.record_listing(
            CONFIG, kind, [entry], capabilities=CAPABILITIES, ttl_ms=7, cache_scope="public"
        )
        assert not catalog.inside.record_listing(CONFIG, kind, [entry], capabilities=CAPABILITIES)
        known = listing(catalog, kind)
        assert known is not None
        assert (known.entries, known.ttl_ms, known.cache_scope) == ([entry], None, None)
    entry = Catalog(catalog.folder).entry(CONFIG)
    assert entry is not None
    assert (entry.capabilities, entry.fetched_at) == (CAPABILITIES, 0)
    assert catalog.state(CONFIG) == "cold", "its tools were not listed"
    assert listing(catalog, "tools") is None


def test_a_listing_of_tools_leaves_the_others(catalog: Catalog) -> None:
    odd = {**tool("a"), "fromTheFuture": {"x": None}}
    catalog.inside.record_listing(CONFIG, "prompts", [PROMPT], capabilities=CAPABILITIES)
    catalog.inside.record(CONFIG, [odd], capabilities=CAPABILITIES, ttl_ms=5, cache_scope="private")
    catalog.inside.record_listing(CONFIG, "resources", [], capabilities=CAPABILITIES)
    tools, prompts, resources = (listing(catalog, kind) for kind in ("tools", "prompts", "resources"))
    assert tools
    assert prompts
    assert resources
    assert (tools.entries, tools.ttl_ms, tools.cache_scope) == ([odd], 5, "private")
    assert prompts.entries == [PROMPT]
    assert resources.entries == []
    assert catalog.state(CONFIG) == "known"


def test_the_order_of_entries_is_no_change(catalog: Catalog) -> None:
    other = {"uri": "notes://b", "name": "b"}
    catalog.inside.record_listing(CONFIG, "resources", [RESOURCE, other], capabilities={})
    assert not catalog.inside.record_listing(CONFIG, "resources", [other, RESOURCE], capabilities={})
    assert catalog.inside.record_listing(CONFIG, "resources", [other], capabilities={})


def test_a_kind_is_outdated_until_it_is_listed_again(catalog: Catalog) -> None:
    catalog.inside.mark_outdated(CONFIG, "prompts")
    assert catalog.entry(CONFIG) is None
    catalog.inside.record_listing(CONFIG, "prompts", [PROMPT], capabilities={})
    catalog.inside.record_listing(CONFIG, "resources", [RESOURCE], capabilities={})
    catalog.inside.mark_outdated(CONFIG, "prompts")
    assert [one.is_outdated for kind in KINDS if (one := listing(catalog, kind))] == [True, False]
    catalog.inside.record_listing(CONFIG, "prompts", [PROMPT], capabilities={})
    assert not any(one.is_outdated for kind in KINDS if (one := listing(catalog, kind)))


def test_secrets_that_a_server_quotes_are_not_kept(catalog: Catalog) -> None:
    said = {"uri": "https://a/?token=s3cret-in-uri", "name": "r", "description": "Authorization: Bearer s3cret-quoted"}
    catalog.inside.record_listing(CONFIG, "resources", [said], capabilities={})
    assert "s3cret-quoted" not in the_file(catalog).read_text()
    resources = listing(catalog, "resources")
    assert resources
    assert resources.entries[0]["uri"] == said["uri"], "or it could not be read"


def test_a_file_of_an_older_version_is_read(catalog: Catalog) -> None:
    catalog.inside.record(CONFIG, [tool("a")])
    before = json.loads(the_file(catalog).read_text())
    del before["listings"]
    the_file(catalog).write_text(json.dumps(before))
    tools = listing(catalog, "tools")
    assert tools
    assert (tools.entries, tools.ttl_ms) == ([tool("a")], None)
    assert tools.digest == Listing.of([tool("a")]).digest
    assert [listing(catalog, kind) for kind in KINDS[1:]] == [None] * 3


def test_a_file_of_a_newer_version_is_read_for_what_is_known_of_it(catalog: Catalog) -> None:
    catalog.inside.record(CONFIG, [tool("a")])
    catalog.inside.record_listing(CONFIG, "prompts", [PROMPT], capabilities={})
    data = json.loads(the_file(catalog).read_text())
    data["new"] = 1
    data["listings"]["prompts"]["new"] = 1
    data["listings"]["sampling"] = {"entries": []}
    the_file(catalog).write_text(json.dumps(data))
    assert [one.reference for one in Catalog(catalog.folder).tools(CONFIG)] == ["s.a"]
    prompts = listing(catalog, "prompts")
    assert prompts
    assert prompts.entries == [PROMPT]


@pytest.mark.parametrize(
    "broken",
    [
        None,
        3,
        {},
        {"entries": 3, "digest": "a"},
        {"entries": [{"name": 3}], "digest": "a"},
        {"entries": [[]], "digest": "a"},
        {"entries": [], "digest": 3},
        {"entries": [], "digest": "a", "ttl_ms": "soon"},
        {"entries": [], "digest": "a", "listed_at": "long ago"},
        {"entries": [], "digest": "a", "cache_scope": 3},
    ],
)
def test_a_listing_that_cannot_be_read_costs_the_others_nothing(catalog: Catalog, broken: Any) -> None:
    catalog.inside.record(CONFIG, [tool("a")])
    catalog.inside.record_listing(CONFIG, "resources", [RESOURCE], capabilities={})
    data = json.loads(the_file(catalog).read_text())
    data["listings"]["prompts"] = broken
    the_file(catalog).write_text(json.dumps(data))
    assert listing(catalog, "prompts") is None
    assert listing(catalog, "resources")
    data["listings"] = broken
    the_file(catalog).write_text(json.dumps(data))
    assert listing(catalog, "resources") is None
    assert listing(catalog, "tools")


def test_a_tool_whose_field_is_null_is_the_tool_without_it() -> None:
    accepted = CatalogEntry(tools=[{**tool("a"), "title": None}], accepted={"a": ""})
    plain = CatalogEntry(tools=[tool("a")], accepted={"a": ""})
    assert accepted.changed == plain.changed == ["a"]

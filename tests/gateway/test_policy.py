"""The rules of a gateway: what they offer, what they ask for, and that a doubt counts as no."""

from __future__ import annotations

import glob
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import ConfigError, StdioConfig
from jackfield.catalog.entry import KINDS, NAMED_BY, Kind
from jackfield.gateway.policy import Policy, Rules

SERVERS = ["notes", "github", "git.hub"]
CONFIGS = {name: StdioConfig(server_name=name, command="x") for name in SERVERS}
NOTES, GITHUB = CONFIGS["notes"], CONFIGS["github"]


def tool(name: str, **hints: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **({"annotations": hints} if hints else {})}


def entry(kind: Kind, name: str) -> dict[str, Any]:
    return {NAMED_BY[kind]: name}


@pytest.mark.parametrize(
    ("rules", "offered", "left_out"),
    [
        ({}, ["notes.add", "github.x"], []),
        ({"include": ["notes.*"]}, ["notes.add", "notes.a.b"], ["github.add", "git.hub.add"]),
        ({"include": ["add*"]}, ["notes.add", "github.add_all"], ["notes.remove"]),
        ({"include": ["*.add"]}, ["notes.add", "git.hub.add"], ["notes.add_all"]),
        ({"include": ["git*.*"]}, ["github.add", "git.hub.add"], ["notes.add"]),
        (
            {"exclude": ["notes.delete_*", "drop"]},
            ["notes.add", "github.delete_all"],
            ["notes.delete_all", "github.drop"],
        ),
        ({"include": ["notes.*"], "exclude": ["notes.add"]}, ["notes.get"], ["notes.add", "github.get"]),
        ({"exclude": ["git.hub.a.b"]}, ["git.hub.a", "github.a.b"], ["git.hub.a.b"]),
        ({"exclude": ["*.a.b"]}, ["notes.a"], ["notes.a.b", "github.a.b"]),
        ({"exclude": ["ADD"]}, ["notes.add"], ["notes.ADD"]),
    ],
)
@pytest.mark.parametrize("kind", ["tools", "prompts"])
def test_names_that_are_offered(kind: Kind, rules: dict[str, Any], offered: list[str], left_out: list[str]) -> None:
    policy = Policy(Rules(**rules), SERVERS)
    for reference in [*offered, *left_out]:
        server = next(name for name in SERVERS if reference.startswith(f"{name}."))
        is_offered = policy.offers(CONFIGS[server], entry(kind, reference.removeprefix(f"{server}.")), kind)
        assert is_offered == (reference in offered), reference


@pytest.mark.parametrize(
    "uri",
    [
        "file:///secret/a",
        "file:///docs/../secret/a",
        "file:///docs/%2e%2e/secret/a",
        "file:///docs/%252e%252e/secret/a",
        "file:///secret%2fa",
        "FILE:///secret/a",
        "file:////secret//a",
        "file:///docs\\..\\secret\\a",
        "file:///./secret/a",
        "file:/secret/a",
        "file:secret/a",
        "file://localhost/secret/a",
        "file://LocalHost/secret/a",
        "file:///sec\tret/a",
        "file:///docs/.\n./secret/a",
        "\x00 file:///secret/a",
        "file:///SECRET/a",
        "file:///docs/..;v=1/secret/a",
        # Who looks at no query first resolves what comes before it.
        "file:///docs/%2e%2e/secret/a?/../../../docs/x",
        "file:///docs/%2e%2e/secret%2fa%3f/../../../docs/x",
        "file:///docs/../secret/a#/../../docs/x",
        # Who looks at the path alone, or takes all for a path.
        "file://docs/secret/a",
        "file://docs/../secret/a",
        "/secret/a",
        "file:///secret;v=1/a",
    ],
)
def test_a_uri_that_is_left_out_is_so_in_each_spelling(uri: str) -> None:
    excluded = Policy(Rules(exclude=["notes.file:///secret/*"]), SERVERS)
    included = Policy(Rules(include=["file:///docs/*"]), SERVERS)
    for policy in (excluded, included):
        assert not policy.offers(NOTES, {"uri": uri}, "resources")
        assert policy.offers(NOTES, {"uri": "file:///docs/a"}, "resources")


def test_a_host_taken_for_a_folder_leads_nowhere_else() -> None:
    included = Policy(Rules(include=["file://docs/*"]), SERVERS)
    assert included.offers(NOTES, {"uri": "file://docs/a"}, "resources")
    assert not included.offers(NOTES, {"uri": "file://docs/../../secret/a"}, "resources")


def test_a_pattern_matches_what_is_written_as_it_is() -> None:
    included = Policy(Rules(include=["Notes://Today/A;b"]), SERVERS)
    assert included.offers(NOTES, {"uri": "Notes://Today/A;b"}, "resources")
    assert not included.offers(NOTES, {"uri": "Notes://Today/a;b"}, "resources")


@pytest.mark.parametrize("uri", ["file:///a", "file:///a?x=1", "file:///a#b", "file:///b/../a?x"])
def test_a_query_gets_nobody_around_a_rule(uri: str) -> None:
    assert not Policy(Rules(exclude=["file:///a"]), SERVERS).offers_name(NOTES, uri, "resources")


def test_read_only_offers_what_says_so() -> None:
    policy = Policy(Rules(read_only=True, allow=["notes.add"]), SERVERS)
    assert policy.offers(NOTES, tool("get", readOnlyHint=True))
    assert policy.offers(NOTES, tool("get", readOnlyHint=True, destructiveHint=True))
    assert policy.offers(NOTES, tool("add"))
    for doubtful in (
        tool("get"),
        tool("get", readOnlyHint=False),
        tool("get", readOnlyHint="true"),
        tool("get", readOnlyHint=1),
        tool("get", destructiveHint=False),
        {"name": "get", "annotations": None},
        {"name": "get", "annotations": [True]},
        {},
    ):
        assert not policy.offers(NOTES, doubtful), doubtful
    assert not policy.offers(GITHUB, tool("add"))
    assert policy.offers(NOTES, entry("prompts", "ask"), "prompts")
    assert policy.offers(NOTES, entry("resources", "a:b"), "resources")


def test_which_calls_need_approval() -> None:
    policy = Policy(Rules(ask=["destructive", "notes.get", "github.add"], no_ask=["add", "remove"]), SERVERS)
    needs = policy.need_of_approval
    assert needs(NOTES, tool("list", readOnlyHint=True)) == "none"
    assert needs(NOTES, tool("list", destructiveHint=False)) == "none"
    assert needs(NOTES, tool("list")) == "unknown"
    assert needs(NOTES, tool("list", readOnlyHint="true")) == "unknown"
    assert needs(NOTES, tool("list", destructiveHint=True)) == "destructive"
    assert needs(NOTES, tool("get", readOnlyHint=True)) == "named"
    assert needs(NOTES, tool("remove", destructiveHint=True)) == "none"
    assert needs(GITHUB, tool("add", readOnlyHint=True)) == "named"
    assert needs(NOTES, {}) == "unknown"
    only_named = Policy(Rules(ask=["notes.*"]), SERVERS)
    assert only_named.need_of_approval(NOTES, tool("get", readOnlyHint=True)) == "named"
    assert only_named.need_of_approval(GITHUB, tool("drop", destructiveHint=True)) == "none"
    assert (only_named.asks, only_named.offers_all, Policy().asks) == (True, True, False)


@pytest.mark.parametrize(
    ("rules", "key", "says"),
    [
        ({"exclude": ["noets.delete"]}, "exclude", "'noets.delete' names no server that is served here.*'notes'"),
        ({"include": ["notes"]}, "include", r"'notes' is the name of a server.*notes\.\*"),
        ({"ask": ["other.x"]}, "ask", "names no server"),
        ({"exclude": [" "]}, "exclude", "a pattern is empty"),
        ({"allow": ["notes.x"]}, "allow", "an exception to read_only"),
        ({"no_ask": ["notes.x"], "ask": ["notes.y"]}, "no_ask", "an exception to ask='destructive'"),
        ({"include": "notes.x"}, "include", r'Put it in a list: include=\["\.\.\."\]'),
    ],
)
def test_rules_that_would_let_through_what_they_are_to_keep_out(rules: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}") as caught:
        Policy(Rules(**rules), SERVERS)
    assert caught.value.key in ("", key)


NAMES = st.text("ab.*?[]:/%", min_size=1, max_size=6)


@given(server=st.sampled_from(SERVERS), name=NAMES, other=NAMES)
def test_a_name_that_is_written_out_is_that_name_alone(server: str, name: str, other: str) -> None:
    pattern = f"{server}.{glob.escape(name)}"
    included, excluded = (Policy(Rules(**{rule: [pattern]}), SERVERS) for rule in ("include", "exclude"))
    for kind in KINDS:
        assert not excluded.offers(CONFIGS[server], entry(kind, name), kind)
        assert not excluded.offers(CONFIGS[server], {}, kind)
        if kind != "resources":
            assert included.offers(CONFIGS[server], entry(kind, name), kind)
            assert included.offers(CONFIGS[server], entry(kind, other), kind) == (other == name)
            assert excluded.offers(CONFIGS[server], entry(kind, other), kind) == (other != name)

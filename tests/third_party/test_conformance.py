"""Some scenarios of the official conformance tests of clients, and those of servers; `make conformance` runs all, and
`make gateway-conformance` all of the gateway."""

from __future__ import annotations

import os

import pytest
from tests.conformance import gateway
from tests.conformance.runner import Run, is_installed, run
from tests.conformance.served import Setting, outcomes
from tests.conftest import needs, quick_python
from tests.daily import daily
from tests.serving.cluster import cluster

pytestmark = pytest.mark.third_party

A_DOZEN = [
    Run("0.1", "elicitation-sep1034-client-defaults"),
    Run("0.1", "auth/2025-03-26-oauth-metadata-backcompat"),
    Run("0.1", "auth/token-endpoint-auth-post"),
    Run("0.2", "tools_call", "2025-11-25"),
    Run("0.2", "request-metadata", "2026-07-28"),
    Run("0.2", "http-custom-headers", "2026-07-28"),
    Run("0.2", "http-invalid-tool-headers", "2026-07-28"),
    Run("0.2", "sep-2322-client-request-state", "2026-07-28"),
    Run("0.2", "auth/scope-step-up", "2026-07-28"),
    Run("0.2", "auth/authorization-server-migration", "2026-07-28"),
    Run("0.2", "auth/client-credentials-jwt"),
    Run("0.2", "auth/client-credentials-basic"),
]
"""Of each kind one: what the specification requires of sessions, of headers, and of signing in."""


@pytest.fixture(autouse=True)
def node() -> None:
    """Node.js 22 and the tests come from npm; in CI they must be there."""
    if not is_installed():
        message = "NODE.JS 22 AND THE CONFORMANCE TESTS ARE NOT INSTALLED: run `make third-party` (needs npm)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.parametrize("what", daily(A_DOZEN[::2], whole=A_DOZEN), ids=lambda what: f"{what.release}-{what.scenario}")
def test_the_scenario_passes(what: Run) -> None:
    """As the release that is pinned judges it."""
    outcome = run(what, quick_python())

    assert outcome.verdict == "passed", outcome.output


AS_THE_SDK = {"server-stateless: sep-2575-server-identifies-in-result-meta"}
"""What is warned of where the SDK serves the same server alone."""


SETTINGS = [Setting("jackfield", "redis", 2), Setting("jackfield", "memory", 1)]


@pytest.mark.parametrize("setting", daily(SETTINGS[:1], whole=SETTINGS), ids=str)
async def test_served_sessions_pass(setting: Setting) -> None:
    """All scenarios, in both revisions of the protocol."""
    needs(cluster.missing())
    for outcome in await outcomes(setting, quick_python()):
        assert not outcome.checks.failed, outcome.checks.output
        assert set(outcome.checks.warned) <= AS_THE_SDK, outcome.checks.output


OF_A_GATEWAY = {
    "over stdio": {
        "2025-11-25": ["tools-call-with-progress", "resources-subscribe"],
        "2026-07-28": ["input-required-result-multi-round", "http-custom-header-server-validation"],
    },
    "over HTTP": {
        "2025-11-25": ["tools-call-elicitation", "completion-complete"],
        "2026-07-28": ["caching", "sep-2164-resource-not-found"],
    },
}
"""Of each kind one: what only passes, what asks the client, what is told, what the gateway answers itself."""


@pytest.mark.parametrize("way", gateway.WAYS[1:])
async def test_some_scenarios_pass_at_a_gateway(way: str) -> None:
    """In both revisions of the protocol, some by either way to the server."""
    for judgement in await gateway.judgements(OF_A_GATEWAY[way], [way], python=quick_python()):
        checks = judgement.by_way[way]
        assert checks.scenarios == 2, checks.output
        assert set(checks.statuses.values()) <= set(gateway.GOOD), checks.output


@pytest.mark.whole
@pytest.mark.timeout(300)
async def test_what_passes_at_a_server_passes_at_a_gateway() -> None:
    """All scenarios, in both revisions of the protocol, over both transports."""
    for judgement in await gateway.judgements(python=quick_python()):
        for way in gateway.WAYS[1:]:
            assert not judgement.worse(way), judgement.by_way[way].output

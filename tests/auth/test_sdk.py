"""What sign-ins use of the SDK without its promise: each test here fails when that moves."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from jackfield import HttpConfig
from jackfield.auth.credentials import Credentials
from jackfield.auth.sdk import Found, MemoryStorage, authenticated, renewing_provider, step_of

URL = "https://server.example/mcp"
ISSUER = "https://login.example"
CLIENT = OAuthClientInformationFull(
    client_id="me", client_secret="s3cret-word", token_endpoint_auth_method="client_secret_post"
)
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "response_types_supported": ["code"],
    "code_challenge_methods_supported": ["S256"],
}
RESOURCE = {"resource": URL, "authorization_servers": [ISSUER]}


def renewing() -> tuple[OAuthClientProvider, MemoryStorage]:
    storage = MemoryStorage(OAuthToken(access_token="old", refresh_token="again", scope="notes"), CLIENT)
    credentials = Credentials(
        server_url=URL, access_token="old", scope="notes", authorization_server=METADATA, protected_resource=RESOURCE
    )
    return renewing_provider(HttpConfig(server_name="s", url=URL), credentials, storage), storage


async def test_a_flow_begins_with_renewing_where_the_token_ended_long_ago() -> None:
    provider, storage = renewing()
    probe = httpx2.Request("POST", URL)
    flow = provider.async_auth_flow(probe)
    request = await anext(flow)
    assert str(request.url) == METADATA["token_endpoint"]
    assert step_of(request) == "tokens"
    assert b"grant_type=refresh_token" in request.content
    answer = {"access_token": "new", "token_type": "Bearer"}
    assert await flow.asend(httpx2.Response(200, json=answer, request=request)) is probe
    assert storage.tokens is not None
    assert storage.tokens.access_token == "new"
    await flow.aclose()


async def test_what_a_provider_has_found_out() -> None:
    provider, _ = renewing()
    found = Found(provider)
    assert found.authorization_server is not None
    assert str(found.authorization_server.issuer).rstrip("/") == ISSUER
    assert found.protected_resource is not None
    assert str(found.protected_resource.resource) == URL
    assert found.asked_scope == "notes"
    assert found.client is None
    assert found.authorization_server_url is None


@pytest.mark.parametrize("kind", ["client_secret_post", "client_secret_basic"])
def test_a_request_of_ours_shows_the_client_as_the_providers_own_do(kind: str) -> None:
    provider, _ = renewing()
    client = CLIENT.model_copy(update={"token_endpoint_auth_method": kind})
    data, headers = authenticated(provider, client, {"token": "old", "client_id": "me"}, {})
    shown = data.get("client_secret") if kind == "client_secret_post" else headers.get("Authorization", "").split()[0]
    assert shown == ("s3cret-word" if kind == "client_secret_post" else "Basic")


async def test_requests_of_a_flow_tell_what_they_are_for() -> None:
    """As a sign-in makes them: the metadata of both servers, then a registration."""
    from mcp.shared.auth import OAuthClientMetadata
    from pydantic import AnyUrl

    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1/callback")], client_name="Jackfield")
    probe = httpx2.Request("POST", URL)
    flow = OAuthClientProvider(URL, metadata, MemoryStorage()).async_auth_flow(probe)
    assert await anext(flow) is probe
    answers = [httpx2.Response(401, request=probe)]
    steps: list[str] = []
    while "registration" not in steps:
        request = await flow.asend(answers[-1])
        steps.append(step_of(request))
        body = RESOURCE if "protected-resource" in str(request.url) else METADATA
        answers.append(httpx2.Response(200, json=body, request=request))
    assert set(steps[:-1]) == {"metadata"}
    await flow.aclose()

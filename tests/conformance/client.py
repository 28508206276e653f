"""The program that the official conformance tests drive: an agent of a few lines, on the public API alone.

The runner starts it with the address of its server as the last argument. `MCP_CONFORMANCE_SCENARIO` names what is
tested, `MCP_CONFORMANCE_CONTEXT` has what the scenario hands out (credentials, arguments), as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

from jackfield import (
    AuthenticationError,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    OAuthConfig,
    Session,
    SessionCallbacks,
    SessionConfig,
)
from jackfield.auth.sign_in import sign_in

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")

MAX_SIGN_INS = 3
CLIENT_METADATA_URL = "https://conformance-test.local/client-metadata.json"
"""What the scenario of client metadata documents expects."""


async def browse(url: str) -> None:
    """The person at a browser: consents to everything, and follows redirects back to this program."""
    await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).close())


async def fill_in(context: object, params: Any) -> Any:
    """Answers a form with its defaults, and a question of yes or no with yes."""
    from mcp.types import ElicitResult

    properties = (getattr(params, "requested_schema", None) or {}).get("properties", {})
    yes = {name: True for name, schema in properties.items() if schema.get("type") == "boolean"}
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return ElicitResult(action="accept", content=yes | defaults)


async def sample(context: object, params: Any) -> Any:
    """Stands in for a model."""
    from mcp.types import CreateMessageResult, TextContent

    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="yes"), model="none")


def plausible(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that a schema takes."""
    values = {"string": "x", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}
    properties = schema.get("properties", {})
    return {name: values.get(properties.get(name, {}).get("type"), "x") for name in schema.get("required", [])}


def config(url: str) -> HttpConfig:
    """The server, with what the scenario hands out."""
    return HttpConfig(
        server_name="conformance",
        url=url,
        auth=authorization(url) if SCENARIO.startswith("auth/") else None,
        session=SessionConfig(timeout=20, call_timeout=20, retry_delay=0.1),
    )


def authorization(url: str) -> Any:
    """How the scenario's client shows who it is."""
    if "idp_id_token" in CONTEXT:
        return managed_by_the_enterprise(url)
    if SCENARIO.startswith("auth/client-credentials"):
        return OAuthConfig(
            grant="client_credentials",
            client_id=CONTEXT["client_id"],
            client_secret=CONTEXT.get("client_secret"),
            private_key=CONTEXT.get("private_key_pem"),
            signing_algorithm=CONTEXT.get("signing_algorithm"),
        )
    if "client_id" in CONTEXT:
        return OAuthConfig(client_id=CONTEXT["client_id"], client_secret=CONTEXT.get("client_secret"))
    return OAuthConfig(client_metadata_url=CLIENT_METADATA_URL)


def managed_by_the_enterprise(url: str) -> Any:
    """The SDK's own provider, with an assertion that the company's identity provider gives for a person's token."""
    from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider

    async def assertion(audience: str, resource: str) -> str:
        kinds = "urn:ietf:params:oauth:token-type"
        answer = await asyncio.to_thread(
            posted,
            CONTEXT["idp_token_endpoint"],
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            requested_token_type=f"{kinds}:id-jag",
            subject_token=CONTEXT["idp_id_token"],
            subject_token_type=f"{kinds}:id_token",
            client_id=CONTEXT["idp_client_id"],
            audience=audience,
            resource=resource,
        )
        return answer["access_token"]

    # A company configures which authorization server its servers have; the tests do not say, so the server is asked.
    metadata = fetched(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))
    return IdentityAssertionOAuthProvider(
        url,
        MemoryStorage(),
        CONTEXT["client_id"],
        CONTEXT["client_secret"],
        metadata["authorization_servers"][0],
        assertion,
        token_endpoint_auth_method="client_secret_basic",
    )


class MemoryStorage:
    """The SDK's `TokenStorage`, for as long as this program runs."""

    tokens: Any = None
    client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


def fetched(url: str, data: bytes | None = None) -> Any:
    """What an address answers, as JSON."""
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return json.load(answer)


def posted(url: str, **form: str) -> Any:
    """What it answers to a form."""
    return fetched(url, urllib.parse.urlencode(form).encode())


async def use_every_tool(session: Session) -> None:
    """What most scenarios want: list, and call what is listed. Where a tool fails, the others are still called."""
    for tool in (await session.list_tools()).tools:
        arguments = {"a": 5, "b": 3} if tool.name == "add_numbers" else plausible(tool.input_schema)
        try:
            await session.call_tool(tool.name, arguments)
        except AuthenticationError:
            raise
        except JackfieldError as error:
            print(f"{tool.name}: {error}", file=sys.stderr)


async def make_given_calls(session: Session) -> None:
    """The calls that the scenario wants, with its arguments as they are."""
    offered = {tool.name for tool in (await session.list_tools()).tools}
    for call in CONTEXT.get("toolCalls", []):
        if call["name"] in offered:
            await session.call_tool(call["name"], call.get("arguments") or {})


async def echo_schema(session: Session) -> None:
    """Sends a tool's schema back as it came."""
    tools = {tool.name: tool for tool in (await session.list_tools()).tools}
    await session.call_tool("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"].input_schema})


STEPS: dict[str, Callable[[Session], Awaitable[None]]] = {
    "http-custom-headers": make_given_calls,
    "json-schema-2020-12-preservation": echo_schema,
}


async def run(url: str) -> None:
    """Open a session and take the scenario's steps; sign in where the server wants that."""
    server = config(url)
    callbacks = SessionCallbacks(elicitation=fill_in, sampling=sample, roots=[])
    for signed_in in range(MAX_SIGN_INS + 1):
        try:
            async with MCPClientSessionManager(callbacks=callbacks).open_session(server) as session:
                await STEPS.get(SCENARIO, use_every_tool)(session)
                return
        except AuthenticationError as error:
            if error.code != "auth_required" or signed_in == MAX_SIGN_INS:
                raise
            print(f"{error}", file=sys.stderr)
        await sign_in(server, show_url=browse, sign_in_timeout=10)


def main() -> int:
    """Run one scenario; an error's text is all that is said of it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JACKFIELD_STATE_DIR"] = os.environ["JACKFIELD_CACHE_DIR"] = folder
        try:
            asyncio.run(run(sys.argv[-1]))
        except JackfieldError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

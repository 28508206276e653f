"""Who is let in to a gateway that other machines reach: users by tokens, over TLS, and no attacker."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mcp_types import INVALID_REQUEST
from starlette.responses import PlainTextResponse
from tests.cli.conftest import Command
from tests.gateway.conftest import Serving, unruly_entry
from tests.serving.authorized import INITIALIZE, Client, Key, answer_of, issuing

from jackfield import AuthenticationError, Catalog, ConfigError, MCPClientSessionManager
from jackfield.gateway.http import OnlyByProxy, listen
from jackfield.gateway.http_settings import HttpSettings

Start = Callable[..., Serving]
PUBLIC = "https://mcp.example.org/mcp"


@pytest.fixture
def manager(tmp_path: Path) -> MCPClientSessionManager:
    """Of a host program, with a catalog of its own."""
    return MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))


def unsigned(claims: dict[str, Any]) -> str:
    """A token that says that nothing signs it."""
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def test_tokens_of_an_authorization_server_and_attacks(serving: Start, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry(), two=unruly_entry())
    async with issuing() as issuer, httpx2.AsyncClient(timeout=30) as http:
        audit = jackfield.home / "audit"
        gateway = serving("--auth-issuer", issuer.url, "--public-url", PUBLIC, "--all-tools", "--audit", str(audit))
        assert gateway.url == PUBLIC
        assert gateway.process.stderr
        note = gateway.process.stderr.readline()
        said = re.fullmatch(r"Serving 2 servers at (127.0.0.1:\d+), the users of (\S+)\. Ctrl-C ends it\.\n", note)
        assert said, note
        assert said[2] == issuer.url
        url = f"http://{said[1]}/mcp"
        good = {"aud": PUBLIC, "scope": "servers:*"}
        ann = Client(http, issuer.token("ann", **good))

        # Where a client without a token finds out who issues them.
        refused = await Client(http, None).request(url, "initialize", INITIALIZE)
        assert refused.status_code == 401
        metadata = "https://mcp.example.org/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{metadata}"' in refused.headers["www-authenticate"]
        told = (await http.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))).json()
        assert (told["resource"], told["scopes_supported"]) == (PUBLIC, ["servers:*"])
        assert [one.rstrip("/") for one in told["authorization_servers"]] == [issuer.url]

        now = int(time.time())
        wrong = {
            "expired": issuer.token(**{**good, "iat": now - 900, "exp": now - 600}),
            "other audience": issuer.token(**{**good, "aud": "https://mcp.example.org/other"}),
            "no audience": issuer.token(**{**good, "aud": None}),
            "other issuer": issuer.token(**{**good, "iss": "https://evil.example"}),
            "other key": issuer.token(key=Key("first"), **good),
            "alg none": unsigned(issuer.claims(**good)),
            "signed with the public key": jwt.encode(
                issuer.claims(**good), base64.b64encode(issuer.key.public_pem).decode(), "HS256", {"kid": "first"}
            ),
            "no JWT": "ann",
        }
        for why, token in wrong.items():
            answer = await Client(http, token).request(url, "initialize", INITIALIZE)
            assert answer.status_code == 401, why

        # A session belongs to its user: its id is of no use to others, with whatever they do.
        session = await ann.initialize(url)
        assert "one" in await ann.call(url, "one_echo", text="one")
        assert await ann.call(url, "one_echo", number=8, text=ann.token) == ann.token
        assert str(ann.token).rpartition(".")[2] not in audit.read_text()
        for thief in (Client(http, issuer.token("bob", **good), session), Client(http, wrong["alg none"], session)):
            status = 401 if thief.token == wrong["alg none"] else 404
            assert (await thief.request(url, "tools/list")).status_code == status
            assert (await http.delete(url, headers=thief.headers())).status_code == status
            async with thief.stream(url) as stream:
                assert stream.status_code == status
        assert "two" in await ann.call(url, "two_echo", number=2, text="two")

        # The scopes of the very request count.
        ann.token = issuer.token("ann", **{**good, "scope": "servers:two"})
        refusal = answer_of(
            (await ann.request(url, "tools/call", {"name": "one_echo", "arguments": {"text": "x"}}, number=3)).text
        )
        assert "Unknown tool: one_echo" in refusal["error"]["message"]
        assert "two" in await ann.call(url, "two_echo", number=4, text="two")

        # Web pages: DNS rebinding, and requests across sites, also in the form that no browser asks about first.
        initialize = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": INITIALIZE})
        for headers, status in [
            ({"host": "evil.example"}, 421),
            ({"host": "mcp.example.org.evil.example"}, 421),
            ({"origin": "https://evil.example"}, 403),
            ({"origin": "https://mcp.example.org.evil.example"}, 403),
            ({"host": "mcp.example.org", "origin": "https://mcp.example.org"}, 200),
        ]:
            sent = ann.headers() | headers
            sent.pop("mcp-session-id")
            answer = await http.post(url, content=initialize, headers=sent)
            assert answer.status_code == status, headers
            assert "access-control-allow-origin" not in answer.headers
        simple = {"content-type": "text/plain", "accept": "*/*", "origin": "https://evil.example"}
        assert (await http.post(url, content=initialize, headers=simple)).status_code == 403
        bearer = {"content-type": "text/plain", "accept": "*/*", "authorization": ann.headers()["authorization"]}
        assert (await http.post(url, content=initialize, headers=bearer)).status_code == 415


async def test_users_in_a_file_over_tls(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry(), two=unruly_entry())
    certificate, key = self_signed(tmp_path)
    file = str(jackfield.project / "tokens.toml")
    added = jackfield("serve-token", "add", "ann", "--token-file", file)
    assert added.exit_code == 0, added.stderr
    ann = added.stdout.strip()
    bob = json.loads(jackfield("serve-token", "add", "bob", "--server", "two", "--token-file", file, "--json").stdout)
    written = Path(file).read_text()
    assert not any(token in written for token in (ann, bob["token"]))
    assert Path(file).stat().st_mode & 0o777 == 0o600

    tls = ("--certfile", str(certificate), "--keyfile", str(key))
    logs = ("--log-format", "json", "--audit", str(tmp_path / "audit"))
    gateway = serving("--token-file", file, *tls, *logs, "--all-tools", address="0.0.0.0:0")
    assert gateway.url.startswith("https://0.0.0.0:")
    gateway.url = gateway.url.replace("0.0.0.0", "127.0.0.1")

    def config(token: str) -> Any:
        return gateway.config(headers={"Authorization": f"Bearer {token}"}, verify=str(certificate))

    async with manager.open_session(config(ann)) as session:
        assert (await call_tool(session, "one_echo", text="a")) == "a"
        # A client may say its token itself, and a server says it again: that is kept nowhere.
        assert (await call_tool(session, "one_echo", text=ann)) == ann
        assert {tool.name.partition("_")[0] for tool in (await session.list_tools()).tools} == {"one", "two"}
        async with manager.open_session(config(bob["token"])) as other:
            assert {tool.name.partition("_")[0] for tool in (await other.list_tools()).tools} == {"two"}
        with pytest.raises(AuthenticationError):
            async with manager.open_session(config("wrong")):
                pass
        # A token that is removed is worth nothing from then on, in a session that is open, too.
        assert jackfield("serve-token", "remove", "ann", "--token-file", file).exit_code == 0
        with pytest.raises(AuthenticationError):
            await session.call_tool("one_echo", {"text": "b"})
    gateway.process.terminate()
    output, errors = gateway.process.communicate(timeout=30)
    kept = output + errors + (tmp_path / "audit").read_text()
    assert '"name":"echo"' in kept
    assert not any(token in kept for token in (ann, bob["token"]))


async def call_tool(session: Any, name: str, **arguments: Any) -> str:
    return str((await session.call_tool(name, arguments)).text)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")]), datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certfile, keyfile = folder / "certificate.pem", folder / "key.pem"
    certfile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certfile, keyfile


class _Anybody:
    async def verify_token(self, token: str) -> None:
        return None


def test_other_machines_are_served_only_with_users_and_encryption(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    users = _Anybody()
    for settings, says in [
        (HttpSettings(), "clients are not authenticated"),
        (HttpSettings(certfile=certificate, keyfile=key), "clients are not authenticated"),
        (HttpSettings(auth=users), "sent there in plain text"),
        (HttpSettings(auth=users, certfile=certificate), "TLS cannot use"),
        (HttpSettings(auth=users, certfile=tmp_path / "none.pem"), "no such file"),
    ]:
        with pytest.raises(ConfigError, match=says):
            listen("0.0.0.0:0", settings)
    for settings, scheme in [
        (HttpSettings(auth=users, certfile=certificate, keyfile=key), "https"),
        (HttpSettings(auth=users, trusted_proxies=["10.0.0.0/8"]), "http"),
        (HttpSettings(auth=users, plain_http=True), "http"),
    ]:
        listener, url = listen("0.0.0.0:0", settings)
        listener.close()
        assert url.startswith(f"{scheme}://0.0.0.0:")
    with pytest.raises(ConfigError, match="not an IP address or network"):
        HttpSettings(trusted_proxies=["proxy.example"])
    with pytest.raises(ConfigError, match="must begin with https"):
        HttpSettings(public_url="http://mcp.example.org/mcp")


async def test_behind_a_proxy_nobody_else_is_let_in() -> None:
    settings = HttpSettings(auth=_Anybody(), trusted_proxies=["10.0.0.0/8", "fd00::1"])
    app = OnlyByProxy(PlainTextResponse("proxied"), PlainTextResponse("direct"), settings)
    for peer, path, status, text in [
        ("10.1.2.3", "/mcp", 200, "proxied"),
        ("::ffff:10.1.2.3", "/mcp", 200, "proxied"),
        ("fd00::1", "/mcp", 200, "proxied"),
        ("127.0.0.1", "/mcp", 200, "proxied"),
        ("192.168.0.1", "/mcp", 403, "only through its TLS proxy"),
        ("fd00::2", "/mcp", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/page/events", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/connect/ticket", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/oauth/callback", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/mcp/", 403, "only through its TLS proxy"),
        ("192.168.0.1", "/health", 200, "direct"),
        ("192.168.0.1", "/ready", 200, "direct"),
        ("192.168.0.1", "/metrics", 200, "direct"),
    ]:
        transport = httpx2.ASGITransport(app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            answer = await client.post(path)
        assert (answer.status_code, text in answer.text) == (status, True), (peer, path)
        if status == 403:
            assert answer.json()["error"]["code"] == INVALID_REQUEST

"""`JWTAuth`: which tokens are accepted, and how the keys of the authorization server are fetched and kept."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import anyio
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.warnings import InsecureKeyLengthWarning
from tests.serving.authorized import AUDIENCE, Issuer, Key, issuing

from jackfield.auth.issuer_keys import AGAIN_SECONDS, EXTRA_FETCHES, FRESH_SECONDS, OLDEST_SECONDS
from jackfield.auth.json_web_tokens import ALGORITHMS, JWTAuth
from jackfield.auth.tokens import TokenCheckError


class Clock:
    """Goes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def verifier(issuer: Issuer, clock: Clock | None = None, **options: Any) -> JWTAuth:
    """A verifier whose keys age by a clock of the test."""
    auth = JWTAuth(**{"issuer": issuer.url, "audience": AUDIENCE, **options})
    if clock is not None:
        auth._keys._clock = clock
    return auth


async def test_what_a_token_says() -> None:
    async with issuing() as issuer:
        auth = verifier(issuer, leeway=10)
        end = int(time.time()) + 100
        accepted = await auth.verify_token(issuer.token(aud=["https://other.example.com", AUDIENCE], exp=end))
        assert accepted is not None
        assert (accepted.subject, accepted.client_id, accepted.resource) == ("ann", "app", AUDIENCE)
        assert accepted.scopes == ["notes:read", "notes:write"]
        assert accepted.expires_at == end + 10
        assert accepted.claims is not None
        assert accepted.claims["iss"] == issuer.url
        for claims, client in (
            ({"client_id": None, "azp": "other"}, "other"),
            ({"client_id": None, "cid": "third"}, "third"),
            ({"client_id": None}, ""),
        ):
            accepted = await auth.verify_token(issuer.token(**claims))
            assert accepted is not None
            assert accepted.client_id == client
        for claims, scopes in (
            ({"scope": None, "scp": ["a", "b"]}, ["a", "b"]),
            ({"scope": None, "scp": "a b"}, ["a", "b"]),
            ({"scope": None}, []),
            ({"scope": ""}, []),
            ({"scope": 7}, []),
        ):
            accepted = await auth.verify_token(issuer.token(**claims))
            assert accepted is not None
            assert accepted.scopes == scopes


async def test_what_no_token_may_say() -> None:
    async with issuing() as issuer:
        auth, end = verifier(issuer), int(time.time()) + 100
        for claims in (
            {"exp": None},
            {"exp": str(end)},
            {"exp": 10**400},
            *({name: text} for name in ("sub", "client_id") for text in ("a\0b", "a\nb", "\ud800", "a\u202eb")),
        ):
            token = jwt.PyJWS().encode(
                json.dumps({**issuer.claims(), **claims}).encode(), issuer.key.private, "ES256", {"kid": "first"}
            )
            assert await auth.verify_token(token) is None, claims


async def test_clocks_may_differ_a_little() -> None:
    async with issuing() as issuer:
        auth, now = verifier(issuer, leeway=30), int(time.time())
        for claims, is_accepted in (
            ({"exp": now - 10}, True),
            ({"exp": now - 60}, False),
            ({"nbf": now + 10}, True),
            ({"nbf": now + 60}, False),
        ):
            assert (await auth.verify_token(issuer.token(**claims)) is not None) is is_accepted, claims


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_algorithms(algorithm: str) -> None:
    async with issuing() as issuer:
        key = Key("k", algorithm)
        issuer.published = [key.public]
        auth = verifier(issuer)
        assert await auth.verify_token(issuer.token(key=key)) is not None
        others = [one for one in ALGORITHMS if one != algorithm]
        assert await verifier(issuer, algorithms=others).verify_token(issuer.token(key=key)) is None


async def test_a_key_may_say_which_algorithm_it_is_for() -> None:
    async with issuing() as issuer:
        key = Key("k", "RS256")
        issuer.published = [{**key.public, "alg": "RS512"}]
        auth = verifier(issuer)
        assert await auth.verify_token(issuer.token(key=key)) is None
        key.algorithm = "RS512"
        assert await auth.verify_token(issuer.token(key=key)) is not None


async def test_keys_that_are_no_use_are_left_out() -> None:
    async with issuing() as issuer:
        good = issuer.key.public
        small = Key("small", "RS256", bits=1024)
        secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}
        private: dict[str, Any] = {**good, "kid": "private", "d": "AAAA"}
        for_encryption = {**good, "kid": "enc", "use": "enc"}
        broken = {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "!", "y": "?"}
        issuer.published = [small.public, secret, private, for_encryption, broken, {"kid": "empty"}, good]
        auth = verifier(issuer)
        assert await auth.verify_token(issuer.token()) is not None
        for key_id in ("private", "enc", "broken", "empty"):
            forged = jwt.encode(issuer.claims(), issuer.key.private, "ES256", {"kid": key_id})
            assert await auth.verify_token(forged) is None, key_id
        with pytest.warns(InsecureKeyLengthWarning):
            token = issuer.token(key=small)
        assert await auth.verify_token(token) is None


async def test_a_token_that_names_no_key_is_tried_with_all() -> None:
    async with issuing() as issuer:
        first, second = Key(None), Key(None)
        issuer.published = [first.public, second.public]
        auth = verifier(issuer)
        assert await auth.verify_token(issuer.token(key=second)) is not None
        assert await auth.verify_token(issuer.token(key=Key(None))) is None


async def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    async with issuing() as issuer:
        clock = Clock()
        auth = verifier(issuer, clock)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(auth.verify_token, issuer.token())
        assert issuer.asked.count("/keys") == 1
        clock.now += FRESH_SECONDS + 1
        assert await auth.verify_token(issuer.token()) is not None
        assert issuer.asked.count("/keys") == 2


async def test_a_key_that_is_not_known_is_looked_for_but_not_for_each_token() -> None:
    async with issuing() as issuer:
        clock = Clock()
        auth = verifier(issuer, clock)
        assert await auth.verify_token(issuer.token()) is not None
        clock.now += AGAIN_SECONDS
        new = Key("second")
        issuer.published.append(new.public)
        assert await auth.verify_token(issuer.token(key=new)) is not None
        assert issuer.asked.count("/keys") == 2
        # Another one at once: its tokens are not refused until the keys may be fetched again.
        third = Key("third")
        issuer.published.append(third.public)
        assert await auth.verify_token(issuer.token(key=third)) is not None
        assert issuer.asked.count("/keys") == 3
        for number in range(20):
            assert await auth.verify_token(issuer.token(key=Key(f"invented {number}"))) is None
        assert issuer.asked.count("/keys") == 2 + EXTRA_FETCHES
        # Invented keys do not put off a new one for longer than before.
        fourth = Key("fourth")
        issuer.published.append(fourth.public)
        assert await auth.verify_token(issuer.token(key=fourth)) is None
        clock.now += AGAIN_SECONDS
        assert await auth.verify_token(issuer.token(key=fourth)) is not None
        # One that was withdrawn counts no more.
        issuer.published = [new.public]
        clock.now += FRESH_SECONDS + 1
        assert await auth.verify_token(issuer.token()) is None


async def test_while_keys_cannot_be_fetched_those_that_are_known_are_used(caplog: pytest.LogCaptureFixture) -> None:
    async with issuing() as issuer:
        clock = Clock()
        auth = verifier(issuer, clock)
        issuer.is_down = True
        for _ in range(3):
            with pytest.raises(TokenCheckError, match=r"The keys of the authorization server .* cannot be fetched"):
                await auth.verify_token(issuer.token())
        assert len(issuer.asked) == 1, "asked once, not by each token"
        issuer.is_down = False
        clock.now += AGAIN_SECONDS
        assert await auth.verify_token(issuer.token()) is not None
        issuer.is_down = True
        clock.now += FRESH_SECONDS + 1
        assert await auth.verify_token(issuer.token()) is not None
        assert "Until then, the keys fetched 601 s ago are used." in caplog.text
        # Whether this one is good cannot be known.
        with pytest.raises(TokenCheckError):
            await auth.verify_token(issuer.token(key=Key("second")))
        clock.now += OLDEST_SECONDS
        with pytest.raises(TokenCheckError):
            await auth.verify_token(issuer.token())
        issuer.is_down = False
        clock.now += AGAIN_SECONDS
        assert await auth.verify_token(issuer.token()) is not None


async def test_a_fetch_that_is_cancelled_refuses_nobody() -> None:
    async with issuing() as issuer:
        auth = verifier(issuer)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await auth.verify_token(issuer.token())
        assert await auth.verify_token(issuer.token()) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {"issuer": "https://other.example"}}, "is the metadata of 'https://other.example'"),
        ({"metadata": {"jwks_uri": 7}}, "has no `jwks_uri`"),
        ({"metadata": {"jwks_uri": "http://keys.example/jwks"}}, "goes over an unprotected line"),
        ({"metadata_path": "/nowhere"}, "it has no metadata"),
        ({"redirect": "http://127.0.0.1:9/keys"}, "answered HTTP 307"),
        ({"body": b"<html>"}, "has no public key for"),
        ({"body": b'{"keys": {}}'}, "has no public key for"),
        ({"body": b"[" * 100_000}, "has no public key for"),
        ({"published": []}, "has no public key for"),
        ({"body": b" " * 2_000_000}, "more than 1,048,576 bytes"),
    ],
)
async def test_what_is_wrong_with_an_authorization_server_is_said(
    change: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing() as issuer:
        for name, value in change.items():
            setattr(issuer, name, value)
        with pytest.raises(TokenCheckError) as caught:
            await verifier(issuer).verify_token(issuer.token())
        assert said in str(caught.value)
        assert said in caplog.text
        assert "Until then, no token can be checked." in caplog.text


async def test_metadata_is_looked_for_where_each_standard_has_it() -> None:
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        async with issuing() as issuer:
            issuer.metadata_path = path
            assert await verifier(issuer).verify_token(issuer.token()) is not None
    async with issuing() as issuer:
        issuer.url += "/realms/one"
        issuer.metadata_path = "/realms/one/.well-known/openid-configuration"
        issuer.metadata = {"jwks_uri": issuer.url.removesuffix("/realms/one") + "/keys"}
        assert await verifier(issuer).verify_token(issuer.token()) is not None
    async with issuing() as issuer:
        issuer.metadata_path = "/nowhere"
        auth = verifier(issuer, jwks_url=f"{issuer.url}/keys")
        assert await auth.verify_token(issuer.token()) is not None
        assert issuer.asked == ["/keys"]


async def test_no_token_gets_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with issuing() as issuer:
        auth = verifier(issuer)
        tokens = [issuer.token(), issuer.token(aud="x"), issuer.token(exp=1), "eve.of.the.tests", "x" * 20_000]
        for token in tokens:
            await auth.verify_token(token)
            assert token not in caplog.text
    assert "A token was refused: it was issued for a different audience." in caplog.text
    assert "A token was refused: it has expired." in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"issuer": "sign-in.example.com"}, "`issuer` must be an address that begins with https://"),
        ({"issuer": "http://sign-in.example.com"}, "`issuer` must begin with https://"),
        ({"issuer": "https://sign-in.example.com#x"}, "without a fragment"),
        ({"jwks_url": "http://sign-in.example.com/keys"}, "`jwks_url` must begin with https://"),
        ({"audience": ""}, "`audience` must say what tokens are issued for"),
        ({"audience": []}, "`audience` must say what tokens are issued for"),
        ({"audience": ["https://mcp.example.com/mcp", ""]}, "`audience` must say what tokens are issued for"),
        ({"algorithms": ["RS256", "HS256"]}, "`algorithms` must be some of RS256"),
        ({"algorithms": ["none"]}, "`algorithms` must be some of RS256"),
        ({"algorithms": []}, "`algorithms` must be some of RS256"),
        ({"required_scopes": "notes:read"}, "`required_scopes` must be a list of names, not one text"),
        ({"leeway": -1}, "`leeway` must be a number of seconds from 0 to 300, not -1"),
        ({"leeway": float("nan")}, "`leeway` must be a number of seconds"),
        ({"url": "mcp.example.com"}, "`url` must be an address"),
        ({"audience": "http://mcp.example.com/mcp"}, "`url` must begin with https://"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(options: dict[str, Any], said: str) -> None:
    given = {"issuer": "https://sign-in.example.com", "audience": AUDIENCE, **options}
    with pytest.raises(ValueError) as caught:
        JWTAuth(**given)
    assert said in str(caught.value)


def test_the_address_of_the_metadata() -> None:
    for options, url in (
        ({"audience": AUDIENCE}, AUDIENCE),
        ({"audience": ["api://notes", AUDIENCE]}, AUDIENCE),
        ({"audience": "api://notes"}, None),
        ({"audience": "api://notes", "url": AUDIENCE}, AUDIENCE),
    ):
        auth = JWTAuth(issuer="https://sign-in.example.com", **options)  # type: ignore[arg-type]
        assert (auth.resource.url if auth.resource else None) == url


_PARTS = st.one_of(
    st.text(max_size=30), st.binary(max_size=30).map(lambda data: jwt.utils.base64url_encode(data).decode())
)
_NUMBERS = st.integers() | st.just(10**400)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | _NUMBERS | _NUMBERS.map(str) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(token=st.lists(_PARTS, min_size=1, max_size=5).map(".".join))
async def test_no_text_is_more_than_refused(token: str) -> None:
    auth = JWTAuth(issuer="https://sign-in.example.com", audience=AUDIENCE)
    assert await auth.verify_token(token) is None


@given(claims=st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "aud", "sub", "scope", "client_id", "jti"]), _JSON))
async def test_no_claim_is_more_than_refused(claims: dict[str, Any]) -> None:
    issuer = Issuer()
    issuer.url = "https://sign-in.example.com"
    auth = verifier(issuer)
    auth._keys._keys = list(auth._keys._usable([issuer.key.public]))
    auth._keys._fetched_at = auth._keys._clock()
    payload = json.dumps({**issuer.claims(), **claims}).encode()
    token = jwt.PyJWS().encode(payload, issuer.key.private, "ES256", {"kid": "first"})
    await auth.verify_token(token)

"""Known secrets are masked in every form in which texts quote them, and nothing else is."""

from __future__ import annotations

import base64
import gc
import html
import json
import logging
import re
import traceback
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import HttpConfig, JackfieldError, StdioConfig, ToolError
from jackfield.logs import mask_logs
from jackfield.masking import MASK, HiddenValues, keep_secret, mask, masked


class Owner:
    pass


secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=40).map("S3cr3t".__add__)


@settings(max_examples=30)
@given(secrets)
def test_every_form_that_a_secret_is_quoted_in(secret: str) -> None:
    keep_secret(owner := Owner(), [("TOKEN", secret)])
    kept = secret.strip()
    forms = {
        *(kept, repr(kept)[1:-1], json.dumps(kept)[1:-1], json.dumps(json.dumps(kept)[1:-1])[1:-1], html.escape(kept)),
        *(
            quote(kept),
            quote(kept, safe=""),
            quote_plus(kept),
            re.sub("%..", lambda found: found[0].lower(), quote(kept, safe="")),
        ),
        *(repr(kept.encode())[2:-1], base64.b64encode(kept.encode()).decode()),
    }
    for form in forms:
        shown = mask(f"<{form}>")
        assert form not in shown
        assert shown in (f"<{MASK}>", f"<{MASK}=>", f"<{MASK}==>")
    assert owner


@pytest.mark.parametrize(
    ("name", "value", "inner"),
    [
        ("Authorization", "Bearer abc-def-1", "abc-def-1"),
        ("authorization", f"Basic {base64.b64encode(b'ann:pa55-word').decode()}", "pa55-word"),
        ("X-Key", "token abc-def-2", "abc-def-2"),
        ("Cookie", "lang=en; sid=abc-def-3", "abc-def-3"),
        ("DATABASE", "postgres://ann:pa55%2Fword@db/x", "pa55/word"),
        ("REMOTE", "https://abc-def-4@host/x?a=1", "abc-def-4"),
        ("REMOTE", "https://host/x?sig=abc-def-5&v=2", "abc-def-5"),
        ("DSN", "host=db user=ann password=abc-def-6", "abc-def-6"),
        ("ACCOUNT", json.dumps({"a": [{"private_key": "line-of-key-1\nline-of-key-2"}]}), "line-of-key-2"),
    ],
)
def test_what_is_secret_within_a_value(name: str, value: str, inner: str) -> None:
    keep_secret(owner := Owner(), [(name, value)])
    assert mask(f"wrong {inner}!") == f"wrong {MASK}!"
    assert owner


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DEBUG", value) for value in ("1", "true", "production", "authentication", "8080", "2025-11-25", "short-1")),
        *(("REGION", value) for value in ("us-east-1", "en_US.UTF-8", "10.0.0.1", "http://localhost:8080", "/usr/bin")),
        *(("TOKEN", value) for value in ("", "1", "none", "12345", "password", "/usr/bin")),
        *(("Accept", value) for value in ("application/json", "text/x-1234")),
        ("AUTHOR_NAME", "somebody"),
        ("ACCOUNT", '{"message": "no-such-thing-1"}'),
        ("PROMPT", "\n"),
        ("API_TOKEN", "${OTHER_TOKEN}"),
        ("API_TOKEN", "${env:OTHER_TOKEN}"),
        ("API_TOKEN", "{env:OTHER_TOKEN}"),
    ],
)
def test_what_is_plain_is_left(name: str, value: str) -> None:
    keep_secret(owner := Owner(), [(name, value)])
    for text in (value, f"It says {value}.", "no-such-thing-1"):
        assert mask(text) == text or (name == "ACCOUNT" and text != "no-such-thing-1")
    assert owner


def test_a_usual_account_in_a_url_is_no_token() -> None:
    keep_secret(owner := Owner(), [("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/app")])
    assert mask("pip install 'jackfield[postgres]'") == "pip install 'jackfield[postgres]'"
    assert owner


def test_secrets_that_overlap_or_are_cut() -> None:
    keep_secret(owner := Owner(), [("TOKEN", "abcdef-123456"), ("TOKEN", "123456-uvwxyz"), ("TOKEN", "bcdef-1")])
    assert mask("(abcdef-123456-uvwxyz)(abcdef-123456)") == f"({MASK})({MASK})"
    assert mask("456-uvwxyz, then abcdef-1234", is_cut=True) == f"{MASK}, then {MASK}"
    assert masked({"a": ["x", ("abcdef-123456", 1)]}) == {"a": ["x", (MASK, 1)]}
    assert owner


def test_secrets_are_forgotten_in_the_end() -> None:
    for number in range(300):
        keep_secret(Owner(), [("TOKEN", f"forgotten-{number}")])
    gc.collect()
    keep_secret(owner := Owner(), [("TOKEN", "kept-to-the-end")])
    assert mask("forgotten-0, forgotten-299, kept-to-the-end") == f"forgotten-0, {MASK}, {MASK}"
    assert owner


@pytest.fixture
def records() -> Iterator[list[str]]:
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(logging.Formatter().format(record))

    logger, handler = logging.getLogger("httpx2"), Handler()
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def test_logs_of_libraries(records: list[str]) -> None:
    keep_secret(owner := Owner(), [("TOKEN", "in-a-log-1")])
    mask_logs()
    logger = logging.getLogger("httpx2")
    logger.warning("to %s, %d times", b"in-a-log-1", 3)

    def failing(token: str) -> None:
        raise ValueError(len(token))

    try:
        failing("in-a-log-1")
    except ValueError:
        logger.exception("failed")
    assert records[0] == f"to b'{MASK}', 3 times"
    assert "ValueError: 10" in records[1]
    assert "in-a-log-1" not in "".join(records)
    assert owner


def test_errors_hold_no_secret_however_it_gets_into_them() -> None:
    keep_secret(owner := Owner(), [("TOKEN", "in-an-error-1")])
    error = ToolError("bad in-an-error-1", server_output="in-an-error-1", hint="in-an-error-1", server_name="x")
    for each in (error, error.told(message="worse: in-an-error-1", hint="in-an-error-1")):
        assert "in-an-error-1" not in f"{each} {each!r} {vars(each)} {each.args}"
    assert ToolError("x", content=["in-an-error-1"]).content == ["in-an-error-1"]
    assert owner


def test_a_copy_does_not_lead_to_where_an_error_comes_from() -> None:
    def fail() -> None:
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise JackfieldError("outer") from inner

    with pytest.raises(JackfieldError) as caught:
        fail()
    error = caught.value.without_cause()
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)
    assert "inner" not in "".join(traceback.format_exception(error))
    assert "inner" in "".join(traceback.format_exception(caught.value))


def test_configurations_show_no_secret_of_a_command_line() -> None:
    args = [
        "--header",
        "X-Key: in-args-4",
        "run",
        "-e",
        "API_TOKEN=in-args-1",
        "--api-key",
        "in-args-2",
        "postgres://u:in-args-3@h/d",
        "--verbose",
        "--x=y",
    ]
    config = StdioConfig(server_name="a", command="docker", args=args)
    assert config.args == args
    for shown in (repr(config), config.address, str(JackfieldError(" ".join(args)))):
        assert "in-args" not in shown
        assert "--verbose" in shown
    remote = HttpConfig(server_name="b", url="http://u:in-a-url-1@h/mcp?key=in-a-url-2#in-a-url-3")
    assert mask(str.__str__(remote.url)) == f"http://u:{MASK}@h/mcp?key={MASK}#{MASK}"
    assert repr(HiddenValues({"a": "b"})) == f"{{'a': '{MASK}'}}"

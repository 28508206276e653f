"""Frames, and errors on their way from one process to the other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jackfield
from jackfield import (
    AuthenticationError,
    DaemonError,
    JackfieldError,
    RequestError,
    ServerLimitError,
    ServerStartError,
    ToolError,
)
from jackfield.local import protocol
from jackfield.local.protocol import HEADER, error_from_wire, error_to_wire, packed, unpacked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), JSON))
def test_a_message_comes_out_as_it_went_in(message: dict) -> None:
    frame = packed(message)
    (length,) = HEADER.unpack(frame[: HEADER.size])
    assert length == len(frame) - HEADER.size
    assert unpacked(frame[HEADER.size :]) == message


def test_half_a_character_is_carried() -> None:
    assert unpacked(packed({"text": "\ud83d"})[HEADER.size :]) == {"text": "\ud83d"}


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"a":' * 100_000])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(DaemonError):
        unpacked(data)


def test_a_message_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_FRAME_BYTES", 100)
    packed({"a": "x" * 80})
    with pytest.raises(DaemonError, match="exceeds the limit of 100"):
        packed({"a": "x" * 100})


ALL = sorted(
    {
        value
        for name in jackfield.__all__
        if isinstance(value := getattr(jackfield, name), type) and issubclass(value, JackfieldError)
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_arrives_as_it_was_raised(kind: type[JackfieldError]) -> None:
    error = kind(
        "What happened.",
        server_name="s",
        sent=True,
        state_lost=True,
        retryable=True,
        hint="Do this.",
        server_output="its words",
        retry_after=1.5,
        generation=3,
    )
    again = error_from_wire(json.loads(json.dumps(error_to_wire(error))))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_what_only_some_errors_have() -> None:
    for error in (
        ServerStartError("m", exit_code=3),
        RequestError("m", rpc_code=-32601),
        ServerLimitError("m", limit="max_tools"),
        AuthenticationError("m", required_scopes=["notes:write"]),
        ToolError("m", content=[{"type": "text", "text": "t"}]),
    ):
        assert vars(error_from_wire(error_to_wire(error))) == vars(error)


def test_an_error_of_a_newer_version_keeps_its_code() -> None:
    error = error_from_wire({"code": "quota_exceeded", "message": "m", "hint": "h", "colour": "red"})
    assert (error.code, error.message, error.hint) == ("quota_exceeded", "m", "h")
    assert JackfieldError.code == "error"

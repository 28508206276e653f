"""What instances of a gateway send each other is signed: nobody else is listened to, and nothing counts twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from jackfield.gateway.instances import keys
from jackfield.gateway.instances.keys import SIGNED_SECONDS, InstanceKeys, read_keys

KEY, NEWER = b"k" * 32, b"n" * 32
PATH, BODY = "/instance", b'{"a": 1}'


def taken(here: InstanceKeys, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
    return here.is_signed(path, headers) and here.is_body(body, headers)


def test_only_what_an_instance_signed_counts_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, stranger = InstanceKeys([KEY]), InstanceKeys([KEY]), InstanceKeys([b"x" * 32])
    headers = there.signed(PATH, BODY)
    for path, body, sent in [
        ("/other", BODY, headers),
        (PATH, b'{"a": 2}', there.signed(PATH, BODY)),
        (PATH, BODY, stranger.signed(PATH, BODY)),
        (PATH, BODY, {}),
        *[(PATH, BODY, {**headers, name: "0"}) for name in headers],
        *[(PATH, BODY, {**headers, name: "nan"}) for name in headers],
        *[(PATH, BODY, {**headers, name: "\xe9"}) for name in headers],
    ]:
        assert not taken(here, path, body, sent), (path, body, sent)
    assert taken(here, PATH, BODY, headers)
    assert not taken(here, PATH, BODY, headers), "it was replayed"

    headers, now = there.signed(PATH, BODY), keys.time.time()
    for at in (now + SIGNED_SECONDS + 5, now - SIGNED_SECONDS - 5):
        monkeypatch.setattr(keys.time, "time", lambda at=at: at)
        assert not taken(here, PATH, BODY, headers)


def test_keys_are_exchanged_one_after_the_other() -> None:
    old, both, new = InstanceKeys([KEY]), InstanceKeys([NEWER, KEY]), InstanceKeys([NEWER])
    assert taken(both, PATH, BODY, old.signed(PATH, BODY))
    assert taken(both, PATH, BODY, new.signed(PATH, BODY))
    assert taken(new, PATH, BODY, both.signed(PATH, BODY))
    assert not taken(new, PATH, BODY, old.signed(PATH, BODY))


def test_comments_in_a_file_are_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_bytes(b"# the first of these signs, and all of them count\n\n  " + KEY + b" \r\n")
    assert read_keys(file) == [KEY]
    file.write_bytes(b"  # indented, this one is no key either\n\t" + KEY + b"\n" + NEWER)
    assert read_keys(file) == [KEY, NEWER]

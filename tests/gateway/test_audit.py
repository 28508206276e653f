"""The audit of a gateway: whole lines, for the user alone, without secrets, in files that do not grow for ever."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jackfield import CallDeniedError, ConfigError
from jackfield.gateway.audit import Audit
from jackfield.gateway.shown_arguments import readable, shown_arguments
from jackfield.masking import MASK, keep_secret


def lines(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_line_is_json_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.touch(0o644)
    audit = Audit(file)
    audit.require_writable("add", "notes")
    audit.note({"server": "notes", "tool": "add\nmany", "seconds": 0.5, "approved": None}, {"text": "a"})
    audit.close()
    [line] = lines(file)
    assert line.pop("time").endswith("Z")
    expected = {"server": "notes", "tool": "add | many", "seconds": 0.5, "approved": None, "arguments": {"text": "a"}}
    assert line == expected
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_new_files_are_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        audit = Audit(tmp_path / "audit", max_bytes=1)
        for _ in range(3):
            audit.note({}, {})
        audit.close()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_files_are_renamed_and_the_oldest_go(tmp_path: Path) -> None:
    file = tmp_path / "audit"
    audit = Audit(file, max_bytes=300, kept_files=2)
    for number in range(20):
        audit.note({"n": number}, {"text": "x" * 60})
    audit.close()
    files = [tmp_path / "audit.2", tmp_path / "audit.1", file]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(0 < one.stat().st_size <= 300 for one in files)
    kept = [line["n"] for line in lines(*files)]
    assert kept == list(range(20))[-len(kept) :]


def test_files_are_renamed_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has neither `fcntl` nor some of the flags of a file, and renames no file that is open."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    for flag in ("O_CLOEXEC", "O_NONBLOCK", "fchmod"):
        monkeypatch.delattr(os, flag)
    audit = Audit(tmp_path / "audit", max_bytes=1, kept_files=2)
    for number in range(4):
        audit.note({"number": number}, {})
    files = [tmp_path / name for name in ("audit", "audit.1", "audit.2")]
    assert [line["number"] for line in lines(*files)] == [3, 2, 1]
    open_elsewhere = lambda self, target: (_ for _ in ()).throw(PermissionError("open elsewhere"))  # noqa: E731
    monkeypatch.setattr(Path, "replace", open_elsewhere)
    audit.note({"number": 4}, {})
    audit.close()
    assert [line["number"] for line in lines(files[0])] == [3, 4]


def test_no_old_file_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit", max_bytes=1, kept_files=0)
    for number in range(3):
        audit.note({"n": number}, {})
    audit.close()
    assert [line["n"] for line in lines(*tmp_path.iterdir())] == [2]


def test_a_file_that_is_moved_away_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "audit"
    audit = Audit(file)
    audit.note({"n": 0}, {})
    file.rename(tmp_path / "moved")
    audit.note({"n": 1}, {})
    file.unlink()
    audit.note({"n": 2}, {})
    audit.close()
    assert [line["n"] for line in lines(tmp_path / "moved", file)] == [0, 2]


WRITER = """
import sys
import time
from pathlib import Path
from jackfield.gateway.audit import Audit

audit = Audit(Path(sys.argv[1]), max_bytes=4000, kept_files=1000)
for number in range(300):
    audit.note({"writer": sys.argv[2], "n": number}, {"text": "x" * (number % 50)})
"""


def test_processes_append_to_one_file(tmp_path: Path) -> None:
    """Also while each renames it: no line is lost, or mixed with another."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "audit"), str(number)]) for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = list(tmp_path.iterdir())
    assert len(files) > 5
    written = lines(*files)
    for number in range(3):
        own = [line["n"] for line in written if line["writer"] == str(number)]
        assert sorted(own) == list(range(300))


@pytest.mark.parametrize("what", ["a folder that is missing", "a folder", "a device", "a pipe"])
def test_what_cannot_be_an_audit_is_refused_at_once(what: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    paths = {
        "a folder that is missing": tmp_path / "no" / "audit",
        "a folder": tmp_path,
        "a device": Path("/dev/zero"),
        "a pipe": tmp_path / "pipe",
    }
    with pytest.raises(ConfigError, match="cannot be written: "):
        Audit(paths[what])
    assert paths[what].exists() == (what != "a folder that is missing")


def test_while_nothing_can_be_written_no_call_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    audit = Audit(folder / "audit")
    audit.require_writable("add", "notes")
    (folder / "audit").unlink()
    folder.rmdir()
    # A call that was under way when it began.
    audit.note({"n": 0}, {})
    for _ in range(2):
        with pytest.raises(CallDeniedError, match=r"'notes.add' was not made: .*no such file") as caught:
            audit.require_writable("add", "notes")
        assert (caught.value.sent, caught.value.retryable) == (False, True)
    folder.mkdir()
    audit.require_writable("add", "notes")
    audit.note({"n": 1}, {})
    audit.close()
    assert [line["n"] for line in lines(folder / "audit")] == [0, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "hunter22"},
        {"api_key": "x" * 3 + "hunter22"},
        {"headers": {"Authorization": "Bearer hunter22hunter22"}},
        {"credentials": {"user": "ann", "value": ["hunter22"]}},
        {"pin_token": 4711},
        {"url": "https://ann:hunter22@example.org/x"},
        {"command": "curl -H 'Authorization: Bearer hunter22hunter22' https://example.org"},
        {"command": "deploy --token hunter22 --to here"},
        {"text": "call https://example.org/a?token=hunter22&x=1 now"},
        {"env": ["API_TOKEN=hunter22"]},
        {"config": '{"password": "hunter22"}'},
        {"note": "known: s3cret-of-a-server"},
        {"s3cret-of-a-server": 1},
        {"text": "a" * 250 + "s3cret-of-a-server"},
        {"config": '{"a": {"password": "hunter22", "b": "' + "x" * 5000},
        {"text": "password: hunter22"},
        {"text": "the API_KEY='hunter22'; then"},
        {"text": "-----BEGIN RSA PRIVATE KEY-----\\nhunter22\\nhunter22"},
        {"url": "see (https://hunter22@example.org)"},
    ],
    ids=lambda arguments: next(iter(arguments))[:20],
)
def test_no_secret_is_shown(arguments: dict[str, Any]) -> None:
    class Owner:
        pass

    owner = Owner()
    keep_secret(owner, [("token", "s3cret-of-a-server")])
    for bound in (256, 10_000):
        text = json.dumps(shown_arguments(arguments, value_chars=bound))
        assert "hunter22" not in text
        assert "s3cret" not in text
        assert "4711" not in text


def test_what_is_no_secret_is_shown() -> None:
    arguments = {
        "text": "a: b",
        "max_tokens": 100,
        "deep": [{"x": 1.5}],
        "no": None,
        "is_secret": True,
        "author": "A",
    }
    assert shown_arguments(arguments) == arguments
    assert shown_arguments({"token": ""}) == {"token": ""}
    assert shown_arguments({"token": "x"}) == {"token": MASK}


def test_arguments_are_shown_within_bounds() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    arguments = {"text": "x" * 1_000_000, "list": list(range(1_000_000)), "deep": deep, "n" * 1000: 1}
    shown = shown_arguments(arguments | {str(number): number for number in range(1000)})
    assert shown["text"] == "x" * 256 + "... (1,000,000 characters)"
    assert len(shown) == 51
    assert shown["..."] == "954 more"
    assert len(json.dumps(shown)) < 3000


@pytest.mark.parametrize("text", ["a" * 9999, "a:" * 9999, "--a " * 9999, "a://" * 9999, "-----BEGIN " * 9999])
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    shown_arguments({"text": text}, value_chars=4_000)
    assert time.process_time() - started < 0.5


def test_nothing_that_is_shown_can_hide() -> None:
    assert readable({"a\u202eb": "c\u200bd\u0007"}) == '{"a\\u202eb": "c\\u200bd\\u0007"}'
    assert readable({"ä": "日本"}) == '{"ä": "日本"}'

"""What comes out of a pipe, and how messages in it are told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest
from mcp.types import jsonrpc_message_adapter

from jackfield.transport.sdk import read_message
from jackfield.transport.stdio import PipeReader

BACKENDS = ["asyncio", "trio"]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):
            os.close(descriptor)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_is_written_is_read_to_the_end(pipe: tuple[int, int], backend: str) -> None:
    reading, writing = pipe

    async def main() -> None:
        reader, read = PipeReader(reading), bytearray()
        for part in (b"one\n", b"two\n", b"x" * 50_000):
            os.write(writing, part)
            goal = len(read) + len(part)
            while len(read) < goal:
                read += await reader.read()
            assert read.endswith(part)
        os.close(writing)
        assert await reader.read() == b""
        assert await reader.read() == b""
        reader.stop()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flood_fills_the_pipe_and_not_the_memory(pipe: tuple[int, int], backend: str) -> None:
    reading, writing = pipe

    async def main() -> None:
        reader, written, read, idle = PipeReader(reading), 0, 0, 0
        with anyio.move_on_after(0):
            await reader.read()
        while idle < 50:
            try:
                written += os.write(writing, b"x" * 4096)
            except BlockingIOError:
                idle += 1
                await anyio.sleep(0)
            assert written < 1_000_000
        os.close(writing)
        while data := await reader.read():
            read += len(data)
        assert read == written
        reader.stop()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_waits_is_woken_by_the_end_and_may_be_cancelled(pipe: tuple[int, int], backend: str) -> None:
    reading, writing = pipe

    async def main() -> None:
        reader = PipeReader(reading)
        with anyio.move_on_after(0.01) as scope:
            await reader.read()
        assert scope.cancelled_caught
        os.write(writing, b"kept")
        assert await reader.read() == b"kept"

        async def wait() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await reader.read()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            reader.stop()
        # The descriptor can be watched by others now.
        os.write(writing, b"x")
        with anyio.fail_after(5):
            await anyio.wait_readable(reading)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc": "2.0", "id": 1, "result": {}}',
        '{"jsonrpc": "2.0", "id": "1", "result": {"a": [1, 2.5, null, "\\u00e9", 123456789012345678901234567890]}}',
        '{"jsonrpc": "2.0", "id": 1, "result": {"n": NaN}}',
        '{"id": 1, "jsonrpc": "2.0", "result": {"a": 1}, "result": {"a": 2}}',
        '{"jsonrpc": "2.0", "id": 1, "result": {}, "more": 1}',
        '{"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}}',
        '{"jsonrpc": "2.0", "method": "ping", "result": {}}',
        '{"jsonrpc": "1.0", "id": 1, "result": {}}',
        '{"jsonrpc": "2.0", "id": 1.0, "result": {}}',
        '{"jsonrpc": "2.0", "id": true, "result": {}}',
        '{"jsonrpc": "2.0", "id": null, "result": {}}',
        '{"jsonrpc": "2.0", "id": 1, "result": []}',
        '{"jsonrpc": "2.0", "id": 1, "result": null}',
        '{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}',
        '{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
        '{"jsonrpc": "2.0", "id": 1, "result": {"a": "\\ud83d"}}',
        '{"jsonrpc": "2.0", "id": 1, "result": {}',
        "[]",
        "1",
        "",
    ],
)
def test_a_message_is_read_as_the_sdk_reads_it(text: str) -> None:
    try:
        expected = repr(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError:
        expected = None
    read = read_message(text.encode())
    assert (repr(read.message) if read and read.is_as_written else None) == expected

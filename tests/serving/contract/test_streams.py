"""Every engine keeps streams as `StreamManager` says. Each test has two instances on one store."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import anyio
import pytest
from tests.serving.contract.conftest import TTL, Engine, until

from jackfield.serving import StreamEvent, UnknownEventError
from jackfield.serving.streams import STANDALONE


async def test_numbers_are_dense_over_all_instances(engine: Engine) -> None:
    async with engine.two() as backends:
        numbers: list[int | None] = []

        async def add(number: int) -> None:
            numbers.append(await backends[number % 2].streams.append("s1", "log", [f'"{number}a"', f'"{number}b"']))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(add, number)
        assert sorted(number or 0 for number in numbers) == list(range(1, 41, 2))
        events = await backends[1].streams.read("s1", "log", 0)
        assert [event.number for event in events] == list(range(1, 41))
        assert not any(event.is_final for event in events)
        for first, second in zip(events[::2], events[1::2], strict=True):
            assert first.message[:-2] == second.message[:-2], "what is added at once stays together"
        assert await backends[0].streams.tip("s1", "log") == 40


async def test_any_text_comes_back(engine: Engine) -> None:
    texts = ["", '{"a": "\\u0000"}', '"\né\u2028\U0001f600"', '"' + "x" * 300_000 + '"', "[]"]
    async with engine.two() as (one, other):
        heard: list[StreamEvent] = []
        async with other.streams.listen("s1", "log", heard.extend):
            assert await one.streams.append("s1", "log", texts) == 1
            events = await other.streams.read("s1", "log", 0)
            assert [event.message for event in events] == texts
            assert await other.streams.append("s1", "log", texts[1:3]) == 6

            async def is_heard() -> bool:
                return [event.message for event in heard[-2:]] == texts[1:3]

            await until(is_heard)


async def test_reading_goes_on_after_any_event(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.streams.append("s1", "log", ["1", "2", "3"])
        await one.streams.append("s1", "log", ["4", "5"])
        for after in range(6):
            events = await other.streams.read("s1", "log", after)
            assert [(event.number, event.message) for event in events] == [
                (number, str(number)) for number in range(after + 1, 6)
            ]
        events = await other.streams.read("s1", "log", 1, max_events=2)
        assert [event.number for event in events] == [2, 3]


@pytest.mark.parametrize("after", [6, 1000, 10**14])
async def test_an_event_that_never_was(engine: Engine, after: int) -> None:
    async with engine.two() as (one, other):
        await one.streams.append("s1", "log", ["1", "2", "3", "4", "5"])
        for stream in ("log", "another"):
            with pytest.raises(UnknownEventError):
                await other.streams.read("s1", stream, after)
        assert await other.streams.read("s1", "another", 0) == ()
        assert await other.streams.read("s2", "log", 0) == ()
        assert await other.streams.tip("s2", "log") == 0


async def test_a_log_is_trimmed_by_number(engine: Engine) -> None:
    async with engine.two(log_events=5) as (one, other):
        for number in range(1, 13):
            assert await (one, other)[number % 2].streams.append("s1", "log", [str(number)]) == number
        events = await other.streams.read("s1", "log", 7)
        assert [event.message for event in events] == ["8", "9", "10", "11", "12"]
        for after in (0, 6):
            with pytest.raises(UnknownEventError):
                await one.streams.read("s1", "log", after)
        # More at once than it keeps.
        assert await one.streams.append("s1", "log", [str(number) for number in range(13, 33)]) == 13
        assert [event.number for event in await other.streams.read("s1", "log", 27)] == [28, 29, 30, 31, 32]
        assert await other.streams.tip("s1", "log") == 32


async def test_a_log_is_trimmed_by_bytes(engine: Engine) -> None:
    async with engine.two(log_bytes=100) as (one, other):
        for _ in range(6):
            await one.streams.append("s1", "log", ["x" * 30])
        assert [event.number for event in await other.streams.read("s1", "log", 3)] == [4, 5, 6]
        with pytest.raises(UnknownEventError):
            await other.streams.read("s1", "log", 2)
        # Bytes, not characters.
        await other.streams.append("s1", "log", ["é" * 40])
        assert [event.number for event in await one.streams.read("s1", "log", 6)] == [7]
        with pytest.raises(UnknownEventError):
            await one.streams.read("s1", "log", 5)
        # The newest stays, however large.
        await one.streams.append("s1", "log", ["x" * 1000])
        assert [event.number for event in await other.streams.read("s1", "log", 7)] == [8]
        await one.streams.append("s1", "log", ["a", "b"])
        assert [event.message for event in await other.streams.read("s1", "log", 8)] == ["a", "b"]


async def test_one_of_two_answers_at_once_wins(engine: Engine) -> None:
    async with engine.two() as backends:
        for round_ in range(20):
            stream = f"log{round_}"
            await backends[0].streams.append("s1", stream, [""])
            numbers: list[int | None] = []

            async def answer(number: int, stream: str, numbers: list[int | None]) -> None:
                messages = ["before", f"answer{number}"]
                numbers.append(await backends[number % 2].streams.append("s1", stream, messages, is_final=True))

            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(answer, number, stream, numbers)
            assert sorted(numbers, key=str) == [2, None, None, None]
            assert await backends[1].streams.append("s1", stream, ["late"]) is None
            events = await backends[1].streams.read("s1", stream, 0)
            assert [event.is_final for event in events] == [False, False, True]


async def test_a_single_writer_can_repeat_itself(engine: Engine) -> None:
    async with engine.two() as (one, other):
        assert await one.streams.append("s1", "log", ["1", "2"], at=1) == 1
        assert await one.streams.append("s1", "log", ["1", "2"], at=1) == 1
        assert await one.streams.append("s1", "log", ["3"], at=3) == 3
        assert await one.streams.append("s1", "log", ["1", "2"], at=1) == 1
        assert [event.message for event in await other.streams.read("s1", "log", 0)] == ["1", "2", "3"]
        # The answer is added wherever the log ends.
        assert await one.streams.append("s1", "log", ["answer"], is_final=True, at=3) == 4
        assert await one.streams.append("s1", "log", ["answer"], is_final=True, at=3) is None
        assert await one.streams.append("s1", "log", ["more"], at=5) is None


async def test_a_lost_log_goes_on_with_its_numbers(engine: Engine) -> None:
    async with engine.two() as (one, other):
        assert await one.streams.append("s1", "log", ["7", "8"], at=7) == 7
        assert [event.number for event in await other.streams.read("s1", "log", 6)] == [7, 8]
        with pytest.raises(UnknownEventError):
            await other.streams.read("s1", "log", 0)
        # What is there before a gap is not kept.
        assert await one.streams.append("s1", "log", ["12"], at=12) == 12
        assert [event.message for event in await other.streams.read("s1", "log", 11)] == ["12"]
        with pytest.raises(UnknownEventError):
            await other.streams.read("s1", "log", 8)
        assert await other.streams.append("s1", "log", ["13"]) == 13
        assert await other.streams.tip("s1", "log") == 13


async def test_events_are_heard_on_every_instance(engine: Engine) -> None:
    async with engine.two() as (one, other):
        heard: dict[str, list[StreamEvent]] = {"here": [], "there": [], "left": []}
        async with (
            one.streams.listen("s1", "log", heard["here"].extend),
            other.streams.listen("s1", "log", heard["there"].extend),
        ):
            async with other.streams.listen("s1", "log", heard["left"].extend):
                await one.streams.append("s1", "log", ["1", "2"])

                async def are_heard() -> bool:
                    return all(len(events) == 2 for events in heard.values())

                await until(are_heard)
            await other.streams.append("s1", "another", ["not heard"])
            await other.streams.append("s2", "log", ["not heard"])
            await other.streams.append("s1", "log", ["3"], is_final=True)

            async def is_heard() -> bool:
                return len(heard["here"]) == len(heard["there"]) == 3

            await until(is_heard)
        expected = [StreamEvent(1, "1"), StreamEvent(2, "2"), StreamEvent(3, "3", is_final=True)]
        assert heard["here"] == heard["there"] == expected
        assert heard["left"] == expected[:2]


async def test_gaps_are_told_by_numbers(engine: Engine) -> None:
    """Whatever is heard, what the log has after the last number that was heard is what is missing."""
    async with engine.two() as (one, other):
        seen: list[int] = []
        is_behind = anyio.Event()

        def heard(events: Sequence[StreamEvent]) -> None:
            seen.extend(event.number for event in events)
            is_behind.set()

        await one.streams.append("s1", "log", ["1"])
        async with other.streams.listen("s1", "log", heard):
            await one.streams.append("s1", "log", ["2"])
            with anyio.fail_after(15):
                await is_behind.wait()
            assert seen in ([2], [])
            assert [event.number for event in await other.streams.read("s1", "log", 0)] == [1, 2]
        await one.streams.append("s1", "log", ["3"])
        async with other.streams.listen("s1", "log", heard):
            await one.streams.append("s1", "log", ["4"])

            async def is_heard() -> bool:
                return 4 in seen

            await until(is_heard)


async def test_many_streams_are_heard_at_once(engine: Engine) -> None:
    async with engine.two() as (one, other):
        heard: list[tuple[int, int]] = []
        listening = 0

        async def listen(number: int) -> None:
            nonlocal listening

            def take(events: Sequence[StreamEvent]) -> None:
                heard.extend((number, event.number) for event in events)

            async with other.streams.listen(f"s{number}", STANDALONE, take):
                listening += 1
                await is_over.wait()

        is_over = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(listen, number)

            async def all_listen() -> bool:
                return listening == 100

            await until(all_listen)
            async with anyio.create_task_group() as adding:
                for number in range(100):
                    adding.start_soon(one.streams.append, f"s{number}", STANDALONE, [str(number)])

            async def all_heard() -> bool:
                return len(heard) == 100

            await until(all_heard)
            is_over.set()
        assert sorted(heard) == [(number, 1) for number in range(100)]


async def test_one_reader_at_a_time(engine: Engine) -> None:
    async with engine.two() as (one, other):
        assert await one.streams.reader("s1") is None
        assert await one.streams.attach("s1", "one:a") is None
        assert await other.streams.reader("s1") == "one:a"
        assert await other.streams.attach("s1", "other:b") == "one:a"
        assert await other.streams.attach("s1", "other:b", over="one:z") == "one:a"
        assert await other.streams.attach("s1", "other:b", over="one:a") is None
        assert await one.streams.reader("s1") == "other:b"
        await one.streams.detach("s1", "one:a")
        assert await one.streams.reader("s1") == "other:b"
        assert await one.streams.attach("s1", "one:c", over="*") is None
        await one.streams.detach("s1", "one:c")
        assert await other.streams.reader("s1") is None
        # One that is gone meanwhile can be taken over, too.
        assert await other.streams.attach("s1", "other:d", over="one:c") is None
        assert await other.streams.attach("s2", "other:d") is None


async def test_one_of_many_readers_at_once_wins(engine: Engine) -> None:
    async with engine.two() as backends:
        answers: dict[str, str | None] = {}

        async def attach(number: int, over: str | None) -> None:
            reader = f"instance{number % 2}:{number}{over}"
            answers[reader] = await backends[number % 2].streams.attach("s1", reader, over=over)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(attach, number, None)
        [first] = [reader for reader, answer in answers.items() if answer is None]
        assert set(answers.values()) == {None, first}
        answers.clear()
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(attach, number, first)
        [second] = [reader for reader, answer in answers.items() if answer is None]
        assert set(answers.values()) == {None, second}
        assert await backends[0].streams.reader("s1") == second


async def test_all_is_gone_when_its_time_is_over(engine: Engine) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.streams.append("s1", STANDALONE, ["1"])
        await one.streams.append("s1", "log", ["1"])
        await one.streams.append("s1", "answered", ["1"], is_final=True)
        await one.streams.attach("s1", "one:a")

        async def is_unread() -> bool:
            return await other.streams.reader("s1") is None

        await until(is_unread)
        await until(engine.is_empty)
        assert await other.streams.tip("s1", "log") == 0
        assert await other.streams.attach("s1", "other:b") is None


async def test_touched_streams_live_on(engine: Engine) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.streams.append("s1", STANDALONE, ["1"])
        await one.streams.append("s1", "log", ["1"])
        await one.streams.append("s1", "left alone", ["1"])
        await one.streams.attach("s1", "one:a")
        until_time = time.monotonic() + 2.5 * TTL
        while time.monotonic() < until_time:
            await other.streams.touch([("s1", STANDALONE), ("s1", "log"), ("s2", STANDALONE)])
            await anyio.sleep(TTL / 10)
        assert await one.streams.tip("s1", STANDALONE) == await one.streams.tip("s1", "log") == 1
        assert await one.streams.reader("s1") == "one:a"
        assert await one.streams.reader("s2") is None

        async def is_gone() -> bool:
            return await one.streams.tip("s1", "left alone") == 0

        await until(is_gone)
        await other.streams.touch([])


async def test_the_log_of_an_answered_request_is_kept_for_less(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("jackfield.serving.") and hasattr(module, "ANSWERED_SECONDS"):
            monkeypatch.setattr(module, "ANSWERED_SECONDS", TTL)
    async with engine.two(ttl=60.0) as (one, other):
        await one.streams.append("s1", "log", ["1"])
        await one.streams.append("s1", "answered", ["1"])
        assert await one.streams.append("s1", "answered", ["answer"], is_final=True) == 2
        await other.streams.touch([("s1", "answered")])

        async def is_forgotten() -> bool:
            return len(await engine.contents()) == 1

        await until(is_forgotten)
        assert await other.streams.tip("s1", "log") == 1


async def test_delete_removes_streams_and_reader(engine: Engine) -> None:
    async with engine.two() as (one, other):
        for stream in (STANDALONE, "log", "another"):
            await one.streams.append("s1", stream, ["1"])
        await one.streams.attach("s1", "one:a")
        await other.streams.delete("s1", ["log", "never"])
        assert await one.streams.reader("s1") is None
        assert [await one.streams.tip("s1", stream) for stream in (STANDALONE, "log", "another")] == [0, 0, 1]
        await other.streams.delete("s1", ["another"])
        assert await engine.is_empty()

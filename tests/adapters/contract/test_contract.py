"""What holds for every adapter alike, on a real server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.contract.driver import Driver
from tests.conftest import Unruly, ledger, strays
from tests.servers.everything_server import PNG

from jackfield import CallHook, MCPClientSessionManager, ToolCall, Toolkit, create_toolkit

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_names_are_the_toolkits_and_fit_every_model_api(driver: Driver, toolkit: Toolkit) -> None:
    names = list(driver.schemas())
    assert names == toolkit.names
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert len(set(names)) == len(names) > 15


async def test_the_whole_schema_reaches_the_model(driver: Driver, toolkit: Toolkit) -> None:
    def completed(schema: Mapping[str, Any]) -> dict[str, Any]:
        """Frameworks may spell out what an object without properties leaves unsaid, and drop the title."""
        return {"type": "object", "properties": {}} | {key: value for key, value in schema.items() if key != "title"}

    schemas = driver.schemas()
    for tool in toolkit:
        assert completed(schemas[tool.name]) == completed(tool.input_schema), tool.name
    assert "$defs" in schemas["order"]


@pytest.mark.parametrize(
    "value", [None, True, 2**53, -0.5, "", "ünïcødé \U0001f600", [1, [None], {}], {"a": {"b": []}, "$ref": "#/x"}]
)
async def test_values_arrive_unchanged(value: object, driver: Driver) -> None:
    assert (await driver.call("arguments", {"value": value})).text == repr(value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"config": {"x": 1}, "run_manager": 1, "callbacks": None},
        {"self": 1, "cls": 2, "args": [1], "kwargs": {"y": 2}, "name": "n", "arguments": {}},
        {"context": 1, "ctx": 2, "input": "i", "tool": "t", "type": "function", "id": 7, "return": 1},
        {"with space": 1, "kebab-case": 2, "ü": "ß", "": "empty", "$x": [], "class": "c"},
        {},
    ],
    ids=["langchain", "python", "frameworks", "no identifiers", "none"],
)
async def test_names_of_arguments_arrive_unchanged(arguments: dict[str, Any], driver: Driver) -> None:
    assert json.loads((await driver.call("free_form", arguments)).text) == arguments


async def test_text(driver: Driver) -> None:
    answer = await driver.call("echo", {"text": "two\nlines"})
    assert (answer.text, answer.images, answer.is_error) == ("two\nlines", [], False)


async def test_a_picture_and_what_is_said_of_it(driver: Driver) -> None:
    answer = await driver.call("picture", {})
    assert "One pixel:" in answer.text
    if driver.holds_images:
        assert answer.images == [base64.b64decode(PNG)]
    else:
        assert "[image: " in answer.text
    assert PNG not in answer.text, "no base64 in the prompt"


@pytest.mark.parametrize("kind", ["no base64", "no picture", "a bomb"])
async def test_a_picture_that_is_none_does_no_harm(kind: str, driver: Driver) -> None:
    assert kind in (await driver.call("bad_picture", {"kind": kind})).text


async def test_what_is_neither_text_nor_picture_is_named(driver: Driver) -> None:
    text = (await driver.call("media", {})).text
    for words in ("a text", "notes://two", "notes://three"):
        assert words in text


async def test_a_long_result_is_cut_and_can_be_read_on(driver_class: type[Driver], toolkit: Toolkit) -> None:
    driver = driver_class(toolkit.filtered(["echo", "receipt"]).bounded(10))
    assert (await driver.call("echo", {"text": "0123456789"})).text == "0123456789"
    parts = [(await driver.call("echo", {"text": "abcdefghijklmnopqrstuvwxy"})).text]
    while found := re.search(r'To read more: read_on\(handle="(\w+)", offset=(\d+)\)', parts[-1]):
        parts.append((await driver.call("read_on", {"handle": found[1], "offset": int(found[2])})).text)
    assert [part[:10] for part in parts] == ["abcdefghij", "klmnopqrst", "uvwxy"]
    receipt = await driver.call("receipt", {"customer": "Ada"})
    assert "To read more: read_on(" in receipt.text, "structured content is no way around"
    if driver.holds_structured and not isinstance(receipt.structured, str):
        assert receipt.structured["customer"] == "Ada"


async def test_structured_content(driver: Driver) -> None:
    answer = await driver.call("receipt", {"customer": "Ada"})
    assert json.loads(answer.text)["customer"] == "Ada"
    if driver.holds_structured:
        assert answer.structured["customer"] == "Ada"


async def test_an_error_of_the_tool_is_told(driver: Driver) -> None:
    answer = await driver.call("fail", {"why": "no luck today"})
    assert "no luck today" in answer.text
    assert answer.is_error is driver.tells_errors


async def test_arguments_that_do_not_fit_are_told_with_what_would(driver: Driver) -> None:
    answer = await driver.call("add", {"a": 1})
    assert "b is missing" in answer.text
    assert "add(a: integer, b: integer)" in answer.text
    assert answer.is_error is driver.tells_errors


async def test_a_call_that_a_hook_did_not_let_through_is_told(driver_class: type[Driver], toolkit: Toolkit) -> None:
    class Guard(CallHook):
        async def before(self, call: ToolCall) -> Any:
            if call.arguments["text"] == "no":
                return False
            raise PermissionError("ask Ada")

    driver = driver_class(toolkit.hooked(Guard()))
    for text, says in (("no", "it returned False"), ("not", "PermissionError: ask Ada")):
        answer = await driver.call("echo", {"text": text})
        assert f"The hook 'Guard' failed: {says}; nothing was sent." in answer.text
        assert answer.is_error is driver.tells_errors


class Wordless(BaseException):
    def __str__(self) -> str:
        raise ValueError("not even words")


@pytest.mark.parametrize(
    "error", [KeyError("x"), Wordless(), asyncio.CancelledError()], ids=lambda one: type(one).__name__
)
async def test_whatever_a_handler_raises_is_told(
    error: BaseException, driver_class: type[Driver], toolkit: Toolkit
) -> None:
    async def handler(*_: object) -> Any:
        raise error

    driver = driver_class(Toolkit([replace(toolkit["echo"], handler=handler)]))
    answer = await driver.call("echo", {"text": "x"})
    assert f"The call of 'echo' failed: {type(error).__name__}" in answer.text
    assert answer.is_error is driver.tells_errors


async def test_a_result_that_is_none_is_told(driver_class: type[Driver], toolkit: Toolkit) -> None:
    async def handler(*_: object) -> Any:
        return "not a result"

    driver = driver_class(Toolkit([replace(toolkit["echo"], handler=handler)]))
    answer = await driver.call("echo", {"text": "x"})
    assert "The call of 'echo' failed: " in answer.text
    assert answer.is_error is driver.tells_errors


async def test_half_a_surrogate_pair_is_told(driver: Driver) -> None:
    answer = await driver.call("echo", {"text": "\ud83d"})
    assert "half a surrogate pair" in answer.text
    assert "Nothing was sent" in answer.text
    assert answer.is_error is driver.tells_errors


@pytest.mark.parametrize("given", [[1, 2], "text", 5, True])
async def test_arguments_that_are_no_object_are_told(given: Any, driver: Driver) -> None:
    answer = await driver.call("echo", given)
    assert "are not a JSON object: " in answer.text
    assert "Nothing was sent" in answer.text
    assert answer.is_error is driver.tells_errors


async def appears(path: Path) -> None:
    """Wait for a file that the server writes."""
    async with asyncio.timeout(10):
        while not path.exists():
            await asyncio.sleep(0.01)


async def test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_goes_on(
    driver: Driver, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    call = asyncio.create_task(driver.call("slow", {"seconds": 60, "log": str(log)}))
    await appears(Path(f"{log}.started"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await appears(log)
    assert log.read_text() == "cancelled"
    assert (await driver.call("echo", {"text": "on"})).text == "on"


async def test_many_at_once_each_with_its_own_result(driver: Driver) -> None:
    answers = await asyncio.gather(*(driver.call("add", {"a": number, "b": 1}) for number in range(25)))
    assert [answer.text for answer in answers] == [str(number + 1) for number in range(25)]


async def test_state_is_kept_from_call_to_call(driver: Driver) -> None:
    first, *others = [int((await driver.call("count", {})).text) for _ in range(3)]
    assert others == [first + 1, first + 2]


@pytest.mark.in_turn("policy")
@pytest.mark.parametrize("policy", ["tell", "refuse"])
async def test_a_model_learns_that_its_transaction_is_gone(
    policy: str, driver_class: type[Driver], tmp_path: Path
) -> None:
    async with MCPClientSessionManager().open_session(ledger(tmp_path, on_state_lost=policy)) as session:
        driver = driver_class(await create_toolkit(session))
        for sql in ("BEGIN", "INSERT INTO t VALUES (1)"):
            assert "Note:" not in (await driver.call("execute", {"sql": sql})).text
        os.kill(session.process_id or 0, signal.SIGKILL)
        async with asyncio.timeout(10):
            while not session.state_lost:
                await asyncio.sleep(0.01)
        answer = await driver.call("execute", {"sql": "INSERT INTO t VALUES (2)"})
        assert "'ledger' was lost and reopened" in answer.text
        assert "(transactions, open files, logins) was lost" in answer.text
        if policy == "refuse":
            assert "was not made" in answer.text
            assert "call again" in answer.text
            assert answer.is_error is driver.tells_errors
            again = await driver.call("execute", {"sql": "INSERT INTO t VALUES (3)"})
            assert "gone" not in again.text
        else:
            assert answer.text.startswith("Note: ")
            if driver.holds_structured and not isinstance(answer.structured, str):
                assert answer.structured == {"rows": []}
        rows = await driver.call("rows", {})
        assert json.loads(rows.text) == {"rows": [3 if policy == "refuse" else 2]}


async def test_a_server_without_tools(driver_class: type[Driver]) -> None:
    assert dict(driver_class(Toolkit()).schemas()) == {}


ODD_SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a boolean for a property": {"type": "object", "properties": {"x": True}},
    "a reference elsewhere": {"type": "object", "properties": {"x": {"$ref": "https://example.invalid/x.json"}}},
    "a reference to nothing": {"type": "object", "properties": {"x": {"$ref": "#/$defs/Missing"}}},
    "itself": {"type": "object", "properties": {"x": {"$ref": "#"}}},
    "a kind that is none": {"type": "object", "properties": {"x": {"type": "decimal"}}},
    "a union at the root": {"anyOf": [{"type": "object", "properties": {"x": {}}}, {"type": "object"}]},
}


@pytest.mark.parametrize("schema", ODD_SCHEMAS.values(), ids=list(ODD_SCHEMAS))
async def test_an_odd_schema_goes_through_or_its_tool_is_left_out_by_name(
    schema: dict[str, Any], driver_class: type[Driver], toolkit: Toolkit, caplog: pytest.LogCaptureFixture
) -> None:
    odd = replace(toolkit["free_form"], name="odd", original_name="free_form", input_schema=schema)
    driver = driver_class(Toolkit([odd, toolkit["echo"]]))
    schemas = driver.schemas()
    assert "echo" in schemas, "the others are there all the same"
    if "odd" in schemas:
        assert json.loads((await driver.call("odd", {"x": 1})).text) == {"x": 1}
    else:
        assert any("odd" in record.message for record in caplog.records if record.levelname == "WARNING")


async def test_a_tool_of_a_session_that_is_closed_says_so(driver_class: type[Driver], unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as other:
        driver = driver_class(await create_toolkit(other))
        assert (await driver.call("echo", {"text": "x"})).text == "x"
    answer = await driver.call("echo", {"text": "x"})
    assert "open the session again" in answer.text
    assert answer.is_error is driver.tells_errors


async def test_nothing_is_left(driver_class: type[Driver], unruly: Unruly) -> None:
    async with MCPClientSessionManager().open_session(unruly()) as session:
        driver = driver_class(await create_toolkit(session))
        await asyncio.gather(*(driver.call("echo", {"text": "x"}) for _ in range(5)))
        assert strays() != []
    assert strays() == []

"""Results that are too long for a model at once."""

from __future__ import annotations

import json
import re

from mcp.types import ImageContent, TextContent

from jackfield import ToolResult
from jackfield.routing.own_tools import BY_CALL_TOOL
from jackfield.toolkit.long_results import LongResults


def result_of(*texts: str) -> ToolResult:
    return ToolResult(content=[TextContent(type="text", text=text) for text in texts])


def said_to_give(text: str) -> dict[str, object]:
    """The arguments by which a shortened result says to read on."""
    found = re.search(r"arguments=(\{.*\})\)\)$", text)
    assert found, text
    return json.loads(found[1])


def test_what_is_short_enough_is_left_as_it_is() -> None:
    result = result_of("0123456789")
    assert LongResults(10, BY_CALL_TOOL).shortened(result, []) is result


def test_reading_on_brings_all_of_it_and_ends() -> None:
    long = LongResults(10, BY_CALL_TOOL)
    text = "".join(chr(ord("a") + index % 26) for index in range(25))
    parts = [long.shortened(result_of(text), []).text]
    while "To read more" in parts[-1]:
        parts.append(long.read_on(said_to_give(parts[-1])).text)
    assert [part[:10] for part in parts] == [text[:10], text[10:20], text[20:]]
    assert parts[0].partition("\n")[2].startswith("(Characters 0 to 10 of 25.")


def test_what_is_no_text_is_kept_beside_it() -> None:
    picture = ImageContent(type="image", data="AAAA", mime_type="image/png")
    whole = ToolResult(content=[TextContent(type="text", text="x" * 20), picture])
    short = LongResults(10, BY_CALL_TOOL).shortened(whole, ["'txt' became 'text'"])
    assert short.content[1] == picture
    assert short.text.endswith("(Corrected in your call: 'txt' became 'text'.)")
    assert whole.text.startswith("x" * 20), "the result itself is not changed"


def test_the_last_twenty_are_kept() -> None:
    long = LongResults(10, BY_CALL_TOOL)
    given = [said_to_give(long.shortened(result_of(f"{index:02}" * 10), []).text) for index in range(21)]
    assert long.read_on(given[0]).is_error
    assert long.read_on(given[1]).text == "01" * 5
    assert long.read_on(given[20]).text == "20" * 5


def test_reading_on_in_what_is_not_there() -> None:
    long = LongResults(10, BY_CALL_TOOL)
    handle = said_to_give(long.shortened(result_of("x" * 20), []).text)["handle"]
    for arguments in ({"handle": "ffff"}, {"handle": handle, "offset": "10"}, {}, None, "handle"):
        answer = long.read_on(arguments)
        assert answer.is_error, arguments
        assert answer.text == "This result does not exist or is no longer kept. Call the tool again."
    assert long.read_on({"handle": handle}).text.startswith("x" * 10), "from the beginning, if no offset is given"

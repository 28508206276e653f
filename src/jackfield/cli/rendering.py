"""Shows results of MCP, as plain JSON has them: for people, for models, for programs.

Works on dictionaries and not on the SDK's types, so that a result of a kept session is shown without importing the SDK.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from ..plain import as_list, as_table
from .conversion import loads

Json = Mapping[str, Any]
Style = Literal["text", "json", "markdown", "raw"]
STYLES: Sequence[Style] = ("text", "json", "markdown", "raw")

SAVED_AS = "savedAs"
"""The key under which a block that was saved has its path, in the place of its data."""

_ENCODED = {ord(char): f"%{ord(char):02X}" for char in "<>\\"}


def blocks_of(result: Json) -> list[Json]:
    """The content blocks of the result of a tool, a resource or a prompt."""
    if isinstance(result.get("contents"), list):
        return [{"type": "resource", "resource": item} for item in _tables(result["contents"])]
    if isinstance(result.get("messages"), list):
        return [as_table(message.get("content")) for message in _tables(result["messages"])]
    return _tables(result.get("content"))


def shown(result: Json, style: Style) -> str:
    """A result as text in one of the styles.

    Args:
        result: As the protocol has it; of `tools/call`, `resources/read` or `prompts/get`.
        style: `text`: its words; `json`: its data; `markdown`; `raw`: all of it as JSON.
    """
    match style:
        case "raw":
            return _dumped(result)
        case "json":
            return _dumped(data_of(result))
        case "markdown":
            return _markdown(result)
        case _:
            return _text(result)


# Data


def data_of(result: Json) -> Any:
    """The data of a result, for programs.

    Of a tool: its structured content (a single value that the server wrapped as `result` is unwrapped), else what its
    blocks hold. Text that is a JSON object or array is taken as such. One block stands for itself, more are a list.
    """
    structured = result.get("structuredContent")
    if structured is not None:
        is_wrapped = isinstance(structured, dict) and list(cast("dict[str, Any]", structured)) == ["result"]
        return cast("Json", structured)["result"] if is_wrapped else cast("object", structured)
    if "messages" in result:
        return result["messages"]
    values = [_block_data(block) for block in blocks_of(result)]
    return values[0] if len(values) == 1 else values or None


def _block_data(block: Json) -> object:
    resource = as_table(block.get("resource"))
    if (text := block.get("text", resource.get("text"))) is not None:
        found = _json_table(str(text))
        return text if found is None else found
    return resource or block


def _json_table(text: str) -> Any:
    """The JSON object or array that a text is, if it is one."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return loads(text)
    except ValueError:
        return None


def _dumped(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


# Words


def _text(result: Json) -> str:
    blocks = blocks_of(result)
    if not blocks and (structured := result.get("structuredContent")) is not None:
        return _dumped(structured)
    words = [words_of(block) for block in blocks]
    if "messages" in result and len(words) > 1:
        return "\n\n".join(f"{role}: {text}" for role, text in zip(_roles(result), words, strict=True))
    return "\n".join(words)


def _roles(result: Json) -> list[str]:
    return [str(message.get("role", "")) for message in _tables(result["messages"])]


def words_of(block: Json) -> str:
    """One content block as text; other content is described, or replaced by its path if it was saved."""
    if (path := path_of(block)) is not None:
        return path
    match kind_of(block):
        case "text":
            return str(block.get("text", as_table(block.get("resource")).get("text", "")))
        case "image" | "audio" as kind:
            return f"[{kind}: {block.get('mimeType')}, {_size(str(block.get('data', '')))}]"
        case "blob":
            blob = as_table(block.get("resource"))
            return f"[resource: {blob.get('uri')}, {blob.get('mimeType') or 'binary'}, {_size(str(blob['blob']))}]"
        case "resource_link":
            description = block.get("description")
            return f"[resource: {block.get('uri')}" + (f", {description}]" if description else "]")
        case kind:
            return f"[{kind}]"


def kind_of(block: Json) -> str:
    """The kind of a block: `text`, `image`, `audio`, `blob`, `resource_link`, or the server's own name for it."""
    kind = str(block.get("type", "?"))
    if kind == "resource":
        resource = as_table(block.get("resource"))
        return "blob" if "blob" in resource else "text"
    return kind


def path_of(block: Json) -> str | None:
    """The path of a saved block, if it was saved."""
    path = block.get(SAVED_AS, as_table(block.get("resource")).get(SAVED_AS))
    return None if path is None else str(path)


def _size(data: str) -> str:
    count = len(data) * 3 // 4 - data[-2:].count("=")
    return f"{count} bytes" if count < 10_000 else f"{count // 1000} kB"


# Markdown


def _markdown(result: Json) -> str:
    blocks = blocks_of(result)
    if not blocks and (structured := result.get("structuredContent")) is not None:
        return _fenced(_dumped(structured), "json")
    parts = [_markdown_block(block) for block in blocks]
    if "messages" in result:
        parts = [f"**{role}**\n\n{part}" for role, part in zip(_roles(result), parts, strict=True)]
    return "\n\n".join(parts)


def _markdown_block(block: Json) -> str:
    kind, resource = kind_of(block), as_table(block.get("resource"))
    if (path := path_of(block)) is not None:
        name = str(resource.get("uri") or kind)
        return f"{'!' if kind == 'image' else ''}[{_plain(name)}]({_address(path)})"
    match kind:
        case "text":
            return _markdown_resource(resource) if resource else _markdown_text(str(block.get("text", "")))
        case "resource_link":
            name, description = (
                str(block.get("title") or block.get("name") or block.get("uri")),
                block.get("description"),
            )
            link = f"[{_plain(name)}]({_address(str(block.get('uri', '')))})"
            return f"{link}: {description}" if description else link
        case _:
            return f"*({_plain(words_of(block)[1:-1])})*"


def _markdown_text(text: str) -> str:
    table = _json_table(text)
    return text if table is None else _fenced(_dumped(table), "json")


def _markdown_resource(resource: Json) -> str:
    text, kind = str(resource.get("text", "")), str(resource.get("mimeType") or "")
    if kind == "text/markdown":
        return text
    language = kind.rpartition("/")[2].removeprefix("x-").partition("+")[0].partition(";")[0]
    return f"`{resource.get('uri')}`\n\n{_fenced(text, '' if language == 'plain' else language)}"


def _fenced(text: str, language: str) -> str:
    """The text as a block of code; the fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    return re.sub(r"([\[\]*_`<&\\])", r"\\\1", " ".join(text.split()))


def _address(address: str) -> str:
    address = " ".join(address.split()).translate(_ENCODED)
    return f"<{address}>" if re.search(r"[ ()]", address) else address


def _tables(values: object) -> list[Json]:
    return [as_table(value) for value in as_list(values)]

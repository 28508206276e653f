"""What a model is shown, and what arrives at the server and comes back."""

from __future__ import annotations

import json
import re
from typing import Any

from subject import Way
from trial import Seen, Trial, number_in, outcome, said, words_of


async def all_pages(trial: Trial, way: Way) -> Seen:
    """All three pages of a listing are read."""
    async with way([trial.unruly("--pages", "3")]) as subject:
        names = await subject.tools()
    pages = 1 + sum(name.endswith(("page1", "page2")) for name in names)
    return Seen(pages == 3, f"{pages} of 3 pages")


async def whole_schema(trial: Trial, way: Way) -> Seen:
    """The model sees the server's complete schema: every `$ref` resolves, and no constraint is lost."""
    async with way([trial.everything()]) as subject:
        order = dict(await outcome(subject.schema("order")))
        preferences = dict(await outcome(subject.schema("preferences")))
    text = json.dumps([order, preferences])
    dangling = "#/$defs/" in text and "$defs" not in order
    lost = [word for word in ('"small"', '"large"', '"integer"') if word not in text]
    items = "customer" in text and '"items"' in text and '"name"' in text
    words = "a `$ref` into `$defs` that are missing" if dangling else f"lost: {', '.join(lost)}" if lost else ""
    return Seen(not words and items, words or ("whole" if items else "nested properties are lost"))


async def names_never_collide(trial: Trial, way: Way) -> Seen:
    """If two servers have tools with the same names, all of them can be called."""
    async with way([trial.unruly(name="first"), trial.unruly(name="second")]) as subject:
        names = await subject.tools()
        mine = sorted(name for name in names if name.endswith("pid"))
        if len(set(mine)) < 2:
            return Seen(False, f"offered: {', '.join(mine)}")
        pids = {number_in(await subject.call(name)) for name in mine}
    return Seen(len(pids) == 2, ", ".join(mine))


async def odd_names_do_no_harm(trial: Trial, way: Way) -> Seen:
    """A tool whose name model APIs reject (`odd.name/with:colons`, 80 letters) is renamed and can be called."""
    async with way([trial.everything()]) as subject:
        names = await outcome(subject.tools())
        if isinstance(names, BaseException):
            return Seen(False, said(names))
        valid = all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
        odd = [name for name in names if name.startswith(("odd", "everything_odd"))]
        answer = await outcome(subject.call(odd[0])) if odd else "left out"
    return Seen(valid and "odd" in getattr(answer, "text", ""), f"offered as {odd[0]}" if odd else "left out")


ARGUMENTS: dict[str, Any] = {
    "config": {"x": [1, None]},
    "runtime": "r",
    "name": "n",
    "with space": True,
}


async def arguments_arrive(trial: Trial, way: Way) -> Seen:
    """Arguments reach the server unchanged, regardless of their names (`config`, `runtime`, `with space`)."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("free_form", ARGUMENTS))
    if isinstance(answer, BaseException) or answer.is_error:
        return Seen(False, words_of(answer))
    echoed = re.search(r"\{.*\}", answer.text)
    arrived = json.loads(echoed[0]) if echoed else {}
    lost = [name for name in ARGUMENTS if arrived.get(name) != ARGUMENTS[name]]
    return Seen(arrived == ARGUMENTS, f"lost: {', '.join(lost)}" if lost else words_of(answer))


async def left_out_stays_out(trial: Trial, way: Way) -> Seen:
    """An optional argument that the model omits is not sent, not even as `null`."""
    async with way([trial.rig()]) as subject:
        answer = await outcome(subject.call("count"), 3)
    if trial.logged("run count None"):
        return Seen(False, "sent as `null`")
    return Seen(number_in(answer) == "1", words_of(answer))


PNG_START = "iVBORw0KGgo"


async def images_arrive(trial: Trial, way: Way) -> Seen:
    """An image reaches the framework as an image, not as base64 text in the prompt."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("picture"))
    if isinstance(answer, BaseException):
        return Seen(False, said(answer))
    if PNG_START in answer.text:
        return Seen(False, "as base64 in the text")
    return Seen(answer.images == 1 and "One pixel" in answer.text, f"{answer.images} image, and its text")


async def other_content_is_no_error(trial: Trial, way: Way) -> Seen:
    """A result with audio, embedded resources and a link is not an error, and no part is dropped silently."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("media"))
    if isinstance(answer, BaseException) or answer.is_error:
        return Seen(False, words_of(answer))
    return Seen("a text" in answer.text or "[resource]" in answer.text, words_of(answer))


async def tool_errors_are_told(trial: Trial, way: Way) -> Seen:
    """A tool's error reaches the model as an error, with the tool's text."""
    async with way([trial.everything()]) as subject:
        answer = await outcome(subject.call("fail", {"why": "no luck"}))
    if isinstance(answer, BaseException):
        return Seen(False, f"raised: {said(answer)}")
    words = words_of(answer) if answer.is_error else f"marked as success: {words_of(answer)}"
    return Seen("no luck" in answer.text and answer.is_error, words)


async def text_is_text(trial: Trial, way: Way) -> Seen:
    """The model sees exactly the text that a tool returns."""
    async with way([trial.unruly()]) as subject:
        answer = await subject.call("echo", {"text": "on"})
    return Seen(answer.text == "on", answer.text)


async def listing_is_free(trial: Trial, way: Way) -> Seen:
    """If the framework lists the tools at each step, the server is only asked after a change."""
    if not trial.driver.lists_at_each_step:
        return Seen("not offered", "its agents get a list once")
    async with way([trial.everything()]) as subject:
        first = int(number_in(await subject.call("listed")))
        for _ in range(5):
            await subject.tools()
        more = int(number_in(await subject.call("listed"))) - first
    return Seen(more <= 1, f"5 steps: asked {more} times")

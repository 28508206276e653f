"""The gateway's page as a person sees and uses it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio
import pytest
import pytest_asyncio
from anyio import to_thread
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, expect
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from tests.cli.conftest import Command, everything
from tests.conftest import MARK, SERVERS, TOKEN, eventually
from tests.daily import daily
from tests.gateway.page.conftest import Opened, PageServing, chromium, command, opened
from tests.serving.authorized import issuing

from jackfield import HttpConfig, MCPClientSessionManager, Session, SessionConfig

__all__ = ["chromium", "command"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKS = [(1280, False), (390, True), (390, False), (1280, True)]
"""Widths, and whether the person prefers dark pages."""
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe\u202c \x1b[31mred\x1b[0m 🦊 " + "long" * 60
SECRET = "sk-very-secret-0123456789"


def hostile_entry(log: Path) -> dict[str, Any]:
    tools = [
        {
            "name": HOSTILE,
            "description": f"{HOSTILE}</td><script>alert(2)</script>",
            "inputSchema": {"type": "object", "properties": {HOSTILE: {"type": "string", "description": HOSTILE}}},
        }
    ]
    answer = {"content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}], "isError": True}
    results = {"tools/list": {"tools": tools}, "tools/call": answer}
    options = ["stdio", "--era", "handshake", "--results", json.dumps(results), "--log", str(log)]
    return {"command": sys.executable, "args": ["-S", str(SERVERS / "scripted.py"), *options], "env": {MARK: TOKEN}}


@pytest.fixture(scope="module")
def serving(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServing]:
    broken = "import sys; print('no database at <b>here</b>', file=sys.stderr); sys.exit(3)"
    command.configure_user(
        everything=everything(env={MARK: TOKEN, "API_KEY": SECRET}),
        older=everything(protocol="handshake"),
        broken={"command": sys.executable, "args": ["-S", "-c", broken], "env": {MARK: TOKEN}},
        **{HOSTILE[:60]: hostile_entry(tmp_path_factory.mktemp("hostile") / "log")},
    )
    gateway = PageServing(command)
    yield gateway
    gateway.end()


@asynccontextmanager
async def client(serving: PageServing) -> AsyncIterator[Session]:
    """A host program."""
    config = HttpConfig(
        server_name="gateway", url=serving.url, protocol="handshake", session=SessionConfig(timeout=30, call_timeout=30)
    )
    async with MCPClientSessionManager().open_session(config) as session:
        yield session


async def call(session: Session, tool: str, **arguments: Any) -> str:
    return (await session.call_tool("call_tool", {"tool": tool, "arguments": arguments})).text


async def confirm(tab: Opened, button: str) -> str:
    """Do what a button does, with the question that it asks."""
    await tab.tab.get_by_role("main").get_by_role("button", name=button, exact=True).click()
    dialog = tab.tab.get_by_role("dialog")
    text = await dialog.inner_text()
    await dialog.locator("#question-yes").click()
    return text


async def close_all(tab: Opened, server: str) -> None:
    """Close what the page itself has opened."""
    await tab.show("server", server)
    await confirm(tab, "Close sessions")
    await expect(tab.tab.locator("#outcome")).to_contain_text("closed")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def signed_in(chromium: Browser, serving: PageServing) -> AsyncIterator[Opened]:
    """The page, opened by the link as the person does who started the gateway. Each test has it to itself."""
    link = serving.link()
    async with opened(chromium, link) as tab:
        await expect(tab.tab.locator("#connection")).to_have_text("Live")
        assert tab.tab.url == f"{serving.page}#/servers"
        assert await tab.context.cookies() == []
        async with opened(chromium, link, problems=["403"]) as second:
            # It is valid once.
            await expect(second.tab.get_by_role("alert")).to_contain_text("no longer valid")
            await require_accessible(second, None)
            await second.tab.get_by_role("button", name="Print a new link").click()
            await expect(second.tab.locator(".ways")).to_contain_text("A new link is in the terminal")
        assert await to_thread.run_sync(eventually, lambda: len(serving.links) == 2)
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def tab(signed_in: Opened) -> AsyncIterator[Opened]:
    """The page as it is at the beginning of each test."""
    await signed_in.look(1280, dark=False)
    await signed_in.show("servers")
    await expect(signed_in.tab.locator("main h2")).to_have_text("Servers")
    yield signed_in
    assert signed_in.problems == []


async def test_what_happens_is_seen_within_two_seconds(
    tab: Opened, serving: PageServing, tmp_path: Path, own_clock: Callable[[], float]
) -> None:
    async with client(serving) as session:
        row = tab.tab.get_by_role("row").filter(has_text="everything")
        await expect(row).to_contain_text("idle")
        assert await call(session, "everything.echo", text="a") == "a"
        await expect(row).to_contain_text("open")
        await expect(row).to_contain_text(" ms")
        delays: list[float] = []
        for count in (2, 3, 4):
            await call(session, "everything.echo", text="a")
            ended_at = own_clock()
            await expect(row.get_by_role("cell").nth(4)).to_have_text(str(count))
            delays.append(own_clock() - ended_at)
        # A busy machine makes some of them longer.
        assert min(delays) < 2
        await tab.show("calls")
        log = tmp_path / "log"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(session, "everything.slow", seconds=60, log=str(log)))
            live = tab.tab.get_by_role("table", name="Running calls").get_by_role("row").filter(has_text="slow")
            await expect(live).to_have_count(1)
            await expect(live).to_contain_text("jackfield")
            tasks.cancel_scope.cancel()
        await expect(live).to_have_count(0)
        ended = tab.tab.get_by_role("table", name="Completed calls").get_by_role("row")
        await expect(ended.filter(has_text="slow")).to_contain_text("cancelled")
        assert "on purpose" in await call(session, "everything.fail")
        await expect(ended.filter(has_text="fail")).to_contain_text("error")
        assert "exited with code 3" in await call(session, "broken.any")
        await tab.show("servers")
        await expect(tab.tab.get_by_role("row").filter(has_text="broken")).to_contain_text("exit")
        await tab.tab.get_by_role("link", name="broken").click()
        await expect(tab.tab.get_by_label("Last output on stderr")).to_contain_text("no database at <b>here</b>")
        await tab.show("tools")
        await expect(tab.tab.get_by_role("img", name="in the last hour").first).to_be_visible()
        await tab.show("events")
        await expect(tab.tab.get_by_role("table", name="Errors")).to_contain_text("fail")
        await expect(tab.tab.get_by_role("table", name="Losses and recoveries")).to_contain_text("not opened")


async def test_each_action_asks_once(tab: Opened, serving: PageServing) -> None:
    async with client(serving) as session:
        outcome = tab.tab.locator("#outcome")
        assert [await call(session, "everything.count") for _ in range(2)] == ["1", "2"]
        await tab.show("server", "everything")
        # A no is a no.
        await tab.tab.get_by_role("button", name="Restart").click()
        await tab.tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await expect(tab.tab.get_by_role("dialog")).to_have_count(0)
        assert await call(session, "everything.count") == "3"
        await expect(tab.tab.get_by_label("Server", exact=True)).to_contain_text("Sessions1")
        assert "1 session will be closed and reopened" in await confirm(tab, "Restart")
        await expect(outcome).to_have_text("everything: 1 session restarted.")
        assert "1" in await call(session, "everything.count")
        await confirm(tab, "Close sessions")
        await expect(outcome).to_have_text("everything: 1 session closed.")
        await expect(tab.tab.get_by_label("Server", exact=True)).to_contain_text("Sessions0")
        assert "1" in await call(session, "everything.count")
        await confirm(tab, "Refresh")
        await expect(outcome).to_contain_text("tools.")
        await confirm(tab, "Disable")
        await expect(outcome).to_have_text("everything is disabled.")
        await expect(tab.tab.get_by_label("Server", exact=True)).to_contain_text("disabled")
        assert "no tool" in (await call(session, "everything.count")).lower()
        await tab.tab.get_by_role("button", name="Enable").click()
        await expect(outcome).to_have_text("everything is enabled.")
        assert "1" in await call(session, "everything.count")
        # One session alone.
        await tab.show("sessions")
        await tab.tab.get_by_role("button", name="Close the session with everything").click()
        await tab.tab.get_by_role("dialog").locator("#question-yes").click()
        await expect(outcome).to_have_text("1 session closed.")
        await expect(tab.tab.get_by_role("table", name="Sessions with servers")).to_have_count(0)


async def test_a_tool_is_tried(tab: Opened) -> None:
    answer, go = (
        tab.tab.get_by_role("region", name="Result"),
        tab.tab.get_by_role("button", name="Call", exact=True),
    )
    await tab.show("server", "everything")
    await tab.tab.get_by_role("link", name="add", exact=True).click()
    await tab.tab.get_by_role("spinbutton", name="a").fill("2")
    await go.click()
    await expect(answer).to_contain_text("is required")
    await tab.tab.get_by_role("spinbutton", name="b").fill("40")
    await go.click()
    await expect(answer).to_contain_text("42")
    await expect(answer).to_contain_text("ok")
    await tab.show("try", "everything", "picture")
    await go.click()
    picture = answer.get_by_role("img", name="Image from picture")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("picture => picture.naturalWidth") == 1
    await tab.show("try", "everything", "order")
    await tab.tab.get_by_label("customer").fill("Ada")
    await tab.tab.get_by_label("items").fill('[{"name": "tea", "size": "large"}]')
    await tab.tab.get_by_label("express").select_option("yes")
    await go.click()
    await expect(answer).to_contain_text("Ada: tea (express)")
    await tab.show("try", "older", "ask_user")
    await go.click()
    await tab.tab.get_by_label("name").fill("Grace")
    await tab.tab.get_by_role("button", name="Answer").click()
    await expect(answer).to_contain_text("accept: Grace")
    await close_all(tab, "everything")


async def test_a_transcript_without_secrets(tab: Opened, serving: PageServing) -> None:
    async with client(serving) as session:
        await call(session, "everything.echo", text="before")
        await tab.show("sessions")
        await tab.tab.get_by_role("table", name="Sessions with servers").get_by_role("link", name="everything").click()
        await tab.tab.get_by_role("button", name="Start the transcript").click()
        await expect(tab.tab.get_by_role("button", name="Stop the transcript")).to_be_visible()
        await call(session, "everything.echo", text=f"a <b>text</b> with {SECRET} and --password hunter22")
        trace = tab.tab.locator(".trace")
        await expect(trace).to_contain_text("result of tools/call")
        for message in await trace.locator("summary").all():
            await message.click()
        shown = await trace.inner_text()
        assert "a <b>text</b> with **********" in shown
        assert not any(secret in shown for secret in (SECRET, "hunter22", "before"))
        await tab.tab.get_by_role("button", name="Stop the transcript").click()
        await expect(trace).to_be_hidden()


async def test_hostile_names_are_text(tab: Opened, serving: PageServing) -> None:
    async with client(serving) as session:
        server = HOSTILE[:60]
        await call(session, f"{server}.{HOSTILE}", **{HOSTILE: HOSTILE})
        await tab.show("server", server)
        await tab.tab.get_by_role("main").get_by_role("link").first.click()
        await tab.tab.get_by_role("textbox").fill("a")
        await tab.tab.get_by_role("button", name="Call", exact=True).click()
        await expect(tab.tab.get_by_role("region", name="Result")).to_contain_text("<img src=x onerror=alert(1)>")
        for view in (
            ["try", server, HOSTILE],
            ["servers"],
            ["sessions"],
            ["calls"],
            ["tools"],
            ["events"],
            ["server", server],
        ):
            await tab.show(*view)
            await expect(tab.tab.locator("main")).to_contain_text("<img src=x onerror=alert(1)>\\u{202e}")
            shown = await tab.text()
            assert not any(char in shown for char in "\u202e\u202c\x1b"), view
            assert await tab.tab.locator("main img, main script").count() == 0
            assert await tab.overflow() == [], view


@pytest.mark.parametrize(("width", "dark"), daily(LOOKS[:2], whole=LOOKS))
async def test_it_looks_right_everywhere(width: int, dark: bool, tab: Opened, serving: PageServing) -> None:
    async with client(serving) as session:
        await tab.look(width, dark=dark)
        await call(session, "everything.echo", text="a")
        for view in VIEWS:
            await tab.show(*view)
            await expect(tab.tab.locator("main h2")).to_be_visible()
            if view[0] == "try":
                await expect(tab.tab.get_by_role("button", name="Call", exact=True)).to_be_visible()
            assert await tab.overflow() == [], view
            # Rules about structure are the same in all four.
            await require_accessible(tab, None if (width, dark) == LOOKS[0] else ["color-contrast", "target-size"])


VIEWS = [
    ["servers"],
    ["sessions"],
    ["calls"],
    ["tools"],
    ["events"],
    ["server", "everything"],
    ["try", "everything", "order"],
]


async def require_accessible(tab: Opened, rules: list[str] | None) -> None:
    if not await tab.tab.evaluate("typeof axe === 'object'"):
        # As the browser's own tools do it: the page itself takes no scripts of others.
        await tab.tab.evaluate(AXE_SCRIPT)
    options = {} if rules is None else {"runOnly": {"type": "rule", "values": rules}}
    found = await tab.tab.evaluate("options => axe.run(document, options)", options)
    assert [(one["id"], one["help"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []


async def test_by_keyboard_alone(tab: Opened, serving: PageServing) -> None:
    async with client(serving) as session:
        await call(session, "everything.echo", text="a")
        await tab.tab.reload()
        press = tab.tab.keyboard.press
        focused = "document.activeElement.textContent.trim()"
        await press("Tab")
        assert await tab.tab.evaluate(focused) == "Skip to content"
        await press("Enter")
        assert await tab.tab.evaluate("document.activeElement.id") == "content"
        while await tab.tab.evaluate(focused) != "everything":
            await press("Tab")
        await press("Enter")
        await expect(tab.tab.locator("h2:focus")).to_have_text("Server everything")
        while await tab.tab.evaluate(focused) != "Restart":
            await press("Tab")
        await expect(tab.tab.get_by_label("Server", exact=True)).to_contain_text("Stateopen")
        await expect(tab.tab.get_by_label("Server", exact=True)).not_to_contain_text("Calls0")
        about = await tab.text("dl")
        before = int(re.findall(r"(\d+), \d+ failed", about)[0])
        # What is renewed twice a second takes no focus away.
        await call(session, "everything.echo", text="b")
        await expect(tab.tab.get_by_label("Server", exact=True)).to_contain_text(f"Calls{before + 1}, ")
        assert await tab.tab.evaluate(focused) == "Restart"
        await press("Enter")
        await expect(tab.tab.get_by_role("dialog")).to_be_visible()
        assert await tab.tab.evaluate(focused) == "Cancel"
        await press("Escape")
        await expect(tab.tab.get_by_role("dialog")).to_have_count(0)
        assert await tab.tab.evaluate(focused) == "Restart"


async def test_signed_out(chromium: Browser, serving: PageServing) -> None:
    async with opened(chromium, serving.link(), problems=["401"]) as tab:
        await tab.tab.get_by_role("button", name="Sign out").click()
        await expect(tab.tab.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await tab.tab.evaluate("sessionStorage.getItem('jackfield.token')") is None
        await tab.tab.evaluate("sessionStorage.setItem('jackfield.token', 'guessed')")
        await tab.tab.reload()
        await expect(tab.tab.get_by_role("alert")).to_contain_text("Sign in again")


async def test_signing_in_at_the_authorization_server(chromium: Browser, tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.configure_user(everything=everything())
    scope, begun = "admin servers:*", list[dict[str, str]]()
    async with issuing() as issuer:

        async def authorize(request: Request) -> Response:
            begun.append(dict(request.query_params))
            back = urlencode({"code": "once", "state": begun[-1]["state"], "iss": issuer.url})
            return RedirectResponse(f"{begun[-1]['redirect_uri']}?{back}", 303)

        async def give_token(request: Request) -> Response:
            form, asked = dict(parse_qsl((await request.body()).decode())), begun[-1]
            digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            same = {key: form[key] for key in ("client_id", "redirect_uri", "resource")}
            if digest.decode().rstrip("=") != asked["code_challenge"] or not same.items() <= asked.items():
                return JSONResponse({"error": "invalid_grant"}, 400)
            token = issuer.token("ann", aud=form["resource"], scope=scope)
            return JSONResponse({"access_token": token, "token_type": "Bearer"})

        issuer.metadata = {name: f"{issuer.url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
        issuer.answers = {"/authorization_endpoint": authorize, "/token_endpoint": give_token}
        options = ["--auth-issuer", issuer.url, "--audience", "urn:gateway", "--web-client-id", "page"]
        gateway = await to_thread.run_sync(lambda: PageServing(command, *options))
        try:
            page_address = await to_thread.run_sync(gateway.link)
            async with opened(chromium, page_address) as tab:
                await tab.tab.get_by_role("button", name="Sign in with your account").click()
                await expect(tab.tab.locator("#connection")).to_have_text("Live")
                assert tab.tab.url == f"{page_address}#/servers"
                assert (begun[-1]["scope"], begun[-1]["code_challenge_method"]) == (scope, "S256")
                # What another tab began, or nobody, ends here with nothing.
                for back in ("code=once&state=guessed", f"code=once&state={begun[-1]['state']}"):
                    answer = await tab.context.request.get(f"{page_address}page/signed-in?{back}", max_redirects=0)
                    assert (answer.status, "failed=" in answer.headers["location"]) == (303, True)
                scope = "servers:*"
                await tab.tab.get_by_role("button", name="Sign out").click()
                await tab.tab.get_by_role("button", name="Sign in with your account").click()
                await expect(tab.tab.get_by_role("alert")).to_contain_text("requires the scope admin")
        finally:
            await to_thread.run_sync(gateway.end)

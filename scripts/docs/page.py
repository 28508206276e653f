"""Takes the pictures of the gateway's page in docs/images/page: a gateway with three users and five servers.

The last hour is made up; everything else that the pictures show has happened.

Run: python -m scripts.docs.page
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright
from scripts.docs.recording import IMAGES, ROOT

from jackfield import Catalog, MCPClientSessionManager, MCPConfig
from jackfield.auth.tokens import BearerFile
from jackfield.gateway.activity import Activity
from jackfield.gateway.gateway import Gateway
from jackfield.gateway.http import listen, serve_http
from jackfield.gateway.http_settings import HttpSettings
from jackfield.gateway.web.settings import WebSettings

FOLDER = IMAGES / "page"
SERVERS = ROOT / "examples" / "research_assistant" / "servers"
USERS = {"ann": "Claude Code", "bob": "VS Code", "carol": "research agent"}
COLORS = 128
CHARTS = '''
import math
from io import BytesIO
from mcp.server.mcpserver import Image, MCPServer
from mcp.types import ToolAnnotations
from PIL import Image as Picture, ImageDraw

server = MCPServer("charts")

@server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
def bar_chart(title: str, values: list[float], color: str = "#0b6e7f", grid: bool = True) -> list:
    """Draw a bar chart, as a PNG."""
    picture = Picture.new("RGB", (560, 240), "white")
    draw = ImageDraw.Draw(picture)
    for line in range(5 if grid else 0):
        draw.line((30, 20 + 45 * line, 540, 20 + 45 * line), fill="#dde3e6")
    width = 510 / max(1, len(values))
    for number, value in enumerate(values):
        top = 200 - 180 * value / max(values)
        draw.rectangle((34 + width * number, top, 26 + width * (number + 1), 200), fill=color)
    data = BytesIO()
    picture.save(data, "PNG")
    return [f"{title}: {len(values)} bars", Image(data=data.getvalue(), format="png")]

server.run("stdio")
'''


def token_of(user: str) -> str:
    return f"{user}-of-the-example-0123456789"


def write_users(file: Path) -> None:
    """Carol may see the page."""
    rows = [
        f'[[tokens]]\nsubject = "{user}"\ntoken = "{token_of(user)}"\n'
        f"scopes = {json.dumps(['servers:*', *(['admin'] if user == 'carol' else [])])}\n"
        for user in USERS
    ]
    file.write_text("\n".join(rows))
    file.chmod(0o600)


def configured(folder: Path) -> MCPConfig:
    (folder / "charts.py").write_text(CHARTS)
    program = {name: str(SERVERS / f"{name}_server.py") for name in ("notes", "arxiv", "wikipedia")}
    missing = "import sys; sys.exit('inventory: cannot connect to db.internal:5432: connection refused')"
    return MCPConfig.model_validate(
        {
            "servers": [
                {"transport": "stdio", "server_name": name, "command": sys.executable, "args": args}
                for name, args in {
                    "notes": [program["notes"], "stdio"],
                    "papers": [program["arxiv"], "stdio"],
                    "wikipedia": [program["wikipedia"], "stdio"],
                    "charts": [str(folder / "charts.py")],
                    "inventory": ["-c", missing],
                }.items()
            ]
        }
    )


async def use(stack: AsyncExitStack, url: str, user: str) -> Client:
    """A host program of a user."""
    headers = {"Authorization": f"Bearer {token_of(user)}"}
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
    transport = streamable_http_client(url, http_client=http)
    info = Implementation(name=USERS[user], version="1.4")
    return await stack.enter_async_context(Client(transport, mode="legacy", client_info=info))


async def call(client: Client, tool: str, **arguments: object) -> None:
    await client.call_tool("call_tool", {"tool": tool, "arguments": arguments})


async def some_calls(clients: Sequence[Client]) -> None:
    ann, bob, carol = clients
    await call(ann, "papers.search_papers", query="reef ecology")
    await call(ann, "notes.open_notebook", name="reefs")
    await call(bob, "wikipedia.search_articles", query="coral")
    await call(bob, "charts.bar_chart", title="Papers by year", values=[3, 5, 4, 9, 12])
    await call(carol, "papers.search_papers", query="photosynthesis")
    await call(carol, "inventory.count", item="chairs")
    await call(carol, "papers.get_paper", paper_id="2611.00000")


def make_up_an_hour(activity: Activity) -> None:
    """Calls of the last hour, which nobody can wait for here."""
    chance, now = random.Random(7), time.time()
    usual = {("papers", "search_papers"): 140, ("wikipedia", "search_articles"): 85, ("charts", "bar_chart"): 30}
    for (server, tool), ms in usual.items():
        for minute in range(59, 0, -1):
            busy = 1.6 + math.sin(minute / 9)
            for _ in range(chance.randrange(2, 9)):
                took = ms * busy * chance.lognormvariate(0, 0.45)
                is_error = chance.random() < 0.01
                activity._tools.get(server, tool).totals.calls += 1
                activity._servers.get(server).totals.calls += 1
                for figures in (activity._tools.get(server, tool), activity._servers.get(server)):
                    figures.totals.errors += is_error
                    figures.add(now - 60 * minute, took, is_error)


async def pictures(browser: Browser, url: str) -> None:
    page_url = url.removesuffix("mcp")

    async def opened(view: str, *, dark: bool = False, width: int = 1280, height: int = 800) -> Page:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page = await context.new_page()
        await page.goto(page_url)
        await page.evaluate("token => sessionStorage.setItem('jackfield.token', token)", token_of("carol"))
        await page.goto(f"{page_url}#/{view}")
        await page.reload()
        await page.get_by_text("Live", exact=True).wait_for()
        await page.get_by_role("heading", level=2).wait_for()
        await asyncio.sleep(1.5)
        return page

    await save(await opened("servers"), "servers")
    await save(await opened("tools", dark=True), "tools")
    await save(await opened("servers", dark=True, width=390), "narrow")
    trial = await opened("try/charts/bar_chart", height=1040)
    await trial.get_by_label("title").fill("Papers by year")
    await trial.get_by_label("values").fill("[3, 5, 4, 9, 12, 11]")
    await trial.get_by_role("button", name="Call", exact=True).click()
    await trial.get_by_role("img", name="Image from").wait_for()
    await save(trial, "try")


async def save(page: Page, name: str) -> None:
    data = await page.screenshot()
    picture = Image.open(io.BytesIO(data)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    picture.save(FOLDER / f"{name}.png", optimize=True)
    await page.context.close()


async def main() -> None:
    """Take all of them."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    FOLDER.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["JACKFIELD_STATE_DIR"] = str(folder / "state")
        write_users(folder / "users.toml")
        settings = HttpSettings(auth=BearerFile(folder / "users.toml"), web=WebSettings(on_link=lambda link: None))
        manager = MCPClientSessionManager(configured(folder), catalog=Catalog(folder / "catalog"))
        await stack.enter_async_context(manager)
        await manager.refresh_catalog()
        gateway = await stack.enter_async_context(Gateway(manager))
        listener, url = listen("0", settings)
        listening = asyncio.Event()
        serving = asyncio.create_task(
            serve_http(gateway, listener, settings, on_listening=lambda page: listening.set())
        )
        await listening.wait()
        async with AsyncExitStack() as users:
            make_up_an_hour(gateway.activity)
            await some_calls([await use(users, url, user) for user in USERS])
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
                await pictures(browser, url)
                await browser.close()
        serving.cancel()
        await asyncio.wait([serving])


if __name__ == "__main__":
    asyncio.run(main())

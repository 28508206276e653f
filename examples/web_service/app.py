"""A web service in FastAPI whose users each have a session of their own with an MCP server.

Run in the clone: uvicorn --app-dir examples/web_service app:app --port 8080
Then: curl -X POST -H 'X-User: ada' 'http://127.0.0.1:8080/notes?text=Reefs%20are%20warm.'
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse

from jackfield import (
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    SessionConfig,
    StdioConfig,
)

notes = StdioConfig(
    server_name="notes",
    command="python3",
    args=["examples/research_assistant/servers/notes_server.py", "stdio"],
    session=SessionConfig(idle_timeout=600, call_timeout=20),
)
config = MCPConfig(servers=[notes])
manager = MCPClientSessionManager(config, max_sessions=100, acquire_timeout=10)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One manager for the whole service; its end closes all sessions."""
    async with manager:
        yield


app = FastAPI(lifespan=lifespan)


def user_of(x_user: Annotated[str | None, Header()] = None) -> str:
    """Replace it by your sign-in: a client must not be able to choose this."""
    if not x_user:
        raise HTTPException(401, "Who are you?")
    return x_user


User = Annotated[str, Depends(user_of)]


async def notes_of(user: User) -> AsyncIterator[Session]:
    """The user's session, kept between requests; their first one starts the server."""
    async with manager.open_session("notes", key=user) as session:
        # theirs, with what they noted before
        await session.call_tool("open_notebook", {"name": user})
        yield session


Notes = Annotated[Session, Depends(notes_of)]


@app.post("/notes")
async def add(text: str, session: Notes) -> dict[str, str]:
    """Add a note to the user's notebook."""
    result = await session.call_tool("add_note", {"text": text})
    return {"answer": result.raise_for_error().text}


@app.get("/notes")
async def summary(session: Notes) -> dict[str, str]:
    """What is in it."""
    result = await session.call_tool("notebook_summary")
    return {"answer": result.raise_for_error().text}


@app.delete("/notes")
async def leave(user: User) -> dict[str, str]:
    """Close the user's session; the server's process ends."""
    await manager.close_session("notes", user)
    return {}


@app.get("/health")
async def health() -> dict[str, int]:
    """How many sessions are open."""
    return {"sessions": len(manager.sessions())}


@app.exception_handler(JackfieldError)
async def failed(request: Request, error: JackfieldError) -> JSONResponse:
    """503 where it may work later, else 502; the code says what is wrong."""
    later = {"Retry-After": f"{error.retry_after:.0f}"} if error.retry_after else {}
    content = {"error": error.code, "message": str(error)}
    return JSONResponse(content, 503 if error.retryable else 502, later)

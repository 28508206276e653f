"""Shell: commands in a bash that lives as long as the session. Run: python shell_server.py [TRANSPORT] [--port N]

The working directory, variables, functions and background jobs last from call to call. It runs what it is told with
your rights: give it to agents that you trust, or in a container.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "research_assistant" / "servers"))

import anyio
from anyio.abc import Process
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from per_session import PerSession
from pydantic import BaseModel

from serving import run

# What a command writes beyond this is dropped from the middle; a model could not read it anyway.
MAX_OUTPUT_BYTES = 50_000


class Ran(BaseModel):
    output: str
    exit_code: int
    working_directory: str


class Shell:
    """A bash, started at its first command."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._one_at_a_time = anyio.Lock()

    async def run(self, command: str, timeout: float) -> Ran:
        """Run a command; what ends it before its time ends the bash as well, since its state is anybody's guess.

        Raises:
            ToolError: It took too long, or it ended the bash.
        """
        async with self._one_at_a_time:
            ran: Ran | None = None
            try:
                with anyio.fail_after(timeout):
                    ran = await self._run(command)
            except TimeoutError:
                raise ToolError(
                    f"The command did not end within {timeout:g} s, and was ended together with its shell: "
                    "directory and variables are gone. Start again from there, or give a longer timeout."
                ) from None
            finally:
                if ran is None:
                    await self.aclose()
            return ran

    async def _run(self, command: str) -> Ran:
        if self._process is None:
            # A group of its own, so that everything a command started can be ended.
            self._process = await anyio.open_process(
                ["bash", "--noprofile", "--norc"], stderr=subprocess.STDOUT, start_new_session=True
            )
        assert self._process.stdin
        assert self._process.stdout
        # Nobody can guess the token, so that no output looks like the end of a command.
        token = secrets.token_hex(8)
        script = f"eval {shlex.quote(command)} </dev/null; builtin printf '\\n%s %d %s\\n' {token} $? \"$PWD\"\n"
        end = re.compile(rb"\n%s (\d+) (.*)\n" % token.encode())
        output = b""
        try:
            await self._process.stdin.send(script.encode())
            while not (found := end.search(output)):
                output = _shortened(output + await self._process.stdout.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            code = await self._process.wait()
            raise ToolError(
                f"{_text(output)}\nThe command ended the shell with exit code {code}: directory and variables are "
                "gone. The next command starts a new one."
            ) from None
        return Ran(output=_text(output[: found.start()]), exit_code=int(found[1]), working_directory=_text(found[2]))

    async def aclose(self) -> None:
        """End the bash, and what it started in its group."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _shortened(output: bytes) -> bytes:
    half = MAX_OUTPUT_BYTES // 2
    if len(output) <= MAX_OUTPUT_BYTES + half:
        return output
    return output[:half] + b"\n[...]\n" + output[-half:]


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


shells = PerSession(Shell)
server = MCPServer(
    "Shell",
    instructions="One bash for the session: cd, export and functions last.",
    lifespan=shells.lifespan,
    log_level="WARNING",
)


@server.tool(annotations=ToolAnnotations(destructive_hint=True, open_world_hint=True))
async def run_command(command: str, ctx: Context, timeout: float = 60.0) -> Ran:
    """Run a command in this session's bash; its directory, variables and functions last until the session ends.

    Args:
        command: What bash shall do. It has no input to read from.
        timeout: Seconds after which it is ended.
    """
    return await shells.of(ctx).run(command, timeout)


if __name__ == "__main__":
    run(server, "stdio")

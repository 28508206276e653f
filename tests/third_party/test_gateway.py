"""The gateway in front of clients that nobody here wrote."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.conftest import eventually
from tests.gateway.conftest import Serving, behind, jackfield, serving, unruly_entry
from tests.third_party.conftest import HOME
from tests.third_party.test_servers import NODE_PATH

__all__ = ["jackfield", "serving"]

pytestmark = pytest.mark.third_party

SDK = HOME / "npm" / "node_modules" / "@modelcontextprotocol" / "sdk" / "dist" / "esm" / "client"

CLIENT = f"""
import {{ Client }} from '{SDK}/index.js';
import {{ StreamableHTTPClientTransport }} from '{SDK}/streamableHttp.js';
const client = new Client({{ name: 'host', version: '1' }});
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const count = async () => {{
  const result = await client.callTool({{ name: 'call_tool', arguments: {{ tool: 'one.count', arguments: {{}} }} }});
  return result.content[0].text;
}};
console.log(await count(), await count());
await new Promise((go) => process.stdin.once('data', go));
console.log(await count());
if (process.argv[3] === 'close') await client.close();
process.exit(0);
"""


@pytest.mark.parametrize("how", ["close", "exit"])
def test_a_typescript_client_that_says_no_goodbye_leaves_nothing(
    how: str, serving: Callable[..., Serving], jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry())
    gateway = serving("--reconnect-timeout", "0.2")
    program = tmp_path / "client.mjs"
    program.write_text(CLIENT)
    with subprocess.Popen(
        ["node", str(program), gateway.url, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": NODE_PATH},
    ) as client:
        assert client.stdout
        assert client.stdout.readline() == "1 2\n"
        assert len(behind()) == 1
        assert client.communicate("go\n", timeout=30)[0] == "3\n"
    assert eventually(lambda: behind() == [], 20)

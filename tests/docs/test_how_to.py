"""What the how-to pages and the glossary say of errors, containers and other systems is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, PAGES, ROOT, blocks_of, write_files
from tests.docs.test_commands import commands_of, on_a_terminal

import jackfield
from jackfield import JackfieldError, MCPConfig, StdioConfig

HOW_TO = DOCS / "how-to"


def test_each_error_code_is_in_troubleshooting() -> None:
    section = (HOW_TO / "troubleshooting.md").read_text().partition("## By error code\n")[2].partition("\n## ")[0]
    errors = [error for name in jackfield.__all__ if isinstance(error := getattr(jackfield, name), type)]
    codes = {error.code for error in errors if issubclass(error, JackfieldError)} - {JackfieldError.code}
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(codes)


def test_doctor_says_why_a_server_does_not_start(reader: Path) -> None:
    page = HOW_TO / "troubleshooting.md"
    write_files(page, reader)
    [block] = [block for block in blocks_of(page) if block.title == "doctor"]
    [command] = commands_of(block)
    printed = "\n".join(line.rstrip() for line in on_a_terminal(command.text).strip().splitlines())
    pattern = ".*".join(re.escape(part) for part in "\n".join(command.output).strip().split("..."))
    assert re.fullmatch(pattern, printed, re.DOTALL), printed


def test_a_server_in_a_container() -> None:
    [entry] = [block for block in blocks_of(HOW_TO / "containers.md") if block.title == "mcp.json"]
    [server] = MCPConfig.from_dict(json.loads(entry.text)).servers
    assert isinstance(server, StdioConfig)
    assert server.args[:2] == ["run", "-i"]
    assert server.session.timeout == 120


def test_the_image_of_a_program_is_built_as_that_of_the_gateway() -> None:
    [ours] = [block for block in blocks_of(HOW_TO / "containers.md") if block.title == "Dockerfile"]
    gateway = (ROOT / "examples" / "deploy" / "Dockerfile").read_text()
    assert "COPY jackfield-*.whl /tmp/\n" in ours.text
    assert "COPY jackfield-*.whl /tmp/\n" in gateway
    assert 'CMD ["python", "agent.py"]' in ours.text


def test_glossary_is_in_order() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "explanation" / "glossary.md").read_text(), re.MULTILINE)
    assert len(words) > 25
    assert words == sorted(words, key=str.lower)


def test_titles_have_the_words_that_people_search_for() -> None:
    titles = "\n".join(page.read_text().partition("\n")[0].lower() for page in PAGES)
    words = ("gateway", "proxy", "connection pool", "tool search", "oauth", "fastapi", "docker", "troubleshooting")
    assert [word for word in words if word not in titles] == []


FRAMEWORKS = ("autogen", "langchain", "ag2", "openai-agents", "pydantic-ai", "smolagents", "other-frameworks")
MODEL_APIS = ("openai-api", "anthropic-api", "gemini-api")


@pytest.mark.parametrize("name", [*FRAMEWORKS, *MODEL_APIS])
def test_a_page_of_a_framework_begins_with_a_file_of_several_servers(name: str) -> None:
    file, program, *_ = blocks_of(HOW_TO / f"{name}.md")
    assert file.title == "mcp.json"
    assert len(json.loads(file.text)["mcpServers"]) > 2
    assert '"mcp.json"' in program.text
    assert name == "other-frameworks" or re.search(r"reads `[A-Z]+_API_KEY`", (HOW_TO / f"{name}.md").read_text())

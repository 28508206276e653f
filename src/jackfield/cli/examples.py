"""The examples in the help of each command; `tests/cli/test_examples.py` runs them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "list": ("jackfield list", "jackfield list arxiv --live", "jackfield list server.py"),
    "find": ("jackfield find open an issue", "jackfield find read paper --server arxiv --limit 1"),
    "show": ("jackfield show arxiv", "jackfield show arxiv.get_paper --schema"),
    "call": (
        "jackfield call arxiv.search_papers query='coral reefs' limit=3",
        """jackfield call 'arxiv.search_papers(query: "coral reefs", limit: 3)' --json""",
        "jackfield call --stdio 'python3 server.py' add_item title='Buy milk'",
    ),
    "search": ("jackfield search github", "jackfield search weather forecast --json"),
    "add": ("jackfield add io.github.ada/weather", "jackfield add io.github.ada/weather --by pypi --yes"),
    "read": ("jackfield read arxiv", "jackfield read arxiv arxiv://categories"),
    "prompt": ("jackfield prompt arxiv", "jackfield prompt arxiv compare_papers first_id=1 second_id=2"),
    "open": ("jackfield open browser", "jackfield open browser --key ada --idle 3600"),
    "close": ("jackfield close browser", "jackfield close --all"),
    "ps": ("jackfield ps", "jackfield ps --watch"),
    "top": ("jackfield top", "jackfield top --once --json"),
    "shell": ("jackfield shell", "printf '%s\\n' 'notes.list_notes' | jackfield shell"),
    "refresh": ("jackfield refresh", "jackfield refresh arxiv --accept"),
    "tokens": ("jackfield tokens", "jackfield tokens arxiv"),
    "doctor": ("jackfield doctor", "jackfield doctor server.py"),
    "lint": ("jackfield lint arxiv", "jackfield lint server.py --strict --json"),
    "bench": (
        "jackfield bench arxiv.search_papers query=coral --concurrency 10 --duration 2",
        "jackfield bench arxiv.search_papers query=coral --plot coral.svg",
        "jackfield bench --stdio 'python3 server.py' add a=1 b=2 --duration 1 --json",
    ),
    "generate python": (
        "jackfield generate python arxiv -o arxiv_client.py",
        "jackfield generate python arxiv --check arxiv_client.py",
    ),
    "generate cli": ("jackfield generate cli arxiv -o arxiv", "jackfield generate cli server.py -o todo"),
    "config path": ("jackfield config path", "jackfield config path --all"),
    "config check": ("jackfield config check", "jackfield config check --config mcp.json"),
    "config explain": ("jackfield config explain arxiv", "jackfield config explain arxiv --json"),
    "config trust": ("jackfield config trust", "jackfield config trust arxiv --yes"),
    "config import": ("jackfield config import", "jackfield config import --from cursor"),
    "config add": (
        "jackfield config add files -- npx -y @modelcontextprotocol/server-filesystem .",
        "jackfield config add crm --http https://crm.example/mcp --header 'Authorization: Bearer ${CRM_TOKEN}'",
    ),
    "config remove": ("jackfield config remove files", "jackfield config remove files --project"),
    "config export": ("jackfield config export codex files", "jackfield config export vs-code files --project --yes"),
    "install": ("jackfield install claude-code", "jackfield install cursor --yes"),
    "uninstall": ("jackfield uninstall claude-code", "jackfield uninstall cursor --yes"),
    "auth": ("jackfield auth crm", "jackfield auth --status"),
    "serve": ("jackfield serve --stdio", "jackfield serve --http 8000 --read-only"),
    "record": (
        "jackfield record arxiv -o trace.jsonl",
        "jackfield record 'python3 server.py' -o trace.jsonl --http 8000",
    ),
    "replay": ("jackfield replay trace.jsonl", "jackfield replay trace.jsonl --http 8000 --speed 1"),
    "serve-token add": (
        "jackfield serve-token add ada --token-file tokens.json",
        "jackfield serve-token add ci --server files --days 30 --token-file tokens.json",
    ),
    "serve-token list": (
        "jackfield serve-token list --token-file tokens.json",
        "jackfield serve-token list --token-file tokens.json --json",
    ),
    "serve-token remove": (
        "jackfield serve-token remove ada --token-file tokens.json",
        "jackfield serve-token remove ada --token-file tokens.json --quiet",
    ),
    "serving migrate": (
        "jackfield serving migrate --postgres postgresql://app@localhost/app",
        "jackfield serving migrate --print",
    ),
    "completion": ("source <(jackfield completion bash)", "jackfield completion fish | source"),
}
"""By command; of a group's commands, with the group's name before theirs."""


def shown(command: str) -> str | None:
    """The examples of a command as the last part of its help; `None` if there are none."""
    lines = EXAMPLES.get(command)
    # `\b`: as it is, without wrapping.
    return None if lines is None else "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

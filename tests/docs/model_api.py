"""The APIs of OpenAI, Anthropic and Google on loopback, with a model that follows a script.

The pages name the model clients of these vendors. Their packages really connect, to here: variables such as
`OPENAI_BASE_URL` are set where blocks of the pages run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Step = str | tuple[str, dict[str, Any]]
"""What a model says, or the tool that it calls."""

READER: list[tuple[str, Step]] = [
    ("What is in it?", ("notebook_summary", {})),
    ("notebook", ("open_notebook", {"name": "mine"})),
    ("reefs", ("search_papers", {"query": "reef", "limit": 1})),
    ("reefs", ("find_tools", {"queries": ["search papers"]})),
]
"""What the model does for a question that has these words, where a test gives it no script."""


class ModelApi:
    """One model behind all APIs. Who is asked is in its instructions, "You are the ..."."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Step]] = {}
        """What is left of each role's script; who has none reads `READER`, and `leader` is without instructions."""
        self.requests: list[dict[str, Any]] = []
        """Bodies of all requests."""
        self.answers: dict[str, list[str]] = {}
        """What tools answered in the last conversation of each role."""
        self._lock = threading.Lock()

    def play(self, **scripts: Sequence[Step]) -> None:
        """Give roles their scripts."""
        self.scripts = {role: list(steps) for role, steps in scripts.items()}

    def reply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        if path.endswith("/chat/completions"):
            return _chat_reply(body, self._step(_chat_texts(body["messages"]), body))
        if path.endswith("/responses"):
            return _responses_reply(body, self._step(_responses_texts(body), body))
        if path.endswith("/messages"):
            return _anthropic_reply(body, self._step(_anthropic_texts(body), body))
        assert path.partition("?")[0].endswith(":generateContent"), path
        return _gemini_reply(self._step(_gemini_texts(body), body))

    def _step(self, texts: tuple[str, str, list[str]], body: dict[str, Any]) -> Step:
        instructions, question, answers = texts
        with self._lock:
            self.requests.append(body)
            role = next((role for role in self.scripts if f"You are the {role}" in instructions), "leader")
            self.answers[role] = answers
            if self.scripts:
                return self.scripts[role].pop(0)
        offered = json.dumps(body.get("tools", []))
        for words, step in READER:
            if words in question and not answers and f'"{step[0]}"' in offered:
                return step
        saying = "Reefs are bleaching."
        return ("final_answer", {"answer": saying}) if '"final_answer"' in offered else saying


def _text(content: object) -> str:
    """The text of a message's content, of whichever API."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part.get("text", "") for part in parts if isinstance(part, dict))


def _chat_texts(messages: list[dict[str, Any]]) -> tuple[str, str, list[str]]:
    last = max((number for number, message in enumerate(messages) if message["role"] == "user"), default=0)
    texts = [_text(message.get("content")) for message in messages]
    # smolagents shows answers to models as messages of the user.
    answers = [
        text
        for message, text in zip(messages, texts, strict=True)
        if message["role"] == "tool" or text.startswith("Observation:")
    ]
    return _text(messages[0].get("content")), _text(messages[last].get("content")), answers


def _chat_reply(body: dict[str, Any], step: Step) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": step if isinstance(step, str) else None}
    if not isinstance(step, str):
        function = {"name": step[0], "arguments": json.dumps(step[1])}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop" if isinstance(step, str) else "tool_calls"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    name = f"{body['model']}-2025-08-07"  # the vendor's answer names the release
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": name,
        "choices": [choice],
        "usage": usage,
    }


def _responses_texts(body: dict[str, Any]) -> tuple[str, str, list[str]]:
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    questions = [_text(item["content"]) for item in items if item.get("role") == "user"]
    answers = [
        item["output"] if isinstance(item["output"], str) else _text(item["output"])
        for item in items
        if item.get("type") == "function_call_output"
    ]
    return body.get("instructions") or "", questions[-1], answers


def _responses_reply(body: dict[str, Any], step: Step) -> dict[str, Any]:
    if isinstance(step, str):
        content = [{"type": "output_text", "text": step, "annotations": []}]
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    else:
        call = {"call_id": "call_1", "name": step[0], "arguments": json.dumps(step[1])}
        item = {"type": "function_call", "id": "fc_1", "status": "completed", **call}
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": body["model"],
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def _anthropic_texts(body: dict[str, Any]) -> tuple[str, str, list[str]]:
    messages = body["messages"]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    answers = [_text(block["content"]) for block in blocks if block["type"] == "tool_result"]
    return _text(body.get("system")), _text(messages[0]["content"]), answers


def _anthropic_reply(body: dict[str, Any], step: Step) -> dict[str, Any]:
    is_text = isinstance(step, str)
    block = (
        {"type": "text", "text": step}
        if isinstance(step, str)
        else {"type": "tool_use", "id": "toolu_1", "name": step[0], "input": step[1]}
    )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": "end_turn" if is_text else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _gemini_texts(body: dict[str, Any]) -> tuple[str, str, list[str]]:
    parts = [part for content in body["contents"] for part in content["parts"]]
    answers = [json.dumps(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]
    return "", _text(body["contents"][0]["parts"]), answers


def _gemini_reply(step: Step) -> dict[str, Any]:
    part = {"text": step} if isinstance(step, str) else {"functionCall": {"name": step[0], "args": step[1]}}
    return {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]}


@contextmanager
def model_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelApi]:
    """Serve the APIs, and tell the vendors' packages by their environment variables."""
    api = ModelApi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: Mapping[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(api.reply(self.path, dict(body))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        for name, value in {
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            "GOOGLE_GEMINI_BASE_URL": url,
            "LANGSMITH_TRACING": "false",
            **dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "sk-of-a-test"),
        }.items():
            monkeypatch.setenv(name, value)
        try:
            yield api
        finally:
            server.shutdown()
            serving.join()

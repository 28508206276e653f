"""Writes `BlockingSession` from `Session`: the same methods and properties, each waiting for its result.

Run: python scripts/blocking_session.py
"""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

PACKAGE = Path(__file__).parents[1] / "src" / "jackfield"
SOURCES = [PACKAGE / "session" / name for name in ("facts.py", "session.py")]
TARGET = PACKAGE / "pool" / "blocking_session.py"

HEAD = '''"""`BlockingSession`: a session whose methods block. Written from `Session` by `scripts/blocking_session.py`.

Do not edit it: edit `Session`, and run the script.
"""

from __future__ import annotations
'''
CLASS = '''class BlockingSession(BlockingCalls):
    """A session whose methods block; see `Session` for what it is.

    Any thread may call it. Ctrl-C during a call cancels the call, also on the server.
    """
'''
LISTENER = "ProgressFnT | None"
WORDS = {"async with": "with", "async for": "for", "Awaited with": "Called with"}


def generated() -> str:
    """The text of the module, not yet formatted."""
    sources = [ast.parse(source.read_text()) for source in SOURCES]
    classes = [node for source in sources for node in source.body if isinstance(node, ast.ClassDef)]
    parts = [node for node in classes if node.name in ("SessionFacts", "Session")]
    methods = [_method(method) for part in parts for method in _public(part)]
    names = {node.id for method in methods for node in ast.walk(ast.parse(method)) if isinstance(node, ast.Name)}
    imports = "\n".join(sorted({line for source in sources for line in _imports(source, names)}))
    own = "from .blocking import BlockingCalls, ProgressListener"
    typing = "from contextlib import AbstractContextManager\nfrom collections.abc import Iterator"
    body = "\n".join(indent(method, "    ") for method in methods)
    head = f"{HEAD}\nfrom typing import TYPE_CHECKING, Any\n{own}\n\nif TYPE_CHECKING:\n"
    return f"{head}{indent(typing, '    ')}\n{indent(imports, '    ')}\n\n\n{CLASS}\n{body}"


def is_current() -> bool:
    """Whether the module has what would be written, however it is formatted."""
    return _members(TARGET.read_text()) == _members(generated())


def _members(text: str) -> list[str]:
    (found,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    for node in ast.walk(found):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = " ".join(node.value.split())
    return [ast.dump(node) for node in found.body]


def _public(session: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in session.body:
        is_method = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_method and not node.name.startswith("_"):
            yield node


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    docstring = ast.get_docstring(node) or ""
    for word, instead in WORDS.items():
        docstring = docstring.replace(word, instead)
    assert node.returns
    result, given = ast.unparse(node.returns), [arg.arg for arg in node.args.args[1:]]
    named = [f"{arg.arg}={arg.arg}" for arg in node.args.kwonlyargs]
    parameters = ast.unparse(node.args).replace(LISTENER, "ProgressListener | None")
    call = f"self._session.{node.name}({', '.join(given + named)})"
    listeners = [arg.arg for arg in node.args.kwonlyargs if arg.annotation and ast.unparse(arg.annotation) == LISTENER]
    if "property" in decorators:
        head, body = f"@property\ndef {node.name}(self) -> {result}:", f"return self._session.{node.name}"
    elif "asynccontextmanager" in decorators:
        values = result.removeprefix("AsyncGenerator[AsyncIterator[").removesuffix("]]")
        result = f"AbstractContextManager[Iterator[{values}]]"
        head, body = f"def {node.name}({parameters}) -> {result}:", f"return self._iterate({call})"
    elif listeners:
        (listener,) = listeners
        body = f"return self._call_reporting({listener}, lambda {listener}: {call})"
        head = f"def {node.name}({parameters}) -> {result}:"
    elif isinstance(node, ast.AsyncFunctionDef):
        function = f"lambda: {call}" if given or named else call.removesuffix("()")
        head, body = f"def {node.name}({parameters}) -> {result}:", f"return self._call({function})"
    else:
        head, body = f"def {node.name}({parameters}) -> {result}:", f"return {call}"
    first, *more = docstring.splitlines()
    text = "\n".join([first, *(indent(line, "    ") for line in more), *(["    "] if more else [])])
    return f'{head}\n    """{text}"""\n    {body}\n'


def _imports(source: ast.Module, names: set[str]) -> Iterator[str]:
    """The imports of what annotations name, as the other module has them."""
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "typing", "contextlib"):
            module = node.module if not node.level else f"{'.' * 2}{'session.' if node.level == 1 else ''}{node.module}"
            for alias in node.names:
                if alias.name in names and alias.name != "AsyncIterator":
                    yield f"from {module} import {alias.name}"


def main() -> None:
    TARGET.write_text(generated())
    if ruff := shutil.which("ruff"):
        for command in ("format", "check --fix", "format"):
            subprocess.run([ruff, *command.split(), "--quiet", TARGET], check=True)


if __name__ == "__main__":
    main()

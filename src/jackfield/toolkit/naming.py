"""Names that every model API accepts, unique across servers and stable between runs.

A tool keeps its own name unless two servers, or two tools, share it; then all of these are
prefixed by their server. Names are looked up, never parsed.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

MAX_NAME_CHARS = 64
VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_HASH_CHARS = 6


def clean(name: str) -> str:
    """The name with what model APIs do not take replaced by `_`; may be too long, never empty."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "_"


def assign_names(references: Sequence[tuple[str, str]]) -> list[str]:
    """Name each (server, tool), in the same order. Does not depend on the order.

    Args:
        references: Pairs of server and tool name, each pair once.
    """
    plain = [clean(tool) for _, tool in references]
    shared = Counter(plain)
    names = [
        name if shared[name] == 1 and len(name) <= MAX_NAME_CHARS else clean(f"{server}_{tool}")
        for name, (server, tool) in zip(plain, references, strict=True)
    ]
    shared = Counter(names)
    return [
        name if shared[name] == 1 and len(name) <= MAX_NAME_CHARS else _with_hash(name, reference)
        for name, reference in zip(names, references, strict=True)
    ]


def _with_hash(name: str, reference: tuple[str, str]) -> str:
    digest = hashlib.sha256("\0".join(reference).encode()).hexdigest()[:_HASH_CHARS]
    return f"{name[: MAX_NAME_CHARS - _HASH_CHARS - 1]}_{digest}"

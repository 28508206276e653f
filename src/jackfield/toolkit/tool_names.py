"""Names that every model API accepts, unique across servers and stable between runs.

A tool keeps its own name unless two servers, or two tools, share it; then all of these are
prefixed by their server. Names are looked up, never parsed.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence

MAX_NAME_CHARS = 64
VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_HASH_CHARS = 6


def clean(name: str) -> str:
    """The name with what model APIs do not take replaced by `_`; may be too long, never empty."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "_"


def assign_names(references: Sequence[tuple[str, str]], taken: Collection[str] = ()) -> list[str]:
    """Name each (server, tool), in the same order. Does not depend on the order.

    Args:
        references: Pairs of server and tool name; one that is there twice gets the same name twice.
        taken: Names that none of them may get.
    """

    def fits(name: str, shared: Counter[str]) -> bool:
        return shared[name] == 1 and name not in taken and len(name) <= MAX_NAME_CHARS

    plain = [clean(tool) for _, tool in references]
    shared = Counter(plain)
    names = [
        name if fits(name, shared) else clean(f"{server}_{tool}")
        for name, (server, tool) in zip(plain, references, strict=True)
    ]
    shared = Counter(names)
    chars = _HASH_CHARS
    while True:
        final = [
            name if fits(name, shared) else _with_hash(name, reference, chars)
            for name, reference in zip(names, references, strict=True)
        ]
        if len(set(final)) == len(set(references)) and not any(name in taken for name in final):
            return final
        chars += 1


def _with_hash(name: str, reference: tuple[str, str], chars: int) -> str:
    digest = hashlib.sha256("\0".join(reference).encode()).hexdigest()[:chars]
    return f"{name[: MAX_NAME_CHARS - chars - 1]}_{digest}"

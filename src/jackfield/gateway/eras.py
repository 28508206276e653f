"""What the two protocol eras write around the same parameters and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
)
from mcp.types.methods import CACHEABLE_METHODS
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ..plain import as_table

_ENVELOPE_KEYS = (PROTOCOL_VERSION_META_KEY, CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY)
_CACHE_KEYS = ("ttlMs", "cacheScope")


def is_modern(protocol_version: str) -> bool:
    """Whether it is the version of 2026-07-28, or a newer one."""
    return protocol_version in MODERN_PROTOCOL_VERSIONS


def envelope_of(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """What each request of the newer protocol says of its client and of the version; empty in the older one."""
    meta = as_table((params or {}).get("_meta"))
    return {key: meta[key] for key in _ENVELOPE_KEYS if key in meta}


def named_params(
    params: Mapping[str, Any], client_info: object, capabilities: object, log_level: str | None
) -> dict[str, Any]:
    """A request's parameters with who asks, which servers of the newer protocol want to know each time.

    Args:
        params: Of the request.
        client_info: The client's name and version.
        capabilities: What it can do.
        log_level: Which log messages it asked for, if it did so once for all.
    """
    named: dict[str, Any] = {CLIENT_INFO_META_KEY: client_info, CLIENT_CAPABILITIES_META_KEY: capabilities}
    if log_level is not None:
        named[LOG_LEVEL_META_KEY] = log_level
    return {**params, "_meta": {**named, **as_table(params.get("_meta"))}}


def passed_result(
    method: str, result: Mapping[str, Any], protocol_version: str, stamp: Mapping[str, Any]
) -> dict[str, Any]:
    """A server's result for a client of this version.

    Args:
        method: Of the request.
        result: As the server gave it.
        protocol_version: The client's.
        stamp: Describes the gateway, in the place of the server's own stamp.
    """
    passed: dict[str, Any] = dict(result)
    meta = as_table(passed.get("_meta"))
    if SERVER_INFO_META_KEY in meta:
        passed["_meta"] = {key: value for key, value in meta.items() if key != SERVER_INFO_META_KEY}
        if not passed["_meta"]:
            del passed["_meta"]
    if is_modern(protocol_version):
        if passed.setdefault("resultType", "complete") == "complete" and method in CACHEABLE_METHODS:
            passed = {"ttlMs": 0, "cacheScope": "private", **passed}
        passed["_meta"] = {**as_table(passed.get("_meta")), SERVER_INFO_META_KEY: stamp}
    else:
        if passed.get("resultType") == "complete":  # Another one says what this is.
            del passed["resultType"]
        if method in CACHEABLE_METHODS:
            for key in _CACHE_KEYS:
                passed.pop(key, None)
    return passed

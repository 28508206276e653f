"""`Overview`: all that the page shows, as sections of plain data. A section is sent again when it has changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..._version import __version__
from ...config.servers import BaseServerConfig
from ...routing.costs import definition, estimated, routed_definitions, routed_tokens
from ...session.statistics import SessionInfo
from ..activity import ActivitySnapshot, Call
from ..client import Client
from ..gateway import Gateway
from ..scopes import EVERYTHING
from .faults import Faults
from .transcripts import Transcripts

MOST_SESSIONS = 500
"""So many are shown, those used last; the rest is a number."""
MOST_CALLS = 100
MOST_TOOLS = 100
"""That have a plot, those called most."""
TOOLS_SECONDS = 3.0
"""How often figures of tools are renewed: their last hour is the largest part of all."""

Section = dict[str, Any] | list[dict[str, Any]] | None


class Overview:
    """What a gateway does, for the page.

    Args:
        gateway: The gateway.
        faults: Know which servers cannot be opened.
        transcripts: Know which sessions have one.
    """

    def __init__(self, gateway: Gateway, faults: Faults, transcripts: Transcripts) -> None:
        self._gateway = gateway
        self._faults = faults
        self._transcripts = transcripts
        self._started_at = time.time()
        self._tokens: dict[str, tuple[str, dict[str, int]]] = {}
        self._tools: tuple[float, list[dict[str, Any]]] = 0.0, []

    def sections(self) -> dict[str, Section]:
        """All sections as they are now."""
        told, infos = self._gateway.activity.snapshot(), self._gateway.manager.sessions()
        cool_downs = self._gateway.manager.cool_downs()
        until = {one.server_name: one.until for one in cool_downs}
        servers = [self._server(config, infos, told, until) for config in self._gateway.configs]
        return {
            "gateway": self._about(servers, told),
            "servers": servers,
            "sessions": self._sessions(infos),
            "clients": self._clients(infos),
            "calls": {"live": _calls(told.live), "recent": _calls(told.recent)},
            "errors": _calls(told.errors),
            "tools": self._tool_figures(told),
            "instances": self._instances(),
            "incidents": [asdict(incident) for incident in told.incidents[:MOST_CALLS]],
            "circuits": [
                {
                    "server": one.server_name,
                    "session": one.key,
                    "failures": one.failures,
                    "until": round(one.until, 1),
                    "reason": one.reason,
                }
                for one in cool_downs
            ],
        }

    def tools_of(self, config: BaseServerConfig) -> list[dict[str, Any]]:
        """The tools of a server that clients are offered, with their schemas."""
        tokens = self._tokens_of(config)
        found: list[dict[str, Any]] = []
        for given, target in self._gateway.views.within(EVERYTHING).listings.targets("tools").items():
            if target.config.server_name != config.server_name:
                continue
            found.append(
                {
                    "name": target.name,
                    "given_name": given,
                    "reference": f"{config.server_name}.{target.name}",
                    "description": target.raw.get("description") or target.raw.get("title"),
                    "annotations": target.raw.get("annotations"),
                    "input_schema": target.raw.get("inputSchema"),
                    "tokens": tokens.get(target.name),
                }
            )
        return found

    def _about(self, servers: Sequence[Mapping[str, Any]], told: ActivitySnapshot) -> dict[str, Any]:
        own = estimated(routed_definitions([]))
        return {
            "version": __version__,
            "started_at": self._started_at,
            "all_tools": self._gateway.all_tools,
            "calls": sum(figures.calls for figures in told.servers.values()),
            "errors": sum(figures.errors for figures in told.servers.values()),
            "tokens": {
                "eager": sum(server["eager"] for server in servers),
                "routed": own + sum(server["routed"] for server in servers),
            },
            "limits": dict(told.limits),
        }

    # Servers

    def _server(
        self,
        config: BaseServerConfig,
        infos: Sequence[SessionInfo],
        told: ActivitySnapshot,
        until: Mapping[str, float],
    ) -> dict[str, Any]:
        name, tokens = config.server_name, self._tokens_of(config)
        figures, mine = told.servers.get(name), [info for info in infos if info.server_name == name]
        state, since, why, stderr = self._state(config, mine)
        return {
            "name": name,
            "transport": transport_of(config),
            "address": config.address,
            "state": state,
            "since": since,
            "why": why,
            "stderr": stderr,
            "next_attempt": until.get(name),
            "sessions": len(mine),
            "calls": 0 if figures is None else figures.calls,
            "errors": 0 if figures is None else figures.errors,
            "live": 0 if figures is None else figures.live,
            "p50": None if figures is None else figures.p50_ms,
            "p95": None if figures is None else figures.p95_ms,
            "tools": len(tokens) if self._gateway.manager.catalog.is_listed(config) else None,
            "eager": sum(tokens.values()),
            "routed": routed_tokens(name),
        }

    def _state(
        self, config: BaseServerConfig, infos: Sequence[SessionInfo]
    ) -> tuple[str, float | None, str | None, str | None]:
        """Its state, since when, why, and what it wrote to stderr last."""
        if config.server_name in self._gateway.views.disabled:
            return "disabled", None, None, None
        fault = self._faults.of(config.server_name)
        stderr = self._stderr(infos)
        states = {info.state for info in infos}
        if "open" in states and fault is None:
            return "open", min(info.state_since for info in infos if info.state == "open"), None, stderr
        if fault is not None:
            return "broken", fault.since, fault.why, fault.stderr or stderr
        if moving := states & {"opening", "recovering"}:
            return moving.pop(), min(info.state_since for info in infos), None, stderr
        entry = self._gateway.manager.catalog.entry(config)
        if entry is not None and entry.failure is not None:
            return "broken", entry.failed_at, entry.failure, None
        return "idle", None, None, None

    def _stderr(self, infos: Sequence[SessionInfo]) -> str | None:
        """What the newest process of a server wrote last."""
        for info in reversed(infos):
            owner = None if info.key is None else self._gateway.manager.inside.find(info.server_name, info.key)
            if owner is not None and owner.connection is not None:
                return owner.connection.report.stderr.text()[-4000:] or None
        return None

    def _tokens_of(self, config: BaseServerConfig) -> dict[str, int]:
        """What its tools cost in a prompt, by name."""
        entry = self._gateway.manager.catalog.entry(config)
        if entry is None:
            return {}
        known = self._tokens.get(config.server_name)
        if known is None or known[0] != entry.listing_hash:
            tools = self._gateway.manager.catalog.tools(config)
            costs = {tool.name: estimated(definition(tool)) for tool in tools}
            known = self._tokens[config.server_name] = entry.listing_hash, costs
        return known[1]

    # Sessions and clients

    def _sessions(self, infos: Sequence[SessionInfo]) -> list[dict[str, Any]]:
        clients = {client.key: client for client in self._gateway.clients.all()}
        shown = sorted(infos, key=lambda info: info.last_used_at, reverse=True)[:MOST_SESSIONS]
        return [self._session(info, clients.get(info.key or "")) for info in shown]

    def _session(self, info: SessionInfo, client: Client | None) -> dict[str, Any]:
        is_idle = info.state == "open" and info.in_flight == 0
        return {
            "id": info.session_id,
            "server": info.server_name,
            "session": info.key,
            "user": None if client is None else client.user_name,
            "client": _client_name(info, client),
            "state": "idle" if is_idle else info.state,
            "opened_at": info.opened_at,
            "last_used_at": round(info.last_used_at, 1),
            "protocol": info.protocol_version,
            "generation": info.generation,
            "pid": info.process_id,
            "calls": info.calls,
            "errors": info.errors,
            "in_flight": info.in_flight,
            "transcript": info.session_id in self._transcripts.sessions,
        }

    def _clients(self, infos: Sequence[SessionInfo]) -> list[dict[str, Any]]:
        found = [
            {
                "key": client.key,
                "client": client.name,
                "user": client.user_name,
                "protocol": client.protocol_version,
                "sessions": sum(info.key == client.key for info in infos),
            }
            for client in self._gateway.clients.all()
        ]
        return found[:MOST_SESSIONS]

    def _instances(self) -> list[dict[str, Any]]:
        others = self._gateway.clients.others
        return [
            {
                "name": member.name,
                "url": member.url,
                "here": member.is_here,
                "owns": sum(member.owns.values()),
                "servers": dict(sorted(member.owns.items())),
                "figures": None if member.figures is None else asdict(member.figures),
            }
            for member in ([] if others is None else others.members())
        ]

    # Tools

    def _tool_figures(self, told: ActivitySnapshot) -> list[dict[str, Any]]:
        renewed_at, shown = self._tools
        if time.monotonic() - renewed_at < TOOLS_SECONDS:
            return shown
        most = sorted(told.tools, key=lambda tool: tool.figures.calls, reverse=True)[:MOST_TOOLS]
        shown = [
            {
                "server": tool.server,
                "name": tool.name,
                "calls": tool.figures.calls,
                "errors": tool.figures.errors,
                "p50": tool.figures.p50_ms,
                "p95": tool.figures.p95_ms,
                "minutes": [
                    [minute.at, minute.calls, minute.errors, _rounded(minute.p50_ms), _rounded(minute.p95_ms)]
                    for minute in self._gateway.activity.hour(tool.server, tool.name)
                ],
            }
            for tool in most
        ]
        self._tools = time.monotonic(), shown
        return shown


def transport_of(config: BaseServerConfig) -> str:
    """How a server is reached, in one word."""
    return str(getattr(config, "transport", "other"))


def _client_name(info: SessionInfo, client: Client | None) -> str:
    if client is not None:
        return client.name
    return "the gateway itself" if info.key is None else "several, which share it"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _calls(calls: Sequence[Call]) -> list[dict[str, Any]]:
    return [
        {
            "number": call.number,
            "at": round(call.began_at, 3),
            "user": call.user,
            "client": call.client,
            "server": call.server,
            "name": call.name or call.method,
            "ms": _rounded(call.ms),
            "outcome": call.outcome,
            "error": call.error,
        }
        for call in calls[:MOST_CALLS]
    ]

"""How `jackfield serve` is run: its bounds, its log, its metrics and traces, and how it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import exits

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from ..gateway.limits import GatewayLimits
    from ..gateway.operations import OperationSettings


@dataclass(frozen=True)
class OperationOptions:
    """The options; `None` where one was not given."""

    max_sessions: int | None = None
    max_sessions_per_user: int | None = None
    max_calls: int | None = None
    max_calls_per_user: int | None = None
    calls_per_minute: int | None = None
    total_calls_per_minute: int | None = None
    max_upstreams: int | None = None
    max_children: int | None = None
    max_children_per_user: int | None = None
    child_memory: int | None = None
    children_memory: int | None = None
    child_idle: float | None = None
    metrics: bool = False
    stop_delay: float | None = None
    drain_timeout: float | None = None

    def check(self, over_http: bool) -> None:
        """Refuse options that are for a gateway over HTTP where it is not served so.

        Raises:
            UsageError: It names one.
        """
        if over_http:
            return
        of_clients = ("max_sessions", "max_sessions_per_user", "max_calls", "max_calls_per_user")
        for name in (*of_clients, "calls_per_minute", "total_calls_per_minute"):
            if getattr(self, name) is not None:
                raise exits.UsageError(f"{_option(name)} is for --http.", hint="Over stdio there is one client only.")
        for name in ("metrics", "stop_delay", "drain_timeout"):
            if getattr(self, name):
                raise exits.UsageError(f"{_option(name)} is for --http.")

    def gateway_limits(self) -> GatewayLimits:
        """Bounds on what is behind it."""
        from ..gateway.child_memory import MEBIBYTE
        from ..gateway.limits import GatewayLimits

        return GatewayLimits(
            child_memory_bytes=None if self.child_memory is None else self.child_memory * MEBIBYTE,
            children_memory_bytes=None if self.children_memory is None else self.children_memory * MEBIBYTE,
            **_given(
                upstreams=self.max_upstreams, children=self.max_children, children_per_user=self.max_children_per_user
            ),
        )

    def settings(self) -> OperationSettings:
        """How it is run over HTTP."""
        from ..gateway.operations import OperationSettings
        from ..serving.limits import ServingLimits

        limits = ServingLimits(
            **_given(
                sessions=self.max_sessions,
                sessions_per_user=self.max_sessions_per_user,
                calls=self.max_calls,
                calls_per_user=self.max_calls_per_user,
                calls_per_minute=self.calls_per_minute,
                total_calls_per_minute=self.total_calls_per_minute,
            )
        )
        times = _given(stop_delay=self.stop_delay, drain_timeout=self.drain_timeout)
        return OperationSettings(limits=limits, metrics=self.metrics, **times)

    def with_idle_time(self, configs: Sequence[ServerConfig]) -> list[ServerConfig]:
        """The servers, with the time after which children that nobody uses are closed; `keep_alive` of an entry, and
        `--keep-alive`, say otherwise."""
        from ..config.servers import StdioConfig

        if self.child_idle is None:
            return list(configs)
        return [
            config.model_copy(update={"session": config.session.model_copy(update={"idle_timeout": self.child_idle})})
            if isinstance(config, StdioConfig)
            else config
            for config in configs
        ]


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"

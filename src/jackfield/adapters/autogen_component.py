"""What AutoGen stores of a workbench (`dump_component`): all of its settings, or else nothing, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pydantic import BaseModel, Field

from ..catalog.store import Catalog
from ..config.mcp_config import MCPConfig
from ..config.oauth import OAuthConfig
from ..config.servers import BaseServerConfig, HttpConfig, InProcessConfig, SseConfig, StdioConfig
from ..errors import ConfigError
from ..plain import as_table
from ..session.callbacks import SessionCallbacks
from ..toolkit.skipped import OnError

if TYPE_CHECKING:
    from mcp.types import LoggingLevel

    from ..pool.session_manager import SessionManager
    from ..routing.tool_router import ToolRouter

STATE_TYPE = "JackfieldWorkbenchState"


class RouterSettings(BaseModel):
    """Settings of a workbench's router."""

    mode: Literal["auto", "tools", "search", "server"] = "auto"
    max_result_chars: int = 20_000
    describe: bool = False


class WorkbenchOptions(BaseModel):
    """What `manager.workbench()` is given besides servers and key."""

    ordered: bool = False
    max_result_chars: int | None = None
    use_mcp_prompts: bool = False
    on_error: OnError = "skip"


class WorkbenchConfig(WorkbenchOptions):
    """A workbench as it is stored: servers with `${VAR}` in place of secrets."""

    servers: list[dict[str, Any]]
    key: str
    max_sessions: int = Field(default=100, ge=1)
    acquire_timeout: float | None = None
    catalog: str | None = None
    """The catalog's folder, if it is not the default."""
    roots: list[str] | None = None
    log_level: str | None = None
    router: RouterSettings | None = None


def to_config(
    manager: SessionManager,
    servers: Sequence[BaseServerConfig],
    key: str,
    router: ToolRouter | None,
    options: WorkbenchOptions,
) -> WorkbenchConfig:
    """The settings of a workbench.

    Raises:
        NotImplementedError: Some are code, or objects that cannot be stored. Loaded without them, it would do what
            they are there to prevent.
    """
    of_router = [] if router is None else [f"`{name}` of its router" for name in router.inside.guards]
    if code := [*of_router, *_code_of(manager), *filter(None, map(_own_of, servers))]:
        _refuse(code)
    folder, roots = manager.catalog.given_folder, manager.callbacks.roots
    return WorkbenchConfig(
        servers=MCPConfig(servers=list(servers)).to_portable()["servers"],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        key=key,
        **options.model_dump(),
        max_sessions=manager.max_sessions,
        acquire_timeout=manager.acquire_timeout,
        catalog=None if folder is None else str(folder),
        roots=None if roots is None or callable(roots) else list(roots),
        log_level=manager.callbacks.log_level,
        router=None if router is None else RouterSettings(**router.settings),
    )


def options_of(config: WorkbenchConfig) -> WorkbenchOptions:
    """The options in stored settings."""
    return WorkbenchOptions.model_validate({name: getattr(config, name) for name in WorkbenchOptions.model_fields})


def manager_of(config: WorkbenchConfig) -> SessionManager:
    """A manager by stored settings."""
    from ..pool.session_manager import SessionManager

    level: LoggingLevel | None = config.log_level  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return SessionManager(
        MCPConfig.from_dict({"servers": config.servers}, source="workbench component"),
        max_sessions=config.max_sessions,
        acquire_timeout=config.acquire_timeout,
        callbacks=SessionCallbacks(roots=config.roots, log_level=level),
        catalog=None if config.catalog is None else Catalog(config.catalog),
    )


def key_of(state: object) -> str:
    """The key in a workbench's saved state.

    Raises:
        ConfigError: This is not a workbench's state.
    """
    saved = as_table(state)
    key = saved.get("key")
    if saved.get("type") == STATE_TYPE and isinstance(key, str) and key:
        return key
    shown = f"one with the keys {', '.join(map(repr, saved))}" if saved else f"{type(state).__name__}"
    raise ConfigError(
        f"This is not the state of a Jackfield workbench: it is {shown}.",
        hint=f'Give the return value of its save_state(): {{"type": "{STATE_TYPE}", "key": "..."}}.',
    )


def _code_of(manager: SessionManager) -> list[str]:
    """Attributes of a manager that are not plain settings."""
    callbacks, catalog = manager.callbacks, manager.catalog
    given: dict[str, object] = {
        "hooks": manager.hooks,
        "on_event": manager.on_event,
        "sampling callback": callbacks.sampling,
        "elicitation callback": callbacks.elicitation,
        "roots callback": callable(callbacks.roots),
        "logging callback": callbacks.logging,
        "notification callback": callbacks.notification,
        "catalog": type(catalog) is not Catalog or catalog.embedder is not None,
        "class": not type(manager).__module__.startswith("jackfield."),
    }
    return [f"`{name}` of its manager" for name, value in given.items() if value]


def _own_of(server: BaseServerConfig) -> str | None:
    """Fields of a server's configuration that are not plain settings."""
    if isinstance(server, InProcessConfig):
        return f"the server object of {server.server_name!r}"
    if type(server) not in (StdioConfig, SseConfig, HttpConfig):
        return f"the class of server {server.server_name!r}"
    auth = getattr(server, "auth", None)
    return None if auth is None or isinstance(auth, str | OAuthConfig) else f"`auth` of server {server.server_name!r}"


def _refuse(code: Sequence[str]) -> NoReturn:
    raise NotImplementedError(
        f"This workbench cannot be stored: {', '.join(code)} would be missing after loading. Build the agent in "
        "code, with this workbench, and store its state instead (`agent.save_state()`)."
    )

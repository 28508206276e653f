"""AutoGen AgentChat: `JackfieldWorkbench` (a `Workbench`). For single tools see `autogen_tool.py`.

How AgentChat 0.7.5 behaves, and what follows here: an agent never starts or stops its workbench, so
this one starts itself at its first use; it lists tools before every model call and every tool call, so
a listing costs nothing while nothing changed; it waits for ever for a call that raises or is cancelled, so
no call does; and it stops after one round of tools, so give `AssistantAgent(..., max_tool_iterations=10)`
to let it look at results and go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autogen_core import CancellationToken, Component
from autogen_core.tools import ToolResult as AutoGenResult
from autogen_core.tools import ToolSchema, Workbench

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..live import Live
from ..loops import LockHere
from ..pool.registry import SessionUser
from ..session.offers import offered_tools
from ..session.session import caller_of
from ..session.user_code import as_error
from ..toolkit.create import prompt_tools, tools_of
from ..toolkit.long_results import LongResults
from ..toolkit.skipped import opening_tool, skipped_error
from ..toolkit.tool import LeasedSource, OrderedSource, Tool, ToolSource
from ..toolkit.toolkit import Toolkit, bounded
from .autogen_component import STATE_TYPE, WorkbenchConfig, WorkbenchOptions, key_of, manager_of, options_of, to_config
from .autogen_duplicates import begin_listing, end_listing
from .autogen_result import JackfieldToolResult
from .autogen_tool import JackfieldTool, cancellable, cancelled, tool_schema

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..routing.tool_router import ToolRouter
    from ..session.session import Session

__all__ = ["JackfieldTool", "JackfieldToolResult", "JackfieldWorkbench", "WorkbenchConfig"]

logger: logging.Logger = logging.getLogger("jackfield")

# An agent lists tools at every step; a server that does not start must not cost its timeout each time.
_RETRY_LISTING_SECONDS = 30.0


class JackfieldWorkbench(Live, Workbench, Component[WorkbenchConfig]):
    """All tools of a manager's servers, each server opened when its tools are listed or called.

    State is kept between calls: all calls use the named session `key`. Made by `manager.workbench()`, or by
    `router.workbench()` with the router's tools.
    """

    component_provider_override: ClassVar[str | None] = "jackfield.adapters.autogen.JackfieldWorkbench"
    component_config_schema = WorkbenchConfig

    def __init__(
        self,
        manager: SessionManager,
        servers: Sequence[BaseServerConfig],
        key: str,
        router: ToolRouter | None = None,
        options: WorkbenchOptions | None = None,
    ) -> None:
        self._manager = manager
        self._router = router
        self._options = options or WorkbenchOptions()
        limit = self._options.max_result_chars
        self._long_results = None if limit is None else LongResults(limit)
        self._servers = list(servers)
        self._user = SessionUser()
        self._listed_before: list[ToolSchema] | None = None
        self._warned: set[tuple[str, frozenset[str]]] = set()
        self._warned_of: str | None = None
        self._forget(key)
        self._expect_sessions()

    @property
    def _words(self) -> str:
        """A description, for warnings."""
        names = ", ".join(config.server_name for config in self._servers)
        return f"the workbench of {names} (key {self.key!r})"

    def _forget(self, key: str) -> None:
        self.key = key
        self._toolkit = Toolkit()
        self._schemas: list[ToolSchema] | None = None
        self._listings: dict[str, tuple[object, list[Tool]]] = {}
        self._sources: dict[str, ToolSource] = {}
        self._failures: dict[str, tuple[float, JackfieldError]] = {}
        """Why a server could not be asked when it last was, and when that was."""
        self._listing_lock = LockHere()

    def __copy__(self) -> Self:
        return type(self)(self._manager, self._servers, self.key, self._router, self._options)

    @classmethod
    def of_manager(
        cls,
        manager: SessionManager,
        servers: Sequence[str | BaseServerConfig] | None,
        *,
        key: str | None,
        options: Mapping[str, Any],
    ) -> JackfieldWorkbench:
        """A workbench over a manager; see `MCPClientSessionManager.workbench`."""
        own_key = key or f"workbench-{uuid.uuid4().hex[:8]}"
        return cls(manager, manager.inside.resolve_all(servers), own_key, options=WorkbenchOptions(**options))

    async def start(self) -> None:
        """Prepare the workbench; opens no server. Happens automatically on first use on an event loop."""
        self._manager.inside.keep_for(self._user)
        self._expect_sessions()

    async def stop(self) -> None:
        """Close this workbench's sessions, except those that other workbenches, toolkits or open leases use.

        If the manager is not entered, the last workbench to stop closes all unused sessions.
        """
        await self._manager.inside.end_user(self._user)
        self._forget(self.key)

    async def reset(self) -> None:
        """Start over: the servers' state for this workbench is lost, except in sessions that others use as well."""
        await self._manager.inside.leave(self._user)
        self._forget(self.key)

    async def save_state(self) -> Mapping[str, Any]:
        """The key of its sessions; the servers' state stays on the servers."""
        return {"type": STATE_TYPE, "key": self.key}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue with the sessions of a saved workbench, if the manager still has them open; release the own ones.

        Raises:
            ConfigError: That is not the state of a workbench.
        """
        key = key_of(state)
        if key != self.key:
            await self._manager.inside.leave(self._user)
            self._forget(key)
            self._expect_sessions()

    async def list_tools(self) -> list[ToolSchema]:
        """The tools of all servers that can be opened; asks a server only when its listing may have changed.

        Failures are logged: an exception would end the agent's run or make it wait forever. The tools
        are then those of the last listing, or else a single one that says why there are no others, and tries again.
        """
        listing = begin_listing(self._words)
        try:
            await self._refresh()
            assert self._schemas is not None
            shown = self._listed_before = self._schemas
            self._warned_of = None
        except BaseException as error:
            shown = self._shown_instead(as_error(error, "Listing the tools of this workbench"))
        end_listing(listing, (tool["name"] for tool in shown), self._warned)
        return shown

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> AutoGenResult:
        """Call a tool; an error becomes a result that says what happened and what to do.

        So does a call that `cancellation_token` cancels. A cancellation of the calling task is propagated.
        """
        try:
            return await cancellable(name, self._call(name, arguments), cancellation_token)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                error = cancelled(name, error, allowed=0)
            return JackfieldToolResult.failed(name, as_error(error, f"The call of {name!r}"))

    async def _call(self, name: str, arguments: Mapping[str, Any] | None) -> AutoGenResult:
        if name not in self._toolkit:
            await self._refresh()
        return await JackfieldToolResult.of(name, await self._toolkit[name].call(arguments))

    def _shown_instead(self, error: JackfieldError) -> list[ToolSchema]:
        """The tools to show if listing failed."""
        if self._listed_before is not None:
            what, shown = "are shown as previously listed", self._listed_before
        else:
            names = [config.server_name for config in self._servers]
            self._toolkit = Toolkit([opening_tool(names, error, self._open_again, are_all=True)])
            shown = [tool_schema(tool) for tool in self._toolkit]
            what = f"could not be listed, so {shown[0]['name']} is offered instead"
        # An agent lists tools at every step.
        if self._warned_of != error.message:
            self._warned_of = error.message
            logger.warning("[MCP] The tools of a workbench %s: %s", what, error.message)
        return shown

    async def _open_again(self) -> list[str]:
        self._failures.clear()
        await self._refresh()
        if self.skipped:
            raise skipped_error(self.skipped, len(self._servers))
        return self._toolkit.names

    async def _refresh(self) -> None:
        """List what may have changed.

        Raises:
            JackfieldError: None of the servers could ever be asked.
        """
        await self.start()
        if self._router is not None:
            if self._schemas is None:
                self._offer(self._router.inside.used_by(self._user, self.key).toolkit())
            return
        async with self._listing_lock.get():
            stale = [config for config in self._servers if self._is_stale(config)]
            if stale:
                await self._list(stale)
            if (skipped := self.skipped) and (not self._listings or self._options.on_error == "raise"):
                raise skipped_error(skipped, len(self._servers))
            self._expect_more()
            if stale or self._schemas is None:
                tools = [tool for _, tools in self._listings.values() for tool in tools]
                toolkit = Toolkit(tools, skipped=skipped)
                if self._long_results is not None:
                    toolkit = bounded(toolkit, self._long_results)
                if skipped:
                    error = skipped_error(skipped, len(self._servers))
                    toolkit += Toolkit([opening_tool(skipped, error, self._open_again, are_all=False)])
                self._offer(toolkit)

    @property
    def skipped(self) -> dict[str, JackfieldError]:
        """Servers whose tools are missing because they could not be opened or listed yet, and why."""
        return {name: error for name, (_, error) in self._failures.items() if name not in self._listings}

    def _offer(self, toolkit: Toolkit) -> None:
        self._toolkit = toolkit.for_models()
        self._schemas = [tool_schema(tool) for tool in self._toolkit]

    def _is_stale(self, config: BaseServerConfig) -> bool:
        name = config.server_name
        failed_at, _ = self._failures.get(name, (-_RETRY_LISTING_SECONDS, None))
        if time.monotonic() - failed_at < _RETRY_LISTING_SECONDS:
            return False
        if name not in self._listings:
            return True
        owner = self._manager.inside.find(name, self.key)
        # A closed session is not opened to look: its listing holds until the server is used again.
        return owner is not None and owner.listing is not self._listings[name][0]

    async def _list(self, configs: Sequence[BaseServerConfig]) -> None:
        async with self._manager.open_sessions(configs, key=self.key).used_by(self._user) as opened:
            for config in configs:
                name = config.server_name
                if (error := opened.errors.get(name)) is None:
                    try:
                        self._listings[name] = await self._listed(opened[name], config)
                    except JackfieldError as failed:
                        # What it offered before, if it ever did, stays: it could not be asked, which is not to have
                        # none.
                        error = failed
                if error is None:
                    self._failures.pop(name, None)
                    continue
                self._failures[name] = time.monotonic(), error
                if name in self._listings:
                    logger.warning("[MCP][%s] Its tools may be out of date: %s", name, error.message)
                else:
                    self._manager.inside.server_skipped(name, self.key, error)

    async def _listed(self, session: Session, config: BaseServerConfig) -> tuple[object, list[Tool]]:
        caller = caller_of(session)
        listing = await offered_tools(caller, caller.deadline(None))
        leased = LeasedSource(self._manager, config, self.key, self._user)
        source = self._sources.get(config.server_name)
        if source is None:
            source = self._sources[config.server_name] = OrderedSource(leased) if self._options.ordered else leased
        tools = tools_of(listing, config, source)
        if self._options.use_mcp_prompts:
            tools += await prompt_tools(session, leased.opened)
        return listing, tools

    def _expect_more(self) -> None:
        """What runs now is the turn of an agent, which lists tools before each step of the model: see the pool."""
        agent = asyncio.current_task()
        for config in self._servers:
            slot = self._manager.inside.find(config.server_name, self.key)
            if slot is not None and agent is not None:
                slot.expect_more(agent)

    def _expect_sessions(self) -> None:
        self._manager.inside.expect(self._user, self._servers, self.key)

    def _to_config(self) -> WorkbenchConfig:
        return to_config(self._manager, self._servers, self.key, self._router, self._options)

    @classmethod
    def _from_config(cls, config: WorkbenchConfig) -> Self:
        manager, router = manager_of(config), None
        if config.router is not None:
            from ..routing.tool_router import ToolRouter

            router = ToolRouter(manager, key=config.key, **config.router.model_dump())
        return cls(manager, manager.inside.resolve_all(None), config.key, router, options_of(config))

"""`Views`: what clients see of the servers, one view for all that may use the same ones.

A server out of reach is as if it did not exist: it is not in the view, so it is neither listed nor found, and nothing
in it can be called.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..config.servers import BaseServerConfig
from .credentials import UserCredentials
from .listing import Listings
from .messages import Context
from .resource_tools import ResourceTools
from .router_tools import OwnTools
from .scopes import Reach, reach_of
from .user_configs import Account, UserConfig, config_of
from .users import User, user_of

logger: logging.Logger = logging.getLogger("jackfield")

MOST_VIEWS = 500
MOST_REACHES = 5000
"""Beyond these, views are made again when they are needed."""


@dataclass(eq=False)
class View:
    """What a client may use."""

    configs: Sequence[BaseServerConfig]
    listings: Listings
    reading: ResourceTools
    """Says whether resources and prompts are passed on."""
    own_tools: OwnTools | None
    """The tools that find all others, if these are not offered themselves."""
    accounts: Sequence[Account] = ()
    """What the user has at servers that the user signs in to."""
    closing: ExitStack = field(default_factory=ExitStack)
    """Ends it."""

    @property
    def name(self) -> str:
        """The same on other instances of the gateway."""
        return name_of(self.configs)


def name_of(configs: Sequence[BaseServerConfig]) -> str:
    """The name of the view that has these servers, with the credentials of this user or nobody's."""
    users = [config.account.user.digest if isinstance(config, UserConfig) else None for config in configs]
    named = [[config.server_name, user] for config, user in zip(configs, users, strict=True)]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


class Views:
    """All views of one gateway. Enter it while it is used.

    Args:
        configs: All servers.
        credentials: Those of the users.
        make: Makes a view of some of them.
    """

    def __init__(
        self,
        configs: Sequence[BaseServerConfig],
        credentials: UserCredentials,
        make: Callable[[Sequence[BaseServerConfig]], View],
    ) -> None:
        self._configs = configs
        self._credentials = credentials
        self._make = make
        self._views: dict[tuple[tuple[str, str], ...], View] = {}
        self._by_reach: dict[Reach, View] = {}
        self.disabled: frozenset[str] = frozenset()
        """The servers that are in no view for now."""

    def __enter__(self) -> Views:
        return self

    def renew(self) -> None:
        """The servers are others: make all views again."""
        self._by_reach.clear()
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        for view in self._views.values():
            view.closing.close()
        self._views.clear()

    def disable(self, server_name: str) -> None:
        """Leave a server out of all views until it is enabled again."""
        self.disabled |= {server_name}
        self._by_reach.clear()

    def enable(self, server_name: str) -> None:
        """Undo `disable`."""
        self.disabled -= {server_name}
        self._by_reach.clear()

    def all(self) -> list[View]:
        """Those that there are."""
        return list(self._views.values())

    def of(self, context: Context) -> View:
        """The view of a request's client."""
        return self.within(reach_of(context))

    def within(self, reach: Reach) -> View:
        """The view of all that have this reach."""
        known = self._by_reach.get(reach)
        if known is not None:
            return known
        configs = self._configs_within(reach)
        key = tuple((config.server_name, config.catalog_key) for config in configs)
        self._make_room()
        view = self._views.pop(key, None) or self._make(configs)
        self._views[key] = self._by_reach[reach] = view
        return view

    def _configs_within(self, reach: Reach) -> list[BaseServerConfig]:
        """The servers within reach. One that needs a user's credential does not exist for those who are none."""
        user = user_of(reach.principal)
        enabled = [config for config in self._configs if config.server_name not in self.disabled]
        found = [config for config in enabled if reach.includes(config.server_name)]
        if user is None:
            return [config for config in found if config.credentials is None]
        return [config_of(user, config, self._credentials) for config in found if self._can_be_used(config)]

    def _can_be_used(self, config: BaseServerConfig) -> bool:
        """Whether users of a server that they sign in to can do so: it may have been added while the gateway runs."""
        if config.credentials is None or config.credentials.oauth is None or self._credentials.tokens is not None:
            return True
        text = "[MCP][%s] It is not served: its users sign in, which requires --keys-file"
        logger.error(text, config.server_name)
        return False

    def signed_in(self, user: User, server_name: str) -> None:
        """A user has signed in to a server, which may now be asked what it offers."""
        for view in self._views.values():
            if any((account.user, account.server_name) == (user, server_name) for account in view.accounts):
                view.listings.ask_again(server_name)

    def _make_room(self) -> None:
        """Let go of what was made first: a view that is still needed is made again."""
        if len(self._by_reach) >= MOST_REACHES:
            self._by_reach.clear()
        if len(self._views) >= MOST_VIEWS:
            self._by_reach.clear()
            self._views.pop(next(iter(self._views))).closing.close()

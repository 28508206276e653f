"""How to reach one server: `StdioConfig`, `SseConfig`, `HttpConfig` and `InProcessConfig`.

Field names are those of AG2's documentation, with the aliases other programs use (`env`, `cwd`).
Possible secrets (header and variable values, expanded `${VAR}`s, credentials in a URL) are shown
neither by `repr` nor by a dump; transports read it through `environment_values()`, `header_values()`
and `url`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PositiveFloat,
    PrivateAttr,
    Strict,
    Tag,
    field_serializer,
    field_validator,
    model_validator,
)

from ..masking import NamedValue, argument_secrets, keep_secret, replaced_values, secrets_within
from .credentials import CredentialsConfig
from .identity import catalog_key, object_key
from .keys import WEEK, implausible, one_spelling, transport_of_entry
from .launch import Launch, withheld_variables
from .oauth import AuthSetting, OAuthConfig
from .outline import (
    ServerOutline,
    identifying_url,
    lets_in,
    redact_url,
    shown_arguments,
    stdio_address,
)
from .references import Expanded, ExpandedPath
from .server_objects import described, kind_of
from .session_keys import SESSION_ALIASES, session_in_our_words
from .settings import FilePath, KeepsExpanded, Secrets, SessionConfig, StrictModel, Text, UpToAnHour, UpToSixHours

if TYPE_CHECKING:
    from httpx2 import AsyncBaseTransport

ProtocolChoice = Literal["auto", "handshake", "2026-07-28"]
"""`auto` takes the newest both sides speak; `handshake` the stateful protocol of 2025-11-25 and older."""


class _Url(str):
    """A URL that shows itself without credentials."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact_url(self))


def _hide_credentials(value: str) -> str:
    return value if isinstance(value, Expanded) else _Url(value)


Url = Annotated[str, KeepsExpanded, AfterValidator(_hide_credentials)]


def _plausible_keep_alive(value: object) -> object:
    if isinstance(value, int | float) and (problem := implausible(value, WEEK)):
        raise ValueError(problem)
    return value


def _server_object(value: object) -> object:
    if kind_of(value) is None:
        raise ValueError(
            f"must be an MCPServer or a low-level Server of the SDK, or a FastMCP of fastmcp, not {described(value)}"
        )
    return value


class BaseServerConfig(StrictModel):
    """What all servers have in common."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, populate_by_name=True, arbitrary_types_allowed=True)

    server_name: str = Field(min_length=1)
    """The name under which you open the server; unique in an `MCPConfig`."""

    protocol: ProtocolChoice = "auto"
    """`auto` suits most servers. For a server over HTTP that keeps state by session id, set `handshake`, the older
    protocol."""

    session: SessionConfig = Field(
        default_factory=SessionConfig, validation_alias=AliasChoices("session", "sessionConfig", "session_options")
    )
    """Timeouts and limits of this server's sessions. `sessionConfig` accepts LibreChat's keys, in milliseconds:
    `timeout` (the time for which an unused session is kept), `retryAttempts`, `retryDelay`; `session_options` accepts
    AG2's."""

    include: list[str] = Field(default_factory=list)
    """Globs of the tool names that agents may use; empty means all."""

    exclude: list[str] = Field(default_factory=list)
    """Globs of tool names that are hidden from agents."""

    keep_alive: Annotated[Annotated[bool, Strict()] | PositiveFloat, BeforeValidator(_plausible_keep_alive)] = Field(
        default=False, validation_alias=AliasChoices("keep_alive", "keepAlive")
    )
    """Whether the command `jackfield` keeps this server's session between calls; a number keeps it for that many
    seconds without use."""

    volatile: list[str] = Field(default_factory=list)
    """Names of variables, headers and query parameters whose values do not identify the server, such as a token that is
    renewed every hour. The catalog treats entries that differ in any other value as different servers."""

    credentials: CredentialsConfig | None = None
    """Where `jackfield serve` finds each user's own credential for this server."""

    @field_validator("credentials")
    @classmethod
    def _credentials_fit(cls, value: CredentialsConfig | None) -> CredentialsConfig | None:
        problem = None if value is None else value.problem_of(is_remote=issubclass(cls, RemoteConfig))
        if problem is not None:
            raise ValueError(problem)
        return value

    @model_validator(mode="before")
    @classmethod
    def _session_in_our_words(cls, data: object) -> object:
        if not isinstance(data, Mapping) or SESSION_ALIASES.isdisjoint(cast("Mapping[str, object]", data)):
            return data  # pyright: ignore[reportUnknownVariableType]
        return session_in_our_words(cast("Mapping[str, object]", data))

    def lets_in(self, tool_name: str) -> bool:
        """Whether `include` and `exclude` offer a tool of that name."""
        return lets_in(tool_name, self.include, self.exclude)

    def model_post_init(self, context: Any, /) -> None:
        """Mask its secrets in all texts as long as it lives."""
        keep_secret(self, self._sent_values())

    def _sent_values(self) -> Iterable[NamedValue]:
        """Possible secrets that are sent to the server or passed to its process, with names. Never print them."""
        return ()

    async def _when_opened(self) -> BaseServerConfig:
        """The configuration that a connection is opened with: itself, unless part of it is found only then.

        Raises:
            JackfieldError: It cannot be found.
        """
        return self

    @property
    def address(self) -> str:
        """The server's address for people, without secrets."""
        raise NotImplementedError

    @property
    def catalog_key(self) -> str:
        """What the catalog remembers the server by: the same whatever its name here; gives no secret away."""
        raise NotImplementedError


class _ArgumentSecrets:
    """Remembers the secrets found in arguments. All are equal, since configurations that have them are compared."""

    def __init__(self) -> None:
        self._args: tuple[str, ...] = ()
        self._found: tuple[NamedValue, ...] = ()

    def of(self, args: tuple[str, ...]) -> tuple[NamedValue, ...]:
        """The secrets in some arguments."""
        if self._args != args:
            self._args, self._found = args, tuple(argument_secrets(args))
        return self._found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ArgumentSecrets)

    __hash__ = object.__hash__


class StdioConfig(BaseServerConfig):
    """A server that runs as a child process and communicates over its stdin and stdout."""

    transport: Literal["stdio"] = "stdio"

    command: Text = Field(min_length=1)
    """The program. It is searched on the PATH of the child's environment."""

    args: list[Text] = Field(default_factory=list)

    environment: Secrets = Field(default_factory=dict, validation_alias=AliasChoices("environment", "env"))
    """Variables for the child. It also inherits HOME, LOGNAME, PATH, SHELL, TERM, USER, and those that launchers such
    as `npx` and `uvx` need to reach the network and packages (proxies, certificates, `NPM_CONFIG_*`, ...)."""

    inherit_environment: Annotated[bool, Strict()] | list[str] = False
    """`true`: the child inherits the whole environment of this process. A list: it also inherits the variables with
    these names. A glob such as `AWS_*` excludes variables that are named like secrets."""

    working_dir: FilePath | None = Field(default=None, validation_alias=AliasChoices("working_dir", "cwd"))

    _argument_secrets: _ArgumentSecrets = PrivateAttr(default_factory=_ArgumentSecrets)

    inherits_nothing: ClassVar[bool] = False
    """Whether it gets nothing of this process's variables."""

    encoding: str = "utf-8"
    encoding_error_handler: Literal["strict", "ignore", "replace"] = "strict"

    @field_validator("environment", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}") from None
        return value

    @field_serializer("args")
    def _args_without_secrets(self, args: list[str]) -> list[str]:
        return shown_arguments(args)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, shown_arguments(self.args) if name == "args" else value

    def _sent_values(self) -> Iterable[NamedValue]:
        """Variables, and secrets in the command line."""
        return _sent_to_child(self)

    def argument_secrets(self) -> Sequence[NamedValue]:
        """Secrets in the command line, which are looked for once. Never print them."""
        return self._argument_secrets.of(tuple(self.args))

    @property
    def address(self) -> str:
        return stdio_address(self.command, self.args)

    @property
    def catalog_key(self) -> str:
        """What the catalog remembers it by."""
        parts = [self.command, *self.args, self.working_dir]
        values = self.environment_values()
        return catalog_key(self.transport, self.protocol, self.address, parts, values, self.volatile)

    def environment_values(self) -> dict[str, str]:
        """The variables with their values. For the transport; never print it."""
        return {name: secret.get_secret_value() for name, secret in self.environment.items()}

    def withheld(self) -> Sequence[str]:
        """Names of variables in this environment that are not passed on to it."""
        return withheld_variables(self.command, self.args, self.environment, self.inherit_environment)


class RemoteConfig(BaseServerConfig):
    """What servers reached over HTTP have in common."""

    url: Annotated[Url, PlainSerializer(redact_url, return_type=str)]

    headers: Secrets = Field(default_factory=dict)
    """Sent with every request."""

    sse_read_timeout: UpToSixHours = 300.0
    """Seconds for which a stream may be silent before it counts as broken."""

    verify: bool | FilePath = True
    """Whether the server's TLS certificate is checked; a path is a file with the certificate authorities to trust."""

    auth: AuthSetting = Field(
        default=None,
        repr=False,
        exclude_if=lambda value: not isinstance(value, str | OAuthConfig),
    )
    """How requests are authorized: by default with the tokens of `jackfield auth`, if there are any for this URL.
    `oauth` or an `OAuthConfig` requires tokens, and `none` never uses them. In code, also an `httpx2.Auth`, which
    cannot be stored in files."""

    @field_validator("headers", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("url")
    @classmethod
    def _http_only(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return value
        except ValueError:
            pass  # Its text quotes the address, with what may be a password in it.
        raise ValueError("a url must start with http:// or https:// and name a host")

    def _sent_values(self) -> Iterable[NamedValue]:
        """Headers, secrets in the URL, and the secret of an OAuth client."""
        return _sent_over_http(self)

    @property
    def address(self) -> str:
        return redact_url(self.url)

    @property
    def catalog_key(self) -> str:
        """What the catalog remembers it by."""
        transport: str = getattr(self, "transport", "")
        client = self.auth.client_key if isinstance(self.auth, OAuthConfig) else ""
        parts = [identifying_url(self.url, self.volatile), *([client] if client else [])]
        return catalog_key(transport, self.protocol, self.address, parts, self.header_values(), self.volatile)

    def authorize(self, connections: AsyncBaseTransport) -> AsyncBaseTransport | None:
        """What puts credentials on requests that go by these connections, where `headers` and `auth` do not say it."""
        return None

    def header_values(self) -> dict[str, str]:
        """The headers with their values. For the transport; never print it."""
        return {name: secret.get_secret_value() for name, secret in self.headers.items()}

    @property
    def oauth(self) -> OAuthConfig | None:
        """The settings of the sign-in whose tokens are used; `None` if it authenticates in another way."""
        if isinstance(self.auth, OAuthConfig):
            return self.auth
        has_own = self.auth is None and any(name.lower() == "authorization" for name in self.headers)
        return OAuthConfig() if self.auth in (None, "oauth") and not has_own else None


class SseConfig(RemoteConfig):
    """A server over HTTP with server-sent events, the transport before Streamable HTTP."""

    transport: Literal["sse"] = "sse"

    timeout: UpToAnHour = 5.0
    """Seconds for one HTTP operation, such as connecting or posting a message."""


class HttpConfig(RemoteConfig):
    """A server over Streamable HTTP."""

    transport: Annotated[Literal["streamable-http"], BeforeValidator(one_spelling)] = "streamable-http"

    timeout: UpToAnHour = 30.0
    """Seconds for one HTTP operation, such as connecting or posting a message."""

    terminate_on_close: bool = True
    """Whether the server gets a DELETE when its session ends."""


class InProcessConfig(BaseServerConfig):
    """A server object of this program, run in its process: for tests, and for servers that are part of the program.

    Each session runs the server separately: its lifespan is entered when the session opens, and exited when it closes.
    Data of the object itself, such as a closure's variables, is shared by all sessions and outlives them.
    """

    transport: Literal["in-process"] = "in-process"

    server: Annotated[object, AfterValidator(_server_object)] = Field(exclude=True, repr=False)
    """An `MCPServer` or a low-level `Server` of the SDK, or a `FastMCP` of the package fastmcp."""

    @property
    def address(self) -> str:
        return f"{described(self.server)} in this process"

    @property
    def catalog_key(self) -> str:
        """What the catalog remembers it by, as long as the object lives: another program cannot have this server."""
        return object_key(self.transport, self.protocol, self.server)


def sent_values(config: BaseServerConfig) -> Iterable[NamedValue]:
    """Possible secrets that are sent to the server or passed to its process, with names. Never print them."""
    return config._sent_values()  # pyright: ignore[reportPrivateUsage]  # only our own layers call it


async def when_opened(config: BaseServerConfig) -> BaseServerConfig:
    """The configuration that a connection is opened with: this one, completed by what is found only then.

    Raises:
        JackfieldError: It cannot be found.
    """
    return await config._when_opened()  # pyright: ignore[reportPrivateUsage]  # as above


def transport_of(data: object) -> str | None:
    """The transport of a configuration entry: as named, else as its keys tell."""
    if isinstance(data, BaseServerConfig):
        return getattr(data, "transport", None)
    return transport_of_entry(cast("Mapping[object, object]", data)) if isinstance(data, Mapping) else None


WHAT_TO_GIVE = "give a command (stdio), a url (http), or transport: stdio, sse or http"

ServerConfig = Annotated[
    Annotated[StdioConfig, Tag("stdio")]
    | Annotated[SseConfig, Tag("sse")]
    | Annotated[HttpConfig, Tag("streamable-http")]
    | Annotated[InProcessConfig, Tag("in-process")],
    Discriminator(
        transport_of,
        custom_error_type="transport",
        custom_error_message=WHAT_TO_GIVE,
    ),
]
"""Any of the four, distinguished by `transport`, or by their keys if it is omitted."""


def outline_of_config(config: ServerConfig) -> ServerOutline:
    """The outline of a whole configuration."""
    return ServerOutline(
        config.server_name,
        config.transport,
        config.address,
        config.catalog_key,
        config.include,
        config.exclude,
        config.session.check_arguments,
    )


def launch_of_config(config: StdioConfig) -> Launch:
    """How the program of a whole configuration is started."""
    return Launch(
        config.server_name,
        config.command,
        tuple(config.args),
        config.environment_values(),
        None if config.working_dir is None else Path(config.working_dir),
        config.inherit_environment,
        config.inherits_nothing,
    )


def _sent_to_child(config: StdioConfig) -> Iterator[NamedValue]:
    """Variables, and secrets in the command line: `--token X`, `--token=X`, `-e TOKEN=X`, passwords in URLs."""
    yield from config.environment_values().items()
    for value in (config.command, config.working_dir, *config.args):
        if isinstance(value, Expanded | ExpandedPath):
            yield from replaced_values(str.__str__(value) if isinstance(value, str) else str(value), value.template)
    yield from config.argument_secrets()


def _sent_over_http(config: RemoteConfig) -> Iterator[NamedValue]:
    """Headers, secrets in the URL, and the secret of an OAuth client."""
    yield from config.header_values().items()
    url = str.__str__(config.url)
    yield from (("password", part) for part in secrets_within("url", url))
    if isinstance(config.url, Expanded):
        yield from replaced_values(url, config.url.template)
    if isinstance(config.verify, ExpandedPath):
        yield from replaced_values(str(config.verify), config.verify.template)
    for name in ("client_secret", "private_key"):
        if (secret := getattr(config.auth, name, None)) is not None:
            value = secret.get_secret_value()
            # A variable may hold a key with its line ends escaped.
            yield from ((name, text) for text in (value, value.replace("\\n", "\n")))

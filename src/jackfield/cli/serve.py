"""`jackfield serve`: all servers as one, or one over another transport, for a host program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import ConfigError
from ..names import did_you_mean
from . import exits
from . import serve_options as options
from . import team_options as team
from .invocation import Invocation
from .output import Output
from .serve_hooks import hooks_of
from .serve_instances import REDIS_VARIABLE, instance_settings
from .serve_operations import OperationOptions
from .serve_page import page_settings
from .serve_run import GatewaySetup, run_http, run_stdio
from .serve_users import UserOptions
from .upstreams import Upstreams, upstreams

if TYPE_CHECKING:
    from ..config.servers import ServerConfig
    from ..gateway.audit import Audit
    from ..gateway.policy import Policy

DESTRUCTIVE = "destructive"
"""Of `--ask`: all tools that are not annotated as safe."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    servers: options.ServersArgument = None,
    stdio: options.StdioOption = False,
    http: options.HttpOption = None,
    sse: options.SseOption = None,
    header: options.HeaderOption = None,
    all_tools: options.AllToolsOption = False,
    resources: options.ResourcesOption = None,
    include: options.IncludeOption = None,
    exclude: options.ExcludeOption = None,
    read_only: options.ReadOnlyOption = False,
    allow: options.AllowOption = None,
    ask: options.AskOption = None,
    no_ask: options.NoAskOption = None,
    hook: options.HookOption = None,
    audit: options.AuditOption = None,
    audit_size: options.AuditSizeOption = None,
    audit_files: options.AuditFilesOption = None,
    auth_issuer: team.AuthIssuerOption = None,
    audience: team.AudienceOption = None,
    jwks_url: team.JwksUrlOption = None,
    token_file: team.TokenFileOption = None,
    public_url: team.PublicUrlOption = None,
    certfile: team.CertfileOption = None,
    keyfile: team.KeyfileOption = None,
    trusted_proxy: team.TrustedProxyOption = None,
    plain_http: team.PlainHttpOption = False,
    reconnect_timeout: options.ReconnectOption = None,
    session_idle: options.SessionIdleOption = None,
    keep_alive: options.KeepAliveOption = None,
    redis: team.RedisOption = None,
    postgres: team.PostgresOption = None,
    keys_file: team.KeysFileOption = None,
    instance_url: team.InstanceUrlOption = None,
    web: options.WebOption = False,
    web_client_id: options.WebClientOption = None,
    max_sessions: team.MaxSessionsOption = None,
    max_sessions_per_user: team.MaxSessionsPerUserOption = None,
    max_calls: team.MaxCallsOption = None,
    max_calls_per_user: team.MaxCallsPerUserOption = None,
    calls_per_minute: team.CallsPerMinuteOption = None,
    total_calls_per_minute: team.TotalCallsPerMinuteOption = None,
    max_upstreams: team.MaxUpstreamsOption = None,
    max_children: team.MaxChildrenOption = None,
    max_children_per_user: team.MaxChildrenPerUserOption = None,
    child_memory: team.ChildMemoryOption = None,
    children_memory: team.ChildrenMemoryOption = None,
    child_idle: team.ChildIdleOption = None,
    metrics: team.MetricsOption = False,
    log_format: team.LogFormatOption = None,
    stop_delay: team.StopDelayOption = None,
    drain_timeout: team.DrainTimeoutOption = None,
) -> int:
    """Be one MCP server in front of all, or a bridge to one.

    \b
    All configured servers, for a host program that starts this:
      jackfield serve --stdio
    A server over stdio that is not configured, over HTTP:
      jackfield serve --http 8000 --stdio 'npx -y some-server arg'
    A server over HTTP that is not configured, over stdio:
      jackfield serve --stdio https://example.org/mcp
    """
    invocation = Invocation.of(context)
    if not stdio and http is None:
        raise exits.UsageError(
            "Give --stdio or --http.",
            hint="--stdio for a host program that starts it, --http 127.0.0.1:8000 for others.",
        )
    over_http = http is not None
    one_client = "Over stdio there is one client only."
    _require_http(over_http, "--auth-issuer", auth_issuer, one_client)
    _require_http(over_http, "--token-file", token_file, one_client)
    network = "Over stdio there is no network."
    _require_http(over_http, "--public-url", public_url, network)
    _require_http(over_http, "--certfile", certfile, network)
    _require_http(over_http, "--trusted-proxy", trusted_proxy or None, network)
    _require_http(over_http, "--plain-http", plain_http or None, network)
    if keyfile is not None and certfile is None:
        raise exits.UsageError("--keyfile requires --certfile.")
    users = UserOptions(auth_issuer, audience or [], jwks_url, token_file, public_url)
    users.check()
    _require_http(over_http, "--reconnect-timeout", reconnect_timeout, "Over stdio, a client ends with its pipe.")
    _require_http(over_http, "--session-idle", session_idle, "Over stdio, a client ends with its pipe.")
    if web_client_id is not None and not (web and auth_issuer is not None):
        raise exits.UsageError("--web-client-id requires --web and --auth-issuer.")
    _require_http(over_http, "--web", web or None, "A browser cannot reach a gateway over stdio.")
    _require_http(over_http, "--redis", redis, one_client)
    _require_http(over_http, "--postgres", postgres, one_client)
    if over_http and redis is None and postgres is None:
        redis = os.environ.get(REDIS_VARIABLE) or None
    for option, seconds in (
        ("--reconnect-timeout", reconnect_timeout),
        ("--session-idle", session_idle),
        ("--child-idle", child_idle),
        ("--stop-delay", stop_delay),
        ("--drain-timeout", drain_timeout),
    ):
        _require_seconds(option, seconds, may_be_0=option != "--session-idle")
    if allow and not read_only:
        raise exits.UsageError("--allow requires --read-only.", hint="Without it, all tools are offered.")
    if no_ask and DESTRUCTIVE not in (ask or []):
        raise exits.UsageError("--no-ask requires --ask destructive.", hint="Other tools need no approval.")
    if audit is None and (audit_size, audit_files) != (None, None):
        raise exits.UsageError("--audit-size and --audit-files require --audit FILE.")
    operations = OperationOptions(
        max_sessions=max_sessions,
        max_sessions_per_user=max_sessions_per_user,
        max_calls=max_calls,
        max_calls_per_user=max_calls_per_user,
        calls_per_minute=calls_per_minute,
        total_calls_per_minute=total_calls_per_minute,
        max_upstreams=max_upstreams,
        max_children=max_children,
        max_children_per_user=max_children_per_user,
        child_memory=child_memory,
        children_memory=children_memory,
        child_idle=child_idle,
        metrics=metrics,
        stop_delay=stop_delay,
        drain_timeout=drain_timeout,
    )
    operations.check(over_http)

    def served_by(invocation: Invocation) -> tuple[Upstreams, list[ServerConfig]]:
        is_command = stdio and over_http
        served = upstreams(invocation, servers or [], is_command=is_command, sse=sse, headers=header or [])
        offered = users.served(invocation.output, served.configs, servers or [])
        configs = operations.with_idle_time(offered)
        return served, _kept_alive(configs, keep_alive or [], every=served.is_bridge)

    served, configs = served_by(invocation)
    if resources is not None and (all_tools or served.is_bridge):
        option = "--resources" if resources else "--no-resources"
        raise exits.UsageError(
            f"{option} is for find_tools and call_tool.",
            hint="A bridge, and --all-tools, offer resources and prompts in any case; --exclude leaves some out.",
        )
    rules = {"include": include, "exclude": exclude, "allow": allow, "ask": ask, "no_ask": no_ask}
    setup = GatewaySetup(
        configs,
        is_bridge=served.is_bridge,
        all_tools=all_tools or served.is_bridge,
        resources=resources,
        policy=_policy(
            invocation.output, configs, {name: texts or [] for name, texts in rules.items()}, read_only=read_only
        ),
        hooks=hooks_of(hook or []),
        audit=None if audit is None else _audit(audit, audit_size, audit_files),
        limits=operations.gateway_limits(),
        log_format=log_format,
        reload=lambda: served_by(Invocation(invocation.output, invocation.config_files))[1],
        token_keys=users.token_keys(configs, keys_file),
    )
    if keys_file is not None and not setup.token_keys and redis is None and postgres is None:
        raise exits.UsageError("--keys-file requires --redis, --postgres, or a server that users sign in to.")
    if http is None:
        return exits.ended_by(run_stdio(invocation.output, setup))
    from ..gateway.http_settings import RECONNECT_SECONDS, SESSION_IDLE_SECONDS, HttpSettings

    settings = HttpSettings(
        auth=users.verifier(),
        certfile=certfile,
        keyfile=keyfile,
        trusted_proxies=trusted_proxy or [],
        plain_http=plain_http,
        public_url=public_url,
        session_idle_timeout=SESSION_IDLE_SECONDS if session_idle is None else session_idle,
        reconnect_timeout=RECONNECT_SECONDS if reconnect_timeout is None else reconnect_timeout,
        instances=instance_settings(redis, postgres, keys_file, instance_url),
        web=page_settings(invocation.output, users, web_client_id) if web else None,
        operations=operations.settings(),
    )
    return exits.ended_by(run_http(invocation.output, setup, http, settings, guard=users.guard))


def _policy(
    output: Output, configs: Sequence[ServerConfig], rules: Mapping[str, Sequence[str]], *, read_only: bool
) -> Policy | None:
    """The policy for these rules; `None` if there are none. Warns of patterns that match nothing.

    Raises:
        UsageError: A pattern is empty, or names no server.
    """
    from ..catalog.store import Catalog
    from ..gateway.policy import Policy, Rules

    if not read_only and not any(rules.values()):
        return None
    catalog = Catalog()
    try:
        policy = Policy(Rules(read_only=read_only, **rules), [config.server_name for config in configs])
    except ConfigError as error:
        raise exits.UsageError(f"{_option(error.key)}: {error.problem or error.message}", hint=error.hint) from None
    entries = [(config, entry) for config in configs if (entry := catalog.entry(config)) is not None]
    if all(map(catalog.is_listed, configs)):
        for rule, pattern in policy.unmatched(entries):
            output.warn(f"{_option(rule)}: {pattern!r} matches nothing that the servers offer, as far as is known.")
    return policy


def _option(rule: str) -> str:
    return f"--{rule.replace('_', '-')}"


def _audit(file: Path, megabytes: int | None, kept_files: int | None) -> Audit:
    from ..gateway.audit import Audit
    from ..gateway.audit_file import FILE_BYTES, KEPT_FILES

    return Audit(
        file,
        max_bytes=FILE_BYTES if megabytes is None else megabytes * 1024 * 1024,
        kept_files=KEPT_FILES if kept_files is None else kept_files,
    )


def _require_http(over_http: bool, option: str, value: object, hint: str) -> None:
    if value is not None and not over_http:
        raise exits.UsageError(f"{option} is for --http.", hint=hint)


def _require_seconds(option: str, value: float | None, *, may_be_0: bool) -> None:
    if value is None:
        return
    from ..serving.author_options import check_seconds

    try:
        check_seconds(option, value, may_be_0=may_be_0)
    except ValueError:
        raise exits.UsageError(f"{option} must be a number of seconds.", hint=f"Such as {option} 60.") from None


def _kept_alive(configs: Sequence[ServerConfig], names: Sequence[str], *, every: bool) -> list[ServerConfig]:
    """The servers, with those named never closed for being unused; others as long as their entries say.

    Raises:
        UsageError: There is no such server.
    """
    known = [config.server_name for config in configs]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "server")
            raise exits.UsageError(f"--keep-alive: {name!r} is not a server that is served here.", hint=hint)
    return [_unused_for(config, for_ever=every or config.server_name in names) for config in configs]


def _unused_for(config: ServerConfig, *, for_ever: bool) -> ServerConfig:
    if not for_ever and not config.keep_alive:
        return config
    idle_timeout = None if for_ever or config.keep_alive is True else config.keep_alive
    return config.model_copy(update={"session": config.session.model_copy(update={"idle_timeout": idle_timeout})})

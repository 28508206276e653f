"""The options of `jackfield serve` for a team, in the order of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# Who is let in

AuthIssuerOption = Annotated[
    str | None,
    typer.Option(
        "--auth-issuer",
        help="Let in the users of this OAuth authorization server, by its JWT access tokens.",
        metavar="URL",
    ),
]
AudienceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--audience",
        help="With --auth-issuer: what tokens are issued for; the public URL if omitted. May be given again.",
        metavar="TEXT",
    ),
]
JwksUrlOption = Annotated[
    str | None,
    typer.Option(
        "--jwks-url", help="With --auth-issuer: its public keys, if its metadata does not name them.", metavar="URL"
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="Let in the users in this file, which `jackfield serve-token` writes; or all who have the one token in "
        "it.",
        metavar="FILE",
    ),
]

# How they get here

PublicUrlOption = Annotated[
    str | None,
    typer.Option("--public-url", help="The URL that clients have, where that is another one.", metavar="URL"),
]
CertfileOption = Annotated[
    Path | None, typer.Option("--certfile", help="Do TLS with this certificate and its chain, as PEM.", metavar="FILE")
]
KeyfileOption = Annotated[
    Path | None,
    typer.Option("--keyfile", help="Its private key, if that is not in the same file.", metavar="FILE"),
]
TrustedProxyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        help="A proxy that does TLS: its IP address or network. May be given again.",
        metavar="ADDRESS",
    ),
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="Serve other machines without TLS: the network encrypts.")
]

# Several instances

RedisOption = Annotated[
    str | None,
    typer.Option("--redis", help="Be one of several instances, which share this Redis.", metavar="URL"),
]
PostgresOption = Annotated[
    str | None,
    typer.Option("--postgres", help="Be one of several instances, which share this database.", metavar="DSN"),
]
KeysFileOption = Annotated[
    Path | None,
    typer.Option(
        "--keys-file",
        help="Secrets, one a line, for what instances send each other and for users' tokens; the first is used, "
        "all are accepted.",
        metavar="FILE",
    ),
]
InstanceUrlOption = Annotated[
    str | None,
    typer.Option(
        "--instance-url",
        help="Where other instances reach this one, such as http://10.0.0.7:8000; where it listens, by default.",
        metavar="URL",
    ),
]

# What they may use

MaxSessionsOption = Annotated[
    int | None,
    typer.Option("--max-sessions", help="Sessions of clients in all; 10000 by default.", metavar="NUMBER", min=1),
]
MaxSessionsPerUserOption = Annotated[
    int | None,
    typer.Option(
        "--max-sessions-per-user", help="Sessions of clients of one user; 100 by default.", metavar="NUMBER", min=1
    ),
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option("--max-calls", help="Calls at once in all; 1000 by default.", metavar="NUMBER", min=1),
]
MaxCallsPerUserOption = Annotated[
    int | None,
    typer.Option("--max-calls-per-user", help="Calls at once of one user; 100 by default.", metavar="NUMBER", min=1),
]
CallsPerMinuteOption = Annotated[
    int | None,
    typer.Option(
        "--calls-per-minute", help="Calls of one user within a minute; any number by default.", metavar="NUMBER", min=1
    ),
]
MaxUpstreamsOption = Annotated[
    int | None,
    typer.Option(
        "--max-upstreams", help="Sessions with servers of all kinds; 2000 by default.", metavar="NUMBER", min=1
    ),
]
MaxChildrenOption = Annotated[
    int | None,
    typer.Option("--max-children", help="Servers that are processes, in all; 200 by default.", metavar="NUMBER", min=1),
]
MaxChildrenPerUserOption = Annotated[
    int | None,
    typer.Option("--max-children-per-user", help="The same, of one user; 50 by default.", metavar="NUMBER", min=1),
]
ChildMemoryOption = Annotated[
    int | None,
    typer.Option(
        "--child-memory",
        help="Restart a server that is a process between two calls once it uses more memory than this. On Linux.",
        metavar="MB",
        min=1,
    ),
]
ChildIdleOption = Annotated[
    float | None,
    typer.Option(
        "--child-idle",
        help="Seconds after which a server that is a process, and not used, is closed; 900 by default.",
        metavar="SECONDS",
        min=0,
    ),
]

# How it is run

MetricsOption = Annotated[
    bool,
    typer.Option("--metrics", help="Serve metrics for Prometheus at /metrics; with a token of the scope `metrics`."),
]
LogFormatOption = Annotated[
    Literal["text", "json"] | None,
    typer.Option("--log-format", help="Log to stderr, with a line for each call."),
]
StopDelayOption = Annotated[
    float | None,
    typer.Option(
        "--stop-delay",
        help="Seconds from SIGTERM until it begins to stop; meanwhile /health/ready answers 503. 0 by default.",
        metavar="SECONDS",
        min=0,
    ),
]
DrainTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--drain-timeout",
        help="Seconds for calls that run when it stops; 10 by default.",
        metavar="SECONDS",
        min=0,
    ),
]

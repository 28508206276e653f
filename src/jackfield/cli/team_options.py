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
        help="Accept users of this OAuth authorization server, by its JWT access tokens.",
        metavar="URL",
    ),
]
AudienceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--audience",
        help="With --auth-issuer: the audience of accepted tokens; the public URL if omitted. Can be repeated.",
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
        help="Accept the users in this file, which `jackfield serve-token` writes; or everyone with its one token.",
        metavar="FILE",
    ),
]

# How they get here

PublicUrlOption = Annotated[
    str | None,
    typer.Option("--public-url", help="The URL that clients use, if it is a different one.", metavar="URL"),
]
CertfileOption = Annotated[
    Path | None,
    typer.Option("--certfile", help="Serve TLS with this certificate and its chain, as PEM.", metavar="FILE"),
]
KeyfileOption = Annotated[
    Path | None,
    typer.Option("--keyfile", help="Its private key, if that is not in the same file.", metavar="FILE"),
]
TrustedProxyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        help="The IP address or network of a proxy that terminates TLS. Can be repeated.",
        metavar="ADDRESS",
    ),
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="Serve other machines without TLS: the network itself is encrypted.")
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
        help="Secrets, one per line, that protect messages between instances and users' tokens; the first is used, "
        "all are accepted.",
        metavar="FILE",
    ),
]
InstanceUrlOption = Annotated[
    str | None,
    typer.Option(
        "--instance-url",
        help="The URL at which other instances reach this one, such as http://10.0.0.7:8000; by default the address "
        "it listens on.",
        metavar="URL",
    ),
]

# What they may use

MaxSessionsOption = Annotated[
    int | None,
    typer.Option("--max-sessions", help="Maximum client sessions in total; 10000 by default.", metavar="NUMBER", min=1),
]
MaxSessionsPerUserOption = Annotated[
    int | None,
    typer.Option(
        "--max-sessions-per-user", help="Maximum client sessions per user; 100 by default.", metavar="NUMBER", min=1
    ),
]
MaxCallsOption = Annotated[
    int | None,
    typer.Option("--max-calls", help="Maximum concurrent calls in total; 1000 by default.", metavar="NUMBER", min=1),
]
MaxCallsPerUserOption = Annotated[
    int | None,
    typer.Option(
        "--max-calls-per-user", help="Maximum concurrent calls per user; 100 by default.", metavar="NUMBER", min=1
    ),
]
CallsPerMinuteOption = Annotated[
    int | None,
    typer.Option(
        "--calls-per-minute", help="Maximum calls per user and minute; unlimited by default.", metavar="NUMBER", min=1
    ),
]
TotalCallsPerMinuteOption = Annotated[
    int | None,
    typer.Option(
        "--total-calls-per-minute",
        help="Maximum calls of all users per minute; unlimited by default.",
        metavar="NUMBER",
        min=1,
    ),
]
MaxUpstreamsOption = Annotated[
    int | None,
    typer.Option("--max-upstreams", help="Maximum sessions with servers; 2000 by default.", metavar="NUMBER", min=1),
]
MaxChildrenOption = Annotated[
    int | None,
    typer.Option("--max-children", help="Maximum server processes in total; 200 by default.", metavar="NUMBER", min=1),
]
MaxChildrenPerUserOption = Annotated[
    int | None,
    typer.Option(
        "--max-children-per-user", help="Maximum server processes per user; 50 by default.", metavar="NUMBER", min=1
    ),
]
ChildMemoryOption = Annotated[
    int | None,
    typer.Option(
        "--child-memory",
        help="Restart a server process between two calls if it uses more memory than this. Linux only.",
        metavar="MB",
        min=1,
    ),
]
ChildrenMemoryOption = Annotated[
    int | None,
    typer.Option(
        "--children-memory",
        help="Start no other server process while all of them together use more memory than this. Linux only.",
        metavar="MB",
        min=1,
    ),
]
ChildIdleOption = Annotated[
    float | None,
    typer.Option(
        "--child-idle",
        help="Seconds after which an unused server process is closed; 900 by default.",
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
        help="Seconds from SIGTERM until shutdown begins; meanwhile /health/ready answers 503. 0 by default.",
        metavar="SECONDS",
        min=0,
    ),
]
DrainTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--drain-timeout",
        help="Seconds that running calls have to end at shutdown; 10 by default.",
        metavar="SECONDS",
        min=0,
    ),
]

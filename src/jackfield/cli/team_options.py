"""The options of `jackfield serve` for a team, in the order of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
        help="The secrets that the instances share, one a line; the first signs, all are accepted.",
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

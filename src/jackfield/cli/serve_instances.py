"""What `jackfield serve` needs to be one of several instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import exits

if TYPE_CHECKING:
    from ..gateway.http_settings import InstanceSettings
    from ..serving import Backend


REDIS_VARIABLE = "JACKFIELD_SERVE_REDIS"
"""The URL of a Redis, instead of the option: a command line, and a password in it, is seen by others on the machine.
PostgreSQL has variables of its own for that."""


def instance_settings(
    redis: str | None, postgres: str | None, keys_file: Path | None, instance_url: str | None
) -> InstanceSettings | None:
    """What this instance shares with others; `None` if it is alone.

    Args:
        redis: The URL of a Redis.
        postgres: The DSN of a database.
        keys_file: Has the secrets.
        instance_url: Where the others reach it; where it listens if omitted.

    Raises:
        UsageError: Options that do not go together.
        ConfigError: The file has no keys, or an extra is not installed.
    """
    if redis is None and postgres is None:
        if instance_url is not None:
            raise exits.UsageError("--instance-url requires --redis or --postgres.")
        return None
    if redis is not None and postgres is not None:
        raise exits.UsageError("Give --redis or --postgres, not both.")
    if keys_file is None:
        raise exits.UsageError(
            "--redis and --postgres need --keys-file: the messages between instances are signed.",
            hint="The same file for every instance: `openssl rand -hex 32 > FILE`.",
        )
    from ..gateway.http_settings import InstanceSettings
    from ..gateway.instances.keys import read_keys

    keys = read_keys(keys_file)
    if instance_url is not None:
        instance_url = _address(instance_url)
    return InstanceSettings(_backend(redis, postgres), keys, instance_url)


def _address(text: str) -> str:
    """The address of an instance, without a path.

    Raises:
        UsageError: It is none.
    """
    from ..auth.resource import is_address

    hint = "Such as http://10.0.0.7:8000."
    if not is_address(text):
        raise exits.UsageError(f"--instance-url: {text!r} is not the address of an instance.", hint=hint)
    given = urlsplit(text)
    if "@" in given.netloc or given.path.strip("/") or given.query or given.fragment:
        text = "--instance-url: only a host and a port can be given, without user, path and query."
        raise exits.UsageError(text, hint=hint)
    return f"{given.scheme}://{given.netloc}"


def _backend(redis: str | None, postgres: str | None) -> Backend:
    from .. import serving

    return serving.RedisBackend(redis) if redis is not None else serving.PostgresBackend(str(postgres))

"""What HTTPS connections check certificates by."""

from __future__ import annotations

import functools
import os
import ssl

from ..errors import ConfigError
from .servers import RemoteConfig


def tls_context(config: RemoteConfig) -> ssl.SSLContext:
    """The context of a server's connections.

    Loading the system's authorities takes some 20 ms, in which the event loop stands still, so they are loaded once.

    Raises:
        ConfigError: The file that `verify` names cannot be used.
    """
    if isinstance(config.verify, bool):
        return _systems(config.verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    try:
        return ssl.create_default_context(cafile=config.verify)
    except OSError as error:
        problem = (
            "has no certificate in it" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
        )
        raise ConfigError(
            f"{config.verify}, which `verify` of server {config.server_name!r} names, {problem}.",
            hint="Name the file of the certificate authorities to trust, in PEM.",
        ) from None


@functools.lru_cache(maxsize=4)
def _systems(is_checked: bool, *_chosen_by_environment: str | None) -> ssl.SSLContext:
    # Imported here: sessions over stdio need none of it.
    from httpx2 import create_ssl_context

    return create_ssl_context(is_checked)

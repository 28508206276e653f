"""A keyring for tests: a file of its own, or the troubles that keyrings have.

Chosen, as any keyring is, by `PYTHON_KEYRING_BACKEND`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Keeps passwords in `TEST_KEYRING_FILE`; `TEST_KEYRING_TROUBLE` is `locked`, `silent` or `forgetful`."""

    priority = 5  # type: ignore[assignment]

    @property
    def _path(self) -> Path:
        return Path(os.environ["TEST_KEYRING_FILE"])

    def _passwords(self) -> dict[str, str]:
        trouble = os.environ.get("TEST_KEYRING_TROUBLE")
        if trouble == "locked":
            raise KeyringLocked("the person did not unlock it")
        if trouble == "silent":
            time.sleep(1.0)
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._passwords().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        passwords = self._passwords()
        if os.environ.get("TEST_KEYRING_TROUBLE") != "forgetful":
            passwords[f"{service}/{username}"] = password
        self._path.write_text(json.dumps(passwords))

    def delete_password(self, service: str, username: str) -> None:
        passwords = self._passwords()
        if passwords.pop(f"{service}/{username}", None) is None:
            raise PasswordDeleteError("there is no such password")
        self._path.write_text(json.dumps(passwords))

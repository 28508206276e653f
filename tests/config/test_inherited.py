"""What is handed on of this process's variables, and what is said of the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from jackfield.config.launch import inherited_environment, withheld_text, withheld_variables

NETWORK = [
    *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("REQUESTS_CA_BUNDLE", "NPM_CONFIG_REGISTRY", "npm_config_cache", "UV_INDEX_URL", "UV_CACHE_DIR", "PIP_INDEX_URL"),
    *("PIPX_HOME", "DOCKER_HOST", "GIT_SSL_CAINFO"),
]
CREDENTIALS = ["NPM_CONFIG__AUTHTOKEN", "npm_config_//registry.example/:_authToken", "UV_INDEX_OURS_PASSWORD"]
OTHERS = ["OUR_SECRET", "PYTHONPATH", "AWS_PROFILE", "MY_HTTPS_PROXY"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name not in ("HOME", "PATH")]:
        monkeypatch.delenv(name)
    for name in (*NETWORK, *CREDENTIALS, *OTHERS):
        monkeypatch.setenv(name, f"value of {name}")


@pytest.mark.parametrize(
    ("line", "is_launcher"),
    [
        ("npx -y server", True),
        ("/opt/node/bin/npx server", True),
        ("uvx server", True),
        ("uv run server.py", True),
        ("pnpm dlx server", True),
        ("/usr/bin/env uvx server", True),
        ("docker run -i image", True),
        ("python3 server.py", False),
        ("./npx.py", False),
        ("python3 server.py npx", False),
        ("node index.js --package-manager npm", False),
        ("python3.12 -m pipx run server", True),
        ("env A=1 B=2 C=3 D=4 E=5 npx server", True),
    ],
)
def test_all_get_what_reaches_the_network_and_launchers_what_signs_in_there(line: str, is_launcher: bool) -> None:
    command, *args = line.split()
    expected = {"HOME", "PATH", *NETWORK, *(CREDENTIALS if is_launcher else [])}
    assert set(inherited_environment(command, args)) == expected
    assert inherited_environment("sh", ["-c", line]).keys() == expected
    assert inherited_environment(command, args)["HTTP_PROXY"] == "value of HTTP_PROXY"
    assert set(inherited_environment(command, args, more=True)) == set(os.environ)


def test_more_is_handed_on_by_name_and_by_globs_that_mean_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    few = {"HOME", "PATH", *NETWORK}
    assert set(inherited_environment("python3", more=["OUR_SECRET", "AWS_*"])) == {*few, "OUR_SECRET", "AWS_PROFILE"}
    all_but_secrets = set(inherited_environment("python3", more=["*"])) - {"PYTEST_CURRENT_TEST"}
    assert all_but_secrets == {*few, "AWS_PROFILE", "PYTHONPATH", "MY_HTTPS_PROXY"}
    assert "AWS_PROFILE" not in inherited_environment("python3", [], ["aws_profile"], more=["*"])
    left = {"PYTHONPATH", "AWS_SECRET_ACCESS_KEY", "MY_HTTPS_PROXY"}
    assert left <= set(withheld_variables("python3", [], [], ["OUR_SECRET", "AWS_*"]))
    assert withheld_variables("python3", [], [], True) == []


def test_what_an_entry_gives_wins_in_either_spelling() -> None:
    given = ["https_PROXY", "UV_INDEX_URL", "path"]
    left = {"HOME", "PATH", *NETWORK} - {"https_proxy", "UV_INDEX_URL"}
    assert set(inherited_environment("python3", [], given)) == left


@pytest.mark.parametrize(
    ("command", "given", "names"),
    [
        ("python3", [], [*sorted(CREDENTIALS[:2]), "UV_INDEX_OURS_PASSWORD", "MY_HTTPS_PROXY", "PYTHONPATH"]),
        ("npx", ["PYTHONPATH"], ["MY_HTTPS_PROXY"]),
    ],
)
def test_what_is_withheld_is_named_and_first_what_may_be_missed(
    command: str, given: Sequence[str], names: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PS1", "SHLVL", "LC_ALL", "XDG_SESSION_ID", "JACKFIELD_CACHE_DIR"):
        monkeypatch.setenv(name, "of no interest")
    found = withheld_variables(command, [], given)
    assert set(found[: len(names)]) | {"OUR_SECRET"} == {*names, "OUR_SECRET"}
    assert set(found) == {*names, "AWS_PROFILE", "OUR_SECRET"}
    text = withheld_text(found, 2)
    assert f"{found[0]}, {found[1]} and {len(found) - 2} more" in text or len(found) == 2
    assert "value of" not in text
    assert withheld_text([]) == ""

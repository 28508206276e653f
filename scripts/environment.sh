#!/usr/bin/env bash
# Builds the virtual environment that `make` works in: everything for tests, examples and the demo.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Jackfield needs Python 3.11 or newer; set PYTHON to one, such as: make test PYTHON=python3.11" >&2
    exit 1
fi
# Debian keeps venv in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        echo "This Python has no venv module. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi

"$python" -m venv "$venv"
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
"$venv/bin/python" -m pip install --quiet -e '.[ag2,autogen,cli,embedding,fastembed,langchain,openai-agents,postgres,pydantic-ai,redis,smolagents,trio,yaml]' --group test --group lint --group examples --group docs --group release --group bench

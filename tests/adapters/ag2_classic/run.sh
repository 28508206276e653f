#!/usr/bin/env bash
# Runs the contract of all adapters, and the code of AG2's documentation, on AG2's 0.x line, which has an environment
# of its own: `make third-party` builds it. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# AG2 0.14 uses what its dependencies have deprecated. This checkout is tested, whichever built the environment.
PYTHONPATH="$PWD/src" JACKFIELD_ADAPTERS=ag2_classic exec .third_party/ag2_classic/bin/python -m pytest -p no:cacheprovider \
    -W ignore::DeprecationWarning tests/adapters/contract tests/adapters/ag2_classic "$@"

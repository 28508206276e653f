#!/usr/bin/env bash
# Tries the wheel with every Python given (or found), each with the lowest and the newest versions: the quick part of
# the tests, and each extra alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
pythons=("$@")
if [ $# = 0 ]; then
    for version in 3.11 3.12 3.13 3.14; do
        # pyenv keeps its own where nothing else looks.
        of_pyenv=("${PYENV_ROOT:-$HOME/.pyenv}/versions/$version."*/bin/python3)
        if found=$(uv python find --no-python-downloads "$version" 2>/dev/null); then
            pythons+=("$found")
        elif [ -x "${of_pyenv[0]}" ]; then
            pythons+=("${of_pyenv[0]}")
        else
            echo "NOT TRIED: no Python $version here" >&2
        fi
    done
fi
for python in "${pythons[@]}"; do
    for constraints in constraints-lowest.txt constraints.txt; do
        bash scripts/release/suite.sh "$python" $constraints
        bash scripts/release/extras.sh "$python" $constraints
    done
done

#!/usr/bin/env bash
# Writes constraints.txt (the newest versions) and constraints-lowest.txt (the lowest that pyproject.toml allows), each
# for all Pythons and platforms. What is pinned stays, unless `--upgrade` or `--upgrade-package NAME` is given.
set -euo pipefail
cd "$(dirname "$0")/../.."

resolve() { # file, options...
    uv pip compile pyproject.toml --quiet --universal --all-extras --group test --no-header --no-annotate \
        --output-file "$1" "${@:2}" >/dev/null
}

resolve constraints.txt --group bench --group docs --group examples --group lint --group mutants --group release "$@"
resolve constraints-lowest.txt --resolution lowest-direct "$@"

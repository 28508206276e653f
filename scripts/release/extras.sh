#!/usr/bin/env bash
# Installs the wheel with each extra alone, and with none, in fresh environments, and uses what it brings. Warnings are
# errors. EXTRAS names those to try, instead of all.
set -euo pipefail
python=$1
constraints=$2
export python constraints
here=$(cd "$(dirname "$0")" && pwd)
wheel=$(realpath dist/*.whl)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export here wheel work

try() {
    local place=$work/$1 extras=
    [ "$1" = none ] || extras="[$1]"
    uv venv --quiet --python "$python" "$place"
    uv pip install --quiet --python "$place" --constraints "$constraints" "$wheel$extras"
    uv pip check --quiet --python "$place"
    (cd "$place" && bin/python -W error "$here/smallest_use.py" "$1")
    rm -rf "$place"
    echo "jackfield$extras with $(basename "$constraints"): ok"
}
export -f try

printf '%s\n' ${EXTRAS:-none $("$python" "$here/extras.py")} | xargs -P 2 -I EXTRA bash -euo pipefail -c 'try EXTRA'

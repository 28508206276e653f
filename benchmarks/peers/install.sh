#!/usr/bin/env bash
# Installs the released versions that versions.txt names into the folder given, each in an environment of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$1
python=${PYTHON:-python3}
stamp="$target/installed-$(cksum <"$here/versions.txt" | cut -d' ' -f1)"

[ -e "$stamp" ] && exit 0
rm -rf "$target"
mkdir -p "$target"
unset PIP_CONSTRAINT
export PIP_DISABLE_PIP_VERSION_CHECK=1

running=()
while read -r driver requirements; do
    case $driver in
    "" | "#") continue ;;
    esac
    {
        "$python" -m venv "$target/$driver"
        "$target/$driver/bin/python" -m pip install --quiet $requirements
    } </dev/null &
    running+=("$!")
done <"$here/versions.txt"
for job in "${running[@]}"; do
    wait "$job"
done
touch "$stamp"

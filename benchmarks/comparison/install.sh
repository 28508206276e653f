#!/usr/bin/env bash
# Installs the commands that versions.txt names into the folder given, each in an environment of its own.
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

while read -r tool kind requirements; do
    case $kind in
    npm) npm install --loglevel=error --no-fund --no-audit --prefix "$target/$tool" $requirements </dev/null >/dev/null ;;
    python)
        "$python" -m venv "$target/$tool"
        "$target/$tool/bin/python" -m pip install --quiet $requirements </dev/null
        ;;
    esac
done < <(grep -v "^#" "$here/versions.txt")
touch "$stamp"

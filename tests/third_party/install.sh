#!/usr/bin/env bash
# Installs the MCP servers that nobody here wrote into the folder given, each line of versions.txt where
# its pins do not clash: Python servers in environments of their own, npm's under one prefix.
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

install_python() { # environment, requirements...
    "$python" -m venv "$target/$1"
    "$target/$1/bin/python" -m pip install --quiet "${@:2}"
}

while read -r kind place requirements; do
    case $kind in
    "" | "#") continue ;;
    python) install_python "$place" $requirements </dev/null ;;
    npm) npm install --loglevel=error --no-fund --no-audit --prefix "$target/$place" $requirements </dev/null >/dev/null ;;
    esac
done <"$here/versions.txt"
touch "$stamp"

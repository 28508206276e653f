#!/usr/bin/env bash
# Installs what nobody here wrote into the folder given, each line of versions.txt where its pins do not clash:
# Python servers in environments of their own, npm's under one prefix, and this project beside what cannot be
# installed in its own environment. A line is installed anew when it changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$1
python=${PYTHON:-python3}

mkdir -p "$target"
unset PIP_CONSTRAINT
export PIP_DISABLE_PIP_VERSION_CHECK=1

install_python() { # environment, requirements...
    "$python" -m venv "$target/$1"
    "$target/$1/bin/python" -m pip install --quiet "${@:2}"
}

install_jackfield() { # environment, requirements... whose pins count for more than the project's own
    local pins requirement
    pins=$(cat "$root/constraints.txt")
    for requirement in "${@:2}"; do
        case $requirement in *==*) pins=$(grep -v "^${requirement%%[=[]*}==" <<<"$pins") ;; esac
    done
    install_python "$1" -c <(echo "$pins") -e "$root" "${@:2}"
}

while read -r kind place requirements; do
    case $kind in "" | "#") continue ;; esac
    inputs="$kind $requirements"
    [ "$kind" = jackfield ] && inputs+=$(cat "$root/constraints.txt" "$root/pyproject.toml")
    stamp="$target/$place/.installed-$(cksum <<<"$inputs" | cut -d' ' -f1)"
    [ -e "$stamp" ] && continue
    rm -rf "$target"/installed-* "${target:?}/$place"
    case $kind in
    python) install_python "$place" $requirements </dev/null ;;
    jackfield) install_jackfield "$place" $requirements </dev/null ;;
    files) "$python" -m pip install --quiet --no-deps --target "$target/$place" $requirements </dev/null ;;
    npm) npm install --loglevel=error --no-fund --no-audit --prefix "$target/$place" $requirements </dev/null >/dev/null ;;
    esac
    touch "$stamp"
done <"$here/versions.txt"
touch "$target/installed-$(cksum <"$here/versions.txt" | cut -d' ' -f1)"

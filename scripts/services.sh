#!/usr/bin/env bash
# Programs that neither pip nor npm can bring: Chromium and PostgreSQL for the tests and examples of stateful servers,
# Redis, PostgreSQL and HAProxy for served sessions, and jq, which docs/cli.md uses.
# Installs what is missing where that is possible (Debian or Ubuntu, as root), and else says what to do.
set -euo pipefail

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing+=(chromium)
command -v postgres >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v jq >/dev/null || missing+=(jq)
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing ${missing[*]} with apt-get ..." >&2
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    if { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        exit 0
    fi
    tail -n 20 "$log" >&2
fi
cat >&2 <<EOF
NOT INSTALLED: ${missing[*]}. Tests and examples that need it are skipped (in CI: they fail).
  Debian, Ubuntu:  sudo apt-get install ${missing[*]}
  elsewhere:       put chromium (or google-chrome), PostgreSQL's \`postgres\` and \`initdb\`, redis-server, haproxy
                   and jq on the PATH
EOF

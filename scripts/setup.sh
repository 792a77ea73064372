#!/bin/bash
# What the make targets need from the system. On Debian, as root, what is missing is installed; elsewhere it is named.
#
#   setup.sh venv PYTHON     a Python of 3.11 or later that can make environments
#   setup.sh build PYTHON    a compiler and headers, where mysqlclient is not there yet
#   setup.sh servers         Redis, PostgreSQL, MariaDB and Chromium
set -euo pipefail

missing=()

need() { # need PACKAGE COMMAND...: the package, unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

is_program() { # on the path, or where Debian hides servers
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1"
}

is_postgres() {
    is_program postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres'
}

has_headers() {
    "$1" -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")'
}

install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] || ! is_program apt-get >/dev/null; then
        echo "Missing here: ${missing[*]} (the names are Debian's). Install them and try again;" >&2
        echo "on Debian or Ubuntu: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Packages start their servers at once; the tests start their own.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap "rm -f $policy" EXIT
    fi
    apt-get install -qq -y --no-install-recommends "${missing[@]}"
}

case "${1:-}" in
venv)
    if ! "$2" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$2 is not Python 3.11 or later. Name one that is: make PYTHON=python3.12 ..." >&2
        exit 1
    fi
    need python3-venv "$2" -c 'import ensurepip, venv'
    ;;
build)
    if ! "$2" -c 'import MySQLdb' 2>/dev/null; then
        need build-essential is_program cc
        need pkg-config is_program pkg-config
        need python3-dev has_headers "$2"
        need libmariadb-dev pkg-config --exists libmariadb
    fi
    ;;
servers)
    need redis-server is_program redis-server
    need postgresql is_postgres
    need mariadb-server is_program mariadbd
    need chromium is_program chromium
    ;;
*)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
install_missing

#!/usr/bin/env bash
# Creates the virtual environment named by $1 with the locked dependencies. Safe to run again.
set -eu -o pipefail

venv=$1
python=${PYTHON:-python3}

fail() {
    echo "install: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is not there: install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: install Python 3.11 or newer, or give PYTHON=…"

if ! [ -x "$venv/bin/pip" ]; then
    # Debian keeps the part of the standard library that makes environments in a package of its own.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "installing python$version-venv"
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >/dev/null
        else
            fail "Python's venv module is missing: apt-get install python$version-venv"
        fi
    fi
    echo "creating $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

# The edge is HAProxy. Its tests are left out where it is missing and nobody here may install it.
if ! PATH="$PATH:/usr/sbin" command -v haproxy >/dev/null && [ "$(id -u)" = 0 ] &&
    command -v apt-get >/dev/null; then
    echo "installing haproxy"
    # Debian starts a service when it installs one; this says that it must not.
    policy=/usr/sbin/policy-rc.d
    if ! [ -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq haproxy >/dev/null; } ||
        echo "install: haproxy could not be installed; the edge and its tests need it" >&2
fi

echo "installing the locked dependencies (about a minute the first time)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

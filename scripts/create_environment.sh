#!/bin/sh
# Create the virtual environment DIRECTORY with the first Python that can: scripts/create_environment.sh DIRECTORY
# PYTHON=/path/to/python3 names one; otherwise the usual names are tried. A healthy environment is left as it is.
set -eu

directory=$1
candidates=${PYTHON:-python3.13 python3.12 python3.11 python3}

fail() {
    echo "setup: $*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if new_enough "$directory/bin/python" && "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

incomplete=
for python in $candidates; do
    new_enough "$python" || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv --clear "$directory"
        exit 0
    fi
    incomplete=${incomplete:-$python}
done

if [ -n "$incomplete" ]; then
    version=$("$incomplete" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    fail "$incomplete has no venv module: apt-get install python$version-venv (Debian, Ubuntu), or name another with PYTHON="
fi
fail "no Python 3.11 or newer (tried: $candidates): apt-get install python3 python3-venv, or name one with PYTHON="

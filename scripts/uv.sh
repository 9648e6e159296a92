#!/bin/sh
# The environment's own uv: it trusts the certificates this system trusts, which a company's proxy needs, and keeps its
# cache inside the project where the user's cannot be written.
set -eu

UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
export UV_SYSTEM_CERTS

cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}
if ! { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null; then
    UV_CACHE_DIR=build/uv-cache
    export UV_CACHE_DIR
fi
exec .venv/bin/uv "$@"

#!/usr/bin/env bash
# Runs a command in the environment of /vga.
set -euo pipefail
exports=$(/vga/env/exports.sh)
eval "$exports"
exec "$@"

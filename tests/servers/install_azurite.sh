#!/bin/sh
# Installs Azurite, Microsoft's emulator of Azure Storage, for tests/servers/azurite.py. Starts nothing.
set -eu

if command -v azurite-blob >/dev/null; then
    exit 0
fi

npm install --global --silent --no-audit --no-fund azurite@3.37.0

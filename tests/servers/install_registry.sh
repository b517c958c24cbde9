#!/bin/sh
# Installs the Distribution project's registry on Debian or Ubuntu, as root, for tests/servers/oci_registry.py. Starts
# nothing, and keeps the package from starting a service.
set -eu

if command -v docker-registry >/dev/null; then
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
RUNLEVEL=1 apt-get install -y -qq --no-install-recommends docker-registry

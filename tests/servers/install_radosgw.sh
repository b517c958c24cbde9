#!/bin/sh
# Installs the RADOS Gateway on Debian or Ubuntu, as root, for tests/servers/radosgw.py. Starts nothing.
set -eu

if command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null; then
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends radosgw ceph-mon ceph-osd ceph-common ceph-base

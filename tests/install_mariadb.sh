#!/bin/sh
# Installs the database that tests keep ML Metadata in, as a cluster does, where it is missing and the user may.
# Only the programs: Debian's mariadb-server would start a service, too.
set -eu
PATH="$PATH:/usr/sbin"
packages="mariadb-server-core mariadb-client-core"
if command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null; then
    exit 0
fi
skipped() {
    echo "no MariaDB here: tests that keep ML Metadata in it are skipped (apt-get install $packages)"
    exit 0
}
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    skipped
fi
echo "installing MariaDB, for the tests that keep ML Metadata in it"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || skipped
apt-get install -y -qq --no-install-recommends $packages >/dev/null || skipped

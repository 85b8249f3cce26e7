#!/bin/sh
# Installs what makes the clean Debian tree that the image's steps are taken in, where it is missing and the user may.
set -eu
packages="mmdebstrap debian-archive-keyring"
if command -v mmdebstrap >/dev/null; then
    exit 0
fi
skipped() {
    echo "no mmdebstrap here: unless there is Docker, the image's tests are skipped (apt-get install $packages)"
    exit 0
}
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    skipped
fi
echo "installing mmdebstrap, for the image's tests"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || skipped
apt-get install -y -qq --no-install-recommends $packages >/dev/null || skipped

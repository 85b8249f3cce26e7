#!/bin/sh
# Installs the browser that tests of pages and notebooks look at them in, where it is missing and the user may.
set -eu
packages="chromium chromium-driver"
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
skipped() {
    echo "no Chromium here: tests that look at a page are skipped (apt-get install $packages)"
    exit 0
}
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    skipped
fi
echo "installing Chromium, for the tests that look at a page"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || skipped
apt-get install -y -qq --no-install-recommends $packages >/dev/null || skipped

#!/bin/sh
# Installs the browser that tests of pages and notebooks look at them in, where it is missing and the user may.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no Chromium here: tests that look at a page are skipped (apt-get install chromium chromium-driver)"
    exit 0
fi
echo "installing Chromium, for the tests that look at a page"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null

#!/bin/sh
# Install what the integration tests talk to: real DICOM peers and a browser (Debian packages), if
# it may, and a viewer.
set -eu

missing=""
command -v Orthanc >/dev/null 2>&1 || [ -x /usr/sbin/Orthanc ] || missing="$missing orthanc"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
command -v storescu >/dev/null 2>&1 || missing="$missing dcmtk"
command -v dciodvfy >/dev/null 2>&1 || missing="$missing dicom3tools"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"  # a clock of the node's own
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v npm >/dev/null 2>&1 || missing="$missing npm"

install_missing() {
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        echo "The tests need real DICOM peers and a browser. Install what is missing, then run again:"
        echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing"
        exit 1
    fi
    echo "Installing$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing \
        >/dev/null
}

# OHIF as its makers built it (MIT licence), in the cache of the user: 50 MB to fetch, once.
fetch_viewer() {
    echo "Fetching OHIF $version"
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/fetching-XXXXXX")
    (cd "$scratch" && npm pack --silent "@ohif/app@$version" >/dev/null &&
        echo "$sha256  ohif-app-$version.tgz" | sha256sum --check --quiet &&
        tar -xzf "ohif-app-$version.tgz" && mv package "$cache/ohif-$version") || status=$?
    rm -r "$scratch"
    return "${status:-0}"
}

[ -z "$missing" ] || install_missing
cache="${XDG_CACHE_HOME:-$HOME/.cache}/dicom-node"
version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' "$(dirname "$0")/viewers/ohif.py")
sha256=$(sed -n 's/^SHA256 = "\(.*\)"$/\1/p' "$(dirname "$0")/viewers/ohif.py")
[ -d "$cache/ohif-$version/dist" ] || fetch_viewer ||
    echo "OHIF $version could not be fetched: the tests of viewers cannot run"

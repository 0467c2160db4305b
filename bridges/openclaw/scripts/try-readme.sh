#!/usr/bin/env bash
# Does what README.md tells a new user to do, word for word, in an empty folder.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/..
OUTRIGGER=$(realpath "$here/../..")
export OUTRIGGER
folder=$(mktemp -d /tmp/oc-new.XXXXXX)
trap 'rm -rf "$folder"' EXIT
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$here/README.md" >"$folder.sh"
cd "$folder"
trap 'rm -rf "$folder" "$folder.sh"' EXIT
set -x
# shellcheck disable=SC1090,SC1091
source "$folder.sh"

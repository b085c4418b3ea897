#!/usr/bin/env bash
# The official `openai-agents` package, unmodified, against a running Waggle and the example's order service.
#
#   tests/sdk/agents/run.sh
#
# WAGGLE and ORDER_SERVICE name the programs (default: those in target/debug). The package goes into a temporary folder, which
# is removed with the servers at the end, however that comes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(cd "$here/../.." && pwd)
waggle=$(realpath "${WAGGLE:-$root/target/debug/waggle}")
order_service=$(realpath "${ORDER_SERVICE:-$root/target/debug/order-service}")
start_seconds_max=180
. "$here/programs.sh"

work=$(mktemp -d)
processes=()
end() {
    for process in "${processes[@]}"; do
        { kill -9 "$process" && wait "$process"; } 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

failed() {
    echo "--- the server's output:" >&2
    cat "$work/server.log" >&2
    exit 1
}

# A proxy of the environment is not for this machine's own addresses.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
# The package insists on a key; the server has none to compare it with.
export OPENAI_API_KEY=not-needed

(cd "$root" && "$waggle" build >"$work/build.log" 2>&1) || { cat "$work/build.log"; exit 1; }
pip_install "$here/agents/requirements.txt"

"$order_service" --listen 127.0.0.1:0 >"$work/orders.log" 2>&1 &
processes+=($!)
orders=$(first "$work/orders.log" $! 's/^order-service listens on \(http[^ ]*\).*/\1/p')
env -u OPENAI_BASE_URL -u OPENAI_API_KEY -u SPIN_HTTP_LISTEN_ADDR -u RUNTIME_CONFIG_FILE NO_COLOR=1 \
    "$waggle" up --from "$root/spin.toml" --listen 127.0.0.1:0 --state-dir "$work/state" >"$work/server.log" 2>&1 &
processes+=($!)
url=$(first "$work/server.log" $! 's/^Serving \(http[^ ]*\).*/\1/p')
python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' \
    "$orders/openapi.json" >"$work/orders.json"
"$waggle" tool --state-dir "$work/state" add --openapi "$work/orders.json" --name orders \
    --operation getOrder --operation cancelOrder --accept >>"$work/server.log" 2>&1 || failed

OPENAI_BASE_URL="$url/v1" "$work/venv/bin/python" -B "$here/agents/agents_of_the_sdk.py" "$orders" || failed
echo "openai-agents: ok"

#!/usr/bin/env bash
# The official MCP packages, unmodified, in both directions: their clients against /mcp of a running Waggle, in each revision
# that they speak, and Waggle's agent against servers that are made with them. At the end such a server says something else
# than was accepted, and is not called.
#
#   tests/sdk/mcp/run.sh [client] [agent]        both when none is named
#
# WAGGLE names the program (default: target/debug/waggle). The packages go into a temporary folder, which is removed with the
# servers at the end, however that comes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(cd "$here/../.." && pwd)
waggle=$(realpath "${WAGGLE:-$root/target/debug/waggle}")
start_seconds_max=180
. "$here/programs.sh"

work=$(mktemp -d)
server="" other="" url="" other_url=""
end() {
    kill_other
    kill_server
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

kill_server() {
    if [ -n "$server" ]; then { kill -9 "$server" && wait "$server"; } 2>/dev/null || true; fi
    server=""
}

kill_other() {
    if [ -n "$other" ]; then { kill "$other" && wait "$other"; } 2>/dev/null || true; fi
    other=""
}

failed() {
    echo "--- the server's output:" >&2
    cat "$work/server.log" >&2
    if [ -s "$work/other.log" ]; then
        echo "--- the MCP server's:" >&2
        cat "$work/other.log" >&2
    fi
    exit 1
}

prompts='[{"name": "reply", "arguments": [{"name": "question", "required": true}, {"name": "tone"}],
    "messages": [{"text": "Answer in a {{tone}} tone: {{question}}"}]}]'

# Starts Waggle on a free port, with the state it had, and sets `url`.
start_server() {
    env -u OPENAI_BASE_URL -u OPENAI_API_KEY -u SPIN_HTTP_LISTEN_ADDR -u RUNTIME_CONFIG_FILE NO_COLOR=1 \
        "$waggle" up --from "$root/spin.toml" --listen 127.0.0.1:0 --state-dir "$work/state" \
        --variable mcp_prompts="$prompts" >"$work/server.log" 2>&1 &
    server=$!
    url=$(first "$work/server.log" "$server" 's/^Serving \(http[^ ]*\).*/\1/p')
}

# Starts an MCP server with COMMAND and sets `other_url`.
start_other() {
    : >"$work/other.log"
    "$@" >"$work/other.log" 2>&1 &
    other=$!
    other_url=$(first "$work/other.log" "$other" '/^http:/p')
}

check_client() {
    start_server
    printf '# Opening hours\n\nThe shop in Rome opens at nine.\n' >"$work/hours.md"
    "$python" - "$url" "$work/hours.md" <<'UPLOAD'
import sys
import httpx2
url, path = sys.argv[1:]
with open(path, "rb") as file:
    answer = httpx2.post(f"{url}/v1/files", data={"purpose": "assistants"}, files={"file": ("hours.md", file)})
assert answer.status_code == 200, answer.text
UPLOAD
    "$python" -B "$here/mcp/client.py" "$url/mcp" || failed
    "${node[@]}" "$work/mcp/client.mjs" "$url/mcp" || failed
    kill_server
}

# Registers what COMMAND serves as LABEL, and has it called; then COMMAND serves something else at the same address.
check_server() {
    local label=$1
    shift
    start_other "$@"
    "$waggle" tool --state-dir "$work/state" add --mcp "$other_url" --name "$label" --accept >>"$work/server.log" 2>&1 || failed
    "$python" -B "$here/mcp/agent.py" before "$url" "$label" || failed
    local port=${other_url%/mcp}
    kill_other
    kill_server
    start_server
    start_other "$@" "${port##*:}" changed
    "$python" -B "$here/mcp/agent.py" changed "$url" "$label" || failed
    kill_other
    echo "a server made with $label: ok"
}

check_agent() {
    start_server
    local era
    for era in stateless session; do
        check_server "python-$era" "$python" -B "$here/mcp/server.py" "$era"
        check_server "npm-$era" "${node[@]}" "$work/mcp/server.mjs" "$era"
    done
    kill_server
}

# A proxy of the environment is not for this machine's own addresses.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1

(cd "$root" && "$waggle" build >"$work/build.log" 2>&1) || { cat "$work/build.log"; exit 1; }
pip_install "$here/mcp/requirements.txt"
python="$work/venv/bin/python"
find_node
mkdir -p "$work/mcp"
cp "$here"/mcp/package*.json "$here"/mcp/*.mjs "$work/mcp/"
(cd "$work/mcp" && "${npm[@]}" ci --silent --no-audit --no-fund)
for part in "${@:-client agent}"; do
    for name in $part; do
        "check_$name"
        echo "MCP ($name): ok"
    done
done

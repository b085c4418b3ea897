#!/usr/bin/env bash
# The official `openai` packages, unmodified, hold a conversation with Waggle across a kill -9 of the server.
#
#   tests/sdk/run.sh [python] [node]        both when none is named
#
# WAGGLE names the program (default: target/debug/waggle). The packages go into a temporary folder, which is removed
# with the server at the end, however that comes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
waggle=$(realpath "${WAGGLE:-$root/target/debug/waggle}")
start_seconds_max=180
. "$here/programs.sh"

work=$(mktemp -d)
server=""
end() {
    if [ -n "$server" ]; then kill_server; fi
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# Starts the server on a free port, with the state it had, and sets OPENAI_BASE_URL for the client.
start_server() {
    env -u OPENAI_BASE_URL -u OPENAI_API_KEY -u SPIN_HTTP_LISTEN_ADDR -u RUNTIME_CONFIG_FILE NO_COLOR=1 \
        "$waggle" up --from "$root/spin.toml" --listen 127.0.0.1:0 --state-dir "$work/state" >"$work/server.log" 2>&1 &
    server=$!
    local url="" deadline=$((SECONDS + start_seconds_max))
    while [ -z "$url" ]; do
        if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
            cat "$work/server.log"
            echo "The server does not serve." >&2
            exit 1
        fi
        sleep 0.05
        url=$(sed -n 's/^Serving \(http[^ ]*\).*/\1/p' "$work/server.log")
    done
    export OPENAI_BASE_URL="$url/v1"
}

kill_server() {
    # The shell reports a job that was killed when it is waited for; here that is no news.
    { kill -9 "$server" && wait "$server"; } 2>/dev/null || true
    server=""
}

# Runs the README's own snippet in LANGUAGE, and PROGRAM before and after the plug is pulled; what that must remember in
# between is in its notes.
#
#   across_kill_9 LANGUAGE PROGRAM COMMAND...
across_kill_9() {
    local language=$1 program=$2
    shift 2
    start_server
    # Beside the program, so that it finds the same packages.
    local snippet="${program%/*}/readme.${program##*.}" answer
    readme_snippet "$language" >"$snippet"
    answer=$("$@" "$snippet") || failed
    if [[ "$answer" != "Your name is Ada."* ]]; then
        echo "The README's snippet ($language) says: $answer" >&2
        failed
    fi
    "$@" "$program" before "$work/$language.json" || failed
    kill_server
    start_server
    "$@" "$program" after "$work/$language.json" || failed
    kill_server
}

# The first block of LANGUAGE in the README, for the server under test.
readme_snippet() {
    awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } $0 == "```" { if (on) exit } on' "$root/README.md" \
        | sed "s|http://127.0.0.1:3000/v1|$OPENAI_BASE_URL|"
}

failed() {
    echo "--- the server's output:" >&2
    cat "$work/server.log" >&2
    exit 1
}

check_python() {
    pip_install "$here/python/requirements.txt"
    mkdir -p "$work/python"
    cp "$here"/python/*.py "$work/python/"
    across_kill_9 python "$work/python/conversation.py" "$work/venv/bin/python" -B -W error
    start_server
    local program
    for program in shapes sessions websocket background retrieval; do
        "$work/venv/bin/python" -B -W error "$work/python/$program.py" || failed
    done
    kill_server
}

check_node() {
    find_node
    mkdir -p "$work/node"
    cp "$here"/node/package*.json "$here"/node/*.mjs "$work/node/"
    (cd "$work/node" && "${npm[@]}" ci --silent --no-audit --no-fund)
    # Warnings of the runtime or the package end the program.
    across_kill_9 js "$work/node/conversation.mjs" "${node[@]}" --throw-deprecation
    start_server
    local program
    for program in api background retrieval; do
        "${node[@]}" --throw-deprecation "$work/node/$program.mjs" || failed
    done
    kill_server
}

# A proxy of the environment is not for this machine's own addresses.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
# The packages insist on a key; the server has none to compare it with.
export OPENAI_API_KEY=not-needed

(cd "$root" && "$waggle" build >"$work/build.log" 2>&1) || { cat "$work/build.log"; exit 1; }
for package in "${@:-python node}"; do
    for name in $package; do
        "check_$name"
        echo "openai ($name): ok"
    done
done

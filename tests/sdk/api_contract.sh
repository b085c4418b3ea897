#!/usr/bin/env bash
# Schemathesis holds the functions' API against the document that the running program serves at /openapi.json: requests
# well and badly formed, and sequences of them that use what earlier ones have made. An answer that is not documented, has
# another shape than documented, or is a failure of the server, ends this with an error.
#
#   tests/sdk/api_contract.sh [EXAMPLES]        requests for each route; 40 when not given
#
# It calls as a user of a tenant, by a token that `waggle token` makes; the model is the demo model, which is model-sim.
# The requests are the same in each run (--seed). What is left out, and why, stands in api/schemathesis.toml. WAGGLE names
# the program (default: target/debug/waggle).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
waggle=$(realpath "${WAGGLE:-$root/target/debug/waggle}")
start_seconds_max=180

work=$(mktemp -d)
server=""
end() {
    if [ -n "$server" ]; then { kill "$server" && wait "$server"; } 2>/dev/null || true; fi
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

# A proxy of the environment is not for this machine's own addresses.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
CONTRACT_ISSUER_SECRET=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export CONTRACT_ISSUER_SECRET

cat >"$work/tenants.toml" <<'TENANTS'
[[tenant.contract.issuers]]
issuer = "contract"
audience = "waggle"
secret = { environment = "CONTRACT_ISSUER_SECRET" }
TENANTS

(cd "$root" && "$waggle" build >"$work/build.log" 2>&1) || { cat "$work/build.log"; exit 1; }
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/admin/requirements.txt"

env -u OPENAI_BASE_URL -u OPENAI_API_KEY -u SPIN_HTTP_LISTEN_ADDR -u RUNTIME_CONFIG_FILE NO_COLOR=1 \
    "$waggle" up --from "$root/spin.toml" --listen 127.0.0.1:0 --state-dir "$work/state" --tenants "$work/tenants.toml" \
    >"$work/server.log" 2>&1 &
server=$!
url="" deadline=$((SECONDS + start_seconds_max))
while [ -z "$url" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
        cat "$work/server.log"
        echo "The server does not serve." >&2
        exit 1
    fi
    sleep 0.05
    url=$(sed -n 's/^Serving \(http[^ ]*\).*/\1/p' "$work/server.log")
done
token=$("$waggle" token --tenant contract --user ada --issuer contract --audience waggle \
    --secret-environment CONTRACT_ISSUER_SECRET)

cd "$work"
# A turn waits for ten seconds where another has its key or its conversation.
"$work/venv/bin/schemathesis" --config-file "$here/api/schemathesis.toml" run "$url/openapi.json" --request-timeout 30 \
    --header "Authorization: Bearer $token" \
    --max-examples "${1:-40}" --seed 1 --continue-on-failure --no-color
echo "API: as documented"

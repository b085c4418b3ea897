#!/usr/bin/env bash
# Schemathesis holds the admin API against its own OpenAPI document: thousands of requests, well and badly formed, and
# sequences of them. An answer that is not documented, has another shape than documented, or is a failure of the server,
# ends this with an error.
#
#   tests/sdk/admin_contract.sh [EXAMPLES]        requests for each route; 100 when not given
#
# The requests are the same in each run (--seed). Left out are `positive_data_acceptance`, since a schema cannot tell all
# that a tenant must be, such as an origin that is a URL, and `ignored_auth`, since wrong keys are answered 429 when they
# come fast: both have tests in host/admin. ADMIN names the server (default: the example `serve_admin` of waggle-admin, built
# here).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
start_seconds_max=30

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
WAGGLE_ADMIN_KEY=wadm_$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export WAGGLE_ADMIN_KEY

if [ -z "${ADMIN:-}" ]; then
    (cd "$root" && cargo build --quiet --package waggle-admin --example serve_admin)
    ADMIN=${CARGO_TARGET_DIR:-$root/target}/debug/examples/serve_admin
fi
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/admin/requirements.txt"

"$ADMIN" >"$work/url" 2>"$work/server.log" &
server=$!
deadline=$((SECONDS + start_seconds_max))
while [ ! -s "$work/url" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
        cat "$work/server.log"
        echo "The server does not serve." >&2
        exit 1
    fi
    sleep 0.05
done

cd "$work"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here/admin PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/schemathesis" run "$(cat "$work/url")/admin/v1/openapi.json" \
    --header "Authorization: Bearer $WAGGLE_ADMIN_KEY" \
    --exclude-checks positive_data_acceptance,ignored_auth \
    --max-examples "${1:-100}" --seed 1 --continue-on-failure --no-color
echo "admin API: as documented"

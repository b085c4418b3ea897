#!/usr/bin/env bash
# Makes the shop: a tenant with its key, its documents and its tools, in a `waggle up` that is running on this machine.
#
#   examples/shop/setup.sh            `waggle` is taken from the path, or WAGGLE=
#
# It wants python3, `waggle up` on 127.0.0.1:3000 (WAGGLE_URL=), the order service on 127.0.0.1:4020 (ORDERS_URL=) and the
# desk on 127.0.0.1:4021 (DESK_URL=). Run it from the folder in which `waggle up` runs, or say where its state is, with
# STATE_DIR=.
set -euo pipefail

shop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
waggle=${WAGGLE:-waggle}
url=${WAGGLE_URL:-http://127.0.0.1:3000}
orders=${ORDERS_URL:-http://127.0.0.1:4020}
desk=${DESK_URL:-http://127.0.0.1:4021}
state=(${STATE_DIR:+--state-dir "$STATE_DIR"})
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is at an address, for whoever has this key.
fetch() {
    python3 -c 'import sys, urllib.request
fields = {"authorization": "Bearer " + sys.argv[2]} if len(sys.argv) > 2 else {}
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=fields)).read().decode())' "$@"
}

# The value of a member of the JSON on standard input, by the names on the way to it.
member() {
    python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name)] if name.isdigit() else value[name]
print(value)' "$@"
}

# A file of the example, with the addresses as they are here.
here() {
    sed -e "s#http://127.0.0.1:4020#$orders#g" -e "s#http://127.0.0.1:4021#$desk#g" "$shop/$1"
}

echo '1. The tenant'
here shop.toml | sed '/^knowledge = /d' > "$work/shop.toml"
key=$("$waggle" tenant add shop --settings "$work/shop.toml" --json "${state[@]}" | member key secret)

echo '2. The documents'
WAGGLE_API_KEY=$key "$waggle" kb add --url "$url" --store shop "$shop/documents"
store=$(fetch "$url/v1/vector_stores?limit=1" "$key" | member data 0 id)
here shop.toml | sed "s/KNOWLEDGE/$store/" > "$work/shop.toml"
"$waggle" tenant set shop "$work/shop.toml" "${state[@]}"

echo '3. The tools'
fetch "$orders/openapi.json" > "$work/orders.json"
# A call that changes something has to be approved by a person unless it is said otherwise, so cancelOrder has to.
"$waggle" tool add --tenant shop --openapi "$work/orders.json" --name orders \
    --operation getOrder --operation cancelOrder --grant-secret orders --accept "${state[@]}"
here tools/desk.json > "$work/desk.json"
"$waggle" tool add --tenant shop "$work/desk.json" --accept "${state[@]}"

cat <<END

The shop is open. Its key, which is shown once:

    export KEY=$key
END

#!/usr/bin/env bash
# Makes the shop: a tenant with its key, its tools and its documents, in a `waggle up` that is running on this machine.
#
#   examples/shop/setup.sh            from the root of the repository; `waggle` is taken from the path, or WAGGLE=
#
# It wants: `waggle up` on 127.0.0.1:3000 (WAGGLE_URL=), the order service on 127.0.0.1:4020, curl and python3.
set -euo pipefail

shop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
waggle=${WAGGLE:-waggle}
url=${WAGGLE_URL:-http://127.0.0.1:3000}
orders=${ORDERS_URL:-http://127.0.0.1:4020}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The value of a member of the JSON on standard input, by the names on the way to it.
member() {
    python3 -c 'import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name)] if name.isdigit() else value[name]
print(value)' "$@"
}

echo '1. The tenant'
sed '/^knowledge = /d' "$shop/shop.toml" > "$work/shop.toml"
key=$("$waggle" tenant add shop --settings "$work/shop.toml" --json | member key secret)

echo '2. The documents'
WAGGLE_API_KEY=$key "$waggle" kb add --url "$url" --store shop "$shop/documents"
store=$(curl -fsS -H "authorization: Bearer $key" "$url/v1/vector_stores?limit=1" | member data 0 id)
sed "s/KNOWLEDGE/$store/" "$shop/shop.toml" > "$work/shop.toml"
"$waggle" tenant set shop "$work/shop.toml"

echo '3. The tools'
curl -fsS "$orders/openapi.json" > "$work/orders.json"
# A call that changes something has to be approved by a person unless it is said otherwise, so cancelOrder has to.
"$waggle" tool add --tenant shop --openapi "$work/orders.json" --name orders \
    --operation getOrder --operation cancelOrder --grant-secret orders --accept
"$waggle" tool add --tenant shop "$shop/tools/desk.json" --accept

cat <<END

The shop is open. Its key, which is shown once:

    export KEY=$key
END

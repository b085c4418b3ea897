#!/usr/bin/env bash
# What tenants notice of each other, how many fit into one host, and what recognising them costs: builds what is needed,
# runs the measurements of `waggle-bench tenants` one after the other, prints their tables and writes each as JSON.
#
#   bench/run-tenants.sh [neighbours] [density] [canary] [identity]     (default: all of them)
#
# Environment:
#   RESULTS            folder for the JSON files (default: a new one in the system's folder for temporary files)
#   BINARIES           where the programs are (default: the release folder of the workspace, built if needed)
#   GUESTS             where the components of tests/guests are (default: target/guests/..., built if needed)
#   NEIGHBOURS_FLAGS, DENSITY_FLAGS, CANARY_FLAGS, IDENTITY_FLAGS
#                      more flags, such as NEIGHBOURS_FLAGS='--rounds 5 --kind endless-loop,flood-turns'
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$bench")
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}

if [[ -z ${BINARIES:-} ]]; then
  cargo build --release -q -p waggle -p model-sim -p waggle-bench
  BINARIES=$target/release
fi
# The functions, as spin.toml says; built already, this takes a moment.
"$BINARIES/waggle" build
if [[ -z ${GUESTS:-} ]]; then
  (cd tests/guests && cargo build -q --examples --target wasm32-wasip2 --release --target-dir "$root/target/guests")
  GUESTS=$root/target/guests/wasm32-wasip2/release/examples
fi
results=${RESULTS:-$(mktemp -d)}
mkdir -p "$results"

# The load generator splits commands at blanks.
if [[ $BINARIES == *[[:space:]]* ]]; then
  echo "run-tenants: the path $BINARIES holds a blank, which the load generator cannot take" >&2
  exit 1
fi
command="$BINARIES/waggle up --from {manifest} --quiet --listen 127.0.0.1:{port} --tenants {tenants}"
command+=" --state-dir {state} --runtime-config-file {config} --model-endpoint {model_url}/v1"
model="$BINARIES/model-sim --listen 127.0.0.1:{port} --recorded-requests-max 0"

measure() { # NAME FILE FLAGS...
  local name=$1 file=$2
  shift 2
  echo "== $name $*"
  "$BINARIES/waggle-bench" tenants "$name" --command "$command" --model-command "$model" \
    --application "$root/spin.toml" --guests "$GUESTS" --json "$results/$file.json" "$@"
  echo
}

[[ $# -gt 0 ]] || set -- identity canary density neighbours
for subject in "$@"; do
  # Flags are words, split at blanks.
  # shellcheck disable=SC2086
  case $subject in
    neighbours) measure neighbours neighbours ${NEIGHBOURS_FLAGS:-} ;;
    density) measure density density ${DENSITY_FLAGS:-} ;;
    identity) measure identity identity ${IDENTITY_FLAGS:-} ;;
    canary)
      measure canary canary ${CANARY_FLAGS:-}
      # Fewer instances than tenants: memory goes from tenant to tenant all the time.
      measure canary canary-few-instances --instances-max 30 --clients 32
      measure canary canary-by-request --isolation request --requests 20000 ;;
    *)
      echo "run-tenants: '$subject' is none of neighbours, density, canary, identity" >&2
      exit 1 ;;
  esac
done
echo "the reports as JSON: $results"

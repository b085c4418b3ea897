#!/usr/bin/env bash
# Compares Waggle with its peers in one run: starts the simulated model, a Redis for each peer, the peers, and
# Waggle on free ports, measures all in turns, stops what it started, and prints the table.
#
#   bench/run-peers.sh [flags of `waggle-bench compare`, such as --rounds 5 --scenario hello,turn,turn-stream]
#
# Environment:
#   WAGGLE_COMMAND  how to start Waggle; {port} and {model_url} are filled in. Without it only the peers run.
#   PYTHON          a Python with bench/peers/fastapi/requirements.txt installed
#                   (default: bench/peers/fastapi/.venv/bin/python). Without one the FastAPI peer is left out.
#   FASTAPI_CLIENTS HTTP clients the FastAPI peer is run with, one target each (default: "httpx httpx2")
#   REDIS_FSYNC     Redis's appendfsync: everysec (default) or always
#   BINARIES        where the Rust programs are (default: the release folder of the workspace, built if needed)
#   WASMTIME        a wasmtime (48, as the engine's) to serve the hello function with, in the scenario hello only
#                   (default: the one in PATH; without one it is left out)
#   HELLO           the hello function (default: target/wasm32-wasip2/function/hello.wasm, which `waggle build` makes)
#   WINDOW_ITEMS    items of history the peers send to the model (default 20)
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$bench")
redis_fsync=${REDIS_FSYNC:-everysec}
window_items=${WINDOW_ITEMS:-20}
python=${PYTHON:-$bench/peers/fastapi/.venv/bin/python}
wasmtime=${WASMTIME:-$(command -v wasmtime || true)}
hello=${HELLO:-$root/target/wasm32-wasip2/function/hello.wasm}

if [[ -z ${BINARIES:-} ]]; then
  (cd "$root" && cargo build --release -q -p model-sim -p waggle-bench -p native-peer)
  BINARIES=${CARGO_TARGET_DIR:-$root/target}/release
fi
command -v redis-server >/dev/null || { echo "run-peers: redis-server is not installed" >&2; exit 1; }
case $redis_fsync in everysec | always | no) ;; *)
  echo "run-peers: REDIS_FSYNC is everysec, always or no, not '$redis_fsync'" >&2; exit 1 ;;
esac

work=$(mktemp -d)
comparison=""
finish() {
  # The comparison stops everything it started before it ends.
  if [[ -n $comparison ]] && kill -0 "$comparison" 2>/dev/null; then
    kill -TERM "$comparison" && wait "$comparison" || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

used_ports=" "
port=0
# Sets `port` to one that nothing listens on, below the range the kernel gives to outgoing connections.
free_port() {
  local try
  for try in $(seq 200); do
    port=$((20000 + RANDOM % 10000))
    [[ $used_ports == *" $port "* ]] && continue
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      used_ports+="$port "
      return
    fi
  done
  echo "run-peers: found no free port" >&2
  exit 1
}

# Whether the scenario hello is among those that the flags ask for; it is when they ask for none.
wants_hello() {
  local before="" scenarios="" files=""
  for word in "$@"; do
    [[ $before == --scenario ]] && scenarios+=",$word"
    [[ $word == --scenario=* ]] && scenarios+=",${word#--scenario=}"
    [[ $word == --scenario-file* ]] && files=1
    before=$word
  done
  [[ -z $scenarios$files || ",$scenarios," == *,hello,* ]]
}

# A TOML string without escapes.
quoted() { printf "'%s'" "$1"; }

service() { # NAME PORT COMMAND...
  local name=$1 at=$2 words=""
  shift 2
  for word in "$@"; do words+="$(quoted "$word"), "; done
  printf '[[service]]\nname = "%s"\nready = "127.0.0.1:%s"\ncommand = [%s]\n\n' "$name" "$at" "$words"
}

redis() { # NAME PORT
  mkdir -p "$work/$1"
  service "$1" "$2" redis-server --bind 127.0.0.1 --port "$2" --dir "$work/$1" --save "" \
    --appendonly yes --appendfsync "$redis_fsync"
}

config=$work/compare.toml
{
  echo 'expect_echo = true'
  echo 'baseline = "native"'
  printf 'logs = %s\n\n' "$(quoted "$work/logs")"

  free_port; model_port=$port
  service model-sim "$model_port" "$BINARIES/model-sim" --listen "127.0.0.1:$model_port" --recorded-requests-max 0
  model_url=http://127.0.0.1:$model_port

  free_port; redis_port=$port
  redis redis-native "$redis_port"
  free_port
  cat <<TOML
[[target]]
name = "native"
url = "http://127.0.0.1:$port"
command = ['$BINARIES/native-peer']
stores = ["redis-native"]

[target.env]
PORT = "$port"
REDIS_URL = "redis://127.0.0.1:$redis_port/0"
MODEL_URL = "$model_url"
WINDOW_ITEMS = "$window_items"

TOML

  if [[ -x $python ]]; then
    for client in ${FASTAPI_CLIENTS:-httpx httpx2}; do
      free_port; redis_port=$port
      redis "redis-fastapi-$client" "$redis_port"
      free_port
      cat <<TOML
[[target]]
name = "fastapi-$client"
url = "http://127.0.0.1:$port"
command = ['$python', '$bench/peers/fastapi/app.py']
stores = ["redis-fastapi-$client"]

[target.env]
PORT = "$port"
REDIS_URL = "redis://127.0.0.1:$redis_port/0"
MODEL_URL = "$model_url"
WINDOW_ITEMS = "$window_items"
HTTP_CLIENT = "$client"
PYTHONDONTWRITEBYTECODE = "1"

TOML
    done
  else
    echo "run-peers: no Python at $python; the FastAPI peer is left out (see bench/peers/fastapi/README.md)" >&2
  fi

  if [[ -n $wasmtime && -f $hello ]] && wants_hello "$@"; then
    free_port
    # The function is a component of WASI 0.3, which runs tasks and streams of the component model; its standard library
    # asks for more of WASI than HTTP. Tenants and limits there are none, as with the other peers.
    cat <<TOML
[[target]]
name = "wasmtime-serve"
url = "http://127.0.0.1:$port"
only = ["hello"]
command = ['$wasmtime', 'serve', '-W', 'component-model-async=y', '-S', 'p3=y,cli=y', '--addr', '127.0.0.1:$port', '$hello']

TOML
  elif [[ -n $wasmtime && ! -f $hello ]]; then
    echo "run-peers: no function at $hello (\`waggle build\` makes it); wasmtime serve is left out" >&2
  fi

  if [[ -n ${WAGGLE_COMMAND:-} ]]; then
    free_port
    command=${WAGGLE_COMMAND//\{port\}/$port}
    command=${command//\{model_url\}/$model_url}
    cat <<TOML
[[target]]
name = "waggle"
url = "http://127.0.0.1:$port"
command = ["sh", "-c", '''exec $command''']

TOML
  fi
} >"$config"

"$BINARIES/waggle-bench" compare --config "$config" "$@" &
comparison=$!
status=0
wait "$comparison" || status=$?
comparison=""
if [[ $status -ne 0 && -d $work/logs ]]; then
  for log in "$work"/logs/*.log; do
    echo "--- $(basename "$log"), last lines" >&2
    tail -n 15 "$log" >&2
  done
fi
exit "$status"

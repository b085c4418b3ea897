#!/bin/sh
# Builds tool.wasm beside this file.
set -eu
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/pip install --quiet 'componentize-py>=0.25,<1'
.venv/bin/componentize-py --wit-path ../wit --world pure-tool componentize app -o tool.wasm

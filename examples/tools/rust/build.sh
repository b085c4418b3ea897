#!/bin/sh
# Builds tool.wasm beside this file.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/release/currency_tool.wasm" tool.wasm

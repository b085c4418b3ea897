#!/bin/sh
# Builds tool.wasm beside this file.
set -eu
cd "$(dirname "$0")"
npm install --no-audit --no-fund
node build.js

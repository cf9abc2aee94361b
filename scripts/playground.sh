#!/usr/bin/env bash
# Runs the playground. On Debian, installs the C compiler and linker that Rust needs, if they are
# missing. Rust itself must be installed. Arguments are passed to cargo: --features redis, for example.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cc >/dev/null; then
    as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq build-essential
fi
exec cargo run --release --locked --example playground "$@"

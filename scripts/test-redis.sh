#!/usr/bin/env bash
# Runs the tests of the Redis store on the given servers in place of redis-server:
#   scripts/test-redis.sh /opt/redis-6.2/bin/redis-server /opt/valkey/bin/valkey-server
# Leaves out TLS, which many builds of these servers do not have. Needs redis-cli.
set -euo pipefail
[ $# -gt 0 ] || { echo "server is missing; usage: scripts/test-redis.sh SERVER..." >&2; exit 2; }
servers=$(realpath -e -- "$@")
cd "$(dirname "$0")/.."
cargo build --locked --all-features --example playground
while IFS= read -r server; do
    "$server" --version
    REDIS_SERVER="$server" cargo test --locked --all-features --test redis -- --skip tls:: </dev/null
done <<<"$servers"

#!/usr/bin/env bash
# Lets visitors use sessions for a while, with a fault of a server or a store every 20 seconds, and checks
# each response. Prints a table. Needs redis-server and redis-cli.
#
#   scripts/soak.sh 10            ten minutes on each store
#   scripts/soak.sh 10 cluster    ten minutes on one: memory, file, cookie, redis or cluster
set -euo pipefail
cd "$(dirname "$0")/.."

stores="memory file cookie redis cluster"
case "${1:-} ${2:-}" in
    [0-9]*\ ) ;;
    [0-9]*\ memory | [0-9]*\ file | [0-9]*\ cookie | [0-9]*\ redis | [0-9]*\ cluster) stores="$2" ;;
    *)
        sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

cargo test --release --locked --features redis --test soak --no-run
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
printf '| store | time | faults | acknowledged | no answer | ended | p50 | p99 | slowest | server memory | stored |\n'
printf '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n'
failed=no
for store in $stores; do
    if SOAK_MINUTES="$1" cargo test --quiet --release --locked --features redis --test soak -- \
        --exact "$store" --nocapture >"$log" 2>&1; then
        grep '^| ' "$log"
    else
        cat "$log"
        failed=yes
    fi
done
[ "$failed" = no ]

#!/usr/bin/env bash
# Runs the benchmarks of the report, writes the page target/report/index.html, and draws the charts in
# benches/charts. Takes about 15 minutes. For reliable figures the machine must have no other work.
#
#   scripts/bench-report.sh           runs the benchmarks
#   scripts/bench-report.sh --draw    draws the results of the last run again
#
# Redis is measured if there is a redis-server, and Node.js if npm can install its packages.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="${CARGO_TARGET_DIR:-$PWD/target}/report"
results="$folder/results.jsonl"
mkdir -p "$folder"

case "${1:-}" in
    "")
        rm -f "$results"
        export BENCH_RESULTS="$results"
        cargo bench --locked --bench growth
        cargo bench --locked --features redis --bench stores
        cargo bench --locked --features redis --bench hot_session
        cargo bench --locked --manifest-path benches/compare/Cargo.toml --bench sockets
        ;;
    --draw) ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

cargo run --quiet --locked --manifest-path benches/report/Cargo.toml -- \
    "$results" "$folder/index.html" benches/charts
echo "$folder/index.html"

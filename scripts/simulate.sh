#!/usr/bin/env bash
# Simulates requests that use one session at the same time, and compares each result with a model.
# A failure prints a value of SIMULATION_REPLAY that runs the same schedule again.
#
#   scripts/simulate.sh 10    random schedules for ten minutes
#   scripts/simulate.sh all   every schedule of every pair and triple of operations
set -euo pipefail
cd "$(dirname "$0")/.."

simulate() {
    cargo test --release --locked --test simulation "$1" -- --nocapture
}

case "${1:-}" in
    all)
        SIMULATION_ALL=yes simulate every_order
        ;;
    [1-9]*)
        SIMULATION_MINUTES="$1" simulate random
        ;;
    *)
        sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

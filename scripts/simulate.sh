#!/usr/bin/env bash
# Simulates requests that use one session at the same time, and compares each result with a model.
# A failure prints a value of SIMULATION_REPLAY that runs the same schedule again.
#
#   scripts/simulate.sh 10       random schedules for ten minutes
#   scripts/simulate.sh all      every schedule of every pair and triple of operations
#   scripts/simulate.sh resume   the rest of an interrupted `all`
set -euo pipefail
cd "$(dirname "$0")/.."

finished=$(realpath -m "${CARGO_TARGET_DIR:-target}/simulation.txt")

simulate() {
    cargo test --release --locked --test simulation "$1" -- --nocapture --test-threads=1
}

run_all() {
    SIMULATION_ALL="$finished" simulate every_order
    awk '{ groups[$1] += $3; all += $3 }
        END { for (name in groups) print name ": " groups[name]; print "all: " all " schedules" }' "$finished"
}

case "${1:-}" in
    all)
        rm -f "$finished"
        run_all
        ;;
    resume)
        run_all
        ;;
    [1-9]*)
        SIMULATION_MINUTES="$1" simulate random
        ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac

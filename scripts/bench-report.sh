#!/usr/bin/env bash
# Runs the benchmarks of the report, writes the page target/report/index.html, and draws the charts in
# benches/charts and the tables in benches/README.md. For reliable figures the machine must have no other work.
#
#   scripts/bench-report.sh [BENCH...]           runs sockets, stores, growth, hot_session and requests, or some of
#                                                them; the page keeps the last figures of the others
#   scripts/bench-report.sh --build [BENCH...]   only builds them, so that the run takes less time
#   scripts/bench-report.sh --quick [BENCH...]   tries them with small sizes, in target/report/quick
#   scripts/bench-report.sh --draw               draws the figures of the last run again
#
# A benchmark that fails keeps its last figures; the others run, and the script fails. Redis is measured if there is a
# redis-server, and Node.js if npm can install its packages.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="${CARGO_TARGET_DIR:-target}/report" charts=benches/charts note="" readme=benches/README.md mode=run
case "${1:-}" in
    --build | --draw) mode="${1#--}"; shift ;;
    --quick)
        shift
        folder="$folder/quick" charts="$folder" readme=""
        note="A quick run with small sizes: the figures are not reliable."
        export BENCH_QUICK=1 GROWTH_SESSIONS=10000 STORES_COLD=1000 ROUNDS=1 REQUESTS=640 WARM_UP=640
        ;;
    -*)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
if [ "$mode" = draw ] && [ $# -gt 0 ]; then
    echo "--draw takes no benchmarks; it draws all figures" >&2
    exit 2
fi
all=(sockets stores growth hot_session requests)
benches=("$@")
[ $# -gt 0 ] || benches=("${all[@]}")
for name in "${benches[@]}"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then
        echo "unrecognized benchmark $name; use ${all[*]}" >&2
        exit 2
    fi
done
mkdir -p "$folder" "$charts"
# A bench runs in the folder of its package.
folder="$(realpath "$folder")"

# Runs a bench, or builds it with `--no-run`.
bench() {
    local name="$1"
    shift
    case "$name" in
        # One set of features, so that the crate is built once.
        growth | stores | hot_session) cargo bench --locked --features redis --bench "$name" "$@" ;;
        *) cargo bench --locked --manifest-path benches/compare/Cargo.toml --bench "$name" "$@" ;;
    esac
}

report=(cargo run --quiet --locked --manifest-path benches/report/Cargo.toml --)
if [ "$mode" != draw ]; then
    cargo build --quiet --locked --manifest-path benches/report/Cargo.toml
    for name in "${benches[@]}"; do
        bench "$name" --no-run
        if [ "$name" = sockets ]; then bench sockets -- prepare; fi
    done
fi
[ "$mode" != build ] || exit 0

# The figures name their commit, so that the run can be repeated. An earlier run may have changed tables and charts.
if [ "$mode" = run ] && [ -n "$readme" ]; then
    changed="$(git status --porcelain -- . ':!benches/README.md' ':!benches/charts')"
    if [ -n "$changed" ]; then
        echo "the working tree has changes; commit them first, or use --quick" >&2
        exit 2
    fi
    BENCH_COMMIT="$(git describe --always)"
    export BENCH_COMMIT
fi

failed=()
if [ "$mode" = run ]; then
    for name in "${benches[@]}"; do
        rm -f "$folder/$name.new"
        if BENCH_RESULTS="$folder/$name.new" bench "$name"; then
            mv "$folder/$name.new" "$folder/$name.jsonl"
            echo "$name: ended after $SECONDS s"
        else
            failed+=("$name")
        fi
    done
fi

"${report[@]}" "$folder" "$charts" "$note" ${readme:+"$readme"}
echo "$folder/index.html"
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}; their earlier figures were drawn" >&2
    exit 1
fi

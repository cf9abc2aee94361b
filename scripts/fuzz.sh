#!/usr/bin/env bash
# Fuzzes the targets, and prints a summary.
#
#   scripts/fuzz.sh                    every target, one minute in all, as scripts/test.sh does
#   scripts/fuzz.sh MINUTES            every target for this time, side by side
#   scripts/fuzz.sh MINUTES TARGET     one target
#
# The first form needs the default toolchain only. It has no sanitizer, and always the same seed, so that a
# failure comes from a change.
#
# The others install cargo-fuzz if it is missing. They use the nightly toolchain if rustup has one.
# Otherwise they set RUSTC_BOOTSTRAP=1, which allows the options of cargo-fuzz on the default toolchain.
# New inputs are kept in target/fuzz/corpus.
#
# An input that fails is in target/fuzz/artifacts, and the exit status is 1. It is also 1 if a target
# executed nothing but its corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes="${1:-1}"
target="${2:-}"
if ! [[ "$minutes" =~ ^[1-9][0-9]*$ ]] || [ "$#" -gt 2 ]; then
    sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
fi

mapfile -t targets < <(find fuzz/fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
if [ -n "$target" ]; then
    if [ ! -f "fuzz/fuzz_targets/$target.rs" ]; then
        echo "no fuzz target $target; the targets are:" >&2
        printf '%s\n' "${targets[@]}" >&2
        exit 2
    fi
    targets=("$target")
fi

output="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
mkdir -p "$output/results"
output="$(cd "$output" && pwd)"
# A folder of its own, since every crate is compiled with other flags.
build="$output/build"

if [ "$#" -eq 0 ]; then
    echo "toolchain: default"
    host="$(rustc -vV | sed -n 's/^host: //p')"
    # What cargo-fuzz adds. With `--target`, build scripts and macros are compiled without it.
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo build --quiet --locked --manifest-path fuzz/Cargo.toml --bins --target "$host" --target-dir "$build"
    binaries="$build/$host/debug"
    parallel="$(nproc)"
    if [ "$parallel" -gt "${#targets[@]}" ]; then parallel="${#targets[@]}"; fi
    options=(-seed=1 "-max_total_time=$((60 * parallel / ${#targets[@]} + 1))")
    rm -rf "$output/corpus-of-a-minute"
    corpus="$output/corpus-of-a-minute"
else
    command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
    if rustup toolchain list 2>/dev/null | grep '^nightly' >/dev/null; then
        cargo=(cargo +nightly)
        echo "toolchain: nightly"
    else
        cargo=(cargo)
        export RUSTC_BOOTSTRAP=1
        echo "toolchain: default, with RUSTC_BOOTSTRAP=1"
    fi
    "${cargo[@]}" fuzz build --target-dir "$build" ${target:+"$target"}
    binaries="$(dirname "$(find "$build" -path '*/release/*' -type f -name "${targets[0]}" | head -n 1)")"
    parallel="${#targets[@]}"
    options=("-max_total_time=$((minutes * 60))")
    corpus="$output/corpus"
fi

# fuzz TARGET OPTION...: fuzzes one target, and writes its log.
fuzz() {
    local name="$1"
    shift
    "$binaries/$name" "$corpus/$name" "fuzz/corpus/$name" \
        -dict="fuzz/dictionaries/$name.txt" -artifact_prefix="$output/artifacts/$name/" \
        -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 "$@" >"$output/$name.log" 2>&1
}

# executions TARGET: prints the number of executions of a finished run.
executions() {
    sed -n 's/^stat::number_of_executed_units: *//p' "$output/$1.log" | tail -n 1
}

# corpus_executions TARGET: prints the number of executions that the corpus took.
corpus_executions() {
    sed -n 's/^#\([0-9]*\)[[:space:]]*INITED .*/\1/p' "$output/$1.log" | tail -n 1
}

# has_fuzzed TARGET: succeeds if a finished run executed more than the corpus.
has_fuzzed() {
    local all of_corpus
    all="$(executions "$1")"
    of_corpus="$(corpus_executions "$1")"
    [ "${all:-0}" -gt "${of_corpus:-${all:-0}}" ]
}

# run TARGET: fuzzes one target, and writes its result.
run() {
    local name="$1" result=clean
    mkdir -p "$corpus/$name" "$output/artifacts/$name"
    if ! fuzz "$name" "${options[@]}"; then
        result=FAILED
    elif ! has_fuzzed "$name"; then
        # On a slow machine the corpus can take the whole time.
        fuzz "$name" -seed=1 -runs="$(($(corpus_executions "$name") + 100))" || result=FAILED
        has_fuzzed "$name" || result="FAILED, executed only its corpus"
    fi
    if [ "$result" != clean ]; then result="$result, see $output/$name.log"; fi
    echo "$result" >"$output/results/$name"
}

running=0
for name in "${targets[@]}"; do
    if [ "$running" -ge "$parallel" ]; then
        wait -n
        running=$((running - 1))
    fi
    run "$name" &
    running=$((running + 1))
done
wait

failed=0
printf '%-16s %12s %10s %10s  %s\n' target executions coverage features result
for name in "${targets[@]}"; do
    log="$output/$name.log"
    executions="$(executions "$name")"
    coverage="$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc '0-9')" || true
    features="$(grep -o ' ft: [0-9]*' "$log" | tail -n 1 | tr -dc '0-9')" || true
    result="$(cat "$output/results/$name")"
    [ "$result" = clean ] || failed=1
    printf '%-16s %12s %10s %10s  %s\n' \
        "$name" "${executions:--}" "${coverage:--}" "${features:--}" "$result"
done
exit "$failed"

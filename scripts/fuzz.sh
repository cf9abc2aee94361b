#!/usr/bin/env bash
# Fuzzes the targets side by side, and prints a summary.
#
#   scripts/fuzz.sh                    every target, one minute in all
#   scripts/fuzz.sh MINUTES            every target for this time
#   scripts/fuzz.sh MINUTES TARGET     one target
#
# Installs cargo-fuzz if it is missing. Uses the nightly toolchain if rustup has one. Otherwise sets
# RUSTC_BOOTSTRAP=1, which allows the options of cargo-fuzz on the default toolchain.
#
# New inputs are kept in target/fuzz/corpus. An input that fails is in target/fuzz/artifacts, and the
# exit status is 1.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes="${1:-1}"
target="${2:-}"
if ! [[ "$minutes" =~ ^[0-9]+$ ]] || [ "$#" -gt 2 ]; then
    sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
fi

if [ -n "$target" ]; then
    if [ ! -f "fuzz/fuzz_targets/$target.rs" ]; then
        echo "no fuzz target $target; the targets are:" >&2
        find fuzz/fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort >&2
        exit 2
    fi
    targets=("$target")
else
    mapfile -t targets < <(find fuzz/fuzz_targets -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
fi

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    cargo=(cargo +nightly)
    echo "toolchain: nightly"
else
    cargo=(cargo)
    export RUSTC_BOOTSTRAP=1
    echo "toolchain: default, with RUSTC_BOOTSTRAP=1"
fi

output="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
mkdir -p "$output"
output="$(cd "$output" && pwd)"
# A folder of its own, since cargo-fuzz compiles every crate with its own flags.
build="$output/build"
"${cargo[@]}" fuzz build --target-dir "$build" ${target:+"$target"}
binaries="$(dirname "$(find "$build" -path '*/release/*' -type f -name "${targets[0]}" | head -n 1)")"

# Without a number of minutes, a minute is shared by all targets.
seconds=$((minutes * 60))
if [ "$#" -eq 0 ]; then
    parallel="$(nproc)"
    seconds=$((60 * parallel / ${#targets[@]} + 1))
fi

# run TARGET: fuzzes one target and writes its log.
run() {
    local name="$1" corpus="$output/corpus/$1" dictionary="fuzz/dictionaries/$1.txt"
    mkdir -p "$corpus" "$output/artifacts/$name"
    "$binaries/$name" "$corpus" "fuzz/corpus/$name" \
        -dict="$dictionary" -artifact_prefix="$output/artifacts/$name/" \
        -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
        >"$output/$name.log" 2>&1
}

declare -A processes
for name in "${targets[@]}"; do
    run "$name" &
    processes[$name]=$!
done

failed=0
printf '%-16s %12s %10s %10s  %s\n' target executions coverage features result
for name in "${targets[@]}"; do
    result=clean
    wait "${processes[$name]}" || { result="FAILED, see $output/$name.log"; failed=1; }
    log="$output/$name.log"
    executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)"
    coverage="$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc '0-9')" || true
    features="$(grep -o ' ft: [0-9]*' "$log" | tail -n 1 | tr -dc '0-9')" || true
    printf '%-16s %12s %10s %10s  %s\n' \
        "$name" "${executions:--}" "${coverage:--}" "${features:--}" "$result"
done
exit "$failed"

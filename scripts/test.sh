#!/usr/bin/env bash
# Runs all checks and tests. On a Debian machine with Rust, installs the other tools if they are missing.
#
#   scripts/test.sh             all checks that a change must pass
#   scripts/test.sh --compare   also builds benches/compare, which has many dependencies
#   scripts/test.sh --fuzz      also fuzzes all targets, one minute in all (installs cargo-fuzz)
#   scripts/test.sh --audit     also checks licenses, sources and advisories (needs the network;
#                               installs cargo-deny if it is missing)
set -euo pipefail
cd "$(dirname "$0")/.."

compare=no
audit=no
fuzz=no
for option in "$@"; do
    case "$option" in
        --compare) compare=yes ;;
        --audit) audit=yes ;;
        --fuzz) fuzz=yes ;;
        *)
            sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
done

# One target folder, so that the fuzz targets reuse the dependencies.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

# A full run compiles everything once, so incremental data would only use disk space.
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"

section() {
    printf '\n=== %s\n' "$*"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# need COMMAND PACKAGE: installs the Debian package if the command is missing.
need() {
    if ! command -v "$1" >/dev/null; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"
    fi
}

# component NAME COMPONENT: installs the toolchain component if `cargo NAME` is missing.
component() {
    if ! cargo "$1" --version >/dev/null 2>&1; then
        rustup component add "$2"
    fi
}

# Debian keeps servers such as nginx out of the PATH of a normal user.
export PATH="$PATH:/usr/sbin"

section "Tools"
need cc build-essential
need c++ build-essential
need redis-server redis-server
need redis-cli redis-tools
need curl curl
need nginx nginx-light
need strace strace
need openssl openssl
need chromium chromium
need chromedriver chromium-driver
need setpriv util-linux
need valgrind valgrind
need faketime faketime
component fmt rustfmt
component clippy clippy
rustc --version
cargo --version

section "Format"
for manifest in Cargo.toml {fuzz,tests/loom}/Cargo.toml benches/{compare,compare/pavex,instructions,report}/Cargo.toml; do
    cargo fmt --manifest-path "$manifest" -- --check
done

# A lint of clippy, `incompatible_msrv`, also compares the standard library with `rust-version`.
for features in --no-default-features "" --all-features; do
    section "Clippy ${features:-with default features}"
    # shellcheck disable=SC2086 # an empty value must give no argument
    cargo clippy --locked --all-targets $features -- -D warnings
done

section "Each feature alone"
for feature in $(sed -n '/^\[features\]/,/^\[d/s/^\([a-z]*\) = .*/\1/p' Cargo.toml); do
    echo "$feature"
    cargo clippy --quiet --locked --lib --no-default-features --features "$feature" -- -D warnings
done

section "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features

# The tests start the example programs, which `cargo test --tests` does not build.
section "Tests without features"
cargo build --locked --no-default-features --example playground
cargo test --locked --no-default-features --lib --tests

section "Tests with all features"
cargo build --locked --all-features --examples
cargo test --locked --all-features --lib --tests

section "Documentation tests"
cargo test --locked --all-features --doc

section "Benches and examples build"
cargo build --locked --all-features --benches --examples

section "Instructions and allocations"
cargo bench --manifest-path benches/instructions/Cargo.toml --bench instructions

section "Proofs of concurrency"
cargo test --locked --manifest-path tests/loom/Cargo.toml

section "Fuzz targets build and pass their corpus"
cargo build --manifest-path fuzz/Cargo.toml --bins
mkdir -p "$CARGO_TARGET_DIR/fuzz"
for source in fuzz/fuzz_targets/*.rs; do
    target="$(basename "$source" .rs)"
    echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs"
    cargo run --quiet --manifest-path fuzz/Cargo.toml --bin "$target" -- \
        -runs=0 -verbosity=0 -artifact_prefix="$CARGO_TARGET_DIR/fuzz/" "fuzz/corpus/$target"
done

if [ "$fuzz" = yes ]; then
    section "Fuzzing, one minute in all"
    scripts/fuzz.sh
fi

if [ "$compare" = yes ]; then
    section "The comparison builds"
    cargo bench --no-run --manifest-path benches/compare/Cargo.toml
    cargo build --manifest-path benches/report/Cargo.toml
fi

if [ "$audit" = yes ]; then
    section "Licences, sources, advisories"
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    cargo deny --all-features check
fi

section "All checks passed"

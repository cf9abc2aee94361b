#!/usr/bin/env bash
# Runs all checks and tests. On a Debian machine with Rust, installs the other tools if they are missing.
#
#   scripts/test.sh             all checks that a change must pass
#   scripts/test.sh --compare   also builds benches/compare, which has many dependencies
#   scripts/test.sh --audit     fails if the advisories of RustSec cannot be checked (needs its database on GitHub)
set -euo pipefail
cd "$(dirname "$0")/.."

compare=no
audit=no
for option in "$@"; do
    case "$option" in
        --compare) compare=yes ;;
        --audit) audit=yes ;;
        *)
            sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
done

# One target folder, so that the workspaces share what they compile.
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

# Each direct dependency at the oldest version that Cargo.toml allows. The dependencies of the tests are
# left out, since they need newer ones.
section "Oldest dependencies"
oldest="$CARGO_TARGET_DIR/oldest"
rm -rf "$oldest"
mkdir -p "$oldest"
cp -r src README.md "$oldest"
awk '/^\[/ { keep = !/^\[(dev-dependencies|\[(example|test|bench))/ } keep' Cargo.toml >"$oldest/Cargo.toml"
(
    cd "$oldest"
    # Only the choice of versions needs the nightly option.
    RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
    cargo check --quiet --locked --all-features --lib --bins
)

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
cargo test --release --locked --manifest-path benches/instructions/Cargo.toml
cargo bench --locked --manifest-path benches/instructions/Cargo.toml --bench instructions
cargo bench --locked --manifest-path benches/instructions/Cargo.toml --bench sharing

section "Proofs of concurrency"
cargo test --locked --manifest-path tests/loom/Cargo.toml

section "Fuzz targets pass their corpus, and one minute of fuzzing in all"
scripts/fuzz.sh

if [ "$compare" = yes ]; then
    section "The comparison builds"
    cargo bench --no-run --manifest-path benches/compare/Cargo.toml
    cargo test --manifest-path benches/report/Cargo.toml
fi

section "Licences, bans and sources of the dependencies"
manifests=(Cargo.toml {fuzz,tests/loom,benches/instructions}/Cargo.toml)
if [ "$compare" = yes ]; then
    manifests+=(benches/{compare,compare/pavex,report}/Cargo.toml)
fi
# Without optimization, it is compiled in half the time.
command -v cargo-deny >/dev/null || CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug cargo-deny
for manifest in "${manifests[@]}"; do
    echo "$manifest"
    cargo deny --config deny.toml --manifest-path "$manifest" --all-features check licenses bans sources
done

section "Advisories about the dependencies"
if [ "$audit" = yes ] || timeout 30 git ls-remote https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
    cargo deny --all-features check advisories
else
    echo "not checked: the database of RustSec on GitHub cannot be reached from this machine"
fi

section "All checks passed"

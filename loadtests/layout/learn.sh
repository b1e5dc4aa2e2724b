#!/usr/bin/env bash
# Learns what the load tests' workloads make a release do, by which releases are laid out from then on
# (profile-guided optimization). Takes a build that counts and a minute of load, ten minutes on two cores.
#
# Needs `rustup component add llvm-tools` and, for HTTP/2, h2load.
set -euo pipefail
cd "$(dirname "$0")/../.."
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools" >&2; exit 2; }
command -v h2load >/dev/null || { echo "h2load is missing: HTTP/2 could not be learned" >&2; exit 2; }

counts=$PWD/target/learn/counts
cargo build --release --locked -p tidegate-loadtests
rm -rf "$counts"
TIDEGATE_LEARN=$counts cargo build --release --locked --bin tidegate --target-dir target/learn
target/release/tidegate-loadtests baseline --quick --peers tidegate \
    --workloads get1k,logged1k,get64k,post16k,tls1k,h2,h2up,newconn,handshake,mirror \
    --tidegate target/learn/release/tidegate
profile=loadtests/layout/$(rustc -V | cut -d' ' -f2).profdata
# Without functions that nothing called: the file is a fifth as large, and they are compiled as ever.
"$profdata" merge --sparse -o "$profile" "$counts"
# Cargo does not see that what it has built is out of date.
cargo clean --release --quiet
echo "$profile"

# `just check` is what CI runs.
check:
    bash .ci/run

test:
    cargo test

bench:
    cargo bench

load *ARGS:
    cargo run --release -p tidegate-loadtests -- {{ARGS}}

# A release laid out by what load makes it do: target/pgo/tidegate.
pgo:
    bash loadtests/pgo.sh

# Rewrites the generated pages under docs/.
docs:
    UPDATE_DOCS=1 cargo test

# `just check` is what CI runs.
check:
    bash .ci/run

test:
    cargo test

bench:
    cargo bench

load *ARGS:
    cargo run --release -p tidegate-loadtests -- {{ARGS}}

# What load makes a release do, by which releases are laid out.
learn:
    bash loadtests/layout/learn.sh

# Rewrites the generated pages under docs/.
docs:
    UPDATE_DOCS=1 cargo test

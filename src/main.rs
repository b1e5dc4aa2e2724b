//! The `tidegate` binary: parses its arguments and exits with the command's code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}

//! `tidegate run`: the proxy, until a signal ends it.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::control::Author;

/// Runs the proxy; returns the exit code: 0 after a clean drain, 1 after a forced one or a failure.
pub fn run(config: &Path) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tidegate-control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return super::NO;
        }
    };
    let code = runtime.block_on(serve(config));
    runtime.shutdown_background();
    code
}

async fn serve(config: &Path) -> u8 {
    let app = match App::start(config, super::environment).await {
        Ok(app) => app,
        Err(error) => {
            eprint!("{error}");
            return super::NO;
        }
    };
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        eprintln!("error: cannot listen for signals");
        return super::NO;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // The outcome is logged where it is known.
                let _ = app.reload(&Author::new("file")).await;
            }
        }
    }
    let drained = tokio::select! {
        drained = app.shutdown() => drained,
        // A second signal: at once.
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if drained { 0 } else { super::NO }
}

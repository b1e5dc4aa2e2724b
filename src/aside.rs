//! Work that may take its time, such as compiling ten thousand routes: on a thread of its own, behind
//! those that serve.
//!
//! The control plane goes on meanwhile, and where cores are scarce the workers come first: with the
//! same priority a reload of ten thousand routes let requests wait for whole slices of the scheduler.
//! What runs here must hold no lock that anybody else may wait for.

use std::io;

use tokio::sync::oneshot;

/// How much less the thread weighs than others: enough to be behind, and about a quarter of a core
/// that is full, so that an edit is live within its second there too.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Runs `work` to its end and gives what it gives. To be dropped meanwhile does not stop it.
///
/// # Errors
/// No thread could be started, or the work panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("tidegate-aside".into()).spawn(move || {
        // Elsewhere it would be that of the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "a thread keeps its priority");
        }
        // Whoever asked may have gone.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("the thread panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_gives_what_the_work_gives_and_survives_its_panic() {
        assert_eq!(run(|| 6 * 7).await.unwrap(), 42);
        let panicked = run(|| panic!("as a test does")).await;
        assert!(panicked.unwrap_err().to_string().contains("panicked"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_its_own_thread_is_behind() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        assert_eq!(run(move || priority()).await.unwrap(), before + NICENESS);
        assert_eq!(priority(), before);
    }
}

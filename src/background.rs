//! Heavy work that can wait: done by a thread that only takes time which nobody else wants.
//!
//! Compiling ten thousand routes takes tens of milliseconds. A thread like any other would take whole
//! slices of the scheduler for it, several milliseconds each, from the worker that shares its core: at
//! 5,000 requests a second p99 was 4.9 ms while such a file was published twice a second, and is 0.5 to 0.9
//! so (0.3 without).

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread, which begins with the first work that there is for it.
#[derive(Debug, Default)]
pub struct Background(OnceLock<Option<Sender<Job>>>);

impl Background {
    /// Does it in the background. Where every core is busy that would take for ever: what is not done
    /// by `until` is done here, by a second call of `work`, and the result of the first is thrown away.
    ///
    /// Needs a runtime of several threads. Dropped while it waits, it does nothing more.
    pub async fn run<T, F>(&self, until: Instant, work: F) -> T
    where
        T: Send + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let (done, result) = oneshot::channel();
        let same = work.clone();
        self.send(Box::new(move || {
            if !done.is_closed() {
                // Nobody waits any more if it came too late.
                let _ = done.send(same());
            }
        }));
        match tokio::time::timeout_at(until.into(), result).await {
            Ok(Ok(value)) => value,
            Ok(Err(_)) | Err(_) => tokio::task::block_in_place(|| work()),
        }
    }

    /// Frees something large in the background.
    pub fn free(&self, large: impl Send + 'static) {
        self.send(Box::new(move || drop(large)));
    }

    /// What no thread takes is dropped: its result is waited for in vain, and what it holds is freed.
    fn send(&self, job: Job) {
        if let Some(jobs) = self.0.get_or_init(start) {
            let _ = jobs.send(job);
        }
    }
}

fn start() -> Option<Sender<Job>> {
    let (jobs, inbox) = channel::<Job>();
    let work = move || {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if let Err(error) =
            set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
        {
            tracing::debug!(?error, "background work takes its share of the cores");
        }
        inbox.into_iter().for_each(|job| job());
    };
    let thread = std::thread::Builder::new().name("tidegate-background".into()).spawn(work);
    thread.inspect_err(|error| tracing::warn!(%error, "no thread for background work")).ok()?;
    Some(jobs)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_done_in_time_is_done_at_once() {
        let background = Background::default();
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(background.run(later, || 7).await, 7);
        // The thread is busy until it is let go.
        let (go, wait) = mpsc::channel::<()>();
        background.send(Box::new(move || assert!(wait.recv().is_err())));
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let work = move || counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!(background.run(Instant::now(), work).await, 0);
        drop(go);
        // It does not do again what nobody waits for.
        assert_eq!(background.run(later, || 8).await, 8);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_thread_yields_to_every_other() {
        let background = Background::default();
        let (tell, told) = mpsc::channel();
        background
            .send(Box::new(move || drop(tell.send(thread_priority::thread_schedule_policy()))));
        let policy = told.recv().unwrap().unwrap();
        assert_eq!(policy, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
    }
}

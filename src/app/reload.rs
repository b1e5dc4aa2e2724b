//! What becomes of an edit: read, compiled, taken over, or refused as a whole.

use std::sync::Arc;
use std::time::Instant;

use super::{Inner, lock, with_certs};
use crate::clock;
use crate::config::{self, Config, Loaded, Report};
use crate::control::{Author, Event, Outcome, Refusal};
use crate::limits::BACKGROUND_PATIENCE;
use crate::operations::reload::ReloadError;
use crate::route::Routes;

impl Inner {
    /// Rereads the configuration.
    pub(super) async fn reload(&self, author: &Author) -> Result<Outcome, ReloadError> {
        let _turn = self.reloading.lock().await;
        self.reload_in_turn(author).await
    }

    /// Rereads the configuration unless it is what was read last, perhaps by somebody who had the turn
    /// before.
    pub(super) async fn reload_if_edited(&self) {
        let _turn = self.reloading.lock().await;
        let before = *lock(&self.fingerprint);
        if config::fingerprint(&self.path) != Some(before) {
            // The outcome is logged where it is known.
            let _ = self.reload_in_turn(&Author::new("file")).await;
        }
    }

    async fn reload_in_turn(&self, author: &Author) -> Result<Outcome, ReloadError> {
        let outcome = self.try_reload(author).await;
        let (result, detail) = match &outcome {
            // An edit of routes alone makes a revision without a change of traffic.
            Ok(outcome) if outcome.switched_in.is_none() => ("unchanged", String::new()),
            Ok(outcome) => ("applied", format!("revision {}", outcome.revision)),
            Err(error) => ("invalid", error.to_string()),
        };
        match &outcome {
            Ok(outcome) => tracing::info!(result, revision = outcome.revision, "reload"),
            Err(error) => tracing::error!("reload refused; nothing was changed\n{error}"),
        }
        self.telemetry.note_reload(result);
        self.control.tell(Event::Reload { result, detail });
        outcome
    }

    async fn try_reload(&self, author: &Author) -> Result<Outcome, ReloadError> {
        let fingerprint = config::fingerprint(&self.path);
        let running = self.control.state().await.config.clone();
        let until = clock::now() + BACKGROUND_PATIENCE;
        let loaded = match self.load(running.is_large(), until).await {
            Ok(loaded) => loaded,
            Err(report) => {
                self.remember(fingerprint);
                self.control.note_invalid(report.clone()).await;
                return Err(ReloadError::Invalid(report));
            }
        };
        self.remember(Some(loaded.fingerprint));
        if loaded.fingerprint == *lock(&self.adopted) {
            return Ok(self.control.keep().await);
        }
        let config = Arc::new(loaded.config);
        if let Some(text) = needs_restart(&running, &config) {
            return Err(ReloadError::Refused(text));
        }
        // The last hold on a large one is the control plane's, which has it freed in the background.
        drop(running);
        let routes = self.route_table(&config, until).await;
        let bound = self.prepare_listeners(&config).await.map_err(ReloadError::Refused)?;
        let level = config.log.level;
        let kept: Vec<_> = config.listeners.clone();
        let sources = with_certs(loaded.sources, &config);
        let adopted = self.control.adopt(config, routes, author).await;
        let outcome =
            adopted.map_err(|refusal: Refusal| ReloadError::Refused(refusal.to_string()))?;
        self.level.set(level.as_str());
        self.replace_listeners(&kept, bound).await;
        *lock(&self.sources) = sources;
        *lock(&self.adopted) = loaded.fingerprint;
        Ok(outcome)
    }

    /// Reads the files; in the background if there are likely to be many routes in them.
    async fn load(&self, large: bool, until: Instant) -> Result<Loaded, Report> {
        let (path, environment) = (self.path.clone(), self.environment);
        self.work(large, until, move || config::load(&path, &environment)).await
    }

    /// Compiles the routes; in the background if there are many. Only the numbers of those that are new
    /// are asked for outside of it: a thread that waits for time must hold no lock that others want.
    async fn route_table(&self, config: &Arc<Config>, until: Instant) -> Routes {
        let (large, registry) = (config.is_large(), &self.control.shared.registry);
        let (routes, names) = (config.clone(), registry.known_routes());
        let known = self.work(large, until, move || routes.known_numbers(&names)).await;
        let numbers = config.route_numbers(registry, &known);
        let routes = config.clone();
        self.work(large, until, move || routes.numbered_table(&numbers)).await
    }

    /// Does it in the background until then, if it is `large`.
    async fn work<T, F>(&self, large: bool, until: Instant, work: F) -> T
    where
        T: Send + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        if large { self.control.background.run(until, work).await } else { work() }
    }

    fn remember(&self, fingerprint: Option<u64>) {
        if let Some(seen) = fingerprint {
            *lock(&self.fingerprint) = seen;
        }
    }
}

/// What differs and cannot be changed while running.
fn needs_restart(running: &Config, wanted: &Config) -> Option<String> {
    let same = [
        ("server.workers", running.server.workers == wanted.server.workers),
        ("admin", running.admin == wanted.admin),
        ("state.dir", running.state_dir == wanted.state_dir),
        ("log.format", running.log.format == wanted.log.format),
        ("log.access", running.log.access == wanted.log.access),
        ("metrics.duration_buckets", running.duration_buckets == wanted.duration_buckets),
    ];
    let changed: Vec<_> = same.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect();
    (!changed.is_empty()).then(|| {
        format!(
            "{} cannot be changed while running: restart for it, or put the old value back; \
             nothing of this edit was taken over",
            changed.join(", ")
        )
    })
}

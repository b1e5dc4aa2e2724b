//! What happens, as it happens (Server-Sent Events).
//!
//! A reader that is too slow misses events and is told how many: nobody waits for it. One that
//! comes back with `Last-Event-ID` gets the revisions it missed from the history first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::Stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::AdminState;
use super::dto::RevisionDto;
use super::server::proxy_end;
use crate::control::Event;
use crate::phase::Phase;
use crate::revision::Entry;

/// Between two comments that keep an idle connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follow events.
#[utoipa::path(
    get, path = "/v1/events", tag = "status",
    description = "Server-Sent Events: `revision`, `health`, `verdict`, `reload`, and `missed` when \
        the reader was too slow. The id of a revision is its number; `Last-Event-ID` repeats later ones.",
    params(("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"))
)]
pub async fn follow(
    State(state): State<AdminState>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Message, Infallible>>> {
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let follower = {
        // Under the lock, so that no revision falls between the history and the subscription.
        let locked = state.control.state().await;
        let later = |entry: &&Arc<Entry>| seen.is_some_and(|seen: u64| entry.number > seen);
        let mut missed: VecDeque<Arc<Entry>> = VecDeque::new();
        for entry in locked.history.iter().take_while(later) {
            missed.push_front(entry.clone());
        }
        Follower { missed, events: state.control.subscribe(), phase: state.phase.clone() }
    };
    let messages = futures_util::stream::unfold(follower, |mut follower| async {
        let message = follower.next().await?;
        Some((Ok(message), follower))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// One reader's place in the stream of events.
struct Follower {
    missed: VecDeque<Arc<Entry>>,
    events: Receiver<Event>,
    phase: watch::Receiver<Phase>,
}

impl Follower {
    /// The next message; none when the proxy ends.
    async fn next(&mut self) -> Option<Message> {
        if let Some(entry) = self.missed.pop_front() {
            return Some(revision(&entry));
        }
        tokio::select! {
            event = self.events.recv() => match event {
                Ok(event) => Some(message(&event)),
                Err(RecvError::Lagged(count)) => Some(named("missed", &json!({ "count": count }))),
                Err(RecvError::Closed) => None,
            },
            () = proxy_end(&mut self.phase) => None,
        }
    }
}

fn message(event: &Event) -> Message {
    match event {
        Event::Revision(entry) => revision(entry),
        Event::Health { service, version, endpoint, status } => {
            let (service, version) = (service.as_str(), version.as_str());
            let data = json!({
                "service": service, "version": version, "endpoint": endpoint, "status": status,
            });
            named("health", &data)
        }
        Event::Verdict { service, version, verdict, state, text } => {
            let (service, version) = (service.as_str(), version.as_str());
            let data = json!({
                "service": service, "version": version, "verdict": verdict, "state": state,
                "text": text,
            });
            named("verdict", &data)
        }
        Event::Reload { result, detail } => {
            named("reload", &json!({ "result": result, "detail": detail }))
        }
    }
}

fn revision(entry: &Entry) -> Message {
    named("revision", &RevisionDto::new(entry, None)).id(entry.number.to_string())
}

fn named<T: Serialize>(name: &str, data: &T) -> Message {
    // Our own types always become JSON, on one line.
    Message::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

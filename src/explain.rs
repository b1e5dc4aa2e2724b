//! What would become of a request, and why: the same code that serves it, asked aloud.
//!
//! Nothing is sent. Where a draw would decide, the shares are told instead of one outcome. Offline,
//! endpoints have no health yet: whoever asks says first that they are well.

use std::net::IpAddr;

use crate::h1::head::{HeadLimits, RequestHead};
use crate::limits::TARGET_BYTES_MAX;
use crate::name::{RouteName, ServiceName, VersionName};
use crate::proxy::error::Reason;
use crate::proxy::{Choice, choose_by, client_of};
use crate::route::matcher::RequestView;
use crate::route::{Action, Found};
use crate::snapshot::{Service, Snapshot};
use crate::split::Cause;
use crate::upstream::Slot;

/// The bounds of a listener that sets none.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 100, target: TARGET_BYTES_MAX };

/// A request as an operator writes it down.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: String,
    /// With scheme and host, or the path alone.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// Who connects; behind a trusted proxy, `X-Forwarded-For` counts as it would.
    pub client: IpAddr,
}

/// What would become of it.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// Every route in the order of the file, with what became of it: `matched`, `outranked`, or the
    /// first part that did not match.
    pub routes: Vec<(RouteName, &'static str)>,
    pub route: Option<RouteName>,
    pub service: Option<ServiceName>,
    /// The place of the pin that matched, from 0.
    pub pin: Option<usize>,
    pub bucket: Option<u16>,
    /// `None` where a draw decides, or where there is no version.
    pub version: Option<VersionName>,
    /// `pin`, `sticky`, `split` or `fallback`.
    pub assigned_by: Option<&'static str>,
    /// Where a draw decides: each version with its chance in percent.
    pub shares: Vec<(VersionName, f64)>,
    /// Those of the version that can take it now.
    pub endpoints: Vec<String>,
    /// Path and query as they go up.
    pub upstream_path: Option<String>,
    /// The proxy answers itself: the status, and the reason or the new location.
    pub reply: Option<(u16, String)>,
    /// Whether it waits first because the service is held.
    pub held: bool,
    /// The story, a sentence each.
    pub why: Vec<String>,
}

/// Explains a request under a snapshot. The error is a sentence about the question.
pub fn explain(snapshot: &Snapshot, question: &Question) -> Result<Explanation, String> {
    let (scheme, bytes) = request(question)?;
    let mut head = RequestHead::new();
    let parsed = head.parse(&bytes, &LIMITS);
    if !matches!(parsed, Ok(Some(_))) {
        let why = parsed.err().map_or("incomplete", |error| error.reason());
        return Err(format!("this is no request that would be served: {why}"));
    }
    let view = RequestView::from(&head);
    let mut told = Explanation::default();
    let routes = snapshot.routes.routes();
    let names = snapshot.routes.trace(&view).into_iter();
    told.routes = names.map(|(place, what)| (routes[place].name.clone(), what)).collect();
    let Some(found) = snapshot.routes.find(&view) else {
        told.say(format!("no route matches {} {}{}", question.method, view.host, view.path));
        told.refuse(Reason::NoRoute);
        return Ok(told);
    };
    let name = &found.route.name;
    told.route = Some(name.clone());
    told.say(format!("route `{name}` is the most specific that matches"));
    let place = match &found.route.action {
        Action::Redirect(redirect) => {
            let (path, query, prefix) = (head.path(), head.query(), found.matched_prefix);
            let location = redirect.location(scheme, head.authority(), path, query, prefix);
            told.say(format!("it redirects to {location}"));
            told.reply = Some((redirect.status, location));
            return Ok(told);
        }
        Action::Forward { index, .. } => *index,
    };
    told.upstream_path = Some(upstream_path(&found, &head));
    let client = client_of(&snapshot.edge, question.client, &head.fields);
    told.assign(&snapshot.services[place], &view, client);
    Ok(told)
}

fn upstream_path(found: &Found<'_>, head: &RequestHead) -> String {
    let path = found.route.rewrite(head.path(), found.matched_prefix);
    head.query().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"))
}

impl Explanation {
    fn say(&mut self, text: String) {
        self.why.push(text);
    }

    fn refuse(&mut self, reason: Reason) {
        self.reply = Some((crate::proxy::reply::status(reason), reason.as_str().to_owned()));
    }

    fn assign(&mut self, service: &Service, view: &RequestView<'_>, client: IpAddr) {
        self.service = Some(service.name.clone());
        self.held = service
            .hold
            .as_ref()
            .is_some_and(|rule| rule.methods.is_empty() || rule.methods.contains(&view.method));
        if self.held {
            self.say(format!("service `{}` is held: the request waits first", service.name));
        }
        // Any bits will do: where they decide, the outcome is not told.
        let choice = match choose_by(&|| 0, service, view, client, None) {
            Ok(choice) => choice,
            Err(reason) => {
                self.say("every version has weight 0".to_owned());
                return self.refuse(reason);
            }
        };
        self.assigned_by = Some(choice.cause.as_str());
        let cohort = service.plan.sticky.as_ref().and_then(|key| key.read(view.fields, client));
        self.bucket = cohort.map(|who| who.with_bytes(|bytes| service.split.bucket(bytes)));
        let is_drawn = match choice.cause {
            Cause::Pin(_) => false,
            _ => self.bucket.is_none() || choice.cause == Cause::Split,
        };
        self.tell_cause(service, choice);
        match is_drawn {
            true => self.draw(service),
            false => self.take(service, choice),
        }
    }

    fn tell_cause(&mut self, service: &Service, choice: Choice) {
        let version = &service.versions[choice.version].name;
        match (choice.cause, self.bucket) {
            (Cause::Pin(place), _) => {
                self.pin = Some(usize::from(place));
                self.say(format!("pin {} sends it to `{version}`", place + 1));
            }
            (Cause::Sticky(_), Some(bucket)) => {
                self.say(format!("its cohort is in bucket {bucket}, which is `{version}`'s"));
            }
            (Cause::Fallback, Some(bucket)) => {
                let mine = service.split.version_of_bucket(bucket);
                let mine = mine.and_then(|place| service.versions.get(place));
                let mine = mine.map_or("none", |version| version.name.as_str());
                self.say(format!(
                    "its cohort is in bucket {bucket}, whose version `{mine}` has no usable \
                     endpoint; `{version}` takes over"
                ));
            }
            _ if service.plan.sticky.is_some() => {
                self.say("it names no cohort yet, so it is drawn by weight".to_owned());
            }
            _ => self.say("the service is not sticky, so it is drawn by weight".to_owned()),
        }
    }

    /// A draw decides: the chances of every version.
    fn draw(&mut self, service: &Service) {
        let weights = &service.traffic.weights;
        let others = service.plan.policy.when_unavailable == crate::plan::WhenUnavailable::Others;
        let usable = |place: &usize| service.versions[*place].is_usable();
        let takes_new = |place: &usize| !service.versions[*place].draining;
        let weighs: Vec<usize> =
            (0..service.versions.len()).filter(|place| service.split.weighs(*place)).collect();
        let narrowed = |all: Vec<usize>, keep: &dyn Fn(&usize) -> bool| {
            let kept: Vec<usize> = all.iter().copied().filter(|place| keep(place)).collect();
            if kept.is_empty() { all } else { kept }
        };
        let mut places = narrowed(weighs, &takes_new);
        if others {
            places = narrowed(places, &usable);
        }
        let weight = |place: &usize| f64::from(weights.of(&service.versions[*place].name));
        let total: f64 = places.iter().map(weight).sum();
        let share = |place: &usize| {
            (service.versions[*place].name.clone(), weight(place) * 100.0 / total.max(1.0))
        };
        self.shares = places.iter().map(share).collect();
        let words = self.shares.iter().map(|(name, share)| format!("`{name}` {share:.2} %"));
        let words: Vec<_> = words.collect();
        self.say(format!("the chances are {}", words.join(", ")));
        if let [place] = places[..] {
            let usable = service.versions[place].is_usable();
            self.take(
                service,
                Choice { version: place, cause: Cause::Split, usable, new_cohort: None },
            );
        }
    }

    fn take(&mut self, service: &Service, choice: Choice) {
        let version = &service.versions[choice.version];
        let open = |slot: &&Slot| !slot.draining && slot.endpoint.is_healthy();
        self.version = Some(version.name.clone());
        let labels = version.endpoints.iter().filter(open).map(|slot| slot.endpoint.label.clone());
        self.endpoints = labels.collect();
        match choice.usable {
            true => self.say(format!("one of {} takes it", self.endpoints.join(", "))),
            false => {
                self.say(format!("version `{}` has no usable endpoint", version.name));
                self.refuse(Reason::NoEndpoint);
            }
        }
    }
}

/// The request as bytes on the wire, so that it is read as any other, and its scheme.
fn request(question: &Question) -> Result<(&'static str, Vec<u8>), String> {
    let url = question.url.split('#').next().unwrap_or_default().trim();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => ("https", rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("http", rest),
        Some((scheme, _)) if !scheme.contains(['/', '?']) => {
            return Err(format!("`{}` is neither http nor https", scheme.escape_debug()));
        }
        _ => ("http", url),
    };
    let start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(start);
    let slash = if target.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{target}");
    let one_line = |text: &str| !text.contains(['\r', '\n', '\0']);
    let one_word = |text: &str| !text.is_empty() && !text.contains([' ', '\t', '\r', '\n', '\0']);
    if !one_word(&target) || !one_word(&question.method) {
        return Err("a method or a URL holds no spaces; write them as %20".to_owned());
    }
    let mut text = format!("{} {target} HTTP/1.1\r\n", question.method);
    let is_host = |name: &str| name.eq_ignore_ascii_case("host");
    if !question.headers.iter().any(|(name, _)| is_host(name)) {
        let host = if authority.is_empty() { "localhost" } else { authority };
        if !one_word(host) {
            return Err("a host holds no spaces".to_owned());
        }
        text.push_str(&format!("host: {host}\r\n"));
    }
    for (name, value) in &question.headers {
        if !one_word(name) || name.contains(':') || !one_line(value) {
            return Err(format!("`{}` is no header field", name.escape_debug()));
        }
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Ok((scheme, text.into_bytes()))
}

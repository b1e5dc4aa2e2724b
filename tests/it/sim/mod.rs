//! Operators in a hurry, endpoints that die, restarts and edits, while clients ask without a pause.
//!
//! A seed decides the plan. After every step the proxy is compared with the model of `plan`, and
//! every answer was judged by the rules of `world` that held while it was made: no safe request
//! fails while it could be served, no version answers that has no weight or whose requests are held, no change that was
//! acknowledged is lost, and what clients saw is what the metrics say.
//!
//! The plan is the seed's, the interleaving is the machine's: real sockets, real threads.
//! `TIDEGATE_SEED=7 cargo test --test it sim` runs one seed; a failure names its own.

mod plan;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use self::plan::{ENDPOINTS, Place, State, Step, VERSIONS, weights};
use self::world::{Rules, World, client};
use crate::rig::{Rig, says};

const STEPS: usize = 160;
const CLIENTS: u64 = 4;
/// Steps a hold lasts at most, so that nobody waits too long.
const HELD_MAX: usize = 3;
/// Steps that a failure tells of.
const TOLD: usize = 20;

/// A running simulation.
struct Sim {
    rig: Rig,
    world: Arc<World>,
    random: fastrand::Rng,
    state: State,
    revision: u64,
    history: BTreeMap<u64, State>,
    dead: BTreeSet<Place>,
    /// The last valid file, and its weights.
    file: String,
    declared: BTreeMap<&'static str, u32>,
    held_for: usize,
    trail: Trail,
}

/// The steps so far; told when a step or a check fails.
struct Trail {
    seed: u64,
    steps: Vec<String>,
}

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.steps.len().saturating_sub(TOLD);
            eprintln!("TIDEGATE_SEED={}; {} steps, the last:", self.seed, self.steps.len());
            self.steps[from..].iter().for_each(|step| eprintln!("  {step}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_storm_breaks_no_promise() {
    storm(given_seed().unwrap_or(12)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_storm_breaks_no_promise() {
    if given_seed().is_none() {
        storm(18).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_storm_breaks_no_promise() {
    if given_seed().is_none() {
        storm(23).await;
    }
}

/// The one seed that was asked for.
fn given_seed() -> Option<u64> {
    std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"))
}

async fn storm(seed: u64) {
    let mut sim = Sim::start(seed).await;
    let ask = |number| tokio::spawn(client(sim.world.clone(), sim.rig.web, seed + number));
    let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
    for _ in 0..STEPS {
        let step = Step::random(&mut sim.random);
        sim.trail.steps.push(format!("{step:?} at revision {}", sim.revision));
        sim.take(step).await;
        sim.check().await;
    }
    sim.calm().await;
    sim.world.over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client that ends well");
    }
    sim.check().await;
    sim.balance().await;
    sim.rig.finish().await;
}

impl Sim {
    async fn start(seed: u64) -> Self {
        let rig = Rig::build()
            .endpoints("blue", vec![says("blue"); ENDPOINTS])
            .endpoints("green", vec![says("green"); ENDPOINTS])
            .weights("blue = 100, green = 0")
            .service("retries = { attempts = 1, budget = \"100%\" }")
            .each_version(
                "health = { path = \"/health\", interval = \"50ms\", timeout = \"5s\", \
                 healthy_after = 1, unhealthy_after = 1 }\noutlier = { eject_for = \"1s\" }",
            )
            .start()
            .await;
        let state = State::of(100, 0);
        let world = Arc::new(World::default());
        world.enter(state.rules(&BTreeSet::new()));
        let file = std::fs::read_to_string(rig.config()).unwrap();
        Self {
            rig,
            world,
            random: fastrand::Rng::with_seed(seed),
            history: [(1, state.clone())].into(),
            state,
            revision: 1,
            dead: BTreeSet::new(),
            file,
            declared: weights(100, 0),
            held_for: 0,
            trail: Trail { seed, steps: Vec::new() },
        }
    }

    async fn take(&mut self, step: Step) {
        if self.state.held {
            self.held_for += 1;
            if self.held_for > HELD_MAX {
                self.release().await;
            }
        }
        match step {
            Step::Weights(blue, green) => {
                let next = State { weights: weights(blue, green), ..self.state.clone() };
                let body = json!({ "blue": blue, "green": green });
                self.change("PUT", "/weights", body, next).await;
            }
            Step::Cutover(to) => self.cutover(to).await,
            Step::Rollback(back) => self.rollback(back).await,
            Step::Undo => self.undo().await,
            Step::Drain(version, on) => {
                let next = self.state.toggled(|state| &mut state.draining, version, on);
                let path = format!("/versions/{version}/{}", if on { "drain" } else { "undrain" });
                self.change("POST", &path, json!({}), next).await;
            }
            Step::DrainEndpoint(place, on) => self.drain_endpoint(place, on).await,
            Step::Hold if !self.state.held => {
                self.held_for = 0;
                let next = State { held: true, ..self.state.clone() };
                self.change("POST", "/hold", json!({ "max_wait": "60s" }), next).await;
            }
            Step::Hold | Step::Release => self.release().await,
            Step::Shadow(Some(version)) => {
                let next = State { shadow: Some(version), ..self.state.clone() };
                self.change("PUT", "/shadow", json!({ "version": version }), next).await;
            }
            Step::Shadow(None) => {
                let next = State { shadow: None, ..self.state.clone() };
                self.change("DELETE", "/shadow", json!({}), next).await;
            }
            Step::Stale => {
                let path = "/v1/services/shop/weights";
                let stale = format!("If-Match: \"{}\"\r\n", self.revision - 1);
                let body = Some(json!({ "blue": 7, "green": 7 }));
                let answer = self.rig.admin_raw("PUT", path, body, &stale).await;
                assert_eq!(answer.status, 412, "{}", answer.text());
            }
            Step::Edit(blue, green, told) => self.edit(blue, green, told).await,
            Step::BadEdit => self.bad_edit().await,
            Step::Kill(place) => self.kill(place).await,
            Step::Revive(place) => self.revive(place).await,
            Step::Restart(loudly) => self.restart(loudly).await,
        }
    }

    /// Rules for the time in which the state becomes another.
    fn between(&self, next: &State) -> Rules {
        let (before, after) = (self.state.rules(&self.dead), next.rules(&self.dead));
        let versions = [before.versions, after.versions].concat();
        let (serves, held) = (before.serves && after.serves, before.held && after.held);
        Rules { versions, serves, dying: false, held, up: true }
    }

    fn settle(&mut self, next: State, revision: u64) {
        self.world.enter(next.rules(&self.dead));
        self.state = next;
        self.revision = revision;
        self.history.insert(revision, self.state.clone());
    }

    /// A change that must be accepted, and makes a revision if it changes anything.
    async fn change(&mut self, method: &str, path: &str, body: Value, next: State) -> Value {
        self.world.enter(self.between(&next));
        let answer = self.rig.change(method, &format!("/v1/services/shop{path}"), body).await;
        let expect = self.revision + u64::from(next != self.state);
        assert_eq!(answer["revision"], expect, "{method} {path}: {answer}");
        self.settle(next, expect);
        answer
    }

    async fn cutover(&mut self, to: &'static str) {
        let next = self.state.cut_over(to);
        if self.state.is_usable(to, &self.dead) || self.state.weighed() == [to] {
            self.change("POST", "/cutover", json!({ "to": to }), next).await;
            return;
        }
        let path = "/v1/services/shop/cutover";
        let (status, answer) = self.rig.admin("POST", path, Some(json!({ "to": to }))).await;
        assert_eq!(status, 409, "{answer}");
        if self.random.bool() {
            let body = json!({ "to": to, "force": true });
            self.change("POST", "/cutover", body, next).await;
        }
    }

    async fn rollback(&mut self, back: u64) {
        let to = self.revision.saturating_sub(back).max(1);
        let next = State { held: false, ..self.history[&to].clone() };
        self.world.enter(self.between(&next));
        let path = "/v1/services/shop/rollback";
        let answer = self.rig.change("POST", path, json!({ "to": to })).await;
        // Equal traffic may still send other cohorts to a version, and then it is another.
        let revision = answer["revision"].as_u64().unwrap();
        let least = self.revision + u64::from(next != self.state);
        assert!((least..=self.revision + 1).contains(&revision), "{answer}");
        self.settle(next, revision);
    }

    async fn undo(&mut self) {
        // The model does not know where it leads: nearly everything is allowed meanwhile.
        let versions = VERSIONS.to_vec();
        self.world.enter(Rules { versions, serves: false, dying: false, held: false, up: true });
        let path = "/v1/services/shop/rollback";
        let (status, answer) = self.rig.admin("POST", path, Some(json!({}))).await;
        if status != 200 {
            assert_eq!((status, self.history.len()), (409, 1), "{answer}");
            return self.world.enter(self.state.rules(&self.dead));
        }
        assert_eq!(answer["revision"], self.revision + 1, "{answer}");
        let (_, live) = self.live().await;
        let earlier = self.history.values().rev();
        let back = earlier.map(|state| State { held: false, ..state.clone() });
        let next = back.into_iter().find(|state| self.differences(&live, state).is_empty());
        let next = next.unwrap_or_else(|| panic!("never there before: {live}"));
        self.settle(next, self.revision + 1);
    }

    async fn drain_endpoint(&mut self, place: Place, on: bool) {
        let next = self.state.toggled(|state| &mut state.draining_endpoints, place, on);
        let verb = if on { "drain" } else { "undrain" };
        let body = json!({ "endpoint": self.address(place) });
        self.change("POST", &format!("/versions/{}/{verb}", place.0), body, next).await;
    }

    async fn release(&mut self) {
        let next = State { held: false, ..self.state.clone() };
        self.change("POST", "/release", json!({}), next).await;
    }

    async fn edit(&mut self, blue: u32, green: u32, told: bool) {
        let declared = weights(blue, green);
        let line = |weights: &BTreeMap<_, _>| {
            format!("weights = {{ blue = {}, green = {} }}", weights["blue"], weights["green"])
        };
        let text = self.file.replace(&line(&self.declared), &line(&declared));
        let changes = declared != self.declared;
        let next = match changes {
            true => State { weights: declared.clone(), ..self.state.clone() },
            false => self.state.clone(),
        };
        self.world.enter(self.between(&next));
        std::fs::write(self.rig.config(), &text).unwrap();
        if told {
            let (status, answer) = self.rig.admin("POST", "/v1/reload", None).await;
            assert_eq!(status, 200, "{answer}");
        }
        let revision = self.revision + u64::from(changes);
        let rig = &self.rig;
        rig.until("the edit is live", || async { rig.shop().await["revision"] == revision }).await;
        rig.until("the file is valid", || async {
            rig.metric("tidegate_config_valid", &[]).await == 1.0
        })
        .await;
        (self.file, self.declared) = (text, declared);
        self.settle(next, revision);
    }

    async fn bad_edit(&mut self) {
        let text = self.file.replace("green = ", "grene = ");
        std::fs::write(self.rig.config(), text).unwrap();
        let (status, answer) = self.rig.admin("POST", "/v1/reload", None).await;
        assert_eq!(status, 422, "{answer}");
    }

    async fn kill(&mut self, place: Place) {
        if !self.dead.insert(place) {
            return;
        }
        self.world.enter(Rules { dying: true, ..self.state.rules(&self.dead) });
        self.version(place).kill().await;
        self.seen(place).await;
        self.world.enter(self.state.rules(&self.dead));
    }

    async fn revive(&mut self, place: Place) {
        if self.dead.contains(&place) {
            self.version(place).revive().await;
            self.dead.remove(&place);
            self.seen(place).await;
            self.world.enter(self.state.rules(&self.dead));
        }
    }

    /// Waits until the proxy knows whether an endpoint lives.
    async fn seen(&self, place: Place) {
        let (rig, address) = (&self.rig, self.address(place));
        let lives = !self.dead.contains(&place);
        rig.until("an endpoint's health is known", || async {
            let shop = rig.shop().await;
            let endpoints = shop["versions"][place.0]["endpoints"].as_array().unwrap();
            endpoints.iter().any(|one| one["address"] == *address && one["healthy"] == lives)
        })
        .await;
    }

    async fn restart(&mut self, loudly: bool) {
        self.release().await;
        let before = self.live().await;
        let world = self.world.clone();
        let rules = self.state.rules(&self.dead);
        let silence = if loudly {
            world.enter(Rules { versions: VERSIONS.to_vec(), up: false, ..rules.clone() });
            self.rig.stop().await;
            world.silence.write().await
        } else {
            let silence = world.silence.write().await;
            self.balance().await;
            silence
        };
        std::fs::write(self.rig.config(), &self.file).unwrap();
        self.rig.restart().await;
        for place in places() {
            self.seen(place).await;
        }
        assert_eq!(before, self.live().await, "what was acknowledged is lost");
        world.books.lock().unwrap().clear();
        world.process.fetch_add(1, Ordering::Relaxed);
        world.enter(rules);
        drop(silence);
    }

    /// After every step: the proxy is in the state of the model, and no answer was wrong.
    async fn check(&self) {
        let (revision, live) = self.live().await;
        assert_eq!(revision, self.revision, "{live}");
        let wrong = self.differences(&live, &self.state);
        assert!(wrong.is_empty(), "{wrong:?} differ: {:?}, but {live}", self.state);
        let faults = self.world.faults();
        assert!(faults.is_empty(), "{} answers, the first: {}", faults.len(), faults[0]);
    }

    /// The revision in force and the service's traffic in it: what is live, and what the history
    /// says of it besides.
    async fn live(&self) -> (u64, Value) {
        let shop = self.rig.shop().await;
        let path = format!("/v1/revisions/{}", shop["revision"]);
        let (_, mut entry) = self.rig.admin("GET", &path, None).await;
        let mut traffic = entry["services"]["shop"].take();
        let live = shop["live"].as_object().expect("live traffic").clone();
        traffic.as_object_mut().expect("kept traffic").extend(live);
        (shop["revision"].as_u64().expect("a number"), traffic)
    }

    /// In what the live traffic differs from a state.
    fn differences(&self, live: &Value, state: &State) -> Vec<&'static str> {
        let weight = |version: &str| live["weights"][version].as_u64().unwrap_or(0);
        let mut drained: Vec<String> = state
            .draining_endpoints
            .iter()
            .map(|place| format!("{}/{}", place.0, self.address(*place)))
            .collect();
        drained.sort();
        let mut shown: Vec<String> =
            serde_json::from_value(live["draining_endpoints"].clone()).unwrap_or_default();
        shown.sort();
        let same = [
            ("weights", VERSIONS.iter().all(|v| weight(v) == u64::from(state.weights[v]))),
            ("draining", live["draining"] == json!(state.draining)),
            ("draining_endpoints", shown == drained),
            ("shadow", live["shadow"]["version"].as_str() == state.shadow),
            ("hold", live["hold"].is_null() != state.held),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// In silence: what clients saw is what the proxy counted.
    async fn balance(&self) {
        let (rig, world) = (&self.rig, &self.world);
        let seen = world.books.lock().unwrap().clone();
        rig.until("the proxy has counted what its clients saw", || async {
            counted(&rig.metrics().await) == seen
        })
        .await;
    }

    /// The storm is over: everything serves again.
    async fn calm(&mut self) {
        self.trail.steps.push("calm".to_owned());
        self.release().await;
        for place in places() {
            self.revive(place).await;
            self.drain_endpoint(place, false).await;
        }
        let next = State { weights: weights(50, 50), ..self.state.clone() };
        let next = State { draining: BTreeSet::new(), ..next };
        for version in VERSIONS {
            self.take(Step::Drain(version, false)).await;
        }
        self.change("PUT", "/weights", json!({ "blue": 50, "green": 50 }), next).await;
        for place in places() {
            let version = self.version(place);
            let before = version.requests();
            let more = || async { version.requests() > before };
            self.rig.until("every endpoint serves again", more).await;
        }
    }

    fn version(&self, place: Place) -> &crate::rig::Version {
        self.rig.version(&format!("{}/{}", place.0, place.1))
    }

    fn address(&self, place: Place) -> String {
        self.version(place).address.to_string()
    }
}

fn places() -> impl Iterator<Item = Place> {
    VERSIONS.into_iter().flat_map(|version| (0..ENDPOINTS).map(move |place| (version, place)))
}

/// Requests by version and status as the metrics have them.
fn counted(metrics: &str) -> BTreeMap<(String, u16), u64> {
    let mut counted: BTreeMap<(String, u16), u64> = BTreeMap::new();
    for line in metrics.lines() {
        let value = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        let label = |name: &str| line.split(&format!("{name}=\"")).nth(1)?.split('"').next();
        let key = if line.starts_with("http_requests_total{") {
            label("version").zip(label("status")).map(|(v, s)| (v.to_owned(), s.parse().unwrap()))
        } else if line.starts_with("tidegate_local_replies_total{") {
            // Those that got no version; all that the plan can bring about is a 503.
            Some(("-".to_owned(), 503))
        } else {
            None
        };
        if let (Some(key), Some(value)) = (key, value.filter(|value| *value > 0.0)) {
            *counted.entry(key).or_default() += value as u64;
        }
    }
    counted
}

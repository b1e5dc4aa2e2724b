//! What does a proxied request cost, and what do others pay for it?
//!
//! The proxy has a core to itself, load and backends share another. Every proxy is sampled once a round,
//! in an order that rotates, so that drift of the machine meets all of them alike.

use std::io;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::sample::{Load, Sample, Samples, Sampling};
use super::subject::{Subject, Who};
use super::{Context, memory};
use crate::backend::Backends;
use crate::backend_h2::StreamBackends;
use crate::certificate::Certificate;
use crate::client::{Pace, Plan, h2load, request};
use crate::machine;
use crate::params;
use crate::plot::{Bar, Panel};
use crate::proxies::peers::Peer;
use crate::proxies::work::{Tuning, VERSIONS, Work};
use crate::report::{Report, Table, grouped, progress};
use crate::stats::{Spread, chance_of};

/// Connections and streams of each in workloads over HTTP/2.
const STREAMS: (usize, usize) = (8, 16);
/// Bytes of an answer over HTTP/2, whatever the path.
const STREAM_BYTES: usize = 1024;
/// The peers against whom the targets are set.
const RIVALS: [Peer; 2] = [Peer::Nginx, Peer::Haproxy];

/// What is as unlikely as this is not put down to chance.
const CHANCE: f64 = 0.05;

/// The values of `scenarios/baseline.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    seconds: f64,
    warmup: f64,
    rounds: usize,
    connections: usize,
    foreign_limit: f64,
    redo: u32,
    memory: Vec<memory::Params>,
    workload: Vec<Workload>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    name: String,
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    body: usize,
    #[serde(default)]
    reconnect: bool,
    #[serde(default)]
    large: bool,
    /// Whether every request is logged to a file.
    #[serde(default)]
    logged: bool,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    http2: bool,
    /// Whether the versions speak HTTP/2, too.
    #[serde(default)]
    streams_up: bool,
    #[serde(default)]
    mirror: bool,
    /// Instead of the usual number.
    connections: Option<usize>,
    rate: Option<u32>,
    /// Of a sample, in those of the others.
    #[serde(default = "once")]
    length: f64,
    target_ratio: Option<f64>,
    #[serde(default)]
    target_tail: bool,
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> f64 {
    1.0
}

impl Workload {
    /// Who can take part, and whether with copies.
    fn contenders(&self, whom: &[Who]) -> Vec<Contender> {
        let able = |who: &&Who| match **who {
            who if who.is_measure() => !self.tls && !self.http2 && !self.mirror,
            who => (!self.mirror || who.mirrors()) && (!self.streams_up || who.speaks_streams_up()),
        };
        let ways: &[bool] = if self.mirror { &[false, true] } else { &[false] };
        let each = |who: Who| ways.iter().map(move |mirrored| Contender::new(who, *mirrored));
        whom.iter().filter(able).copied().flat_map(each).collect()
    }

    fn load(&self, to: SocketAddr, certificate: &Certificate, connections: usize) -> Load {
        if self.http2 {
            return Load::Streams(to, self.path.clone(), STREAMS.0, STREAMS.1);
        }
        let mut plan = Plan::get(to, &self.path);
        plan.requests = vec![request(&self.method, &self.path, self.body, self.reconnect)];
        plan.trust = self.tls.then(|| certificate.trust());
        plan.connections = self.connections.unwrap_or(connections);
        plan.reconnect = self.reconnect;
        plan.pace = self.rate.map_or(Pace::Closed, Pace::Rate);
        Load::Plan(plan)
    }
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let params: Params =
        params::read(include_str!("../../scenarios/baseline.toml"), &context.wishes)?;
    let mut report = Report::new("baseline");
    let whom = whom(context, &mut report)?;
    let certificate = Certificate::make()?;
    machine::pin_to(machine::LOAD_CORE);
    let mut figures = serde_json::Map::new();
    for workload in chosen(context, &params)? {
        if workload.http2 && !h2load::is_installed() {
            report.note(format!(
                "{}: skipped, {} is not installed",
                workload.name,
                h2load::PROGRAM
            ));
            continue;
        }
        let results = measure(context, &params, workload, &whom, &certificate)?;
        report.tables.push(table(workload, &results));
        report.panels.push(panel(workload, &results));
        judge(workload, &results, &mut report);
        compare_builds(workload, &results, &mut report);
        figures.insert(workload.name.clone(), json_of(&results));
    }
    if context.workloads.is_empty() {
        for held in &params.memory {
            let certificate = held.tls.then_some(&certificate);
            let found = memory::measure(context, held, certificate, &whom, &mut report)?;
            figures.insert(held.name.clone(), found);
        }
    }
    report.figures = Value::Object(figures);
    machine::unpin();
    Ok(report)
}

fn chosen<'a>(context: &Context, params: &'a Params) -> io::Result<Vec<&'a Workload>> {
    if context.workloads.is_empty() {
        return Ok(params.workload.iter().collect());
    }
    let named = |name: &String| {
        let found = params.workload.iter().find(|workload| workload.name == *name);
        found.ok_or_else(|| io::Error::other(format!("there is no workload `{name}`")))
    };
    context.workloads.iter().map(named).collect()
}

/// Who is asked for; without a wish, Tidegate and every peer that is installed.
fn whom(context: &Context, report: &mut Report) -> io::Result<Vec<Who>> {
    let wished = |who: Who| match (who, context.peers.is_empty()) {
        (Who::Beside, _) => context.beside.is_some(),
        (who, true) => !who.is_measure(),
        (who, false) => context.peers.iter().any(|name| name == who.name()),
    };
    if let Some(name) = context.peers.iter().find(|name| Who::all().all(|who| who.name() != **name))
    {
        return Err(io::Error::other(format!("there is no peer `{name}`")));
    }
    let mut whom = Vec::new();
    for who in Who::all().filter(|who| wished(*who)) {
        if let Who::Peer(peer) = who {
            let Some(version) = peer.version() else {
                report.note(format!("{}: skipped, it is not installed", peer.name()));
                continue;
            };
            report.note(format!("{} {version}", peer.name()));
        }
        whom.push(who);
    }
    Ok(whom)
}

/// One way of taking part in a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contender {
    who: Who,
    mirrored: bool,
}

impl Contender {
    fn new(who: Who, mirrored: bool) -> Self {
        Contender { who, mirrored }
    }

    fn label(self) -> String {
        let name = self.who.name();
        if self.mirrored { format!("{name}, mirrored") } else { name.to_owned() }
    }
}

/// All samples of one contender in one workload.
struct Results {
    contender: Contender,
    samples: Samples,
    /// What became of Tidegate's copies.
    copies: Vec<(&'static str, f64)>,
}

fn measure(
    context: &Context,
    params: &Params,
    workload: &Workload,
    whom: &[Who],
    certificate: &Certificate,
) -> io::Result<Vec<Results>> {
    let backends = Backends::start(&VERSIONS)?;
    let mut work = Work::of(&backends);
    work.tuning = if workload.large { Tuning::Large } else { Tuning::Small };
    work.logged = workload.logged;
    work.certificate = workload.tls.then_some(certificate);
    let streams = workload.streams_up.then(|| StreamBackends::start(&VERSIONS, STREAM_BYTES));
    let streams = streams.transpose()?;
    if let Some(streams) = &streams {
        work.streams = true;
        (work.blue, work.green) = (streams.addresses[0], streams.addresses[1]);
    }
    let shadow = backends.endpoint(2).address;
    let mut subjects: Vec<Subject> = Vec::new();
    let mut results = Vec::new();
    for contender in workload.contenders(whom) {
        let work = Work { shadow: contender.mirrored.then_some(shadow), ..work };
        subjects.push(contender.who.start(context, &work)?);
        results.push(Results { contender, samples: Samples::default(), copies: Vec::new() });
    }
    let Params { seconds, warmup, foreign_limit, redo, .. } = *params;
    let seconds = seconds * workload.length;
    let sampling = Sampling { seconds, warmup, foreign_limit, redo };
    for round in 0..params.rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            let (subject, result) = (&mut subjects[index], &mut results[index]);
            let label = result.contender.label();
            let (name, number) = (&workload.name, round + 1);
            progress(&format!("{name} round {number} of {}: {label}", params.rounds));
            let to = subject.listener();
            let load = || workload.load(to, certificate, params.connections);
            result.samples.0.push(sampling.undisturbed(&subject.pids(), load)?);
        }
    }
    for (subject, result) in subjects.iter().zip(&mut results) {
        if let (Subject::Tidegate(tidegate), true) = (subject, result.contender.mirrored) {
            result.copies = tidegate.copies()?;
        }
    }
    Ok(results)
}

fn table(workload: &Workload, results: &[Results]) -> Table {
    let pace = match (workload.http2, workload.rate) {
        (true, _) => format!("HTTP/2, {} connections with {} streams each", STREAMS.0, STREAMS.1),
        (false, Some(rate)) => format!("{rate} req/s"),
        (false, None) => "closed loop".to_owned(),
    };
    let crowd = workload.connections.map(|count| format!(", {count} connections"));
    let crowd = crowd.unwrap_or_default();
    let title = format!(
        "{}: {} {}{}, {pace}{crowd}; medians [min-max] of {} samples",
        workload.name,
        workload.method,
        workload.path,
        if workload.tls { " over TLS 1.3" } else { "" },
        results.first().map_or(0, |result| result.samples.0.len())
    );
    let mut columns = vec!["peer", "CPU us/req"];
    match workload.mirror {
        true => columns.push("of unmirrored"),
        false => columns.extend(["of nginx", "of haproxy"]),
    }
    let rest = ["req/s", "core", "p50 us", "p99 us", "p99.9 us", "RSS MB", "foreign", "failed"];
    columns.extend(rest);
    let mut table = Table::new(title, &columns);
    let shown = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    for result in results {
        let samples = &result.samples;
        let median = |value: fn(&Sample) -> f64| samples.spread(value).median;
        let quantile = |q: f64| {
            samples.latency(q).map_or("-".to_owned(), |found| format!("{:.0}", found.median))
        };
        let mut row = vec![result.contender.label(), samples.micros().text(2)];
        match workload.mirror {
            true => row.push(shown(ratio_of_mirrored(result, results))),
            false => row.extend(RIVALS.map(|peer| shown(ratio(result, results, peer)))),
        }
        row.extend([
            grouped(median(|s| s.stats.rate())),
            format!("{:.2}", median(|s| s.core_use)),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            format!("{:.1}", median(|s| s.resident as f64) / 1e6),
            format!("{:.2}", samples.spread(|s| s.foreign).max),
            samples.failed().to_string(),
        ]);
        table.row(row);
    }
    table
}

fn panel(workload: &Workload, results: &[Results]) -> Panel {
    let bar = |result: &Results| Bar {
        label: result.contender.label(),
        own: matches!(result.contender.who, Who::Tidegate | Who::Beside),
        value: result.samples.micros(),
    };
    let measured = results.iter().filter(|result| result.contender.who != Who::Direct);
    Panel { title: workload.name.clone(), bars: measured.map(bar).collect() }
}

/// CPU per request as a share of a peer's; `None` when either was not measured.
fn ratio(result: &Results, results: &[Results], peer: Peer) -> Option<f64> {
    let rival = Contender::new(Who::Peer(peer), false);
    share(result, results.iter().find(|other| other.contender == rival)?)
}

/// CPU per request as a share of what the same proxy needs without copies.
fn ratio_of_mirrored(result: &Results, results: &[Results]) -> Option<f64> {
    let plain = Contender::new(result.contender.who, false);
    let plain = results.iter().find(|other| other.contender == plain)?;
    share(result, plain).filter(|_| result.contender.mirrored)
}

/// The median over the rounds: the machine has a faster and a slower pace, and both meet it in the same.
fn share(result: &Results, other: &Results) -> Option<f64> {
    let found = Spread::of(shares(result, other)).median;
    (result.contender.who != Who::Direct && found.is_finite()).then_some(found)
}

fn shares(result: &Results, other: &Results) -> impl Iterator<Item = f64> {
    let rounds = result.samples.0.iter().zip(&other.samples.0);
    rounds.map(|(own, whole)| own.micros / whole.micros)
}

/// What another build spends, as a share of what this one does. A machine that swings by a third has both
/// swing in the same round: over thirty of them, the middle half tells a difference of three percent.
fn compare_builds(workload: &Workload, results: &[Results], report: &mut Report) {
    let of = |who, mirrored| {
        let contender = Contender::new(who, mirrored);
        results.iter().find(|result| result.contender == contender)
    };
    for mirrored in [false, true] {
        let pair = (of(Who::Beside, mirrored), of(Who::Tidegate, mirrored));
        let (Some(beside), Some(own)) = pair else { continue };
        let mut found: Vec<f64> = shares(beside, own).collect();
        found.sort_by(f64::total_cmp);
        let quarter = |quarters: usize| found[(found.len() - 1) * quarters / 4];
        report.note(format!(
            "{}: {} spends {:.3} [{:.3}-{:.3}] of {}'s CPU per request: median and middle half of {} rounds",
            workload.name,
            beside.contender.label(),
            quarter(2),
            quarter(1),
            quarter(3),
            own.contender.label(),
            found.len(),
        ));
    }
}

fn judge(workload: &Workload, results: &[Results], report: &mut Report) {
    let name = &workload.name;
    let of = |mirrored| {
        let own = Contender::new(Who::Tidegate, mirrored);
        results.iter().find(|result| result.contender == own)
    };
    for own in [of(false), of(true)].into_iter().flatten() {
        let text = format!("{}: no request fails", own.contender.label());
        let found = own.samples.failures_text();
        report.promise(format!("{name}: {text}"), own.samples.failed() == 0, found);
    }
    if workload.mirror {
        judge_mirrored(workload, of(true), results, report);
    } else if let Some(own) = of(false) {
        judge_cost(workload, own, results, report);
        judge_tail(workload, own, results, report);
    }
}

/// Against the better of the rivals as far as a target is set, and against everybody.
fn judge_cost(workload: &Workload, own: &Results, results: &[Results], report: &mut Report) {
    let name = &workload.name;
    let worst = |peers: &[Peer]| {
        let ratios = peers.iter().filter_map(|peer| Some((ratio(own, results, *peer)?, *peer)));
        ratios.max_by(|one, other| one.0.total_cmp(&other.0))
    };
    if let (Some(target), Some((found, rival))) = (workload.target_ratio, worst(&RIVALS)) {
        let text = format!("{name}: CPU per request at most {target:.2} of the better rival's");
        report.target(text, found <= target, format!("{found:.2} of {}'s", rival.name()));
    }
    if let Some((found, best)) = worst(&Peer::ALL) {
        let text = format!("{name}: no peer spends less CPU per request");
        report.target(text, found <= 1.0, format!("{found:.2} of {}'s", best.name()));
    }
}

/// A tail rests on a few requests a second, and on what the machine does meanwhile: one is above another
/// when chance would not have had it so in as many rounds.
fn judge_tail(workload: &Workload, own: &Results, results: &[Results], report: &mut Report) {
    let tail = |sample: &Sample| sample.stats.latency_micros(0.999);
    let median = |of: &Results| of.samples.spread(tail).median;
    let others = results.iter().filter(|other| matches!(other.contender.who, Who::Peer(_)));
    let best = others.min_by(|one, other| median(one).total_cmp(&median(other)));
    let (true, Some(best)) = (workload.target_tail, best) else { return };
    let rounds = own.samples.0.iter().zip(&best.samples.0);
    let above = rounds.filter(|(own, best)| tail(own) > tail(best)).count();
    let count = own.samples.0.len();
    let text = format!("{}: p99.9 not above the best peer's by more than chance", workload.name);
    let found = format!(
        "{:.0} us, {}'s {:.0} us; above it in {above} of {count} rounds",
        median(own),
        best.contender.label(),
        median(best),
    );
    report.target(text, chance_of(above, count) > CHANCE, found);
}

/// Copies that were dropped cost nothing: they must be few for the cost to mean anything.
fn judge_mirrored(
    workload: &Workload,
    own: Option<&Results>,
    results: &[Results],
    report: &mut Report,
) {
    let name = &workload.name;
    let Some(own) = own else { return };
    if let (Some(target), Some(found)) = (workload.target_ratio, ratio_of_mirrored(own, results)) {
        let text = format!("{name}: CPU per request at most {target:.2} of the unmirrored cost");
        report.target(text, found <= target, format!("{found:.2}"));
    }
    let all: f64 = own.copies.iter().map(|(_, count)| count).sum();
    let matched = own.copies.iter().find(|(outcome, _)| *outcome == "matched");
    let share = matched.map_or(0.0, |(_, count)| count / all.max(1.0));
    let told: Vec<String> = own
        .copies
        .iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(outcome, count)| format!("{} {outcome}", grouped(*count)))
        .collect();
    let text = format!("{name}: at least 99 % of the copies are sent, compared and found equal");
    report.target(text, share >= 0.99, told.join(", "));
}

fn json_of(results: &[Results]) -> Value {
    let one = |result: &Results| {
        let mut figures = result.samples.json();
        figures["of_nginx"] = json!(ratio(result, results, Peer::Nginx));
        figures["of_haproxy"] = json!(ratio(result, results, Peer::Haproxy));
        figures["of_unmirrored"] = json!(ratio_of_mirrored(result, results));
        (result.contender.label(), figures)
    };
    Value::Object(results.iter().map(one).collect())
}

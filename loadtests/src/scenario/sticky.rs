//! Does a user stay on a version?
//!
//! Users come without a cookie and get one; from then on every answer must be from the version that the
//! weights leave them on. Raising green's weight may move users only into it, a rollback and a restart put
//! every one back where they were.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Context;
use crate::backend::Backends;
use crate::params;
use crate::proxies::tidegate::{SERVICE, Setup, Tidegate};
use crate::report::{Report, Table, grouped, progress};

/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The values of `scenarios/sticky_cohorts.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    workers: usize,
    cohorts: usize,
    connections: usize,
    sigmas: f64,
}

/// A user: the cookie they got, and whether green served them last.
#[derive(Debug, Clone, Default)]
struct User {
    cookie: String,
    on_green: bool,
}

/// What a round of requests, one of each user, showed.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    into_green: usize,
    out_of_green: usize,
    green: usize,
    cookies: usize,
}

/// Runs the scenario.
pub fn run(context: &Context) -> io::Result<Report> {
    let text = include_str!("../../scenarios/sticky_cohorts.toml");
    let params: Params = params::read(text, &context.wishes)?;
    let mut report = Report::new("sticky_cohorts");
    let backends = Backends::start(&["blue", "green"])?;
    let addresses = [backends.addresses("blue"), backends.addresses("green")];
    let mut setup = Setup::blue_green(params.workers, [90, 10], addresses);
    setup.service_keys = "sticky = { cookie = \"tg_shop\" }\n".to_owned();
    let mut tidegate = Tidegate::start(&context.tidegate, &setup, false)?;
    let mut users = vec![User::default(); params.cohorts];
    let mut table = Table::new("Users", &["after", "on green", "into green", "out of green"]);
    let mut rounds = Vec::new();
    let mut ask = |what: &str, listener: SocketAddr, users: &mut [User]| -> io::Result<Round> {
        progress(what);
        let round = everyone_asks(listener, params.connections, users)?;
        let shown = |count: usize| grouped(count as f64);
        table.row([
            what.to_owned(),
            shown(round.green),
            shown(round.into_green),
            shown(round.out_of_green),
        ]);
        rounds.push(json!({"after": what, "green": round.green, "into": round.into_green,
            "out_of": round.out_of_green}));
        Ok(round)
    };
    let listener = tidegate.listener;
    let first = ask("the first visit", listener, &mut users)?;
    let again = ask("90/10, again", listener, &mut users)?;
    let remembered: Vec<bool> = users.iter().map(|user| user.on_green).collect();
    let set = |green: u32| json!({ "blue": 100 - green, "green": green });
    tidegate.admin.weights(SERVICE, &set(25))?;
    let raised = ask("75/25", listener, &mut users)?;
    tidegate.admin.weights(SERVICE, &set(60))?;
    let more = ask("40/60", listener, &mut users)?;
    tidegate.admin.weights(SERVICE, &set(30))?;
    let lowered = ask("70/30", listener, &mut users)?;
    tidegate.admin.expect(
        "POST",
        &format!("/v1/services/{SERVICE}/rollback"),
        Some(&json!({"to": 1})),
    )?;
    ask("rollback to 90/10", listener, &mut users)?;
    let back = users.iter().zip(&remembered).filter(|(user, was)| user.on_green == **was).count();
    tidegate.process().kill()?;
    tidegate.restart()?;
    let restarted = ask("kill -9 and start", listener, &mut users)?;

    let all = params.cohorts;
    let cookies = (first.cookies, again.cookies);
    report.promise("every user gets one cookie", cookies == (all, 0), format!("{cookies:?}"));
    let deviation = (0.1 * 0.9 * all as f64).sqrt();
    let sigmas = (first.green as f64 - 0.1 * all as f64).abs() / deviation;
    let text = format!("green's share of the users is within {} deviations", params.sigmas);
    report.promise(text, sigmas <= params.sigmas, format!("{} of {all}, {sigmas:.2}", first.green));
    let moved = again.into_green + again.out_of_green;
    report.promise("nobody moves while nothing changes", moved == 0, format!("{moved} moved"));
    let strays = raised.out_of_green + more.out_of_green;
    report.promise("a raise moves users only in", strays == 0, format!("{strays} moved out"));
    let strays = lowered.into_green;
    report.promise("a lowering moves users only out", strays == 0, format!("{strays} moved in"));
    report.promise("a rollback restores everyone", back == all, format!("{back} of {all}"));
    let moved = restarted.into_green + restarted.out_of_green;
    report.promise("a restart moves nobody", moved == 0, format!("{moved} moved"));
    report.tables.push(table);
    report.figures = json!({ "rounds": rounds });
    Ok(report)
}

/// One request of every user, over a few connections at once.
fn everyone_asks(
    listener: SocketAddr,
    connections: usize,
    users: &mut [User],
) -> io::Result<Round> {
    let share = users.len().div_ceil(connections.max(1));
    let rounds = std::thread::scope(|scope| {
        let some = users.chunks_mut(share).map(|some| scope.spawn(|| some_ask(listener, some)));
        let some: Vec<_> = some.collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, io::Result<Round>>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        };
        some.into_iter().map(join).collect::<io::Result<Vec<Round>>>()
    })?;
    Ok(rounds.into_iter().fold(Round::default(), |sum, round| Round {
        into_green: sum.into_green + round.into_green,
        out_of_green: sum.out_of_green + round.out_of_green,
        green: sum.green + round.green,
        cookies: sum.cookies + round.cookies,
    }))
}

fn some_ask(listener: SocketAddr, users: &mut [User]) -> io::Result<Round> {
    let stream = TcpStream::connect(listener)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut round = Round::default();
    for user in users {
        let is_new = user.cookie.is_empty();
        let cookie = match is_new {
            true => String::new(),
            false => format!("Cookie: {}\r\n", user.cookie),
        };
        let request = format!("GET /bytes/16 HTTP/1.1\r\nHost: shop.test\r\n{cookie}\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        let on_green = read_answer(&mut stream, user, &mut round)?;
        round.green += usize::from(on_green);
        round.into_green += usize::from(!is_new && on_green && !user.on_green);
        round.out_of_green += usize::from(!is_new && !on_green && user.on_green);
        user.on_green = on_green;
    }
    Ok(round)
}

/// Reads one answer; whether it came from green.
fn read_answer(
    stream: &mut BufReader<TcpStream>,
    user: &mut User,
    round: &mut Round,
) -> io::Result<bool> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("answered {}", line.trim())));
    }
    let (mut length, mut on_green) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "x-tidegate-version" => on_green = value == "green",
            "set-cookie" => {
                user.cookie = value.split(';').next().unwrap_or_default().to_owned();
                round.cookies += 1;
            }
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(on_green)
}

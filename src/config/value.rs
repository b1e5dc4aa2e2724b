//! Values of the file into values of the program. Each function answers with the value or with
//! what is wrong and what to write instead; none knows which key it reads.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::document::{Node, Value};
use super::error::Problem;
use super::read::suggestion;
use crate::h1::fields::Known;
use crate::h1::head::Method;
use crate::limits::{CONFIG_DURATION_MAX, REGEX_BYTES_MAX, REGEX_PROGRAM_BYTES_MAX};
use crate::name::NameError;
use crate::plan::{Address, Step};

/// Methods by their words.
const METHODS: [(&str, Method); 9] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("CONNECT", Method::Connect),
    ("OPTIONS", Method::Options),
    ("TRACE", Method::Trace),
    ("PATCH", Method::Patch),
];

/// The problem of a value that is of another type.
pub fn expected(what: &str, node: &Node) -> Problem {
    Problem::new(format!("expected {what}")).found(node.kind())
}

/// The text of a node, which `what` describes.
fn text_of<'n>(node: &'n Node, what: &str) -> Result<&'n str, Problem> {
    node.as_text().ok_or_else(|| expected(what, node))
}

/// A text that is not empty.
pub fn text(node: &Node) -> Result<String, Problem> {
    match text_of(node, "a string")? {
        "" => Err(Problem::new("must not be empty")),
        text => Ok(text.to_owned()),
    }
}

/// `true` or `false`.
pub fn boolean(node: &Node) -> Result<bool, Problem> {
    match node.value {
        Value::Boolean(is) => Ok(is),
        _ => Err(expected("true or false", node).help("write `true` or `false` without quotes")),
    }
}

/// A whole number within a range.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, Problem>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    move |node| {
        let Value::Whole(number) = node.value else {
            return Err(expected("a whole number", node).help("write it without quotes and point"));
        };
        let value = T::try_from(number).ok().filter(|value| range.contains(value));
        value.ok_or_else(|| out_of_range(number, range.start(), range.end()))
    }
}

/// A number within a range, decimal or whole.
pub fn decimal(range: RangeInclusive<f64>) -> impl Fn(&Node) -> Result<f64, Problem> {
    move |node| {
        let number = match node.value {
            Value::Whole(number) => number as f64,
            Value::Decimal(number) => number,
            _ => return Err(expected("a number", node).help("write it without quotes")),
        };
        match range.contains(&number) {
            true => Ok(number),
            false => Err(out_of_range(number, range.start(), range.end())),
        }
    }
}

fn out_of_range(found: impl Display, low: impl Display, high: impl Display) -> Problem {
    Problem::new(format!("{found} is out of range")).help(format!("use {low} to {high}"))
}

/// One of some words.
pub fn word<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Node) -> Result<T, Problem> {
    move |node| {
        let text = text_of(node, "a word")?;
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let problem = Problem::new(format!("`{}` is not known here", text.escape_debug()));
            problem.help(suggestion(text, words.iter().map(|(word, _)| *word)))
        })
    }
}

/// A duration longer than nothing.
pub fn duration(node: &Node) -> Result<Duration, Problem> {
    match duration_or_zero(node)? {
        Duration::ZERO => Err(Problem::new("must be longer than nothing").help("e.g. \"30s\"")),
        duration => Ok(duration),
    }
}

/// A duration; nothing is allowed.
pub fn duration_or_zero(node: &Node) -> Result<Duration, Problem> {
    const HELP: &str = "write a number with a unit: \"500ms\", \"30s\", \"5m\", \"1h30m\"";
    if let Value::Whole(number) = node.value {
        let help = format!("write \"{number}s\" for seconds or \"{number}ms\" for milliseconds");
        return Err(expected("a duration", node).help(help));
    }
    let text = text_of(node, "a duration").map_err(|problem| problem.help(HELP))?;
    let wrong = || Problem::new(format!("`{}` is not a duration", text.escape_debug())).help(HELP);
    let seconds = parse_seconds(text).ok_or_else(wrong)?;
    let longest = CONFIG_DURATION_MAX.as_secs_f64();
    if seconds > longest {
        let days = longest / 86_400.0;
        let problem = Problem::new(format!("`{text}` is longer than a duration may be"));
        return Err(problem.help(format!("use at most \"{days}d\"")));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// The sum of parts like `1h30m`, in seconds.
fn parse_seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = text;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// A number of bytes within a range.
pub fn size(range: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, Problem> {
    const HELP: &str = "write a number with a unit: \"512B\", \"64KiB\", \"10MB\"";
    move |node| {
        if let Value::Whole(number) = node.value {
            return Err(expected("a size", node).help(format!("write \"{number}B\" for bytes")));
        }
        let text = text_of(node, "a size").map_err(|problem| problem.help(HELP))?;
        let wrong = || Problem::new(format!("`{}` is not a size", text.escape_debug())).help(HELP);
        let bytes = parse_bytes(text).ok_or_else(wrong)?;
        match range.contains(&bytes) {
            true => Ok(bytes),
            false => Err(Problem::new(format!("`{text}` is out of range")).help(format!(
                "use {} to {}",
                shown_size(*range.start()),
                shown_size(*range.end())
            ))),
        }
    }
}

/// A number of bytes, or none for `unlimited`.
pub fn size_or_unlimited(node: &Node) -> Result<Option<u64>, Problem> {
    match node.as_text() {
        Some("unlimited") => Ok(None),
        _ => size(0..=u64::MAX)(node).map(Some),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let number_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(number_end);
    let scale: u64 = match unit.trim_start() {
        "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

fn shown_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(scale, _)| bytes > 0 && bytes.is_multiple_of(*scale));
    unit.map_or(format!("{bytes}B"), |(scale, unit)| format!("{}{unit}", bytes / scale))
}

/// A share in parts per million, from `"20%"` or a number of percent.
pub fn percent(node: &Node) -> Result<u32, Problem> {
    const HELP: &str = "write a share from 0 to 100: \"20%\" or 20";
    let number = match &node.value {
        Value::Whole(number) => *number as f64,
        Value::Decimal(number) => *number,
        Value::Text(text) => text
            .strip_suffix('%')
            .filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
            .and_then(|number| number.trim_end().parse().ok())
            .ok_or_else(|| {
                Problem::new(format!("`{}` is not a percentage", text.escape_debug())).help(HELP)
            })?,
        _ => return Err(expected("a percentage", node).help(HELP)),
    };
    if !(0.0..=100.0).contains(&number) {
        return Err(Problem::new(format!("{number}% is out of range")).help(HELP));
    }
    match (number * 10_000.0).round() as u32 {
        0 if number > 0.0 => Err(Problem::new(format!("{number}% is too small to be told from 0"))
            .help("the smallest share is 0.0001%")),
        ppm => Ok(ppm),
    }
}

/// An address to listen on.
pub fn socket_address(node: &Node) -> Result<SocketAddr, Problem> {
    let text = text_of(node, "an address")?;
    text.parse().map_err(|_| {
        let help = match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some(("" | "*", Ok(port))) => format!("write \"0.0.0.0:{port}\" for every address"),
            Some(("localhost", Ok(port))) => format!("write \"127.0.0.1:{port}\""),
            _ => "write an IP address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned(),
        };
        let shown = text.escape_debug();
        Problem::new(format!("`{shown}` is not an address to listen on")).help(help)
    })
}

/// An endpoint.
pub fn endpoint(node: &Node) -> Result<Address, Problem> {
    let wrong_type = |problem: Problem| problem.help("write \"host:port\"");
    let text = text_of(node, "an endpoint").map_err(wrong_type)?;
    Address::parse(text).map_err(|message| {
        let (message, help) = message.split_once("; ").unwrap_or((&message, "write `host:port`"));
        let has_scheme = text.starts_with("http://") || text.starts_with("https://");
        let help = if has_scheme { "leave the scheme out: write `host:port`" } else { help };
        Problem::new(message).help(help)
    })
}

/// A network, or a single address as the network of itself.
pub fn network(node: &Node) -> Result<IpNet, Problem> {
    let text = text_of(node, "a network")?;
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().map(|network| network.trunc()).or_else(|_| one()).map_err(|_| {
        Problem::new(format!("`{}` is not a network", text.escape_debug()))
            .help("write \"10.0.0.0/8\", \"fd00::/8\" or a single address")
    })
}

/// A path in the file system.
pub fn path(node: &Node) -> Result<PathBuf, Problem> {
    match text_of(node, "the path of a file")? {
        "" => Err(Problem::new("must not be empty")),
        text if text.contains('\0') => Err(Problem::new("no path of a file holds a NUL")),
        text => Ok(text.into()),
    }
}

/// The path of a URL, without query.
pub fn url_path(node: &Node) -> Result<String, Problem> {
    let path = url_target(node)?;
    match path.find(['?', '#']) {
        Some(_) => Err(Problem::new(format!("`{path}` is more than a path"))
            .help("leave out what begins with `?` or `#`")),
        None => Ok(path),
    }
}

/// The path of a URL, with or without query.
pub fn url_target(node: &Node) -> Result<String, Problem> {
    let text = text_of(node, "a path")?;
    if !text.starts_with('/') {
        return Err(Problem::new(format!("`{}` does not begin with `/`", text.escape_debug()))
            .help(format!("write \"/{}\"", text.escape_debug())));
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => Err(Problem::new(format!("`{}` is not in the path of a URL", c.escape_debug()))
            .help("write it percent-encoded, e.g. `%20` for a space")),
        None => Ok(text.to_owned()),
    }
}

/// A regular expression, bounded in size so that no request pays for a giant one.
pub fn regex(node: &Node) -> Result<Regex, Problem> {
    let text = text_of(node, "a regular expression")?;
    if text.len() > REGEX_BYTES_MAX {
        let problem = Problem::new(format!("is longer than {REGEX_BYTES_MAX} bytes"));
        return Err(problem.help("a shorter expression, or several routes"));
    }
    RegexBuilder::new(text).size_limit(REGEX_PROGRAM_BYTES_MAX).build().map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it is too large when compiled".to_owned(),
            // The whole message draws the expression with a caret of its own; its last line tells.
            error => {
                let message = error.to_string();
                let last = message.lines().next_back().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        };
        let shown = text.escape_debug();
        Problem::new(format!("`{shown}` is not a regular expression: {reason}"))
    })
}

/// A name.
pub fn name<T: FromStr<Err = NameError>>(node: &Node) -> Result<T, Problem> {
    text_of(node, "a name")?.parse().map_err(|error: NameError| Problem::new(error.to_string()))
}

/// A standard method, or none for another one, with its text.
pub fn method(node: &Node) -> Result<(Option<Method>, String), Problem> {
    let text = text_of(node, "a method")?;
    let standard = METHODS.iter().find(|(word, _)| *word == text);
    let upper = text.to_ascii_uppercase();
    if standard.is_none() && METHODS.iter().any(|(word, _)| *word == upper) {
        return Err(Problem::new(format!("`{text}` is not a method: their case matters"))
            .help(format!("did you mean `{upper}`?")));
    }
    if !is_token(text) {
        return Err(Problem::new(format!("`{}` is not a method", text.escape_debug()))
            .help("write a method such as \"GET\""));
    }
    Ok((standard.map(|(_, method)| *method), text.to_owned()))
}

/// A standard method.
pub fn standard_method(node: &Node) -> Result<Method, Problem> {
    let (standard, text) = method(node)?;
    standard.ok_or_else(|| {
        let problem = Problem::new(format!("`{text}` is not a standard method"));
        problem.help(suggestion(&text, METHODS.iter().map(|(word, _)| *word)))
    })
}

/// The name of a header, in lower case.
pub fn field_name(text: &str) -> Result<String, Problem> {
    match is_token(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err(Problem::new(format!("`{}` is not the name of a header", text.escape_debug()))
                .help("use letters, digits and `-`"))
        }
    }
}

/// The name of a header that may be changed, as written: not one that frames a message or
/// belongs to one connection.
pub fn editable_field_name(text: &str) -> Result<String, Problem> {
    field_name(text)?;
    let known = Known::of(text.as_bytes());
    if known.is_hop_by_hop() {
        return Err(Problem::new(format!("`{text}` belongs to one connection"))
            .help("the proxy writes it anew for each; take it out of here"));
    }
    if matches!(known, Known::ContentLength | Known::Expect) {
        return Err(Problem::new(format!("`{text}` tells how a message is sent"))
            .help("the proxy writes it itself; take it out of here"));
    }
    Ok(text.to_owned())
}

/// The value of a header.
pub fn field_value(node: &Node) -> Result<String, Problem> {
    let text = text_of(node, "a string")?;
    if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\t') {
        let shown = c.escape_debug();
        return Err(Problem::new(format!("the value of a header cannot hold `{shown}`")));
    }
    if text.trim() != text {
        return Err(Problem::new("the value of a header cannot begin or end with white space")
            .help(format!("write \"{}\"", text.trim())));
    }
    Ok(text.to_owned())
}

/// The name of a cookie.
pub fn cookie_name(text: &str) -> Result<String, Problem> {
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => {
            Err(Problem::new(format!("`{}` is not the name of a cookie", text.escape_debug()))
                .help("use letters, digits, `-` and `_`"))
        }
    }
}

/// Runs a check of text on a node.
pub fn checked<T>(
    check: impl Fn(&str) -> Result<T, Problem>,
) -> impl Fn(&Node) -> Result<T, Problem> {
    move |node| check(text_of(node, "a string")?)
}

/// A host name or address in lower case, without port.
pub fn host(text: &str) -> Result<String, Problem> {
    let shown = text.escape_debug();
    let wrong = |why: &str, help: &str| Err(Problem::new(format!("`{shown}` {why}")).help(help));
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(text.to_ascii_lowercase());
    }
    if text.contains("://") {
        return wrong("is a URL, not a host", "write the host alone: `shop.example.com`");
    }
    if text.contains(':') {
        return wrong("has a port", "hosts are matched without port: leave it out");
    }
    if text.contains('/') {
        return wrong("has a path", "write the path under `path`");
    }
    let is_label = |label: &str| {
        let mut chars = label.chars();
        !label.is_empty()
            && label.len() <= 63
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(text.to_ascii_lowercase()),
        false => wrong("is not a host", "write a host such as `shop.example.com`"),
    }
}

/// Whether a text is a token of HTTP (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(allowed)
}

/// A step of a rollout: a share alone, or with its terms, as `"25% for 10m, manual"`.
pub fn step(node: &Node) -> Result<Step, Problem> {
    let Value::Text(text) = &node.value else { return percent(node).map(Step::to) };
    let end = text.find('%').map_or(text.len(), |place| place + 1);
    let share = Node { value: Value::Text(text[..end].into()), ..node.clone() };
    Step::to(percent(&share)?).with_terms(&text[end..]).map_err(|word| {
        Problem::new(format!("`{}` is no term of a step", word.escape_debug()))
            .help("write a share, and if need be its time and who ends it: \"25% for 10m, manual\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::constant;

    #[track_caller]
    fn durations(text: &str, expect: Option<u64>) {
        let found = duration_or_zero(&constant(&format!("\"{text}\""))).ok();
        assert_eq!(found, expect.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations_have_units() {
        durations("500ms", Some(500));
        durations("2.5s", Some(2500));
        durations("1h30m", Some(5_400_000));
        durations("0s", Some(0));
        for bad in ["", "5", "s", "5 s", "-5s", "5x", "5s3", "1e3s", ".s", "1..5s", "9999999d"] {
            durations(bad, None);
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("64KiB"), Some(65_536));
        assert_eq!(parse_bytes("10 MB"), Some(10_000_000));
        for bad in ["", "5", "KiB", "-1B", "1.5KiB", "99999999999999999999B", "99999999999GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn percents_are_parts_per_million() {
        let read = |text: &str| percent(&constant(text)).ok();
        assert_eq!(read("\"20%\""), Some(200_000));
        assert_eq!(read("\"0.01%\""), Some(100));
        assert_eq!(read("20.5"), Some(205_000));
        assert_eq!(read("100"), Some(1_000_000));
        for bad in ["101", "-1", "\"20\"", "\"%\"", "nan", "inf", "\"-1%\"", "0.00000001", "true"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_without_port() {
        for good in ["shop.example.com", "LOCALHOST", "10.0.0.1", "[::1]", "a_b.c"] {
            assert_eq!(host(good).ok(), Some(good.to_ascii_lowercase()));
        }
        for bad in ["", "a b", "a:80", "http://a", "a/b", "-a", "a..b", "a.", "*.a", "ä"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}

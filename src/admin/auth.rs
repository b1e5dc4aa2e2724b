//! Who may call: known hosts and origins, and, when there are tokens, whoever holds one.
//!
//! A web page can make a browser call loopback addresses, and with a name of its own that it points
//! there (DNS rebinding) it can read the answers. So a request must name a host that is ours, and
//! if it says which page it comes from, that page must be ours.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use subtle::{Choice, ConstantTimeEq};

use super::dashboard;
use super::problem::Problem;

/// Calls that orchestrators make and that need no token.
const OPEN_PATHS: [&str; 3] = ["/health", "/health/live", "/health/ready"];

/// Who made a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; `None` when there are no tokens.
    pub name: Option<String>,
}

impl Caller {
    /// The author of the caller's changes.
    pub fn author(&self) -> String {
        self.name.as_ref().map_or_else(|| "api".to_owned(), |name| format!("api:{name}"))
    }
}

/// The tokens of the API by name.
#[derive(Default)]
pub struct Tokens(Vec<(String, String)>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.0.len()).finish()
    }
}

impl Tokens {
    /// Reads a token file. The error is a sentence.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the token file {shown}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("token file {shown}: {error}"))
    }

    /// One `name: token` a line; empty lines and those that begin with `#` are left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<(String, String)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), number + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {number} is no `name: token`");
            let (name, token) = line.split_once(':').ok_or_else(wrong)?;
            let (name, token) = (name.trim(), token.trim());
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
            let visible = |c: char| c.is_ascii_graphic();
            let whole = !name.is_empty() && !token.is_empty();
            if !whole || !name.chars().all(is_name) || !token.chars().all(visible) {
                return Err(wrong());
            }
            if tokens.iter().any(|(other, _)| other == name) {
                return Err(format!("line {number} names `{name}` again"));
            }
            tokens.push((name.to_owned(), token.to_owned()));
        }
        match tokens.is_empty() {
            true => Err("it holds no token; write one `name: token` a line".to_owned()),
            false => Ok(Self(tokens)),
        }
    }

    /// Who holds this token. Takes the same time whichever token of that length is wrong.
    fn holder(&self, presented: &[u8]) -> Option<&str> {
        let mut holder = None;
        for (name, token) in &self.0 {
            let same: Choice = token.as_bytes().ct_eq(presented);
            if bool::from(same) {
                holder = Some(name.as_str());
            }
        }
        holder
    }
}

/// Decides about one listener's requests.
#[derive(Debug)]
pub struct Guard {
    tokens: Tokens,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// At this address of ours.
    Tcp(SocketAddr),
    /// On the unix socket, which no browser reaches.
    Unix,
}

impl Guard {
    /// A guard that asks for one of these tokens, or for none if there are none.
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens }
    }

    /// Who calls, or why they may not.
    pub fn admit(
        &self,
        entrance: Entrance,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Caller, Problem> {
        if let Entrance::Tcp(address) = entrance {
            check_host(address.ip(), uri, headers)?;
        }
        let is_open = |paths: &[&str]| paths.contains(&uri.path());
        if self.tokens.0.is_empty() || is_open(&OPEN_PATHS) || is_open(&dashboard::PATHS) {
            return Ok(Caller::default());
        }
        let presented = bearer(headers).ok_or_else(|| {
            Problem::unauthorized(
                "send `Authorization: Bearer TOKEN` with a token of the token file",
            )
        })?;
        match self.tokens.holder(presented) {
            Some(name) => Ok(Caller { name: Some(name.to_owned()) }),
            None => Err(Problem::unauthorized("this token is not known")),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn check_host(bound: IpAddr, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        (None, _) => return Err(Problem::forbidden("the request names no host")),
        (Some(_), Some(_)) => return Err(Problem::forbidden("the request names several hosts")),
    };
    let named = uri.authority().map(Authority::as_str);
    if !is_ours(bound, host) || !named.is_none_or(|named| is_ours(bound, named)) {
        let host = host.escape_debug();
        return Err(Problem::forbidden(format!(
            "`{host}` is no name of this API; call it as localhost or by its address"
        )));
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let same = |origin: &[u8]| {
        let page = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        page.is_some_and(|page| page.eq_ignore_ascii_case(host.as_bytes()))
    };
    match origins.all(|origin| same(origin.as_bytes())) {
        true => Ok(()),
        false => Err(Problem::forbidden("pages of another origin may not call the admin API")),
    }
}

/// Whether a host is one of ours. A name could be anybody's; an address cannot be pointed elsewhere,
/// but on loopback only loopback makes sense.
fn is_ours(bound: IpAddr, authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == bound || !bound.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:9900";

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn admit(tokens: Tokens, bound: &str, fields: Fields<'_>, path: &str) -> Result<String, u16> {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let entrance = match bound {
            "unix" => Entrance::Unix,
            address => Entrance::Tcp(address.parse().unwrap()),
        };
        let found = Guard::new(tokens).admit(entrance, &path.parse().unwrap(), &headers);
        let status = |problem: Problem| problem.into_response().status().as_u16();
        found.map(|caller| caller.author()).map_err(status)
    }

    #[track_caller]
    fn check(bound: &str, fields: Fields<'_>, path: &str, expect: Result<&str, u16>) {
        let found = admit(Tokens::default(), bound, fields, path);
        assert_eq!(found, expect.map(str::to_owned), "{bound} {fields:?}");
    }

    #[track_caller]
    fn check_token(bound: &str, fields: Fields<'_>, path: &str, expect: Result<&str, u16>) {
        let tokens = Tokens::parse("# who\nci: secret-1\n\nops : secret-2\n").unwrap();
        let found = admit(tokens, bound, fields, path);
        assert_eq!(found, expect.map(str::to_owned), "{bound} {fields:?}");
    }

    #[test]
    fn hosts_of_ours_may_call() {
        for host in ["localhost", "LOCALHOST:9900", "127.0.0.1:9900", "127.9.9.9", "[::1]:9900"] {
            check(LOOPBACK, &[("host", host)], "/v1/status", Ok("api"));
        }
        check("10.0.0.5:9900", &[("host", "10.0.0.5:9900")], "/", Ok("api"));
        check("0.0.0.0:9900", &[("host", "10.1.2.3:9900")], "/", Ok("api"));
        check("unix", &[], "/", Ok("api"));
        check("unix", &[("host", "anything")], "/", Ok("api"));
    }

    #[test]
    fn foreign_hosts_and_origins_may_not() {
        for host in ["evil.example", "evil.example:9900", "localhost.evil.example", "10.1.2.3", ""]
        {
            check(LOOPBACK, &[("host", host)], "/v1/status", Err(403));
        }
        check(LOOPBACK, &[("host", "user@127.0.0.1")], "/", Err(403));
        check(LOOPBACK, &[], "/", Err(403));
        check(LOOPBACK, &[("host", "localhost"), ("origin", "null")], "/", Err(403));
        check(LOOPBACK, &[("host", "localhost"), ("origin", "http://evil.example")], "/", Err(403));
        check(
            LOOPBACK,
            &[("host", "localhost:9900"), ("origin", "http://localhost:1")],
            "/",
            Err(403),
        );
        check(LOOPBACK, &[("host", "localhost")], "http://evil.example/v1/status", Err(403));
        check("0.0.0.0:9900", &[("host", "evil.example")], "/", Err(403));
    }

    #[test]
    fn our_own_pages_may_call() {
        let fields = [("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9900")];
        check(LOOPBACK, &fields, "/v1/status", Ok("api"));
    }

    #[test]
    fn a_token_names_its_author() {
        let host = ("host", "localhost");
        let good = [host, ("authorization", "Bearer secret-2")];
        check_token(LOOPBACK, &good, "/v1/status", Ok("api:ops"));
        check_token(
            LOOPBACK,
            &[host, ("authorization", "bearer  secret-1")],
            "/v1/status",
            Ok("api:ci"),
        );
        for wrong in ["Bearer secret-3", "Bearer ", "Bearer", "secret-1", "Basic secret-1"] {
            check_token(LOOPBACK, &[host, ("authorization", wrong)], "/v1/status", Err(401));
        }
        check_token(LOOPBACK, &[host], "/v1/status", Err(401));
        check_token("unix", &[], "/v1/status", Err(401));
        check_token(LOOPBACK, &[host], "/health/ready", Ok("api"));
        check_token(LOOPBACK, &[host], "/", Ok("api"));
        check_token(LOOPBACK, &[host], "/dashboard.js", Ok("api"));
        check_token(LOOPBACK, &[host], "/dashboard.js/", Err(401));
        check_token(LOOPBACK, &[host], "/health/detailed", Err(401));
    }

    #[test]
    fn a_token_file_is_checked() {
        for wrong in ["", "# nothing\n", "no-colon", "name:", ": token", "a: b c", "a: 1\na: 2"] {
            assert!(Tokens::parse(wrong).is_err(), "{wrong}");
        }
    }
}

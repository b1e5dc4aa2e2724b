//! Request targets and authorities: which forms are taken, and what a host may look like.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::head::{HeadError, Method};
use crate::limits::HOST_BYTES_MAX;

/// A request target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The authority of a target in absolute form.
    pub authority: Option<&'a str>,
    /// Path and query as sent, but for dot segments. Begins with `/` or `?`, or is `*`, or is empty
    /// (absolute form only).
    pub path_and_query: Cow<'a, str>,
}

impl<'a> Target<'a> {
    /// Takes the target of a request of HTTP/1 apart (RFC 9112 §3.2).
    pub(super) fn parse(method: Method, target: &'a str) -> Result<Self, HeadError> {
        if method == Method::Connect {
            return Err(HeadError::NotImplemented("connect"));
        }
        let dotted = check_bytes(target)?;
        if target == "*" && method == Method::Options || target.starts_with('/') {
            return Ok(Self { authority: None, path_and_query: resolved(target, dotted) });
        }
        let Some((scheme, rest)) = target.split_once("://") else {
            return Err(HeadError::Bad("target_form"));
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(HeadError::Bad("target_form"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        let path_and_query = resolved(path_and_query, dotted && path_and_query.starts_with('/'));
        Ok(Self { authority: Some(authority), path_and_query })
    }

    /// Takes the `:path` of a request of HTTP/2.
    pub(super) fn parse_h2(method: Method, path: &'a str) -> Result<Self, HeadError> {
        if method == Method::Connect {
            return Err(HeadError::NotImplemented("connect"));
        }
        let dotted = check_bytes(path)?;
        if path == "*" && method == Method::Options || path.starts_with('/') {
            return Ok(Self { authority: None, path_and_query: resolved(path, dotted) });
        }
        Err(HeadError::Bad("target_form"))
    }
}

/// Visible ASCII without `#`, and no backslash in the path: servers that take it for a slash would
/// see another path than the one routed by. Browsers never send one there. Tells whether a segment of the
/// path begins as a dot segment does.
fn check_bytes(target: &str) -> Result<bool, HeadError> {
    let (mut in_path, mut last, mut dotted) = (true, 0, false);
    for byte in target.bytes() {
        match byte {
            b'#' => return Err(HeadError::Bad("target_bytes")),
            b'\\' if in_path => return Err(HeadError::Bad("target_bytes")),
            b'?' => in_path = false,
            b'.' | b'%' => dotted |= in_path && last == b'/',
            0x21..=0x7e => {}
            _ => return Err(HeadError::Bad("target_bytes")),
        }
        last = byte;
    }
    Ok(dotted)
}

/// A path without its dot segments (RFC 3986 §5.2.4), also where their dots are encoded: whoever stands
/// behind would leave them out too, and what was not routed there must not be reached by them.
fn resolved(path_and_query: &str, dotted: bool) -> Cow<'_, str> {
    if !dotted {
        return Cow::Borrowed(path_and_query);
    }
    let query = path_and_query.find('?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(query);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let dots = dots(segment);
        if dots == Some(2) {
            kept.pop();
        }
        match dots {
            None => kept.push(segment),
            // What it leads to is a folder.
            Some(_) if segments.peek().is_none() => kept.push(""),
            Some(_) => {}
        }
    }
    Cow::Owned(format!("/{}{query}", kept.join("/")))
}

/// How many dots a dot segment has.
fn dots(segment: &str) -> Option<usize> {
    let one = |text: &str| text == "." || text.eq_ignore_ascii_case("%2e");
    if one(segment) {
        return Some(1);
    }
    let two = [1, 3].iter().any(|at| {
        segment.split_at_checked(*at).is_some_and(|(first, second)| one(first) && one(second))
    });
    two.then_some(2)
}

/// Checks an authority without user information and gives its host: no port, no brackets, no final
/// dot. Case is as sent.
pub(super) fn host_of(authority: &str) -> Result<&str, HeadError> {
    if authority.is_empty() {
        return Err(HeadError::Bad("host_empty"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(HeadError::Bad("host_malformed"))?;
            address.parse::<Ipv6Addr>().map_err(|_| HeadError::Bad("host_malformed"))?;
            (address, port)
        }
        None => {
            let colon = authority.bytes().position(|byte| byte == b':');
            let (name, port) = authority.split_at(colon.unwrap_or(authority.len()));
            let name = name.strip_suffix('.').unwrap_or(name);
            if !is_host_name(name) {
                return Err(HeadError::Bad("host_malformed"));
            }
            (name, port)
        }
    };
    if is_port(port) { Ok(host) } else { Err(HeadError::Bad("host_malformed")) }
}

/// Letters, digits, `-` and `_` between single dots. RFC 3986 would allow more, but no name that
/// resolves needs it and each is a way to be read as two hosts.
fn is_host_name(name: &str) -> bool {
    let mut last = b'.';
    let good = name.bytes().all(|byte| {
        let empty_label = byte == b'.' && last == b'.';
        last = byte;
        !empty_label && (byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    });
    good && last != b'.' && name.len() <= HOST_BYTES_MAX
}

/// Nothing, or a colon with up to five digits that make a port, or with none.
fn is_port(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty() };
    let good = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    good && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

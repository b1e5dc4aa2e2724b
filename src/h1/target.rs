//! Request targets and authorities: the forms of RFC 9112 §3.2, and what may stand in them.

use std::ops::Range;

use super::head::{HeadError, Method};

/// The form of a target, with the places of its parts.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// A path, or `*`.
    Origin,
    /// `http://authority/path`.
    Absolute { authority: Range<usize>, rest: Range<usize> },
}

/// Reads a target by the method it came with.
pub fn read(method: Method, target: &str) -> Result<Form, HeadError> {
    if method == Method::Connect {
        return Err(HeadError::NotImplemented("connect"));
    }
    let scheme = ["http://", "https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)));
    let Some(scheme) = scheme else {
        check_origin(method, target)?;
        return Ok(Form::Origin);
    };
    check_bytes(target)?;
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    if end == 0 {
        return Err(HeadError::Bad("target_without_host"));
    }
    let at = scheme.len();
    Ok(Form::Absolute { authority: at..at + end, rest: at + end..target.len() })
}

/// Checks a target that is a path, or `*` for OPTIONS.
pub fn check_origin(method: Method, target: &str) -> Result<(), HeadError> {
    match target {
        "*" if method == Method::Options => Ok(()),
        path if path.starts_with('/') => check_bytes(path),
        _ => Err(HeadError::Bad("target_form")),
    }
}

fn check_bytes(target: &str) -> Result<(), HeadError> {
    // A fragment is never sent; what does is trying to make two readers disagree.
    let fine = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    match target.bytes().all(fine) {
        true => Ok(()),
        false => Err(HeadError::Bad("target_bytes")),
    }
}

/// Checks `host`, `host:port`, `[v6]` or `[v6]:port`; empty is allowed here.
pub fn check_authority(authority: &str) -> Result<(), HeadError> {
    let wrong = HeadError::Bad("host_malformed");
    if authority.is_empty() {
        return Ok(());
    }
    let (host, port) = split(authority).ok_or(wrong)?;
    let port_fine = port.is_none_or(|port| {
        port.len() <= 5
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok())
    });
    let host_fine = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let fine =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            !host.is_empty() && host.len() <= 255 && host.bytes().all(fine)
        }
    };
    if port_fine && host_fine { Ok(()) } else { Err(wrong) }
}

fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        return match &authority[end..] {
            "" => Some((authority, None)),
            rest => Some((&authority[..end], Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

/// Writes the host of a checked authority: lower case, without port, brackets and final dot.
pub fn host_of(authority: &str, host: &mut String) {
    host.clear();
    let Some((name, _)) = split(authority) else { return };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    host.push_str(bare);
    host.make_ascii_lowercase();
}

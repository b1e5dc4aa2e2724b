//! What must not be shown: secrets in samples of requests and in the texts of differences.
//!
//! A value is hidden when its name speaks of a secret, or when it looks like one by itself. When in
//! doubt it is hidden: a difference is found all the same, and only its text is lost. This is a net
//! for what people log by accident; it does not find a name or an address in a text.

use std::borrow::Cow;

use super::VALUE_TEXT_BYTES_MAX;
use crate::limits::{REDACT_LOOKED_AT_BYTES, REDACT_NESTED_MAX};

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// A run of letters and digits of this length with both in it is taken for a key or a token. A
/// UUID's longest run is 12, a time stamp's 8; an MD5 in hex, often a session id, has 32.
const TOKEN_CHARS_MIN: usize = 32;

/// Parts of names, in lower case without separators, that mark a secret wherever they stand.
const SECRET_PARTS: [&str; 19] = [
    "accesskey",
    "apikey",
    "authentication",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "csrf",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "session",
    "signature",
    "signingkey",
    "token",
    "xsrf",
];

/// Whole words of names that mark a secret; as parts they would hide `author` and `spinning`.
const SECRET_WORDS: [&str; 11] =
    ["auth", "creds", "cvc", "cvv", "otp", "pass", "pin", "pwd", "sid", "sig", "ssn"];

/// Hides a value whose field name (of a header, a query parameter, or a path of JSON keys) speaks
/// of a secret, and what looks like a secret within any other value.
pub fn redact_value<'a>(field_name: &str, value: &'a str) -> Cow<'a, str> {
    if is_secret_name(field_name) && !value.is_empty() {
        return Cow::Borrowed(REDACTED);
    }
    match redact_words(value, REDACT_NESTED_MAX) {
        Some(text) => Cow::Owned(text),
        None => Cow::Borrowed(value),
    }
}

/// Hides secrets in a query, the part of a target after `?`. Names stay as they are.
///
/// Beside what [`redact_value`] hides, `code` is: it buys a token in OAuth.
pub fn redact_query(query: &str) -> String {
    redact_pairs(query, REDACT_NESTED_MAX)
}

/// The text of one side of a difference: redacted, printable and short.
pub(super) fn shown(field_name: &str, value: &str) -> String {
    let cut = value.char_indices().map(|(at, _)| at).find(|at| *at >= REDACT_LOOKED_AT_BYTES);
    let value = &value[..cut.unwrap_or(value.len())];
    printable(&redact_value(field_name, value), VALUE_TEXT_BYTES_MAX)
}

fn redact_pairs(query: &str, nested: usize) -> String {
    let pairs = query.split('&').map(|pair| {
        let Some((name, value)) = pair.split_once('=') else {
            return if looks_secret(pair) { REDACTED.into() } else { pair.into() };
        };
        let plain = (decode(name), decode(value));
        let named = plain.0 == "code" || is_secret_name(&plain.0);
        let hidden = named || redact_words(&plain.1, nested).is_some();
        let value = if hidden && !value.is_empty() { REDACTED } else { value };
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// What a line of text may be the value of: the line itself up to its last `=` or `:`.
pub(super) fn name_in(line: &str) -> &str {
    line.rfind(['=', ':']).map_or("", |at| &line[..at])
}

/// A text fit for a report: control and direction characters escaped, and cut at a character to
/// this many bytes, an ellipsis included.
pub(super) fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars() {
        let start = shown.len();
        if c.is_control() || is_direction(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        if shown.len() > bytes_max {
            shown.truncate(start);
            while shown.len() + '…'.len_utf8() > bytes_max && shown.pop().is_some() {}
            shown.push('…');
            break;
        }
    }
    shown
}

/// Marks that turn the order of text around on a screen.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_secret_name(name: &str) -> bool {
    let joined: String =
        name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    SECRET_PARTS.iter().any(|part| joined.contains(part))
        || words(name).iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// The words of a name in lower case, split at separators and before capitals: `userPin`,
/// `user_pin` and `USER-PIN` all have `pin`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (after_small && c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there is always a last word").extend(c.to_lowercase());
        }
        after_small = c.is_lowercase() || c.is_numeric();
    }
    words
}

/// Hides the words of a value that look like secrets; `None` when there is none.
fn redact_words(value: &str, nested: usize) -> Option<String> {
    let mut found = false;
    let mut after_scheme = false;
    let words = value.split(' ').map(|word| {
        let hidden = after_scheme && !word.is_empty() || looks_secret(word);
        after_scheme = ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        let text = if hidden { Cow::Borrowed(REDACTED) } else { redact_url(word, nested) };
        found |= text != word;
        text
    });
    let text = words.collect::<Vec<_>>().join(" ");
    found.then_some(text)
}

/// Hides the user of a URL and secrets in the query of it; the whole query when URLs are nested in
/// URLs too deep.
fn redact_url(word: &str, nested: usize) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(word);
    if let Some((scheme, rest)) = word.split_once("://") {
        let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if let Some(at) = rest[..authority].rfind('@') {
            text = Cow::Owned(format!("{scheme}://{REDACTED}{}", &rest[at..]));
        }
    }
    match text.split_once('?') {
        Some((path, query)) if query.contains('=') => Cow::Owned(match nested {
            0 => format!("{path}?{REDACTED}"),
            _ => format!("{path}?{}", redact_pairs(query, nested - 1)),
        }),
        _ => text,
    }
}

/// Whether a word is a JWT or holds a run of letters and digits too long for a word.
fn looks_secret(word: &str) -> bool {
    if word.contains("eyJ") && word.matches('.').count() >= 2 {
        return true;
    }
    let url_safe = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    word.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| is_token(run, false))
        || word.split(|c| !url_safe(c)).any(|run| is_token(run, true))
        || word.split(|c| !(url_safe(c) || "+/=".contains(c))).any(|run| is_token(run, true))
}

/// A long run that mixes letters and digits; one with separators in it, such as a path or a UUID,
/// must mix cases too.
fn is_token(run: &str, separators: bool) -> bool {
    let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    run.len() >= TOKEN_CHARS_MIN
        && has(u8::is_ascii_digit)
        && if separators { mixed } else { has(u8::is_ascii_alphabetic) }
}

/// Undoes percent-encoding and `+`, as far as it is sound; only to look at a name or a value.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => plain.push(b' '),
            (byte, ..) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expect: &str) {
        assert_eq!(redact_value(name, value), expect, "{name}");
    }

    #[test]
    fn names_hide_their_values() {
        for name in [
            "Authorization",
            "cookie",
            "X-Api-Key",
            "api_key",
            "apiKey",
            "body:/user/accessToken",
            "body:/session/id",
            "client_secret",
            "PASSWORD",
            "userPin",
            "x-auth",
        ] {
            check(name, "hunter2", REDACTED);
        }
    }

    #[test]
    fn other_names_do_not() {
        for name in ["author", "etag", "body:/spinning", "body:/passenger", "content-type", ""] {
            check(name, "hunter2", "hunter2");
        }
        check("password", "", "");
    }

    #[test]
    fn values_that_look_like_secrets_are_hidden() {
        check("x", "Bearer abc", "Bearer [redacted]");
        check("x", "a eyJhbGciOi.eyJzdWIi.c2ln b", "a [redacted] b");
        check("x", "0123456789abcdef0123456789abcdef", REDACTED);
        check("x", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", REDACTED);
        check("x", "pg://u:p@db/x", "pg://[redacted]@db/x");
        check("x", "https://h/p?a=1&token=t", "https://h/p?a=1&token=[redacted]");
    }

    #[test]
    fn everyday_values_are_shown() {
        for value in [
            "0190a3f2-7c1e-7d3a-9b61-3f3c8a1b2c3d",
            "2026-01-02T03:04:05.678901Z",
            "text/html; charset=utf-8",
            "/api/v2/customers/12345/orders/recent/items",
            "what a day? a=b",
            "99999999999999999999999999999999999",
        ] {
            check("x", value, value);
        }
    }

    #[test]
    fn queries() {
        assert_eq!(redact_query("q=a%20b&page=2"), "q=a%20b&page=2");
        assert_eq!(redact_query("to%6ben=x&code=y&k="), "to%6ben=[redacted]&code=[redacted]&k=");
        assert_eq!(redact_query("flag&&a=b=c"), "flag&&a=b=c");
        let back = "back=https%3A%2F%2Fshop%2F%3Ftoken%3Dx";
        assert_eq!(redact_query(back), "back=[redacted]");
        assert_eq!(redact_query(&"a=?".repeat(100_000)), "a=[redacted]");
    }

    #[test]
    fn texts_are_cut_at_a_character_and_cannot_drive_a_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}", 64), "a\\u{1b}[2J\\u{202e}");
        assert_eq!(printable("ééééé", 8), "éé…");
        assert_eq!(printable("éééé", 8), "éééé");
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_bounds(name in "\\PC{0,20}", value in any::<String>()) {
            let _ = redact_value(&name, &value);
            let _ = redact_query(&value);
            prop_assert!(printable(&value, 16).len() <= 16);
        }

        #[test]
        fn a_secret_name_shows_nothing(value in "[a-z0-9]{6,40}") {
            let query = format!("a=1&session_id={value}");
            prop_assert!(!redact_query(&query).contains(&value));
            prop_assert!(!redact_value("set-cookie", &value).contains(&value));
        }
    }
}

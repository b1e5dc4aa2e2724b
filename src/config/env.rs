//! `${NAME}` and `${NAME:-default}` in the strings of a configuration.
//!
//! A name that is not set is an error unless there is a default; a default also stands in for an
//! empty value, as in a shell. `$${` is a plain `${`; every other `$` is itself.

use std::borrow::Cow;

use super::error::Problem;

/// Looks a variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A reference that cannot be replaced, with its text for the caret.
#[derive(Debug)]
pub(super) struct BadReference {
    pub text: String,
    pub problem: Problem,
}

/// Replaces every reference in `text`, or tells of all that cannot be.
pub(super) fn expand<'a>(text: &'a str, env: Env<'_>) -> Result<Cow<'a, str>, Vec<BadReference>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut bad = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else {
            bad.push(BadReference {
                text: rest[at..].to_owned(),
                problem: Problem::new("`${` without a `}`")
                    .help("write `${NAME}`, or `$${` for a plain `${`"),
            });
            break;
        };
        let reference = &rest[at..=at + length];
        match value_of(&reference[2..length], env) {
            Ok(value) => out.push_str(&value),
            Err(problem) => bad.push(BadReference { text: reference.to_owned(), problem }),
        }
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    if bad.is_empty() { Ok(Cow::Owned(out)) } else { Err(bad) }
}

/// The value of what stands between the braces.
fn value_of(inside: &str, env: Env<'_>) -> Result<String, Problem> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let shown = name.escape_debug();
        return Err(Problem::new(format!("`{shown}` is not the name of an environment variable"))
            .help("write `${NAME}` or `${NAME:-default}`, or `$${` for a plain `${`"));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::new(format!("the environment variable `{name}` is not set"))
            .help(format!("set it, or give a default: `${{{name}:-default}}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("shop.example.com".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(expand(text, &env).expect("expands"), expect);
    }

    #[test]
    fn references_are_replaced() {
        check("", "");
        check("plain", "plain");
        check("${HOST}:80", "shop.example.com:80");
        check("${HOST}${HOST}", "shop.example.comshop.example.com");
        check("[${EMPTY}]", "[]");
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing_or_empty() {
        check("${PORT:-80}", "80");
        check("${EMPTY:-80}", "80");
        check("${HOST:-other}", "shop.example.com");
        check("${PORT:-}", "");
        check("${PORT:-a:-b}", "a:-b");
    }

    #[test]
    fn other_dollars_are_themselves() {
        check("^a$", "^a$");
        check("$HOST", "$HOST");
        check("$${HOST}", "${HOST}");
        check("a$$b", "a$$b");
    }

    #[test]
    fn all_bad_references_are_told() {
        let bad = expand("${NO} ${HOST} ${1} ${} ${open", &env).expect_err("refused");
        let texts: Vec<_> = bad.iter().map(|bad| bad.text.as_str()).collect();
        assert_eq!(texts, ["${NO}", "${1}", "${}", "${open"]);
    }
}

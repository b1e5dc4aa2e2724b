//! Fields as the library of HTTP/2 holds them.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h1::fields::{Field, Fields, Known};
use crate::h1::write::Section;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One field; `None` when the library does not take it.
///
/// A value that is another one before long stays out of the table of HPACK, where it would only drive out
/// what is sent again. The library walks past all values of a name to find one: with a new date each second,
/// an answer cost a seventh more on a connection that was a minute old. A secret stays out of it too
/// (RFC 7541 §7.1.3).
pub fn made(name: &[u8], value: &[u8], known: Known) -> Option<(HeaderName, HeaderValue)> {
    let name = match known {
        Known::Date => http::header::DATE,
        Known::XRequestId => X_REQUEST_ID,
        Known::Traceparent => TRACEPARENT,
        _ => HeaderName::from_bytes(name).ok()?,
    };
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(known.is_fleeting() || known.is_secret());
    Some((name, value))
}

/// Has the names of what each head has its own of put into the table of HPACK, for the heads that follow this one
/// over a connection: the library finds the name there of what stays out of it. A name that is written out costs
/// three hundred instructions and ten bytes.
pub fn introduce(map: &mut HeaderMap) {
    for name in [X_REQUEST_ID, TRACEPARENT] {
        if let Some(value) = map.get_mut(name) {
            value.set_sensitive(false);
        }
    }
}

/// All of them.
pub fn map_of(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.lines(fields, |_| true);
    map
}

/// What the library does not take is left out.
impl Section for HeaderMap {
    fn line(&mut self, name: &[u8], value: &[u8]) {
        if let Some((name, value)) = made(name, value, Known::of(name)) {
            self.append(name, value);
        }
    }

    fn lines(&mut self, fields: &Fields, passes: impl FnMut(&Field<'_>) -> bool) {
        fields.iter().filter(passes).for_each(|field| self.line(field.name(), field.value()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_or_soon_another_stays_out_of_the_table() {
        let cases = [
            ("Date", true),
            ("traceparent", true),
            ("X-Request-Id", true),
            ("authorization", true),
            ("Cookie", true),
            ("Set-Cookie", true),
            ("content-type", false),
            ("server", false),
        ];
        let mut map = HeaderMap::new();
        for (name, stays_out) in cases {
            map.line(name.as_bytes(), b"value");
            let value = &map[name];
            assert_eq!(
                (value.as_bytes(), value.is_sensitive()),
                (&b"value"[..], stays_out),
                "{name}"
            );
        }
    }

    #[test]
    fn only_what_each_head_has_its_own_of_is_introduced() {
        let mut map = HeaderMap::new();
        for name in ["date", "cookie", "x-request-id", "traceparent"] {
            map.line(name.as_bytes(), b"value");
        }
        introduce(&mut map);
        let introduced = map.iter().filter(|(_, value)| !value.is_sensitive());
        let names: Vec<_> = introduced.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-request-id", "traceparent"]);
    }

    #[test]
    fn what_the_library_does_not_take_is_left_out() {
        let mut map = HeaderMap::new();
        map.line(b"a b", b"value");
        map.line(b"a", b"a\nb");
        assert!(map.is_empty());
    }
}

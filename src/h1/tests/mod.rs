//! Tables of what is read, refused and written, and properties over any input.

mod body;
mod fields;
mod request;
mod response;
mod write;

use super::fields::Fields;
use super::head::HeadLimits;

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 100, target: 2048 };

/// Fields as `name: value` lines, those that stop here in parentheses.
fn shown(fields: &Fields) -> Vec<String> {
    let line = |name: &[u8], value: &[u8]| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    let mark = |text: String, hop| if hop { format!("({text})") } else { text };
    fields.iter().map(|field| mark(line(field.name(), field.value()), field.hop)).collect()
}

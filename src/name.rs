//! The names an operator gives to things, parsed once into types that cannot be wrong.
//!
//! A name becomes a metric label, a URL path segment and a key in the journal, so it is kept to
//! letters, digits, `.`, `_` and `-`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;

/// Why a text is not a name. Displays as a sentence fragment that starts with what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError("a name must not be empty".into()));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError(format!(
            "`{}…` is longer than {NAME_BYTES_MAX} bytes",
            text.chars().take(16).collect::<String>()
        )));
    }
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let all_well = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if starts_well && all_well {
        return Ok(());
    }
    Err(NameError(format!(
        "`{}` is not a name: use letters, digits, `.`, `_`, `-`, and begin with a letter or a digit",
        text.escape_debug()
    )))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

name_type!(
    /// A listener, e.g. `web`.
    ListenerName
);
name_type!(
    /// A route, by its `name` key or, without one, `route-N` by its place in the file.
    RouteName
);
name_type!(
    /// A service, e.g. `checkout`.
    ServiceName
);
name_type!(
    /// A version of a service, e.g. `blue` or `v42`.
    VersionName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["blue", "v42", "shop.api", "a_b-c", "9"] {
            assert!(VersionName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "a\n", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(VersionName::new(bad).is_err(), "{bad}");
        }
    }
}

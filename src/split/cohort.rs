//! Cohorts: what identifies a user to a sticky split.

use std::net::IpAddr;

use crate::h1::fields::Fields;

/// Where a service takes a user's identity from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CohortKey {
    /// A cookie of ours that holds an opaque random id; set when it is missing.
    Cookie(String),
    /// A field of the application, in lower case. Without it the request is drawn by weight.
    Header(String),
    /// The client's address.
    ClientIp,
}

/// A user's identity as found in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cohort<'a> {
    /// Text that the request carried.
    Text(&'a [u8]),
    /// The client's address.
    Address(IpAddr),
}

impl CohortKey {
    /// The identity this request carries, if it does.
    pub fn read<'a>(&self, fields: &'a Fields, client: IpAddr) -> Option<Cohort<'a>> {
        match self {
            Self::Cookie(name) => {
                let value = crate::route::matcher::cookie(fields, name)?;
                is_id(value).then_some(Cohort::Text(value.as_bytes()))
            }
            Self::Header(name) => {
                let value = fields.find(name)?;
                (!value.is_empty()).then_some(Cohort::Text(value))
            }
            Self::ClientIp => Some(Cohort::Address(client)),
        }
    }
}

/// Whether a cookie's value may be one of our ids; anything else is replaced by a new one.
fn is_id(value: &str) -> bool {
    (8..=64).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Cohort<'_> {
    /// Calls `then` with the bytes that are hashed.
    pub fn with_bytes<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Text(text) => then(text),
            Self::Address(IpAddr::V4(address)) => then(&address.octets()),
            Self::Address(IpAddr::V6(address)) => then(&address.octets()),
        }
    }
}

//! Header and trailer fields: owned bytes with ranges into them, classified once when they enter.

/// The fields the proxy itself acts on. Everything else is [`Known::Other`] and is only passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Known {
    Other,
    Authorization,
    CacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    Location,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Server,
    SetCookie,
    Te,
    Traceparent,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
}

const NAMES: &[(&[u8], Known)] = &[
    (b"authorization", Known::Authorization),
    (b"cache-control", Known::CacheControl),
    (b"connection", Known::Connection),
    (b"content-encoding", Known::ContentEncoding),
    (b"content-length", Known::ContentLength),
    (b"content-type", Known::ContentType),
    (b"cookie", Known::Cookie),
    (b"date", Known::Date),
    (b"expect", Known::Expect),
    (b"forwarded", Known::Forwarded),
    (b"host", Known::Host),
    (b"keep-alive", Known::KeepAlive),
    (b"location", Known::Location),
    (b"proxy-authenticate", Known::ProxyAuthenticate),
    (b"proxy-authorization", Known::ProxyAuthorization),
    (b"proxy-connection", Known::ProxyConnection),
    (b"server", Known::Server),
    (b"set-cookie", Known::SetCookie),
    (b"te", Known::Te),
    (b"traceparent", Known::Traceparent),
    (b"trailer", Known::Trailer),
    (b"transfer-encoding", Known::TransferEncoding),
    (b"upgrade", Known::Upgrade),
    (b"via", Known::Via),
    (b"x-forwarded-for", Known::XForwardedFor),
    (b"x-forwarded-host", Known::XForwardedHost),
    (b"x-forwarded-proto", Known::XForwardedProto),
    (b"x-request-id", Known::XRequestId),
];

impl Known {
    /// Classifies a field name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        // Length and first letter rule out nearly every candidate before bytes are compared.
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        for (text, known) in NAMES {
            if text.len() == name.len() && text[0] == first && text.eq_ignore_ascii_case(name) {
                return *known;
            }
        }
        Self::Other
    }

    /// Whether the field speaks to the next hop only (RFC 9110 §7.6.1).
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name_start: u32,
    name_len: u16,
    value_start: u32,
    value_len: u32,
    known: Known,
    hop: bool,
}

/// One field as it is read.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The name as it was sent.
    pub name: &'a [u8],
    /// The value without surrounding white space.
    pub value: &'a [u8],
    /// Which field it is, if it is one the proxy acts on.
    pub known: Known,
    /// Whether it stops here: hop-by-hop by its name or nominated by `Connection`.
    pub hop: bool,
}

/// A section of fields in the order they came. Owns its bytes; made to be cleared and used again.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Fields {
    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Appends a field. Names and values are not checked here: the parsers do.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let known = Known::of(name);
        let name_start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(name);
        let value_start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry {
            name_start,
            name_len: name.len() as u16,
            value_start,
            value_len: value.len() as u32,
            known,
            hop: known.is_hop_by_hop(),
        });
    }

    /// Marks the fields that a `Connection` field nominates as stopping here. `Host`,
    /// `Content-Length` and the fields the proxy writes itself cannot be nominated away.
    pub fn nominate_from_connection(&mut self) {
        let has = self.entries.iter().any(|entry| entry.known == Known::Connection);
        if !has {
            return;
        }
        let nominated: Vec<Vec<u8>> = self
            .all(Known::Connection)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|token| token.trim_ascii().to_ascii_lowercase())
            .filter(|token| !token.is_empty())
            .collect();
        for index in 0..self.entries.len() {
            let entry = self.entries[index];
            let protected = matches!(entry.known, Known::Host | Known::ContentLength);
            let name = self.name_of(&entry);
            if !protected && nominated.iter().any(|token| token.eq_ignore_ascii_case(name)) {
                self.entries[index].hop = true;
            }
        }
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| Field {
            name: self.name_of(entry),
            value: self.value_of(entry),
            known: entry.known,
            hop: entry.hop,
        })
    }

    /// The first value of a known field.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.known == known)?;
        Some(self.value_of(entry))
    }

    /// Every value of a known field, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let entries = self.entries.iter().filter(move |entry| entry.known == known);
        entries.map(|entry| self.value_of(entry))
    }

    /// The first value of the field with this name, whatever its case.
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        let same = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.iter().find(same).map(|field| field.value)
    }

    /// Every value of the fields with this name, whatever its case.
    pub fn find_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |field: &Field<'a>| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(same).map(|field| field.value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn name_of(&self, entry: &Entry) -> &[u8] {
        let start = entry.name_start as usize;
        &self.bytes[start..start + usize::from(entry.name_len)]
    }

    fn value_of(&self, entry: &Entry) -> &[u8] {
        let start = entry.value_start as usize;
        &self.bytes[start..start + entry.value_len as usize]
    }
}

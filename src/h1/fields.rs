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
    XForwardedClientCert,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
    XTidegateShadow,
    XTidegateVersion,
}

impl Known {
    /// Classifies a field name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        // Length and first letter leave one candidate at most: most names cost no comparison.
        let (is_it, known) = match (name.len(), first | 0x20) {
            (2, b't') => (is(name, b"te"), Self::Te),
            (3, b'v') => (is(name, b"via"), Self::Via),
            (4, b'd') => (is(name, b"date"), Self::Date),
            (4, b'h') => (is(name, b"host"), Self::Host),
            (6, b'c') => (is(name, b"cookie"), Self::Cookie),
            (6, b'e') => (is(name, b"expect"), Self::Expect),
            (6, b's') => (is(name, b"server"), Self::Server),
            (7, b't') => (is(name, b"trailer"), Self::Trailer),
            (7, b'u') => (is(name, b"upgrade"), Self::Upgrade),
            (8, b'l') => (is(name, b"location"), Self::Location),
            (9, b'f') => (is(name, b"forwarded"), Self::Forwarded),
            (10, b'c') => (is(name, b"connection"), Self::Connection),
            (10, b'k') => (is(name, b"keep-alive"), Self::KeepAlive),
            (10, b's') => (is(name, b"set-cookie"), Self::SetCookie),
            (11, b't') => (is(name, b"traceparent"), Self::Traceparent),
            (12, b'c') => (is(name, b"content-type"), Self::ContentType),
            (12, b'x') => (is(name, b"x-request-id"), Self::XRequestId),
            (13, b'a') => (is(name, b"authorization"), Self::Authorization),
            (13, b'c') => (is(name, b"cache-control"), Self::CacheControl),
            (14, b'c') => (is(name, b"content-length"), Self::ContentLength),
            (15, b'x') => (is(name, b"x-forwarded-for"), Self::XForwardedFor),
            (16, b'c') => (is(name, b"content-encoding"), Self::ContentEncoding),
            (16, b'p') => (is(name, b"proxy-connection"), Self::ProxyConnection),
            (16, b'x') => (is(name, b"x-forwarded-host"), Self::XForwardedHost),
            (17, b'x') if name[2] | 0x20 == b't' => {
                (is(name, b"x-tidegate-shadow"), Self::XTidegateShadow)
            }
            (17, b't') => (is(name, b"transfer-encoding"), Self::TransferEncoding),
            (17, b'x') => (is(name, b"x-forwarded-proto"), Self::XForwardedProto),
            (18, b'p') => (is(name, b"proxy-authenticate"), Self::ProxyAuthenticate),
            (18, b'x') => (is(name, b"x-tidegate-version"), Self::XTidegateVersion),
            (19, b'p') => (is(name, b"proxy-authorization"), Self::ProxyAuthorization),
            (23, b'x') => (is(name, b"x-forwarded-client-cert"), Self::XForwardedClientCert),
            _ => return Self::Other,
        };
        if is_it { known } else { Self::Other }
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

    /// Whether the field stays although a peer's `Connection` names it: without these a message
    /// would mean something else, or a peer could erase what a proxy before us has written.
    fn is_kept_when_nominated(self) -> bool {
        matches!(
            self,
            Self::ContentLength
                | Self::Forwarded
                | Self::Host
                | Self::Traceparent
                | Self::Via
                | Self::XForwardedClientCert
                | Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedProto
                | Self::XRequestId
        )
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// A set of kinds, for [`Fields::of_kinds`].
    pub(super) const fn set(kinds: &[Self]) -> u32 {
        let (mut set, mut at) = (0, 0);
        while at < kinds.len() {
            set |= kinds[at].bit();
            at += 1;
        }
        set
    }

    const SECRETS: u32 =
        Self::set(&[Self::Authorization, Self::Cookie, Self::ProxyAuthorization, Self::SetCookie]);

    /// Whether the value must not be shown.
    pub fn is_secret(self) -> bool {
        self.bit() & Self::SECRETS != 0
    }

    /// Whether the value is another one before long.
    pub fn is_fleeting(self) -> bool {
        matches!(self, Self::Date | Self::Traceparent | Self::XRequestId)
    }
}

/// Whether a name or a word is this one, whatever its case. Its length is known to the compiler, so
/// that it is a few wide instructions; no two bytes that may stand there differ in that bit alone but
/// letters.
fn is<const LENGTH: usize>(name: &[u8], lower: &[u8; LENGTH]) -> bool {
    let Ok(name) = <&[u8; LENGTH]>::try_from(name) else { return false };
    name.iter().zip(lower).fold(0, |wrong, (byte, lower)| wrong | ((byte | 0x20) ^ lower)) == 0
}

/// What an element of `Connection` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionOption {
    Close,
    KeepAlive,
    Upgrade,
    /// It names a field that stops here.
    Field,
}

impl ConnectionOption {
    pub(super) fn of(token: &[u8]) -> Self {
        let (is_it, option) = match token.len() {
            5 => (is(token, b"close"), Self::Close),
            7 => (is(token, b"upgrade"), Self::Upgrade),
            10 => (is(token, b"keep-alive"), Self::KeepAlive),
            _ => return Self::Field,
        };
        if is_it { option } else { Self::Field }
    }
}

/// Where a field lies in the bytes of its section. Small: every request goes over dozens of them.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: Span,
    value: Span,
    known: Known,
    hop: bool,
    /// Whether it stands in a line as it would be written.
    tidy: bool,
}

/// A part of the bytes of a section, which are fewer than four GiB by far.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, len: usize) -> Self {
        Self { start: start as u32, end: (start + len) as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

impl Entry {
    /// Where the field stands as `name: value` and CR LF, if it does.
    fn line(&self) -> Option<Span> {
        self.tidy.then_some(Span { start: self.name.start, end: self.value.end + 2 })
    }
}

/// One field as it is read.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    bytes: &'a [u8],
    entry: &'a Entry,
    /// Which field it is, if it is one the proxy acts on.
    pub known: Known,
    /// Whether it stops here: hop-by-hop by its name or nominated by `Connection`.
    pub hop: bool,
}

impl<'a> Field<'a> {
    /// The name as it was sent.
    pub fn name(&self) -> &'a [u8] {
        self.entry.name.of(self.bytes)
    }

    /// The value without surrounding white space.
    pub fn value(&self) -> &'a [u8] {
        self.entry.value.of(self.bytes)
    }
}

/// A section of fields in the order they came. Owns its bytes; made to be cleared and used again.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// A bit for each kind that was ever appended: most look-ups are for what is not there.
    kinds: u32,
    /// How many of the bytes are the lines of the first fields just as they were read. The section
    /// that is read next is compared with these. None of them is secret by its kind: how long a
    /// comparison takes must not tell one client how another one's cookie begins.
    lines: usize,
}

impl Fields {
    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.kinds = 0;
        self.lines = 0;
    }

    /// Forgets all fields. They stay in `last`, to be compared with what is read next.
    pub(super) fn clear_into(&mut self, last: &mut Self) {
        if self.lines > 0 {
            std::mem::swap(self, last);
        }
        self.clear();
    }

    /// Keeps the first fields, as many as the section that begins with `lines` has as well, byte for
    /// byte, and tells how many bytes of it need not be read: most heads begin like the one before.
    pub(super) fn keep_common(&mut self, lines: &[u8]) -> usize {
        let known = &self.bytes[..self.lines];
        let common =
            if lines.starts_with(known) { known.len() } else { common_prefix(known, lines) };
        let starts = |entry: &Entry| entry.name.start as usize;
        if common < self.lines {
            // A line ends where the next one starts.
            let mut others = self.entries.iter().map(starts).rev();
            self.lines = others.find(|start| *start <= common).unwrap_or_default();
        }
        if self.lines < self.bytes.len() {
            self.bytes.truncate(self.lines);
            self.entries.truncate(self.entries.partition_point(|entry| starts(entry) < self.lines));
            self.kinds = self.entries.iter().fold(0, |kinds, entry| kinds | entry.known.bit());
        }
        self.lines
    }

    /// Appends a field; white space around the value is left out. Neither name nor value is checked
    /// for bytes that may not stand there: the parsers do that.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let value = trim(value);
        let known = Known::of(name);
        self.kinds |= known.bit();
        self.lines = 0;
        let name_start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry {
            name: Span::new(name_start, name.len()),
            value: Span::new(value_start, value.len()),
            known,
            hop: known.is_hop_by_hop(),
            tidy: false,
        });
    }

    /// Appends fields that were parsed in place, with one copy of the lines they stand in.
    ///
    /// Names and values must be parts of `lines`, which begins with the first name.
    pub(super) fn push_lines(&mut self, lines: &[u8], parsed: &[httparse::Header<'_>]) {
        let base = self.bytes.len();
        let at = |part: &[u8]| base + (part.as_ptr() as usize - lines.as_ptr() as usize);
        self.bytes.extend_from_slice(lines);
        let (bytes, kinds) = (self.bytes.as_slice(), &mut self.kinds);
        self.entries.extend(parsed.iter().map(|field| {
            let known = Known::of(field.name.as_bytes());
            *kinds |= known.bit();
            let name = Span::new(at(field.name.as_bytes()), field.name.len());
            let value = Span::new(at(field.value), field.value.len());
            let between = Span { start: name.end, end: value.start };
            let behind = bytes.get(value.end as usize..).unwrap_or_default();
            let tidy = between.of(bytes) == b": " && behind.starts_with(b"\r\n");
            Entry { name, value, known, hop: known.is_hop_by_hop(), tidy }
        }));
        if self.lines == base {
            let secret = match self.kinds & Known::SECRETS {
                0 => None,
                _ => self.entries.iter().find(|entry| entry.known.is_secret()),
            };
            self.lines = secret.map_or(self.bytes.len(), |entry| entry.name.start as usize);
        }
    }

    /// Gives the first field of this kind a new value, or appends it under `name`.
    pub(super) fn set(&mut self, name: &[u8], value: &[u8]) {
        self.lines = 0;
        let known = Known::of(name);
        let same = |entry: &&mut Entry| {
            entry.known == known && entry.name.of(&self.bytes).eq_ignore_ascii_case(name)
        };
        let Some(entry) = self.entries.iter_mut().find(same) else {
            return self.push(name, value);
        };
        entry.value = Span::new(self.bytes.len(), value.len());
        entry.tidy = false;
        self.bytes.extend_from_slice(value);
    }

    /// Drops all fields of a kind.
    pub(super) fn remove(&mut self, known: Known) {
        self.lines = 0;
        self.entries.retain(|entry| entry.known != known);
    }

    /// Makes one field of several of the same kind, at the place of the first, its value those of
    /// all with `separator` between. With fewer than two nothing changes.
    pub(super) fn join(&mut self, known: Known, separator: &[u8]) {
        let first = self.entries.iter().position(|entry| entry.known == known);
        let Some(first) = first.filter(|_| self.all(known).nth(1).is_some()) else { return };
        let start = self.bytes.len();
        for index in first..self.entries.len() {
            let entry = self.entries[index];
            if entry.known == known {
                if self.bytes.len() > start {
                    self.bytes.extend_from_slice(separator);
                }
                let Span { start, end } = entry.value;
                self.bytes.extend_from_within(start as usize..end as usize);
            }
        }
        self.entries[first].value = Span::new(start, self.bytes.len() - start);
        self.entries[first].tidy = false;
        self.keep_first(known);
    }

    /// Drops all fields of a kind but the first.
    pub(super) fn keep_first(&mut self, known: Known) {
        self.lines = 0;
        let mut seen = false;
        self.entries.retain(|entry| entry.known != known || !std::mem::replace(&mut seen, true));
    }

    /// Marks the fields that a `Connection` field nominates as stopping here. `Host`,
    /// `Content-Length` and the fields that proxies write cannot be nominated away.
    pub fn nominate_from_connection(&mut self) {
        self.lines = 0;
        for index in 0..self.entries.len() {
            if self.entries[index].known != Known::Connection {
                continue;
            }
            let bytes = &self.bytes;
            let connection = self.entries[index];
            for token in list(connection.value.of(bytes)) {
                if ConnectionOption::of(token) != ConnectionOption::Field {
                    continue;
                }
                for entry in &mut self.entries {
                    let named = entry.name.of(bytes).eq_ignore_ascii_case(token);
                    entry.hop |= named && !entry.known.is_kept_when_nominated();
                }
            }
        }
    }

    /// The fields of these kinds, in order; see [`Known::set`].
    pub(super) fn of_kinds(&self, kinds: u32) -> impl Iterator<Item = (Known, &[u8])> {
        let entries = if self.kinds & kinds == 0 { &[][..] } else { &self.entries[..] };
        let entries = entries.iter().filter(move |entry| entry.known.bit() & kinds != 0);
        entries.map(|entry| (entry.known, entry.value.of(&self.bytes)))
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let bytes = self.bytes.as_slice();
        let entries = self.entries.iter();
        entries.map(move |entry| Field { bytes, entry, known: entry.known, hop: entry.hop })
    }

    /// Writes the fields that `passes` lets through as lines. Neighbours that stand in the bytes as
    /// they would be written go in one piece.
    pub fn write(&self, out: &mut Vec<u8>, mut passes: impl FnMut(&Field<'_>) -> bool) {
        let mut run = Span { start: 0, end: 0 };
        for field in self.iter().filter(|field| passes(field)) {
            let line = field.entry.line();
            if let Some(line) = line
                && line.start == run.end
            {
                run.end = line.end;
                continue;
            }
            out.extend_from_slice(run.of(&self.bytes));
            run = line.unwrap_or(Span { start: 0, end: 0 });
            if line.is_none() {
                super::write::field(out, field.name(), field.value());
            }
        }
        out.extend_from_slice(run.of(&self.bytes));
    }

    /// The first value of a known field.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        if self.kinds & known.bit() == 0 {
            return None;
        }
        let entry = self.entries.iter().find(|entry| entry.known == known)?;
        Some(entry.value.of(&self.bytes))
    }

    /// Every value of a known field, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let entries = if self.kinds & known.bit() == 0 { &[][..] } else { &self.entries[..] };
        let entries = entries.iter().filter(move |entry| entry.known == known);
        entries.map(|entry| entry.value.of(&self.bytes))
    }

    /// The first value of the field with this name, whatever its case.
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        let same = |field: &Field<'_>| field.name().eq_ignore_ascii_case(name.as_bytes());
        self.iter().find(same).map(|field| field.value())
    }

    /// Every value of the fields with this name, whatever its case.
    pub fn find_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |field: &Field<'a>| field.name().eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(same).map(|field| field.value())
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl PartialEq for Fields {
    /// Equal are the same names, byte for byte, with the same values in the same order.
    fn eq(&self, other: &Self) -> bool {
        let pair = |field: Field<'_>| (field.hop, field.known);
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(left, right)| {
                left.name() == right.name()
                    && left.value() == right.value()
                    && pair(left) == pair(right)
            })
    }
}

impl Eq for Fields {}

impl std::fmt::Debug for Fields {
    /// Shows names and values; of what is secret by its kind only the length.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(|field| {
                let name = String::from_utf8_lossy(field.name()).into_owned();
                if field.known.is_secret() {
                    format!("{name}: ({} bytes)", field.value().len())
                } else {
                    format!("{name}: {}", String::from_utf8_lossy(field.value()))
                }
            }))
            .finish()
    }
}

/// The elements of a comma-separated value, trimmed, empty ones left out.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// How many bytes two texts have in common at their beginning.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    const STEP: usize = 32;
    let steps = left.chunks_exact(STEP).zip(right.chunks_exact(STEP));
    let same = STEP * steps.take_while(|(left, right)| left == right).count();
    let rest = left[same..].iter().zip(&right[same..]);
    same + rest.take(STEP).take_while(|(left, right)| left == right).count()
}

/// Cuts spaces and tabs off both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a byte may stand in a field name or a method (RFC 9110 §5.6.2, `tchar`).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

static TOKEN_BYTES: [bool; 256] = {
    let (marks, mut bytes) = (b"!#$%&'*+-.^_`|~", [false; 256]);
    let mut byte = 0;
    while byte < bytes.len() {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        bytes[marks[at] as usize] = true;
        at += 1;
    }
    bytes
};

/// Whether all bytes may stand in a field value: visible ASCII, space, tab and obs-text.
pub(super) fn is_value(value: &[u8]) -> bool {
    // Without an early end the loop is one that runs on wide registers.
    let bad = |byte: u8| (byte < b' ' && byte != b'\t') | (byte == 0x7f);
    !value.iter().fold(false, |any, byte| any | bad(*byte))
}

/// Whether a field may stand in a trailer section. What frames, routes, authorises, controls or
/// describes a message may not: a recipient that merges trailers into the head would be misled
/// (RFC 9110 §6.5.1).
pub fn may_be_trailer(name: &[u8]) -> bool {
    const REFUSED: [&str; 16] = [
        "accept-ranges",
        "age",
        "authentication-info",
        "expires",
        "max-forwards",
        "pragma",
        "proxy-authentication-info",
        "range",
        "retry-after",
        "vary",
        "warning",
        "www-authenticate",
        "x-http-method-override",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    ];
    let starts_with = |prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let known_is_fit = matches!(Known::of(name), Known::Other | Known::Server);
    known_is_fit
        && (!starts_with(b"content-") || name.eq_ignore_ascii_case(b"content-digest"))
        && !starts_with(b"if-")
        && !starts_with(b"x-forwarded-")
        && !starts_with(b"sec-")
        && !REFUSED.iter().any(|refused| refused.as_bytes().eq_ignore_ascii_case(name))
}

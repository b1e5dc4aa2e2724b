//! Every bound in the program, with its unit and its reason, in one place.

use std::time::Duration;

/// Buckets that a sticky split maps cohorts into: a grain of 0.01 %.
pub const BUCKETS: u16 = 10_000;
/// A weight is at most this, as in the Gateway API.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Bytes in a name: what a DNS label holds.
pub const NAME_BYTES_MAX: usize = 63;
/// Versions of one service: a bucket table holds them as one byte each.
pub const VERSIONS_MAX: usize = 250;
/// Endpoints of one version.
pub const ENDPOINTS_MAX: usize = 4096;
/// Routes from which on a configuration is compiled and freed in the background: fewer take less than a
/// millisecond or two.
pub const LARGE_ROUTES: usize = 300;
/// How long what an edit has done in the background may take in all before the rest of it is done at once:
/// an edit is live within a second.
pub const BACKGROUND_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of a request target; longer is 414.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a response head from an upstream.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a response head from an upstream.
pub const RESPONSE_FIELDS_MAX: usize = 256;
/// Bytes of the trailer section of one body, either way.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Bytes that a request body's pump holds between two writes.
pub const BODY_BUFFER_BYTES: usize = 64 * 1024;
/// The worker's big buffers: one read takes a head and a 64 KiB body together.
pub const READ_BUFFER_BYTES: usize = 128 * 1024;
/// Big buffers a worker keeps for reuse; more than these are given back to the allocator.
pub const READ_BUFFERS_KEPT: usize = 64;
/// Buffers for heads that a worker keeps for reuse.
pub const HEAD_BUFFERS_KEPT: usize = 256;
/// Requests that begin in one turn of a worker: as many as it takes to read in one go and send in one go, and
/// few enough for all that belongs to them to stay in the cache until they are answered.
pub const TURN_REQUESTS_MAX: usize = 64;
/// Requests that wait for a later turn; more begin in the next one. A stream that waits holds some kilobytes.
pub const TURN_WAITING_MAX: usize = 4096;
/// Tasks that a worker keeps for the next streams.
pub const CREW_KEPT: usize = 128;
/// Alarms of copies that a worker keeps for the next ones.
pub const ALARMS_KEPT: usize = 256;
/// A response body of at most this joins its head in one write; copying it is cheaper than `writev`.
pub const JOIN_BYTES_MAX: usize = 16 * 1024;
/// Idle connections a worker keeps to one endpoint.
pub const POOL_IDLE_PER_ENDPOINT_MAX: usize = 4096;
/// How long an unused upstream connection is kept. Below the common 60 s of servers, so that it is
/// we who close it and not they while a request is on its way.
pub const POOL_IDLE_MAX: Duration = Duration::from_secs(50);
/// Revisions kept in memory and on disk.
pub const REVISIONS_KEPT: usize = 1000;
/// Bytes of one revision in the journal: a thousand services whose buckets lie scattered.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of an admin request body.
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections to one socket of the admin API at once, followers of events included; those that ask
/// for nothing make room for more.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Difference samples kept per service.
pub const DIFF_SAMPLES_KEPT: usize = 100;
/// Fields told apart in one service's diff report; more are counted as one.
pub const DIFF_FIELDS_MAX: usize = 1000;
/// Comparisons waiting for the control plane; more are dropped and counted.
pub const DIFF_QUEUE_MAX: usize = 1024;
/// How often what came to be compared is taken: short beside the time of an answer, whose permit it
/// prolongs if it differs, and long beside the few microseconds that waking a thread costs.
pub const COMPARE_EVERY: Duration = Duration::from_millis(1);
/// Bytes of a request body that wait for a slow shadow; past it the copy is given up and counted.
pub const SHADOW_TEE_BYTES_MAX: usize = 1024 * 1024;
/// Copies in a row that do not reach a shadow before it is left alone.
pub const SHADOW_UNREACHED_MAX: u32 = 8;
/// How long it is left alone; the next copy tries again.
pub const SHADOW_REST: Duration = Duration::from_millis(200);
/// Bytes of a shadow's answer that are read only to keep its connection, once it is too long to be
/// compared. Past it the connection is closed: a shadow that never ends must not busy a worker.
pub const SHADOW_DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// Depth of a JSON value that is still compared as a structure.
pub const JSON_DEPTH_MAX: usize = 64;
/// Nodes of a JSON value that is still compared as a structure.
pub const JSON_NODES_MAX: usize = 100_000;
/// Server-sent events kept for one slow reader before it misses some.
pub const EVENTS_KEPT: usize = 1024;
/// The greatest `retries.attempts`.
pub const RETRIES_MAX: u32 = 10;
/// Interim answers (1xx) before the final one: each is passed on, and kept until the client takes it.
pub const INTERIM_ANSWERS_MAX: u32 = 32;
/// Bytes of a client's `X-Request-Id` that is still believed.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// How often workers hand their counters over when nobody scrapes.
pub const COLLECT_EVERY: Duration = Duration::from_millis(250);
/// How long a worker may take to acknowledge a revision before the publisher says so in the log.
pub const ACKNOWLEDGE_WARN: Duration = Duration::from_secs(1);
/// Bytes of the configuration, over all its files: 10 000 routes take 2 MB.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest duration of the configuration: instants that far ahead can still be reckoned with.
pub const CONFIG_DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Bytes of a regular expression as written.
pub const REGEX_BYTES_MAX: usize = 4096;
/// Bytes of a compiled regular expression.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 1024 * 1024;
/// Listeners: each takes a socket a worker.
pub const LISTENERS_MAX: usize = 1000;
/// Bytes of a body that may be kept for comparing.
pub const COMPARED_BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

const _: () = assert!(JOIN_BYTES_MAX <= READ_BUFFER_BYTES);
const _: () = assert!(RESPONSE_HEAD_BYTES_MAX <= READ_BUFFER_BYTES);
const _: () = assert!(VERSIONS_MAX < u8::MAX as usize);
/// Bytes of the line that a journal begins with; a file without one in so many is no journal.
pub const JOURNAL_HEADER_BYTES_MAX: u64 = 64;
/// Characters of `X-Reason` that are kept.
pub const REASON_CHARS_MAX: usize = 1000;
/// Requests of each worker that an outcome may be told of by id; 16 bytes each, once a rollout begins.
pub const RECENT_REQUESTS: usize = 1 << 18;
/// Business outcomes that one call tells.
pub const OUTCOMES_MAX: u64 = 1_000_000;
/// How often a rollout is looked at.
pub const ROLLOUT_TICK: Duration = Duration::from_secs(1);
/// How often its evidence is kept on disk, beside every change of its weight.
pub const ROLLOUT_KEEP: Duration = Duration::from_secs(10);
/// Looks in a row at which a new version has no usable endpoint before that is a regression.
pub const ROLLOUT_UNUSABLE_MAX: u32 = 3;
/// Steps of one rollout.
pub const ROLLOUT_STEPS_MAX: usize = 1000;
/// Names that a wrong one is compared with.
pub const SUGGESTED_FROM_MAX: usize = 1000;
/// Names that are told when none is near.
pub const NAMES_LISTED_MAX: usize = 20;
/// Certificates of one listener.
pub const CERTIFICATES_MAX: usize = 10_000;
/// Buckets of a histogram; every series has as many counters.
pub const DURATION_BOUNDS_MAX: usize = 64;
/// Diagnostics that are rendered with their source; a longer report ends with a count of the rest.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 100;
/// How long the first look at endpoints may take before clients are served anyway.
pub const FIRST_LOOK_MAX: Duration = Duration::from_secs(3);
/// Bytes of a request's path and query in a sample.
pub const PATH_TEXT_BYTES_MAX: usize = 1024;
/// Bytes of chunk extensions a peer may send beyond the bytes of data it has sent.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4096;
/// Hexadecimal digits of a chunk size: what 64 bits hold.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;
/// A chunk above this would have a negative size for someone.
pub const CHUNK_SIZE_MAX: u64 = i64::MAX as u64;
/// Fields in a trailer section.
pub const TRAILER_FIELDS_MAX: usize = 64;
/// The longest host name DNS can carry, in bytes.
pub const HOST_BYTES_MAX: usize = 253;
/// Fields that are parsed without going to the allocator; heads with more are rare.
pub const FIELDS_ON_STACK: usize = 32;
/// Bytes of a buffer that a request head is written to; most heads are shorter.
pub const HEAD_BUFFER_BYTES: usize = 2 * 1024;
/// Bytes of a buffer that a client's bytes are read into: a head and a small body.
pub const CLIENT_BUFFER_BYTES: usize = 32 * 1024;
/// Bytes of a worker's lines that are handed to the log without waiting for its next tick.
pub const LOG_BATCH_BYTES: usize = 256 * 1024;
/// How often lines that the access log had no room for are told of in the other log.
pub const LOST_LINES_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Lines that a worker has room for before it asks the allocator: of requests under way.
pub const LOG_LINES_KEPT: usize = 256;
/// What room for a line may be before it is given back: a long path must not stay for ever.
pub const LOG_LINE_BYTES_KEPT: usize = 1024;
/// Batches of lines that may wait for a slow log. Past it, lines are dropped: a full pipe must not
/// stop the traffic.
pub const LOG_BATCHES_WAITING_MAX: usize = 256;
/// A fresh connection is tried so often after kept ones turned out to be closed.
pub const STALE_TRIES_MAX: u32 = 3;
/// How often a new cohort's id is drawn again because its bucket belongs to a version that takes
/// no new cohorts. With 1 % of the weight elsewhere this fails once in a thousand million times.
pub const COHORT_DRAWS_MAX: u32 = 2048;
/// After an answer that came before the whole request was read, so much of the rest is read and
/// thrown away: closing at once would reset the connection and destroy the answer on its way.
pub const LINGER_BYTES_MAX: u64 = 1024 * 1024;
/// How long the rest of a request is read and thrown away after such an answer.
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// Retries a service may make before its requests have earned any, and the most it can save up: a
/// dying endpoint fails everything in flight at once, and all of it deserves its second try.
pub const RETRIES_SAVED_MAX: f64 = 1000.0;
/// Differences told apart in one comparison; more become one difference in the field `other`.
pub const DIFFERENCES_MAX: usize = 64;
/// Bytes of a field's text; longer pointers are cut.
pub const FIELD_TEXT_BYTES_MAX: usize = 256;
/// Bytes of a value shown in one side's text of a difference; quotes and a size may stand around it.
pub const VALUE_TEXT_BYTES_MAX: usize = 128;
/// URLs within query values of URLs that are still looked into.
pub const REDACT_NESTED_MAX: usize = 2;
/// Bytes of a value that are looked at for a text of [`VALUE_TEXT_BYTES_MAX`]: so many more that a
/// secret which begins in the text is known for one.
pub const REDACT_LOOKED_AT_BYTES: usize = 8 * VALUE_TEXT_BYTES_MAX;
/// A released worker lets so many go, then pauses: the version that comes back meets a stream and
/// not a herd.
pub const RELEASE_AT_ONCE: usize = 8;
/// Between two such groups.
pub const RELEASE_PAUSE: Duration = Duration::from_millis(4);
/// Streams that a client may have open at once on one HTTP/2 connection.
pub const CLIENT_STREAMS_MAX: u32 = 128;
/// Streams on one connection to an upstream before another is opened.
pub const UPSTREAM_STREAMS_MAX: usize = 100;
/// Bytes of an answer over HTTP/2 that wait for a client which does not take them. The window of a
/// connection is this for each of its streams, so that none of them can hold up another.
pub const UPSTREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of a probe's answer that are looked at.
pub const PROBE_BODY_BYTES_MAX: usize = 64 * 1024;
/// Events of the file system that may wait to be looked at; more of them say nothing new.
pub const FILE_EVENTS_WAITING_MAX: usize = 256;
/// Connections over HTTP/1.1 that all workers together make to one endpoint at a time; see [`CONNECTING_TURN_MAX`].
pub const CONNECTING_MAX: usize = 64;
/// As many each of them makes at a time, however many workers there are.
pub const CONNECTING_LEAST: usize = 8;
/// How long such a connection keeps the next from being made: 16,000 are made in a second however far the endpoint is,
/// and more where making one takes less.
pub const CONNECTING_TURN_MAX: Duration = Duration::from_millis(4);
/// What an HTTP/2 client may send ahead of a body.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What it may send ahead of all bodies of a connection: uploads that nobody takes stop the others only
/// once there are many of them.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What is kept of an answer that an HTTP/2 client has not taken yet, before its upstream waits.
pub const H2_SEND_BUFFER_BYTES: usize = 400 * 1024;
/// An answer's body so short is handed over without asking whether the client takes it.
pub const H2_SMALL_BYTES: u64 = 4 * 1024;
/// Streams that an HTTP/2 client may take back before they are looked at.
pub const H2_RESETS_MAX: usize = 20;
/// Streams that an HTTP/2 client may begin and take back at once, before they are most of all it has begun.
pub const H2_TAKEN_BACK_MAX: u32 = 500;
/// At once: a client that gives up later had reason to wait no longer.
pub const H2_TAKEN_BACK_SOON: Duration = Duration::from_secs(1);
/// Fields of heads over HTTP/2 that a worker keeps as they were made, for answers and for requests.
pub const MEMO_FIELDS: usize = 512;
/// Heads that it makes others after; those with the same number of fields share one.
pub const MEMO_TEMPLATES: usize = 32;
/// Fields of such a head: its work grows with their square, and a client may send as many as its listener allows.
pub const TEMPLATE_FIELDS_MAX: usize = 64;
/// Heads that turned out to have other names, before one of them takes the place of such a head.
pub const TEMPLATE_MISSES_MAX: u32 = 8;
/// Heads made after one, before its names and values stay for good.
pub const TEMPLATE_COPIES_MANY: u32 = 1024;
/// Bytes of names and values that stay so, and may be one head more.
pub const MEMO_SETTLED_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a value that is kept so.
pub const MEMO_VALUE_BYTES_MAX: usize = 128;
/// How long an HTTP/2 client without open streams may take to hear that it should leave.
pub const H2_LEAVE_MAX: Duration = Duration::from_secs(2);
/// Bytes of a PROXY header of version 1, its line's end included: what the protocol allows.
pub const PROXY_LINE_BYTES_MAX: usize = 107;
/// Bytes of a PROXY header of version 2: addresses, and as many extras as any sender has been seen to add.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;
/// Bytes of the names of a client's certificate that are told upstream; longer ones are left out.
pub const CLIENT_CERT_TEXT_BYTES_MAX: usize = 4096;
/// Leading bits of an IPv6 address that make one client: what one subscriber is given at least.
pub const CLIENT_V6_BITS_MAX: u8 = 64;
/// Keys of one route whose requests are counted; past it, those that asked least lately are forgotten.
pub const RATE_KEYS_MAX: usize = 100_000;
/// Requests of a rate limit, and of its burst.
pub const RATE_REQUESTS_MAX: u32 = 1_000_000_000;

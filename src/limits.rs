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
/// A response body of at most this joins its head in one write; copying it is cheaper than `writev`.
pub const JOIN_BYTES_MAX: usize = 16 * 1024;
/// Idle connections a worker keeps to one endpoint.
pub const POOL_IDLE_PER_ENDPOINT_MAX: usize = 512;
/// How long an unused upstream connection is kept. Below the common 60 s of servers, so that it is
/// we who close it and not they while a request is on its way.
pub const POOL_IDLE_MAX: Duration = Duration::from_secs(50);
/// A body is replayed for a retry up to this many bytes.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// Revisions kept in memory and on disk.
pub const REVISIONS_KEPT: usize = 1000;
/// Bytes of one revision in the journal: a thousand services whose buckets lie scattered.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of an admin request body.
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections to the admin API at once, followers of events included; more wait to be accepted.
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Difference samples kept per service.
pub const DIFF_SAMPLES_KEPT: usize = 100;
/// Fields told apart in one service's diff report; more are counted as one.
pub const DIFF_FIELDS_MAX: usize = 1000;
/// Comparisons waiting for the control plane; more are dropped and counted.
pub const DIFF_QUEUE_MAX: usize = 1024;
/// Bytes of a request body that wait for a slow shadow; past it the copy is given up and counted.
pub const SHADOW_TEE_BYTES_MAX: usize = 1024 * 1024;
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

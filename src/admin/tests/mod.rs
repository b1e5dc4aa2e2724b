//! The API as a caller sees it: requests in, statuses and JSON out, without sockets or workers.

mod reading;
mod rig;
mod rollouts;
mod traffic;
mod versions;

use self::rig::Rig;

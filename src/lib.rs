//! Tidegate: a traffic-shifting reverse proxy.
//!
//! One process, two planes. The data plane (`proxy`) is a thread a core that share nothing; the
//! control plane (`control`, `admin`, `app`) is a runtime of its own. Decisions (`route`, `split`,
//! `diff`, `h1`) are pure and stand in the middle. ARCHITECTURE.md is the map.

pub mod admin;
pub mod app;
pub mod background;
pub mod certs;
pub mod cli;
pub mod client_cert;
pub mod client_trust;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod diff;
pub mod explain;
pub mod h1;
pub mod limits;
pub mod name;
pub mod net;
pub mod operations;
pub mod phase;
pub mod plan;
pub mod proxy;
pub mod proxy_header;
pub mod revision;
pub mod rollout;
pub mod route;
pub mod shadow;
pub mod snapshot;
pub mod split;
pub mod telemetry;
pub mod traffic;
pub mod upstream;
pub mod watch;
pub mod weight;

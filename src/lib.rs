//! Tidegate: a traffic-shifting reverse proxy.

pub mod admin;
pub mod clock;
pub mod config;
pub mod control;
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
pub mod revision;
pub mod route;
pub mod shadow;
pub mod snapshot;
pub mod split;
pub mod telemetry;
pub mod traffic;
pub mod upstream;
pub mod weight;

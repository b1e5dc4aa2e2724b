//! Tidegate: a traffic-shifting reverse proxy.

pub mod config;
pub mod diff;
pub mod h1;
pub mod limits;
pub mod name;
pub mod plan;
pub mod route;
pub mod snapshot;
pub mod split;
pub mod traffic;
pub mod upstream;
pub mod weight;

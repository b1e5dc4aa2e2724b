//! Tidegate: a traffic-shifting reverse proxy.

pub mod h1;
pub mod limits;
pub mod name;
pub mod route;
pub mod weight;

//! The whole proxy over real sockets, one file a family of behaviour. `rig` alone knows ports,
//! tasks and clients; a test says what operators and users see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod admin;
mod balance;
mod bounds;
mod cli;
mod corpus;
mod cutover;
mod dashboard;
mod docs;
mod edge;
mod failure;
mod faults;
mod health;
mod hold;
mod http2;
mod layout;
mod reload;
mod restart;
mod rig;
mod rollout;
mod routing;
mod run;
mod shadow;
mod sim;
mod suite;
mod tidy;
mod tls;
mod tools;
mod websocket;
mod wire;

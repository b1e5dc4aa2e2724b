//! The whole proxy over real sockets, one file a family of behaviour. `rig` alone knows ports,
//! tasks and clients; a test says what operators and users see.

mod balance;
mod cutover;
mod failure;
mod health;
mod hold;
mod http2;
mod reload;
mod restart;
mod rig;
mod routing;
mod shadow;
mod tidy;
mod tls;
mod wire;

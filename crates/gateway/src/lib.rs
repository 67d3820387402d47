//! The API, over HTTP and gRPC: turns requests into commands for the engine and reads from the store, and shows each role what it may see.
//!
//! A read goes `rest/<resource>` -> store, a change goes `rest/<resource>` -> engine; there is nothing in between.
//! Absent on purpose: decisions (they are `exchange`'s), SQL (`infra`'s), telephony.

mod config;
mod problem;
mod api_key;
mod ping_endpoint;
mod wrong_keys;
mod state;
mod access;
mod request;
mod route;
mod layers;
mod live_bids;
mod rest;
mod grpc;
mod server;

pub use api_key::{ApiKeyText, NoRandomness, NotAnApiKey};
pub use config::{BODY_BYTES_MAX, HttpConfig};
pub use grpc::dce_v1;
pub use rest::events::EVENT_SOURCE;
pub use rest::openapi;
pub use server::{HttpServer, ServerError, router, start};
pub use state::{Dependencies, Probe};

//! Real servers, and a network that can be cut, for tests and for `cargo xtask faults`: each in a folder and at an address of its own, gone when its program is.
//!
//! A server that is missing or does not start panics with what to install: a test without it says nothing.

mod keeper;
pub mod postgresql;
pub mod redis;
pub mod kafka;
pub mod network;

/// What a server shows of itself under TLS.
pub struct Certificate {
    /// Its certificate, and those between it and its authority, as PEM.
    pub chain_pem: String,
    /// Its private key, as PEM.
    pub key_pem: String,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    listener.and_then(|listener| listener.local_addr()).expect("a free port").port()
}

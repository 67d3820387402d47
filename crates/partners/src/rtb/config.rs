//! Bounds on asking live bidders. What a bidder sets for itself is in its bid profile.

/// Bounds for all live bidders together, and what each may do at most.
#[derive(Debug, Clone)]
pub struct RtbConfig {
    /// Whether addresses that are not public may be connected to. Buyers write the URLs, so in production they may not: else a
    /// buyer could have the exchange send requests into the operator's own network.
    pub allow_private_addresses: bool,
    /// Bidders whose state is kept; one more is refused as busy until another is forgotten.
    pub targets_max: usize,
    /// A bidder that was not asked for so long is forgotten, in milliseconds.
    pub target_unused_ms: u64,
    /// Requests without an answer at the same time, over all bidders.
    pub in_flight_max: usize,
    /// Open connections, over all bidders.
    pub connections_max: usize,
    /// How long a connection may take to be made, in milliseconds. It may outlive the request it was begun for, and then
    /// serves the next.
    pub connect_timeout_ms: u64,
    /// How long a connection is kept without a request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long a bidder's addresses are used before its name is looked up again, in milliseconds.
    pub lookup_lifetime_ms: u64,
    /// How long a bidder has to take a notice, in milliseconds.
    pub notice_timeout_ms: u64,
    /// Notices on their way to one bidder at the same time; more are dropped.
    pub notices_in_flight_max: u32,
    /// When a bidder that fails is left alone.
    pub breaker: BreakerConfig,
    /// Certificates, in DER, that are trusted beside the public roots.
    pub extra_roots_der: Vec<Vec<u8>>,
}

/// When a bidder that fails is left alone, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerConfig {
    /// Failures one after another that open the circuit.
    pub failures_in_a_row: u32,
    /// Failures, as a percentage of the last 64 requests, that open the circuit.
    pub failure_percent: u32,
    /// Requests before the percentage counts.
    pub requests_min: u32,
    /// Left alone so long the first time, in milliseconds; twice as long after each probe that fails.
    pub backoff_first_ms: u64,
    /// Left alone at most so long, in milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for RtbConfig {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            targets_max: 10_000,
            target_unused_ms: 600_000,
            in_flight_max: 4_096,
            connections_max: 4_096,
            connect_timeout_ms: 2_000,
            idle_timeout_ms: 30_000,
            lookup_lifetime_ms: 30_000,
            notice_timeout_ms: 1_000,
            notices_in_flight_max: 32,
            breaker: BreakerConfig::default(),
            extra_roots_der: Vec::new(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures_in_a_row: 8,
            failure_percent: 50,
            requests_min: 20,
            backoff_first_ms: 1_000,
            backoff_max_ms: 30_000,
        }
    }
}

//! What happened in a world, or in all of them.

/// What happened, for the summary.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) connected: u64,
    pub(super) converted: u64,
    /// Pings that reached the exchange.
    pub(super) pings: u64,
    /// Of those, won a reservation.
    pub(super) reserved: u64,
    /// Reservations used by their call.
    pub(super) redeemed: u64,
    /// Reservations that ran out.
    pub(super) expired: u64,
    /// Questions put to live bidders.
    pub(super) live_asked: u64,
    /// Auctions won by a live bid.
    pub(super) live_won: u64,
    /// Places in route plans that came under a deal.
    pub(super) dealt: u64,
    pub(super) crashes: u64,
    /// Calls refused because the disk was full.
    pub(super) refused_disk_full: u64,
    pub(super) packets: u64,
    pub(super) packets_lost: u64,
    pub(super) writes: u64,
    pub(super) virtual_s: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.connected += other.connected;
        self.converted += other.converted;
        self.pings += other.pings;
        self.reserved += other.reserved;
        self.redeemed += other.redeemed;
        self.expired += other.expired;
        self.live_asked += other.live_asked;
        self.live_won += other.live_won;
        self.dealt += other.dealt;
        self.crashes += other.crashes;
        self.refused_disk_full += other.refused_disk_full;
        self.packets += other.packets;
        self.packets_lost += other.packets_lost;
        self.writes += other.writes;
        self.virtual_s += other.virtual_s;
    }
}

//! Bid profiles: a buyer's standing bid, saying what it pays, for which calls, when, and how many.

mod profile;
pub mod criteria;
pub mod price;
pub mod caps;
pub mod live;
pub mod template;
mod live_problems;
pub(crate) mod problems;
pub mod sip_uri;
pub mod packed;

pub use caps::Caps;
pub use criteria::Criteria;
pub use price::Price;
pub use profile::{BidProfile, BidStatus, Conversion, Destination};

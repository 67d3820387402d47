//! The durable store: units of work go in, all or nothing; the books and the API's reads come out.

pub mod error;
pub mod page;
pub mod unit_of_work;
mod sqlite;

pub use error::StoreError;
pub use page::{Listing, MAX_PAGE, Page};
pub use sqlite::read::Reader;
pub use sqlite::read::accounts::{AccountFilter, Balances};
pub use sqlite::read::api_keys::{ApiKey, ApiKeyFilter};
pub use sqlite::read::bid_profiles::BidProfileFilter;
pub use sqlite::read::calls::{CallFilter, CallStage};
pub use sqlite::read::events::OutboxEvent;
pub use sqlite::read::totals::CallTotals;
pub use sqlite::read::tracking_numbers::TrackingNumberFilter;
pub use sqlite::read::trading::DealFilter;
pub use sqlite::read::transfers::BookedTransfer;
pub use sqlite::verify::VerifyReport;
pub use sqlite::writer::{StoreHealth, SubmitError, Writer};
pub use sqlite::{Store, StoreOptions};
pub use unit_of_work::{CommitResult, OnDurable, Rejection, UnitOfWork};

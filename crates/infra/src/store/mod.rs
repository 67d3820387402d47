//! The durable store: units of work go in, all or nothing; the books and the API's reads come out.

pub mod error;
pub mod page;
pub mod unit_of_work;
mod sqlite;

pub use error::StoreError;
pub use page::{Listing, MAX_PAGE, Page};
pub use sqlite::read::Reader;
pub use sqlite::writer::{StoreHealth, SubmitError, Writer};
pub use sqlite::{Store, StoreOptions};
pub use unit_of_work::{CommitResult, OnDurable, Rejection, UnitOfWork};

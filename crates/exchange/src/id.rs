//! Identities. Every id is a UUID (version 7, so ids sort by creation) that the shell draws and passes in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// A buyer's, a seller's or the house's account.
    AccountId
);
id!(
    /// A standing bid.
    BidProfileId
);
id!(
    /// One call, from INVITE to settlement.
    CallId
);
id!(
    /// Caps that several bids share.
    CapGroupId
);
id!(
    /// A private deal.
    DealId
);

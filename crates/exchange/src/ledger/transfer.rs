//! Double entry: a transfer takes from one ledger account exactly what it gives to another, so the sum of all
//! balances is zero by construction.

use crate::id::{AccountId, CallId};
use crate::ledger::money::Micros;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A place where money can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "ledger", content = "account", rename_all = "snake_case")]
pub enum LedgerAccount {
    /// What a buyer can still spend. May go below zero by its credit limit.
    Available(AccountId),
    /// What a buyer has set aside for calls in progress.
    Held(AccountId),
    /// What a seller has earned and not yet been paid.
    Payable(AccountId),
    /// What the house has kept.
    Margin,
    /// The world outside: deposits come from here, payouts go here. Its balance is the negative of all others.
    External,
}

impl fmt::Display for LedgerAccount {
    /// `available:<account id>`, as the store keys it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available(account) => write!(f, "available:{account}"),
            Self::Held(account) => write!(f, "held:{account}"),
            Self::Payable(account) => write!(f, "payable:{account}"),
            Self::Margin => f.write_str("margin"),
            Self::External => f.write_str("external"),
        }
    }
}

impl std::str::FromStr for LedgerAccount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("'{text}' is not a ledger account; write available:<account id> and the like");
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        match (kind, id.parse()) {
            ("available", Ok(id)) => Ok(Self::Available(id)),
            ("held", Ok(id)) => Ok(Self::Held(id)),
            ("payable", Ok(id)) => Ok(Self::Payable(id)),
            ("margin", _) if id.is_empty() => Ok(Self::Margin),
            ("external", _) if id.is_empty() => Ok(Self::External),
            _ => Err(error()),
        }
    }
}

/// Money moved, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Transfer {
    /// Why it moved; together they make the transfer unique, so it can never be booked twice.
    pub reason: TransferReason,
    /// Where it came from.
    pub from: LedgerAccount,
    /// Where it went.
    pub to: LedgerAccount,
    /// How much, in micro-units; above zero.
    pub amount_micros: Micros,
    /// When.
    pub at: Timestamp,
}

/// Why money moved. Its text (`hold:<call>:1`) is the transfer's unique key in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum TransferReason {
    /// A buyer paid in. The reference is the payer's own, unique per account.
    Deposit {
        /// Whose account.
        account: AccountId,
        /// The payment's own reference.
        reference: String,
    },
    /// Set aside before the target rings: available to held.
    Hold {
        /// The call.
        call: CallId,
        /// Which attempt of it, from 1.
        attempt: u8,
    },
    /// Given back, whole or in part: held to available.
    Release {
        /// The call.
        call: CallId,
        /// Which attempt of it, from 1.
        attempt: u8,
    },
    /// The seller's part of the charge: held to payable.
    Payout {
        /// The call.
        call: CallId,
    },
    /// The house's part of the charge: held to margin.
    Margin {
        /// The call.
        call: CallId,
    },
    /// The seller's part of what the buyer's revenue added to the charge: held to payable.
    RevenuePayout {
        /// The call.
        call: CallId,
    },
    /// The house's part of what the buyer's revenue added to the charge: held to margin.
    RevenueMargin {
        /// The call.
        call: CallId,
    },
    /// The seller's part of the charge of a call that was disputed with success: payable to available.
    RefundPayout {
        /// The call.
        call: CallId,
    },
    /// The house's part of it: margin to available.
    RefundMargin {
        /// The call.
        call: CallId,
    },
}

impl fmt::Display for TransferReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deposit { account, reference } => write!(f, "deposit:{account}:{reference}"),
            Self::Hold { call, attempt } => write!(f, "hold:{call}:{attempt}"),
            Self::Release { call, attempt } => write!(f, "release:{call}:{attempt}"),
            Self::Payout { call } => write!(f, "payout:{call}"),
            Self::Margin { call } => write!(f, "margin:{call}"),
            Self::RevenuePayout { call } => write!(f, "revenue_payout:{call}"),
            Self::RevenueMargin { call } => write!(f, "revenue_margin:{call}"),
            Self::RefundPayout { call } => write!(f, "refund_payout:{call}"),
            Self::RefundMargin { call } => write!(f, "refund_margin:{call}"),
        }
    }
}

impl std::str::FromStr for TransferReason {
    type Err = String;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("'{text}' is not a transfer's reason; write hold:<call id>:<attempt> and the like");
        let mut parts = text.splitn(3, ':');
        let (kind, id, rest) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
        let call = || id.parse::<CallId>().map_err(|_| error());
        let attempt = || rest.and_then(|rest| rest.parse::<u8>().ok()).ok_or_else(error);
        match (kind, rest) {
            (Some("deposit"), Some(reference)) => {
                let account = id.parse().map_err(|_| error())?;
                Ok(Self::Deposit { account, reference: reference.to_owned() })
            }
            (Some("hold"), Some(_)) => Ok(Self::Hold { call: call()?, attempt: attempt()? }),
            (Some("release"), Some(_)) => Ok(Self::Release { call: call()?, attempt: attempt()? }),
            (Some("payout"), None) => Ok(Self::Payout { call: call()? }),
            (Some("margin"), None) => Ok(Self::Margin { call: call()? }),
            (Some("revenue_payout"), None) => Ok(Self::RevenuePayout { call: call()? }),
            (Some("revenue_margin"), None) => Ok(Self::RevenueMargin { call: call()? }),
            (Some("refund_payout"), None) => Ok(Self::RefundPayout { call: call()? }),
            (Some("refund_margin"), None) => Ok(Self::RefundMargin { call: call()? }),
            _ => Err(error()),
        }
    }
}

impl TransferReason {
    /// The call it belongs to, if any.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::Deposit { .. } => None,
            Self::Hold { call, .. }
            | Self::Release { call, .. }
            | Self::Payout { call }
            | Self::Margin { call }
            | Self::RevenuePayout { call }
            | Self::RevenueMargin { call }
            | Self::RefundPayout { call }
            | Self::RefundMargin { call } => Some(*call),
        }
    }
}

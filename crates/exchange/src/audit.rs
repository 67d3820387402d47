//! The audit log's entries: who changed what, and when.
//!
//! Every command that changed something has one, written in the same unit of work. A call's steps have none: its journal, receipt
//! and transfers are their record. The store numbers and chains the entries.

use crate::effect::Command;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What an API key may do, apart from the account it acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoleKind {
    /// Everything.
    Admin,
    /// Reads everything; callers' numbers are masked.
    Analyst,
    /// One buyer's own account, bids and calls.
    Buyer,
    /// One seller's own account, numbers and calls.
    Seller,
}

impl RoleKind {
    /// As the store keeps it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Buyer => "buyer",
            Self::Seller => "seller",
        }
    }

    /// Whether it acts for one account.
    pub fn has_account(self) -> bool {
        matches!(self, Self::Buyer | Self::Seller)
    }
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Somebody with an API key.
    ApiKey {
        /// The key's id, which is not its secret.
        id: Uuid,
        /// What the key may do.
        role: RoleKind,
    },
    /// Somebody at this machine.
    CommandLine,
    /// The exchange itself.
    Exchange,
}

impl Actor {
    /// Its kind, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey { .. } => "api_key",
            Self::CommandLine => "command_line",
            Self::Exchange => "exchange",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditAction {
    /// An account was opened.
    AccountOpened,
    /// An account was approved, suspended or closed.
    AccountStatusSet,
    /// How far a buyer's balance may go below zero was set.
    CreditLimitSet,
    /// A tracking number was listed or changed.
    TrackingNumberSet,
    /// A bid profile was placed or changed.
    BidProfileSet,
    /// A bid profile was paused or resumed.
    BidStatusSet,
    /// Caps that several bids share were set.
    CapGroupSet,
    /// Trading rules were set.
    TradingRulesSet,
    /// A private deal was agreed or changed.
    DealSet,
    /// A buyer reported its revenue from a call.
    RevenueReported,
    /// A buyer disputed a call.
    CallDisputed,
    /// The house decided a dispute.
    DisputeSettled,
    /// A buyer's payment was booked.
    DepositBooked,
    /// An API key, or a ping endpoint's, was made.
    ApiKeyCreated,
    /// An API key, or a ping endpoint's, was revoked, and its sessions with it.
    ApiKeyRevoked,
    /// An API key began a session.
    SessionBegan,
    /// A session was ended before its time.
    SessionEnded,
    /// Events that consumers had refused are to be given again.
    DeadLettersReplayed,
    /// The exchange started.
    ExchangeStarted,
    /// The exchange stopped in good order.
    ExchangeStopped,
}

impl AuditAction {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountOpened => "account.opened",
            Self::AccountStatusSet => "account.status_set",
            Self::CreditLimitSet => "account.credit_limit_set",
            Self::TrackingNumberSet => "tracking_number.set",
            Self::BidProfileSet => "bid_profile.set",
            Self::BidStatusSet => "bid_profile.status_set",
            Self::CapGroupSet => "cap_group.set",
            Self::TradingRulesSet => "trading_rules.set",
            Self::DealSet => "deal.set",
            Self::RevenueReported => "call.revenue_reported",
            Self::CallDisputed => "call.disputed",
            Self::DisputeSettled => "call.dispute_settled",
            Self::DepositBooked => "deposit.booked",
            Self::ApiKeyCreated => "api_key.created",
            Self::ApiKeyRevoked => "api_key.revoked",
            Self::SessionBegan => "session.began",
            Self::SessionEnded => "session.ended",
            Self::DeadLettersReplayed => "dead_letters.replayed",
            Self::ExchangeStarted => "exchange.started",
            Self::ExchangeStopped => "exchange.stopped",
        }
    }
}

/// One entry, before the store gives it its number and its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: Actor,
    /// What was done.
    pub action: AuditAction,
    /// To what, such as `account/<id>`.
    pub subject: String,
    /// The particulars. No secrets.
    pub detail: Value,
}

impl AuditEntry {
    /// The entry of a command that was carried out.
    pub fn of_command(command: &Command, actor: Actor, at: Timestamp) -> Self {
        let (action, subject) = match command {
            Command::OpenAccount { account } => {
                (AuditAction::AccountOpened, format!("account/{}", account.id))
            }
            Command::SetAccountStatus { account, .. } => {
                (AuditAction::AccountStatusSet, format!("account/{account}"))
            }
            Command::SetCreditLimit { account, .. } => {
                (AuditAction::CreditLimitSet, format!("account/{account}"))
            }
            Command::PutTrackingNumber { number } => {
                (AuditAction::TrackingNumberSet, format!("tracking_number/{}", number.number))
            }
            Command::PutBidProfile { bid } => (AuditAction::BidProfileSet, format!("bid_profile/{}", bid.id)),
            Command::SetBidStatus { bid, .. } => (AuditAction::BidStatusSet, format!("bid_profile/{bid}")),
            Command::PutCapGroup { group } => (AuditAction::CapGroupSet, format!("cap_group/{}", group.id)),
            Command::PutTradingRules { rules } => {
                (AuditAction::TradingRulesSet, format!("trading_rules/{}", rules.scope))
            }
            Command::PutDeal { deal } => (AuditAction::DealSet, format!("deal/{}", deal.id)),
            Command::ReportRevenue { call, .. } => (AuditAction::RevenueReported, format!("call/{call}")),
            Command::DisputeCall { charged, .. } => {
                (AuditAction::CallDisputed, format!("call/{}", charged.call))
            }
            Command::SettleDispute { call, .. } => (AuditAction::DisputeSettled, format!("call/{call}")),
            Command::Deposit { account, .. } => (AuditAction::DepositBooked, format!("account/{account}")),
        };
        Self { at, actor, action, subject, detail: detail(command) }
    }
}

/// The command as JSON, without its name and without what opens other people's doors.
fn detail(command: &Command) -> Value {
    let mut detail = match command {
        Command::PutBidProfile { bid } => {
            serde_json::to_value(Command::PutBidProfile { bid: Box::new(bid.without_secrets()) })
        }
        command => serde_json::to_value(command),
    }
    .expect("a command is plain data");
    if let Value::Object(fields) = &mut detail {
        fields.remove("command");
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bid::live::{AnswerMapping, CallerDisclosure, HttpTarget, LiveBidder, LiveVia};
    use crate::bid::{BidProfile, Destination, Price};
    use crate::id::{AccountId, BidProfileId};
    use crate::ledger::money::Micros;

    #[test]
    fn a_command_is_logged_with_its_particulars() {
        let account = AccountId(Uuid::from_u128(1));
        let command =
            Command::Deposit { account, amount_micros: Micros::units(5), reference: "wire-1".to_owned() };
        let entry = AuditEntry::of_command(&command, Actor::CommandLine, Timestamp(7));
        let expected = AuditEntry {
            at: Timestamp(7),
            actor: Actor::CommandLine,
            action: AuditAction::DepositBooked,
            subject: format!("account/{account}"),
            detail: serde_json::json!({
                "account": account, "amount_micros": 5_000_000, "reference": "wire-1"
            }),
        };
        assert_eq!(entry, expected);
    }

    #[test]
    fn what_opens_a_partners_doors_is_not_logged() {
        let target = HttpTarget {
            url: "https://user:s3cret@bidder.example:8443/bids/s3cret?key=s3cret".to_owned(),
            headers: [("authorization".to_owned(), "Bearer s3cret".to_owned())].into(),
            body: Some(r#"{"token":"s3cret"}"#.to_owned()),
            answer: AnswerMapping::default(),
            notice_url: Some("http://bidder.example?s3cret".to_owned()),
        };
        let live = LiveBidder {
            via: LiveVia::Http(target),
            timeout_ms: None,
            requests_per_s: None,
            in_flight_max: None,
            caller: CallerDisclosure::default(),
        };
        let price = Price::PerCall { amount_micros: Micros::units(10) };
        let (id, buyer) = (BidProfileId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let bid = BidProfile::new(id, buyer, "medicare", price, Destination::of("sip:target@192.0.2.1"));
        let bid = Box::new(BidProfile { live: Some(Box::new(live)), ..bid });
        let entry = AuditEntry::of_command(&Command::PutBidProfile { bid }, Actor::CommandLine, Timestamp(7));
        assert!(!entry.detail.to_string().contains("s3cret"), "{}", entry.detail);
        let http = &entry.detail["bid"]["live"]["via"]["http"];
        assert_eq!(http["url"], "https://bidder.example:8443/***");
        assert_eq!(http["notice_url"], "http://bidder.example/***");
        assert_eq!(http["headers"]["authorization"], "***");
    }
}

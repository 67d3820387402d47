//! The book: everything the exchange needs to decide, in memory. Commands change the marketplace; calls are stepped
//! by [`crate::call_flow`].

use crate::account::{Account, AccountKind, AccountStatus};
use crate::auction::index::BidIndex;
use crate::auction::matching::{CallFacts, Market};
use crate::bid::{BidProfile, BidStatus};
use crate::call::Call;
use crate::capacity::Capacity;
use crate::compliance::screening::{Screening, ScreeningFacts};
use crate::compliance::verdict::Check;
use crate::effect::{Command, Effect, Record};
use crate::event::{Event, Fact, Subject};
use crate::fraud::repeat_caller::RepeatCaller;
use crate::id::{AccountId, CallId};
use crate::ledger::balances::Balances;
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use crate::phone_number::PhoneNumber;
use crate::policy::Policy;
use crate::refused::{CommandRefused, FieldError, field_error};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::tracking_number::TrackingNumber;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The in-memory state of the exchange. One owner steps it; nothing in it is shared.
#[derive(Debug)]
pub struct Book {
    pub(crate) policy: Policy,
    pub(crate) screening: Arc<Screening>,
    pub(crate) accounts: HashMap<AccountId, Account>,
    pub(crate) tracking_numbers: HashMap<PhoneNumber, TrackingNumber>,
    pub(crate) bids: BidIndex,
    pub(crate) balances: Balances,
    pub(crate) capacity: Capacity,
    pub(crate) calls: HashMap<CallId, Call>,
    pub(crate) repeat_caller: RepeatCaller,
    deposits: HashSet<TransferReason>,
}

impl Book {
    /// The book as it was when the snapshot was taken. Its open calls are there too; whoever restores the book decides
    /// what becomes of them with [`crate::effect::Input::Recovered`].
    pub fn restore(snapshot: Snapshot, policy: Policy, screening: Arc<Screening>) -> Self {
        let mut bids = BidIndex::default();
        for bid in snapshot.bid_profiles.into_values() {
            bids.put(bid, &policy);
        }
        let mut capacity = Capacity::default();
        for usage in snapshot.usage.values() {
            capacity.restore(usage);
        }
        for attempt in snapshot.open_calls.values().filter_map(Call::held_attempt) {
            capacity.resume(attempt.bid, attempt.cap_day);
        }
        Self {
            repeat_caller: RepeatCaller::new(
                policy.screening.repeat_caller_window_ms,
                policy.screening.repeat_caller_entries_max,
            ),
            policy,
            screening,
            accounts: snapshot.accounts.into_iter().collect(),
            tracking_numbers: snapshot.tracking_numbers.into_iter().collect(),
            bids,
            balances: Balances::from_snapshot(&snapshot.balances),
            capacity,
            calls: snapshot.open_calls.into_iter().collect(),
            deposits: snapshot.deposits.into_iter().collect(),
        }
    }

    /// What bids can ask about a call to this number.
    pub fn facts<'a>(&'a self, call: &'a Call, number: &'a TrackingNumber) -> Option<CallFacts<'a>> {
        let seller = self.accounts.get(&number.seller)?;
        let area_code = call.caller.number().and_then(PhoneNumber::area_code);
        Some(CallFacts {
            vertical: &call.vertical,
            origin: call.origin,
            state: call.stated_state.or_else(|| self.screening.area_codes().only_state_of(area_code?)),
            area_code,
            tags: &number.tags,
            floor: number.floor_micros,
            currency: seller.currency,
        })
    }

    /// The marketplace as an auction sees it.
    pub fn market(&self, now: Timestamp) -> Market<'_> {
        Market { accounts: &self.accounts, balances: &self.balances, capacity: &self.capacity, now }
    }

    /// Asks every screening rule about a call.
    pub(crate) fn screen(&mut self, call: &Call, now: Timestamp) -> Vec<Check> {
        let seller = self.accounts.get(&call.seller);
        let facts = ScreeningFacts {
            caller: &call.caller,
            origin: call.origin,
            stated_state: call.stated_state,
            seller_status: seller.map_or(AccountStatus::Closed, |seller| seller.status),
            seen_ms_ago: call.caller.number().and_then(|caller| self.repeat_caller.seen(caller, now)),
        };
        self.screening.screen(&facts, now)
    }

    /// The standing bids.
    pub fn bids(&self) -> &BidIndex {
        &self.bids
    }

    /// Calls that have not ended.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = &Call> {
        self.calls.values()
    }

    /// The balances.
    pub fn balances(&self) -> &Balances {
        &self.balances
    }

    /// What every bid has in use.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// A tracking number.
    pub fn tracking_number(&self, number: PhoneNumber) -> Option<&TrackingNumber> {
        self.tracking_numbers.get(&number)
    }

    /// Changes the marketplace, or says everything that is wrong with the command. A refused command changes nothing.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        match command {
            Command::OpenAccount { account } => self.open_account(account, now),
            Command::SetAccountStatus { account, status } => self.set_account_status(account, status, now),
            Command::SetCreditLimit { account, credit_limit_micros } => {
                self.set_credit_limit(account, credit_limit_micros, now)
            }
            Command::PutTrackingNumber { number } => self.put_tracking_number(number, now),
            Command::PutBidProfile { bid } => self.put_bid_profile(*bid, now),
            Command::SetBidStatus { bid, status } => {
                let standing = self.bids.get(bid).ok_or(CommandRefused::NotFound("bid profile"))?;
                let changed = BidProfile { status, ..standing.profile.clone() };
                Ok(self.place(changed, now))
            }
            Command::Deposit { account, amount_micros, reference } => {
                self.deposit(account, amount_micros, reference, now)
            }
        }
    }

    fn open_account(&mut self, account: Account, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        if self.accounts.contains_key(&account.id) {
            return Err(CommandRefused::Conflict(format!("account {} is already open", account.id)));
        }
        CommandRefused::unless_valid(account.problems())?;
        Ok(self.keep_account(account, now))
    }

    fn set_account_status(
        &mut self,
        id: AccountId,
        status: AccountStatus,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let account = self.accounts.get(&id).ok_or(CommandRefused::NotFound("account"))?;
        if account.status == AccountStatus::Closed && status != AccountStatus::Closed {
            return Err(CommandRefused::Conflict("a closed account stays closed; open a new one".to_owned()));
        }
        let changed = Account { status, ..account.clone() };
        Ok(self.keep_account(changed, now))
    }

    fn set_credit_limit(
        &mut self,
        id: AccountId,
        credit_limit_micros: Micros,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let account = self.accounts.get(&id).ok_or(CommandRefused::NotFound("account"))?;
        let changed = Account { credit_limit_micros, ..account.clone() };
        let mut problems = changed.problems();
        let owed = -self.balances.get(LedgerAccount::Available(id)).0;
        if credit_limit_micros.0 < owed {
            let problem = format!("the buyer already owes {}", Micros(owed));
            problems.push(field_error(
                "credit_limit_micros",
                problem,
                "set at least that, or book a deposit first",
            ));
        }
        CommandRefused::unless_valid(problems)?;
        Ok(self.keep_account(changed, now))
    }

    fn keep_account(&mut self, account: Account, now: Timestamp) -> Vec<Effect> {
        let fact =
            Fact::AccountChanged { status: account.status, credit_limit_micros: account.credit_limit_micros };
        let event = Event { subject: Subject::Account(account.id), at: now, fact };
        self.accounts.insert(account.id, account.clone());
        vec![Effect::Record(Record::Account(account)), Effect::Record(Record::Event(event))]
    }

    fn put_tracking_number(
        &mut self,
        number: TrackingNumber,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = number.problems();
        problems.extend(self.account_problem("seller", number.seller, AccountKind::Seller));
        CommandRefused::unless_valid(problems)?;
        let listed = self.tracking_numbers.get(&number.number);
        if listed.is_some_and(|listed| listed.seller != number.seller) {
            return Err(CommandRefused::Conflict(format!("{} belongs to another seller", number.number)));
        }
        let fact = Fact::TrackingNumberListed {
            seller: number.seller,
            vertical: number.vertical.clone(),
            active: number.active,
        };
        let event = Event { subject: Subject::TrackingNumber(number.number), at: now, fact };
        self.tracking_numbers.insert(number.number, number.clone());
        Ok(vec![Effect::Record(Record::TrackingNumber(number)), Effect::Record(Record::Event(event))])
    }

    fn put_bid_profile(&mut self, bid: BidProfile, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = bid.problems();
        problems.extend(self.account_problem("buyer", bid.buyer, AccountKind::Buyer));
        CommandRefused::unless_valid(problems)?;
        if self.bids.get(bid.id).is_some_and(|placed| placed.profile.buyer != bid.buyer) {
            return Err(CommandRefused::Conflict(format!("bid profile {} belongs to another buyer", bid.id)));
        }
        Ok(self.place(bid, now))
    }

    fn place(&mut self, bid: BidProfile, now: Timestamp) -> Vec<Effect> {
        let fact = Fact::BidPlaced {
            buyer: bid.buyer,
            vertical: bid.criteria.vertical.clone(),
            active: bid.status == BidStatus::Active,
        };
        let event = Event { subject: Subject::BidProfile(bid.id), at: now, fact };
        self.bids.put(bid.clone(), &self.policy);
        vec![Effect::Record(Record::BidProfile(Box::new(bid))), Effect::Record(Record::Event(event))]
    }

    fn deposit(
        &mut self,
        account: AccountId,
        amount_micros: Micros,
        reference: String,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems: Vec<FieldError> = Vec::new();
        problems.extend(self.account_problem("account", account, AccountKind::Buyer));
        if amount_micros <= Micros::ZERO {
            problems.push(field_error("amount_micros", "is not above zero", "deposit at least 1 micro-unit"));
        }
        if reference.is_empty() || reference.len() > 100 {
            problems.push(field_error(
                "reference",
                "is empty or longer than 100 bytes",
                "give the payment's own reference",
            ));
        }
        let balance = self.balances.get(LedgerAccount::Available(account));
        if balance.checked_add(amount_micros).is_none_or(|sum| sum > MOST_MONEY) || amount_micros > MOST_MONEY
        {
            problems.push(field_error("amount_micros", "makes the balance too large", "split the deposit"));
        }
        CommandRefused::unless_valid(problems)?;
        let reason = TransferReason::Deposit { account, reference: reference.clone() };
        if !self.deposits.insert(reason.clone()) {
            return Ok(Vec::new());
        }
        let to = LedgerAccount::Available(account);
        let transfer = Transfer { reason, from: LedgerAccount::External, to, amount_micros, at: now };
        self.balances.book(&transfer);
        let fact = Fact::DepositBooked { amount_micros, reference };
        let event = Event { subject: Subject::Account(account), at: now, fact };
        Ok(vec![Effect::Record(Record::Transfer(transfer)), Effect::Record(Record::Event(event))])
    }

    fn account_problem(&self, field: &'static str, id: AccountId, kind: AccountKind) -> Option<FieldError> {
        let kind_name = match kind {
            AccountKind::Buyer => "buyer",
            AccountKind::Seller => "seller",
        };
        match self.accounts.get(&id) {
            Some(account) if account.kind != kind => Some(field_error(
                field,
                format!("is not a {kind_name}"),
                format!("name a {kind_name}'s account"),
            )),
            Some(account) if account.status == AccountStatus::Closed => {
                Some(field_error(field, "is closed", "name an account that is not closed"))
            }
            Some(_) => None,
            None => Some(field_error(field, "is not an account", "open the account first")),
        }
    }
}

/// The largest balance or amount: a thousandth of what an `i64` holds, so that no sum of balances can overflow.
pub const MOST_MONEY: Micros = Micros(i64::MAX / 1_000);

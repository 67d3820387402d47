//! The book: everything the exchange needs to decide, in memory. Commands change the marketplace; calls are stepped
//! by [`crate::call_flow`].

use crate::account::{Account, AccountKind, AccountStatus};
use crate::auction::buyers::Buyers;
use crate::auction::contest::Again;
use crate::auction::index::BidIndex;
use crate::auction::matching::{CallFacts, Market, Tags};
use crate::bid::caps::CapGroup;
use crate::bid::{BidProfile, BidStatus};
use crate::call::{Call, CallState};
use crate::call_flow;
use crate::compliance::screening::{Screening, ScreeningFacts};
use crate::compliance::verdict::Check;
use crate::dispute::{self, Dispute};
use crate::effect::{Command, Effect, Record};
use crate::event::{Event, Fact, Subject, tell_posted};
use crate::fraud::repeat_caller::RepeatCaller;
use crate::fraud::score::{self, Signals};
use crate::hash::FastMap;
use crate::id::{AccountId, CallId};
use crate::ledger::balances::Balances;
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use crate::phone_number::PhoneNumber;
use crate::policy::Policy;
use crate::recent_calls::RecentCalls;
use crate::refused::{CommandRefused, FieldError, field_error, reference_problem};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use crate::track_record::{SellerRecord, TrackRecord};
use crate::tracking_number::TrackingNumber;
use crate::trading_rules::{
    Deal, DuplicateRouting, RuleBook, RuleOverride, Scope, ScopedRules, TradingRules,
};
use crate::usage::{CapOwner, Usages};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The in-memory state of the exchange. One owner steps it; nothing in it is shared.
#[derive(Debug)]
pub struct Book {
    pub(crate) policy: Policy,
    pub(crate) screening: Arc<Screening>,
    pub(crate) accounts: FastMap<AccountId, Account>,
    pub(crate) tracking_numbers: FastMap<PhoneNumber, TrackingNumber>,
    pub(crate) bids: BidIndex,
    pub(crate) balances: Balances,
    buyers: Buyers,
    pub(crate) usages: Usages,
    pub(crate) seller_records: FastMap<AccountId, SellerRecord>,
    pub(crate) calls: FastMap<CallId, Call>,
    /// Pings that are being decided or have won, by the number that will be called and who will call it.
    pings: FastMap<(PhoneNumber, PhoneNumber), CallId>,
    pub(crate) repeat_caller: RepeatCaller,
    pub(crate) recent_calls: RecentCalls,
    pub(crate) awaiting_revenue: FastMap<CallId, Call>,
    /// Open ones, and those of calls that may still be disputed.
    pub(crate) disputes: FastMap<CallId, Dispute>,
    rules: RuleBook,
    rule_override: Option<RuleOverride>,
    deals_by_seller: FastMap<AccountId, Vec<Deal>>,
    deposits: HashSet<TransferReason>,
}

impl Book {
    /// The book as it was when the snapshot was taken. Its open calls are there too; whoever restores the book decides
    /// what becomes of them with [`crate::effect::Input::Recovered`].
    pub fn restore(snapshot: Snapshot, policy: Policy, screening: Arc<Screening>) -> Self {
        let mut book = Self {
            repeat_caller: RepeatCaller::new(
                policy.screening.repeat_caller_window_ms,
                policy.screening.repeat_caller_entries_max,
            ),
            policy,
            screening,
            accounts: snapshot.accounts.into_iter().collect(),
            tracking_numbers: snapshot.tracking_numbers.into_iter().collect(),
            bids: BidIndex::default(),
            balances: Balances::from_snapshot(&snapshot.balances),
            buyers: Buyers::default(),
            usages: Usages::default(),
            seller_records: snapshot.seller_records.into_iter().collect(),
            calls: snapshot.open_calls.into_iter().collect(),
            pings: FastMap::default(),
            recent_calls: RecentCalls::default(),
            awaiting_revenue: snapshot.awaiting_revenue.into_iter().collect(),
            disputes: snapshot.disputes.into_iter().collect(),
            rules: RuleBook::default(),
            rule_override: None,
            deals_by_seller: FastMap::default(),
            deposits: snapshot.deposits.into_iter().collect(),
        };
        snapshot.trading_rules.into_values().for_each(|rules| book.rules.put(rules));
        snapshot.deals.into_values().for_each(|deal| book.keep_deal(deal));
        snapshot.cap_groups.into_values().for_each(|group| book.usages.put_group(group));
        for account in book.accounts.values() {
            book.buyers.note_account(account, &book.balances);
        }
        book.bids.fill(snapshot.bid_profiles, &book.policy, &book.buyers);
        book.usages.make_room(book.bids.len());
        for slot in 0..book.bids.len() {
            book.usages.place_bid(slot, &book.bids.at(slot).profile.caps, book.bids.hold(slot));
        }
        for usage in snapshot.usage.values() {
            match usage.owner {
                CapOwner::Bid(bid) => {
                    if let Some(slot) = book.bids.slot(bid) {
                        book.usages.restore_bid(slot, usage);
                    }
                }
                CapOwner::Group(group) => book.usages.restore_group(group, usage),
            }
        }
        for attempt in book.calls.values().filter_map(Call::held_attempt) {
            if let Some(slot) = book.bids.slot(attempt.bid) {
                book.usages.resume(slot, &attempt.counted);
            }
        }
        book.restore_reservations();
        let mut recent: Vec<_> = snapshot.recent_calls.into_iter().collect();
        recent.sort_by_key(|(id, call)| (call.ended_at, *id));
        for (_, call) in recent {
            book.recent_calls.note(call);
        }
        book
    }

    /// A reservation that ran out may still be open beside one that was made later: that one counts.
    fn restore_reservations(&mut self) {
        let mut reserved: Vec<_> = self
            .calls
            .values()
            .filter_map(|call| {
                let CallState::Reserved { expires_at, .. } = call.state else { return None };
                Some((expires_at, call.id, (call.called, call.caller.number()?)))
            })
            .collect();
        reserved.sort_unstable();
        self.pings.extend(reserved.into_iter().map(|(_, id, of)| (of, id)));
    }

    /// The rules a call is traded under.
    pub fn rules(&self, call: &Call) -> TradingRules {
        let rules = self.rules.resolve(&self.policy.trading, &call.vertical, call.seller, call.called);
        self.rule_override.as_ref().map_or(rules, |over| over.over(rules, &call.vertical))
    }

    /// Trades under other rules from now on, or again under its own: for replays, which ask what they would have changed.
    pub fn override_rules(&mut self, rules: Option<RuleOverride>) {
        self.rule_override = rules;
    }

    /// The private deals a call falls under.
    pub fn deals(&self, call: &Call) -> Vec<&Deal> {
        let of_the_seller = self.deals_by_seller.get(&call.seller).map_or(&[][..], Vec::as_slice);
        let in_force = of_the_seller.iter().filter(|deal| {
            deal.active && deal.vertical.as_ref().is_none_or(|vertical| *vertical == call.vertical)
        });
        in_force.collect()
    }

    /// What bids can ask about a call; `None` when its number or its seller is not known any more.
    pub fn facts<'a>(&'a self, call: &'a Call, deals: &'a [&'a Deal]) -> Option<CallFacts<'a>> {
        let number = self.tracking_numbers.get(&call.called)?;
        let seller = self.accounts.get(&call.seller)?;
        let area_code = call.caller.number().and_then(PhoneNumber::area_code);
        let rules = self.rules(call);
        let stated_state = call.stated.consumer_state();
        Some(CallFacts {
            vertical: &call.vertical,
            seller: call.seller,
            origin: call.origin,
            state: stated_state.or_else(|| self.screening.area_codes().only_state_of(area_code?)),
            area_code,
            zip: call.stated.zip,
            language: call.stated.language.or(number.language),
            attestation: call.stated.attestation,
            tags: Tags { call: &call.stated.tags, number: &number.tags },
            fraud_score: score::score(&self.fraud_signals(call)),
            seller_quality: self
                .seller_records
                .get(&call.seller)
                .map_or_else(|| SellerRecord::default().quality(), SellerRecord::quality),
            rules,
            floor: number.floor_micros.max(rules.floor_micros),
            deals,
            currency: seller.currency,
            // The low bits of a version 7 UUID are random.
            draw: u64::try_from(call.id.0.as_u128() & u128::from(u64::MAX)).expect("64 bits"),
        })
    }

    /// What a call's fraud score is made from.
    pub(crate) fn fraud_signals<'a>(&'a self, call: &'a Call) -> Signals<'a> {
        let area_code = call.caller.number().and_then(PhoneNumber::area_code);
        let listed = area_code.and_then(|code| self.screening.area_codes().get(code));
        Signals {
            caller: &call.caller,
            attestation: call.stated.attestation,
            stated_state: call.stated.consumer_state(),
            states_of_area_code: listed.map(|listed| listed.states.as_slice()),
        }
    }

    /// The marketplace as an auction sees it.
    pub fn market(&self, now: Timestamp) -> Market<'_> {
        Market {
            buyers: &self.buyers,
            accounts: &self.accounts,
            balances: &self.balances,
            usages: &self.usages,
            now,
        }
    }

    /// Asks every screening rule about a call. A ping is not yet a call: it makes nobody a repeat caller.
    pub(crate) fn screen(&mut self, call: &Call, now: Timestamp) -> Vec<Check> {
        let seller = self.accounts.get(&call.seller);
        let caller = call.caller.number().filter(|_| !call.is_ping);
        let facts = ScreeningFacts {
            caller: &call.caller,
            origin: call.origin,
            stated_state: call.stated.consumer_state(),
            seller_status: seller.map_or(AccountStatus::Closed, |seller| seller.status),
            seen_ms_ago: caller.and_then(|caller| self.repeat_caller.seen(caller, now)),
        };
        let mut checks = self.screening.screen(&facts, now);
        if checks.iter().all(|check| check.passed) {
            checks.extend(self.duplicate_check(call, now));
        }
        checks
    }

    /// The last rule of screening, asked only where the trading rules refuse duplicates.
    fn duplicate_check(&self, call: &Call, now: Timestamp) -> Option<Check> {
        const RULE: &str = "duplicate_caller";
        const CITATION: &str = "trading rules: duplicates.routing is refuse";
        if self.rules(call).duplicates.routing != DuplicateRouting::Refuse {
            return None;
        }
        Some(match self.last_target(call, now) {
            Some(_) => Check::refuse(RULE, "the same caller within the window", CITATION),
            None => Check::pass(RULE, "not a duplicate", CITATION),
        })
    }

    /// The bid that took this caller's last call in this vertical, within the window for routing duplicates.
    fn last_target(&self, call: &Call, now: Timestamp) -> Option<crate::id::BidProfileId> {
        let window_s = self.rules(call).duplicates.routing_window_s;
        let caller = call.caller.number()?;
        let latest =
            self.recent_calls.latest(caller, window_s, now, |recent| recent.vertical == call.vertical);
        latest.map(|recent| recent.bid)
    }

    /// What the trading rules do about the target of this caller's last call.
    pub(crate) fn again(&self, call: &Call, now: Timestamp) -> Again {
        match (self.rules(call).duplicates.routing, self.last_target(call, now)) {
            (DuplicateRouting::SameTarget, Some(bid)) => Again::First(bid),
            (DuplicateRouting::OtherTarget, Some(bid)) => Again::Never(bid),
            _ => Again::No,
        }
    }

    /// The reservation that a ping won for a call from this caller to this number.
    pub(crate) fn reservation(&self, call: &Call, now: Timestamp) -> Option<&Call> {
        let reserved = self.same_ping(call)?;
        matches!(reserved.state, CallState::Reserved { expires_at, .. } if now < expires_at)
            .then_some(reserved)
    }

    /// Whether the same ping is still being decided.
    pub(crate) fn is_being_decided(&self, ping: &Call) -> bool {
        self.same_ping(ping).is_some_and(|first| matches!(first.state, CallState::Bidding { .. }))
    }

    /// The latest ping for a call from this caller to this number, if it is open.
    fn same_ping(&self, call: &Call) -> Option<&Call> {
        self.calls.get(self.pings.get(&(call.called, call.caller.number()?))?)
    }

    /// Has a ping found by the call that it announces.
    pub(crate) fn note_ping(&mut self, ping: &Call) {
        if let Some(caller) = ping.caller.number() {
            self.pings.insert((ping.called, caller), ping.id);
        }
    }

    /// Has a ping that is over found no more.
    pub(crate) fn forget_ping(&mut self, ping: &Call) {
        if let Some(caller) = ping.caller.number()
            && self.pings.get(&(ping.called, caller)) == Some(&ping.id)
        {
            self.pings.remove(&(ping.called, caller));
        }
    }

    /// Moves money.
    pub(crate) fn book_transfer(&mut self, transfer: &Transfer) {
        self.balances.book(transfer);
        if let LedgerAccount::Available(account) = transfer.from {
            self.buyers.note_change(account, Micros(-transfer.amount_micros.0));
        }
        if let LedgerAccount::Available(account) = transfer.to {
            self.buyers.note_change(account, transfer.amount_micros);
        }
    }

    /// The standing bids.
    pub fn bids(&self) -> &BidIndex {
        &self.bids
    }

    /// Calls that have not ended.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = &Call> {
        self.calls.values()
    }

    /// Calls that have ended, and whose buyers may still report their revenue.
    pub fn awaiting_revenue(&self) -> impl ExactSizeIterator<Item = &Call> {
        self.awaiting_revenue.values()
    }

    /// How many of them are pings: being decided, or reservations that wait for their call. Nobody is on the line.
    pub fn pings(&self) -> usize {
        self.pings.len()
    }

    /// The balances.
    pub fn balances(&self) -> &Balances {
        &self.balances
    }

    /// What every bid has in use.
    pub fn usages(&self) -> &Usages {
        &self.usages
    }

    /// A tracking number.
    pub fn tracking_number(&self, number: PhoneNumber) -> Option<&TrackingNumber> {
        self.tracking_numbers.get(&number)
    }

    /// Changes the marketplace, or says everything that is wrong with the command. A refused command changes nothing.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        let mut effects = self.change(command, now)?;
        tell_posted(&mut effects, None, now);
        Ok(effects)
    }

    fn change(&mut self, command: Command, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        match command {
            Command::OpenAccount { account } => self.open_account(account, now),
            Command::SetAccountStatus { account, status } => self.set_account_status(account, status, now),
            Command::SetCreditLimit { account, credit_limit_micros } => {
                self.set_credit_limit(account, credit_limit_micros, now)
            }
            Command::PutTrackingNumber { number } => self.put_tracking_number(number, now),
            Command::PutBidProfile { bid } => self.put_bid_profile(Arc::from(bid), now),
            Command::SetBidStatus { bid, status } => {
                let standing = self.bids.get(bid).ok_or(CommandRefused::NotFound("bid profile"))?;
                let changed = BidProfile { status, ..(*standing.profile).clone() };
                let mut effects = self.place(Arc::new(changed), now);
                if status == BidStatus::Active
                    && let Some(slot) = self.bids.slot(bid)
                    && self.usages.change_record(slot, TrackRecord::wake)
                {
                    let usage = Box::new(self.usages.of_bid(slot, bid));
                    effects.push(Effect::Record(Record::Usage(usage)));
                }
                Ok(effects)
            }
            Command::PutCapGroup { group } => self.put_cap_group(group, now),
            Command::PutTradingRules { rules } => self.put_trading_rules(*rules, now),
            Command::PutDeal { deal } => self.put_deal(deal, now),
            Command::ReportRevenue { call, buyer, revenue_micros, reference } => {
                call_flow::report_revenue(self, call, buyer, revenue_micros, reference, now)
            }
            Command::DisputeCall { charged, reason, note } => {
                dispute::dispute(self, *charged, reason, note, now)
            }
            Command::SettleDispute { call, upheld } => dispute::settle(self, call, upheld, now),
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
        self.buyers.note_account(&account, &self.balances);
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

    fn put_bid_profile(
        &mut self,
        bid: Arc<BidProfile>,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = bid.problems();
        problems.extend(self.account_problem("buyer", bid.buyer, AccountKind::Buyer));
        let modifiers = bid.modifiers.iter().enumerate();
        let criteria =
            modifiers.map(|(place, modifier)| (format!("modifiers[{place}].when"), &modifier.when));
        for (field, criteria) in criteria.chain([("criteria".to_owned(), &bid.criteria)]) {
            problems.extend(self.unknown_sellers(&format!("{field}.sellers"), &criteria.sellers));
            problems
                .extend(self.unknown_sellers(&format!("{field}.denied_sellers"), &criteria.denied_sellers));
        }
        if let Some(group) = bid.caps.group
            && self.usages.group(group).is_none_or(|group| group.buyer != bid.buyer)
        {
            problems.push(field_error(
                "caps.group",
                "is not a cap group of this buyer",
                "set the group up first, or leave it out",
            ));
        }
        CommandRefused::unless_valid(problems)?;
        if self.bids.get(bid.id).is_some_and(|placed| placed.profile.buyer != bid.buyer) {
            return Err(CommandRefused::Conflict(format!("bid profile {} belongs to another buyer", bid.id)));
        }
        Ok(self.place(bid, now))
    }

    fn place(&mut self, bid: Arc<BidProfile>, now: Timestamp) -> Vec<Effect> {
        let fact = Fact::BidPlaced {
            buyer: bid.buyer,
            vertical: bid.vertical.clone(),
            active: bid.status == BidStatus::Active,
        };
        let event = Event { subject: Subject::BidProfile(bid.id), at: now, fact };
        self.list(Arc::clone(&bid));
        vec![Effect::Record(Record::BidProfile(bid)), Effect::Record(Record::Event(event))]
    }

    fn list(&mut self, bid: Arc<BidProfile>) {
        let slot = self.bids.put(bid, &self.policy, &self.buyers);
        self.usages.place_bid(slot, &self.bids.at(slot).profile.caps, self.bids.hold(slot));
    }

    fn put_cap_group(&mut self, group: CapGroup, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = group.problems();
        problems.extend(self.account_problem("buyer", group.buyer, AccountKind::Buyer));
        CommandRefused::unless_valid(problems)?;
        if self.usages.group(group.id).is_some_and(|there| there.buyer != group.buyer) {
            return Err(CommandRefused::Conflict(format!("cap group {} belongs to another buyer", group.id)));
        }
        let fact = Fact::CapGroupSet { group: group.id };
        let event = Event { subject: Subject::Account(group.buyer), at: now, fact };
        self.usages.put_group(group.clone());
        Ok(vec![Effect::Record(Record::CapGroup(group)), Effect::Record(Record::Event(event))])
    }

    fn put_trading_rules(
        &mut self,
        rules: ScopedRules,
        now: Timestamp,
    ) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = rules.problems();
        match &rules.scope {
            Scope::Seller(seller) => {
                problems.extend(self.account_problem("scope.seller", *seller, AccountKind::Seller));
            }
            Scope::Number(number) if !self.tracking_numbers.contains_key(number) => {
                problems.push(field_error("scope.number", "is not listed", "list the number first"));
            }
            Scope::Vertical(_) | Scope::Number(_) => {}
        }
        CommandRefused::unless_valid(problems)?;
        let fact = Fact::TradingRulesSet { scope: rules.scope.clone() };
        let event = Event { subject: Subject::Exchange, at: now, fact };
        self.rules.put(rules.clone());
        Ok(vec![Effect::Record(Record::TradingRules(Box::new(rules))), Effect::Record(Record::Event(event))])
    }

    fn put_deal(&mut self, deal: Deal, now: Timestamp) -> Result<Vec<Effect>, CommandRefused> {
        let mut problems = deal.problems();
        problems.extend(self.account_problem("seller", deal.seller, AccountKind::Seller));
        let buyers = deal.buyers.iter();
        problems.extend(buyers.filter_map(|buyer| self.named_problem("buyers", *buyer, AccountKind::Buyer)));
        CommandRefused::unless_valid(problems)?;
        let fact = Fact::DealSet { deal: deal.id, active: deal.active };
        let event = Event { subject: Subject::Account(deal.seller), at: now, fact };
        self.keep_deal(deal.clone());
        Ok(vec![Effect::Record(Record::Deal(deal)), Effect::Record(Record::Event(event))])
    }

    fn keep_deal(&mut self, deal: Deal) {
        for deals in self.deals_by_seller.values_mut() {
            deals.retain(|there| there.id != deal.id);
        }
        let deals = self.deals_by_seller.entry(deal.seller).or_default();
        deals.push(deal);
        // Where a buyer has several deals for a call, the oldest counts.
        deals.sort_by_key(|deal| deal.id);
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
        problems.extend(reference_problem(&reference, "give the payment's own reference"));
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
        self.book_transfer(&transfer);
        let fact = Fact::DepositBooked { amount_micros, reference };
        let event = Event { subject: Subject::Account(account), at: now, fact };
        Ok(vec![Effect::Record(Record::Transfer(transfer)), Effect::Record(Record::Event(event))])
    }

    /// What is wrong with one account of a set of them, named by its id.
    fn named_problem(&self, field: &'static str, id: AccountId, kind: AccountKind) -> Option<FieldError> {
        let FieldError { field, problem, fix } = self.account_problem(field, id, kind)?;
        Some(FieldError { field, problem: format!("names {id}, which {problem}").into(), fix })
    }

    /// Sellers a bid names that there are not. One whose account is closed may stay: it sells nothing more.
    fn unknown_sellers(&self, field: &str, sellers: &BTreeSet<AccountId>) -> Vec<FieldError> {
        let is_seller =
            |id: &AccountId| self.accounts.get(id).is_some_and(|account| account.kind == AccountKind::Seller);
        let unknown = sellers.iter().filter(|seller| !is_seller(seller)).take(UNKNOWN_SELLERS_LISTED_MAX);
        let problem = |seller: &AccountId| {
            let problem = format!("names {seller}, which is not a seller");
            field_error(field.to_owned(), problem, "name sellers' accounts")
        };
        unknown.map(problem).collect()
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

/// Of a thousand sellers that a bid may name, so many that there are not are listed.
const UNKNOWN_SELLERS_LISTED_MAX: usize = 20;

/// The largest balance or amount: a thousandth of what an `i64` holds, so that no sum of balances can overflow.
pub const MOST_MONEY: Micros = Micros(i64::MAX / 1_000);

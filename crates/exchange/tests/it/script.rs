//! The words of a case. A line is one of:
//!
//! ```text
//! # comment
//! clock 2026-07-01T15:00:00Z
//! policy route_plan_max 2                          (any number of the policy)
//! buyer acme balance 100.00 [credit 50.00] [status suspended]
//! seller leads [status pending]
//! number +18005550100 seller leads vertical roofing [floor 10.00] [share 7000] [origin outbound_transfer]
//!        [language en] [tag name=value] [inactive]
//! bid A buyer acme pays 30.00 [per_minute 30/6] [price {...}] [after 90] [vertical roofing] [states FL,GA] [areas 212,646]
//!     [origins organic_inbound] [zips 33101] [languages es] [tag name=value] [criteria {...}] [modifier {...}]
//!     [open mon 09:00-17:00] [holidays 12-25] [zone America/New_York] [concurrent 1] [daily_calls 2] [daily_spend 60.00]
//!     [caps {...}] [group G] [priority 2] [weight 3] [skills tax,probate] [located 33101] [rings 20000] [lasts 600] [paused] [live [answers_within 50]]
//! group G buyer acme {"limits":[...]}
//! rules vertical roofing {"auction_type":"second_price"}     | rules seller leads {...} | rules number +18005550100 {...}
//! deal D seller leads buyers acme,best floor 5.00 [first_look] [vertical roofing]
//! at 0.0 call 1 from +12125550101 to +18005550100 [state FL] [zip 33101] [language es] [attested A] [tag name=value]
//! at 0.0 ping 1 from +12125550101 to +18005550100 [for 10000] [as call]
//! at 0.1 bids 1 A 12.00 [after 30] [at sip:x@127.0.0.1]       | says 1 A declined | bidding closed 1 | expired 1
//! at 2.0 answered 1 attempt 1          | failed 1 attempt 1 busy | ring timeout 1 attempt 1
//! at 9.5 caller hangs up 1             | target hangs up 1 | peer lost 1 | max duration 1 attempt 1 | shutdown 1
//! at 9.5 recover 1 alive 8.0           (the exchange was last known to run at 8.0)
//! at 60.0 acme disputes 1 spam         | uphold 1 | reject 1
//! at 60.0 acme earned 200.00 from 1 [sale-7] | revenue closed 1
//! at 9.5 restart alive 8.0             (a new book from what was recorded, and every open call recovered)
//! at 1.0 deposit acme 25.00 ref-1      | pause A | resume A | suspend acme | activate acme
//! at 1.0 set bid ... | set rules ... | set deal ... | set group ... | set number ...    (shows what it comes to)
//! ```
//!
//! JSON has no spaces in it. Times are seconds after the clock. Marketplace lines take effect where they stand.

use crate::render;
use crate::roll_ups::Fold;
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::caps::{CapGroup, Limit, Period};
use exchange::bid::criteria::{TagRule, TagTest};
use exchange::bid::live::{CallerDisclosure, LiveAnswer, LiveBidder, LiveSaid, LiveVia};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Criteria, Destination, Price};
use exchange::book::Book;
use exchange::call::{Arrival, Call, CallState, FailureCause, Stated};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::dispute::ChargedCall;
use exchange::effect::{Command, Effect, Input, Record};
use exchange::id::{AccountId, BidProfileId, CallId, CapGroupId, DealId};
use exchange::ledger::money::{Currency, Micros};
use exchange::phone_number::CallerId;
use exchange::ping::PingRequest;
use exchange::policy::Policy;
use exchange::schedule::{OpenHours, Schedule};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use exchange::trading_rules::{Deal, ScopedRules};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// A marketplace under test, and what came of it so far.
pub(crate) struct Script {
    book: Book,
    /// What was written so far: all that a restart leaves.
    recorded: Snapshot,
    /// Calls that have ended, as a store would have them.
    ended: BTreeMap<CallId, Call>,
    fold: Fold,
    policy: Policy,
    screening: Arc<Screening>,
    clock: Timestamp,
    names: Names,
    out: String,
}

/// The names a script uses for ids.
#[derive(Default)]
pub(crate) struct Names {
    ids: BTreeMap<String, Uuid>,
}

impl Names {
    fn id(&mut self, name: &str) -> Uuid {
        let next = Uuid::from_u128(self.ids.len() as u128 + 1);
        *self.ids.entry(name.to_owned()).or_insert(next)
    }

    /// The name behind an id.
    pub(crate) fn of(&self, id: Uuid) -> &str {
        self.ids.iter().find(|(_, known)| **known == id).map_or("?", |(name, _)| name)
    }
}

type Outcome<T> = Result<T, String>;

impl Script {
    /// Runs a script and renders everything that came of it.
    pub(crate) fn run(text: &str) -> Outcome<String> {
        let mut policy = Policy::default();
        for line in text.lines().filter(|line| line.starts_with("policy ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            set_policy(&mut policy, words[1], words[2])?;
        }
        let screening =
            Arc::new(Screening::new(policy.screening.clone()).map_err(|error| error.to_string())?);
        let mut script = Self {
            book: Book::restore(Snapshot::default(), policy.clone(), Arc::clone(&screening)),
            recorded: Snapshot::default(),
            ended: BTreeMap::new(),
            fold: Fold::default(),
            policy,
            screening,
            clock: "2026-07-01T15:00:00Z".parse::<jiff::Timestamp>().expect("a time").into(),
            names: Names::default(),
            out: String::new(),
        };
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            script.line(line, &words).map_err(|problem| format!("{line}: {problem}"))?;
        }
        std::mem::take(&mut script.fold).check()?;
        script.out.push_str("balances\n");
        script.out.push_str(&render::balances(&script.book, &script.names.ids));
        Ok(script.out)
    }

    fn line(&mut self, line: &str, words: &[&str]) -> Outcome<()> {
        match words {
            [] | ["policy", ..] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["clock", at] => {
                self.clock = at.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?.into();
                Ok(())
            }
            ["buyer", name, rest @ ..] => self.account(AccountKind::Buyer, name, rest),
            ["seller", name, rest @ ..] => self.account(AccountKind::Seller, name, rest),
            ["number" | "bid" | "group" | "rules" | "deal", ..] => {
                let command = self.setting(words)?;
                self.quietly(command)
            }
            ["at", seconds, rest @ ..] => {
                let _ = writeln!(self.out, "> {line}");
                let now = self.after(seconds)?;
                self.happen(now, rest)
            }
            _ => Err("not a line of a script".to_owned()),
        }
    }

    /// Seconds after the clock, read like money: exactly, with six decimals.
    fn after(&self, seconds: &str) -> Outcome<Timestamp> {
        let micros: Micros = seconds.parse().map_err(|_| format!("'{seconds}' is not a time"))?;
        Ok(Timestamp(self.clock.0 + micros.0))
    }

    fn account(&mut self, kind: AccountKind, name: &str, rest: &[&str]) -> Outcome<()> {
        let id = AccountId(self.names.id(name));
        let words = Words(rest);
        let account = Account {
            status: words.parsed("status")?.unwrap_or(AccountStatus::Active),
            currency: words.parsed("currency")?.unwrap_or(Currency::USD),
            credit_limit_micros: words.micros("credit")?.unwrap_or_default(),
            ..Account::new(id, kind, name, self.clock)
        };
        self.quietly(Command::OpenAccount { account })?;
        match words.micros("balance")? {
            None => Ok(()),
            Some(amount_micros) => {
                let reference = "opening".to_owned();
                self.quietly(Command::Deposit { account: id, amount_micros, reference })
            }
        }
    }

    /// A line that sets something, as a command.
    fn setting(&mut self, words: &[&str]) -> Outcome<Command> {
        match words {
            ["number", number, rest @ ..] => self.number(number, rest),
            ["bid", name, rest @ ..] => self.bid(name, rest),
            ["group", name, "buyer", buyer, json] => {
                let mut fields = json_object(json)?;
                fields.insert("id".to_owned(), self.names.id(name).to_string().into());
                fields.insert("buyer".to_owned(), self.names.id(buyer).to_string().into());
                fields.insert("name".to_owned(), (*name).into());
                let group: CapGroup = from_fields(fields)?;
                Ok(Command::PutCapGroup { group })
            }
            ["rules", scope, of, json] => {
                let of = if *scope == "seller" { self.names.id(of).to_string() } else { (*of).to_owned() };
                let mut fields = json_object(json)?;
                fields.insert("scope".to_owned(), serde_json::json!({ *scope: of }));
                let rules: ScopedRules = from_fields(fields)?;
                Ok(Command::PutTradingRules { rules: Box::new(rules) })
            }
            ["deal", name, rest @ ..] => {
                let words = Words(rest);
                let seller = words.after("seller").ok_or("a deal needs a seller")?;
                let buyers = words.after("buyers").ok_or("a deal needs buyers")?;
                let deal = Deal {
                    id: DealId(self.names.id(name)),
                    name: (*name).to_owned(),
                    active: !words.0.contains(&"inactive"),
                    seller: AccountId(self.names.id(seller)),
                    vertical: words.after("vertical").map(str::to_owned),
                    buyers: buyers.split(',').map(|buyer| AccountId(self.names.id(buyer))).collect(),
                    floor_micros: words.micros("floor")?.unwrap_or_default(),
                    first_look: words.0.contains(&"first_look"),
                };
                Ok(Command::PutDeal { deal })
            }
            _ => Err("nothing that can be set".to_owned()),
        }
    }

    fn number(&mut self, number: &str, rest: &[&str]) -> Outcome<Command> {
        let words = Words(rest);
        let seller = words.after("seller").ok_or("a number needs a seller")?;
        let number = TrackingNumber {
            number: number.parse().map_err(|error| format!("{error}"))?,
            seller: AccountId(self.names.id(seller)),
            vertical: words.after("vertical").ok_or("a number needs a vertical")?.to_owned(),
            origin: words.parsed("origin")?.unwrap_or(CallOrigin::OrganicInbound),
            floor_micros: words.micros("floor")?.unwrap_or_default(),
            payout_basis_points: words.number("share")?.unwrap_or(7_000),
            language: words.parsed("language")?,
            tags: words.tags(),
            active: !words.0.contains(&"inactive"),
        };
        Ok(Command::PutTrackingNumber { number })
    }

    fn bid(&mut self, name: &str, rest: &[&str]) -> Outcome<Command> {
        let words = Words(rest);
        let buyer = AccountId(self.names.id(words.after("buyer").ok_or("a bid needs a buyer")?));
        let vertical = words.after("vertical").unwrap_or("roofing");
        let destination = Destination::of(format!("sip:{}@127.0.0.1:5090", name.to_lowercase()));
        let id = BidProfileId(self.names.id(name));
        let timeout_ms = words.number("answers_within")?;
        let live = words.0.contains(&"live").then(|| LiveBidder {
            via: LiveVia::Connection,
            timeout_ms,
            requests_per_s: None,
            in_flight_max: None,
            caller: CallerDisclosure::default(),
        });
        let bid = BidProfile {
            name: name.to_owned(),
            status: if words.0.contains(&"paused") { BidStatus::Paused } else { BidStatus::Active },
            modifiers: words.all("modifier").map(from_json).collect::<Outcome<_>>()?,
            conversion: Conversion { min_connected_s: words.number("after")?.unwrap_or(90) },
            criteria: words.criteria()?,
            schedule: words.schedule()?,
            caps: self.caps(&words)?,
            priority: words.number("priority")?.unwrap_or(1),
            weight: words.number("weight")?.unwrap_or(1),
            skills: words
                .after("skills")
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(str::to_owned)
                .collect(),
            location: words.parsed("located")?,
            ring_timeout_ms: words.number("rings")?,
            max_call_s: words.number("lasts")?,
            live: live.map(Box::new),
            ..BidProfile::new(id, buyer, vertical, words.price()?, destination)
        };
        Ok(Command::PutBidProfile { bid: Box::new(bid) })
    }

    fn caps(&mut self, words: &Words) -> Outcome<Caps> {
        let mut caps: Caps = words.after("caps").map(from_json).transpose()?.unwrap_or_default();
        if let Some(concurrent) = words.number("concurrent")? {
            caps.concurrent_calls = Some(concurrent);
        }
        caps.limits.extend(words.number("daily_calls")?.map(|calls| Limit::calls(Period::Day, calls)));
        caps.limits.extend(words.micros("daily_spend")?.map(|spend| Limit::spend(Period::Day, spend)));
        if let Some(group) = words.after("group") {
            caps.group = Some(CapGroupId(self.names.id(group)));
        }
        Ok(caps)
    }

    /// Applies a command that sets the scene, without rendering it.
    fn quietly(&mut self, command: Command) -> Outcome<()> {
        let effects = self.book.apply(command, self.clock).map_err(|refused| refused.to_string())?;
        self.record(&effects);
        Ok(())
    }

    fn happen(&mut self, now: Timestamp, words: &[&str]) -> Outcome<()> {
        let attempt = |text: &str| text.parse::<u8>().map_err(|_| "not an attempt".to_owned());
        match *words {
            ["call", call, "from", caller, "to", called, ref rest @ ..] => {
                self.step(call, Input::Arrived(arrival(caller, called, rest)?), now);
            }
            ["ping", call, "from", caller, "to", called, ref rest @ ..] => {
                let arrival = arrival(caller, called, rest)?;
                let expires_in_ms = Words(rest).number("for")?;
                self.step(call, Input::Pinged(PingRequest { arrival, expires_in_ms }), now);
            }
            ["bids", call, bid, price, ref rest @ ..] => {
                let words = Words(rest);
                let said = LiveSaid::Bid {
                    price_micros: price.parse().map_err(|error| format!("{error}"))?,
                    min_connected_s: words.number("after")?,
                    destination: words.after("at").map(Destination::of),
                };
                self.live_answer(call, bid, said, now);
            }
            ["says", call, bid, reason] => {
                self.live_answer(call, bid, LiveSaid::Nothing { reason: from_word(reason)? }, now);
            }
            ["bidding", "closed", call] => self.step(call, Input::BiddingClosed, now),
            ["expired", call] => self.step(call, Input::ReservationExpired, now),
            ["set", ref rest @ ..] => {
                let command = self.setting(rest)?;
                self.command(command, now);
            }
            ["answered", call, "attempt", number] => {
                self.step(call, Input::TargetAnswered { attempt: attempt(number)? }, now);
            }
            ["failed", call, "attempt", number, cause] => {
                let cause = match cause.parse() {
                    Ok(sip_status) => FailureCause::Rejected { sip_status },
                    Err(_) => serde_json::from_value(serde_json::json!({ "cause": cause }))
                        .map_err(|error| error.to_string())?,
                };
                self.step(call, Input::TargetFailed { attempt: attempt(number)?, cause }, now);
            }
            ["ring", "timeout", call, "attempt", number] => {
                self.step(call, Input::RingTimedOut { attempt: attempt(number)? }, now);
            }
            ["caller", "hangs", "up", call] => self.step(call, Input::CallerHungUp, now),
            ["target", "hangs", "up", call] => self.step(call, Input::TargetHungUp, now),
            ["peer", "lost", call] => self.step(call, Input::PeerLost, now),
            ["max", "duration", call, "attempt", number] => {
                self.step(call, Input::MaxDurationReached { attempt: attempt(number)? }, now);
            }
            ["shutdown", call] => self.step(call, Input::ShutDown, now),
            ["resumed", call] => self.step(call, Input::Resumed, now),
            ["recover", call, "alive", seconds] => {
                let last_alive_at = self.after(seconds)?;
                self.step(call, Input::Recovered { last_alive_at }, now);
            }
            ["restart", "alive", seconds] => {
                let last_alive_at = self.after(seconds)?;
                self.restart(last_alive_at, now);
            }
            ["deposit", buyer, amount, reference] => {
                let account = AccountId(self.names.id(buyer));
                let amount_micros = amount.parse().map_err(|error| format!("{error}"))?;
                let reference = reference.to_owned();
                self.command(Command::Deposit { account, amount_micros, reference }, now);
            }
            [buyer, "earned", revenue, "from", call, ref reference @ ..] => {
                let command = Command::ReportRevenue {
                    call: CallId(self.names.id(&format!("call {call}"))),
                    buyer: AccountId(self.names.id(buyer)),
                    revenue_micros: revenue.parse().map_err(|error| format!("{error}"))?,
                    reference: reference.first().map(|reference| (*reference).to_owned()),
                };
                self.command(command, now);
            }
            [_, "disputes", call, reason] => self.dispute(call, reason, now)?,
            [decision @ ("uphold" | "reject"), call] => {
                let call = CallId(self.names.id(&format!("call {call}")));
                self.command(Command::SettleDispute { call, upheld: decision == "uphold" }, now);
            }
            ["revenue", "closed", call] => self.step(call, Input::RevenueWindowClosed, now),
            ["pause", bid] => self.bid_status(bid, BidStatus::Paused, now),
            ["resume", bid] => self.bid_status(bid, BidStatus::Active, now),
            ["suspend", account] => self.account_status(account, AccountStatus::Suspended, now),
            ["activate", account] => self.account_status(account, AccountStatus::Active, now),
            _ => return Err("nothing that can happen".to_owned()),
        }
        Ok(())
    }

    /// The process is killed and comes back.
    fn restart(&mut self, last_alive_at: Timestamp, now: Timestamp) {
        self.book = Book::restore(self.recorded.clone(), self.policy.clone(), Arc::clone(&self.screening));
        for call in self.recorded.open_calls.keys().copied().collect::<Vec<_>>() {
            let recovered = call_flow::step(&mut self.book, call, Input::Recovered { last_alive_at }, now);
            self.note(&recovered.expect("an open call can be recovered"));
        }
    }

    fn record(&mut self, effects: &[Effect]) {
        self.fold.note(effects);
        for effect in effects {
            let Effect::Record(record) = effect else { continue };
            self.recorded.apply(record);
            if let Record::Call(call) = record
                && matches!(call.state, CallState::Ended { .. })
            {
                self.ended.insert(call.id, (**call).clone());
            }
        }
    }

    fn dispute(&mut self, call: &str, reason: &str, now: Timestamp) -> Outcome<()> {
        let call = CallId(self.names.id(&format!("call {call}")));
        let charged = self.ended.get(&call).and_then(ChargedCall::of).ok_or("not a charged call")?;
        let (charged, reason) = (Box::new(charged), from_word(reason)?);
        self.command(Command::DisputeCall { charged, reason, note: None }, now);
        Ok(())
    }

    fn live_answer(&mut self, call: &str, bid: &str, said: LiveSaid, now: Timestamp) {
        let bid = BidProfileId(self.names.id(bid));
        self.step(call, Input::BidAnswered(LiveAnswer { bid, said }), now);
    }

    fn bid_status(&mut self, bid: &str, status: BidStatus, now: Timestamp) {
        let bid = BidProfileId(self.names.id(bid));
        self.command(Command::SetBidStatus { bid, status }, now);
    }

    fn account_status(&mut self, account: &str, status: AccountStatus, now: Timestamp) {
        let account = AccountId(self.names.id(account));
        self.command(Command::SetAccountStatus { account, status }, now);
    }

    fn step(&mut self, call: &str, input: Input, now: Timestamp) {
        let id = CallId(self.names.id(&format!("call {call}")));
        match call_flow::step(&mut self.book, id, input, now) {
            Ok(effects) => self.note(&effects),
            Err(illegal) => {
                let text = illegal.to_string().replace(&id.to_string(), call);
                let _ = writeln!(self.out, "    illegal: {text}");
            }
        }
    }

    fn command(&mut self, command: Command, now: Timestamp) {
        match self.book.apply(command, now) {
            Ok(effects) => self.note(&effects),
            Err(refused) => {
                let _ = writeln!(self.out, "    refused: {refused}");
            }
        }
    }

    fn note(&mut self, effects: &[Effect]) {
        self.record(effects);
        if effects.is_empty() {
            self.out.push_str("    nothing\n");
        }
        for effect in effects {
            let _ = writeln!(self.out, "    {}", render::effect(effect, &self.names));
        }
        assert_eq!(self.book.balances().sum(), Micros::ZERO, "the books balance after every step");
    }
}

fn set_policy(policy: &mut Policy, name: &str, value: &str) -> Outcome<()> {
    let mut json = serde_json::to_value(&*policy).map_err(|error| error.to_string())?;
    let value: serde_json::Value = serde_json::from_str(value).map_err(|error| error.to_string())?;
    let place = match name.split_once('.') {
        Some((section, name)) => &mut json[section][name],
        None => &mut json[name],
    };
    *place = value;
    *policy = serde_json::from_value(json).map_err(|error| error.to_string())?;
    Ok(())
}

fn arrival(caller: &str, called: &str, rest: &[&str]) -> Outcome<Arrival> {
    let words = Words(rest);
    Ok(Arrival {
        called: called.parse().map_err(|error| format!("{error}"))?,
        caller: CallerId::from_user_part(caller),
        trunk: "carrier".to_owned(),
        stated: Stated {
            state: words.parsed("state")?,
            zip: words.parsed("zip")?,
            language: words.parsed("language")?,
            attestation: words.parsed("attested")?,
            tags: words.tags(),
        },
    })
}

fn json_object(text: &str) -> Outcome<serde_json::Map<String, serde_json::Value>> {
    from_json(text)
}

fn from_json<T: DeserializeOwned>(text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn from_fields<T: DeserializeOwned>(fields: serde_json::Map<String, serde_json::Value>) -> Outcome<T> {
    serde_json::from_value(fields.into()).map_err(|error| error.to_string())
}

/// The rest of a line: names, each followed by its value.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn after(&self, name: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|word| *word == name)?;
        self.0.get(place + 1).copied()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.windows(2).filter(move |pair| pair[0] == name).map(|pair| pair[1])
    }

    fn price(&self) -> Outcome<Price> {
        if let Some(json) = self.after("price") {
            return from_json(json);
        }
        let pays = self.micros("pays")?.ok_or("a bid needs a price")?;
        match self.after("per_minute").and_then(|increments| increments.split_once('/')) {
            None => Ok(Price::PerCall { amount_micros: pays }),
            Some((first, next)) => Ok(Price::PerMinute {
                rate_micros: pays,
                first_increment_s: first.parse().map_err(|_| "bad increment")?,
                next_increment_s: next.parse().map_err(|_| "bad increment")?,
            }),
        }
    }

    fn criteria(&self) -> Outcome<Criteria> {
        let given: Option<Criteria> = self.after("criteria").map(from_json).transpose()?;
        let equals = self.tags().into_iter().map(|(name, value)| TagRule {
            name,
            is: TagTest::Equals(value),
            not: false,
        });
        let mut criteria = Criteria {
            origins: self.listed("origins")?,
            states: self.listed("states")?,
            area_codes: self
                .after("areas")
                .map(|codes| codes.split(',').map(|code| code.parse().unwrap_or(0)).collect())
                .unwrap_or_default(),
            zips: self.listed("zips")?,
            languages: self.listed("languages")?,
            ..given.unwrap_or_default()
        };
        criteria.tags.extend(equals);
        Ok(criteria)
    }

    fn micros(&self, name: &str) -> Outcome<Option<Micros>> {
        self.after(name).map(str::parse).transpose().map_err(|error| format!("{error}"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        self.after(name).map(str::parse).transpose().map_err(|_| format!("{name} needs a number"))
    }

    /// A value that reads as a JSON string, such as a status.
    fn parsed<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        self.after(name).map(from_word).transpose()
    }

    fn listed<T: DeserializeOwned, C: FromIterator<T> + Default>(&self, name: &str) -> Outcome<C> {
        self.after(name).map_or(Ok(C::default()), |list| list.split(',').map(from_word).collect())
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let pairs =
            self.0.windows(2).filter(|pair| pair[0] == "tag").filter_map(|pair| pair[1].split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn schedule(&self) -> Outcome<Schedule> {
        let hours = self.0.windows(3).filter(|words| words[0] == "open").map(|words| {
            let (from, to) = words[2].split_once('-').ok_or("hours need from-to")?;
            Ok(OpenHours { day: from_word(words[1])?, from: from_word(from)?, to: from_word(to)? })
        });
        let hours = hours.collect::<Outcome<Vec<_>>>()?;
        let holidays = self.listed("holidays")?;
        Ok(Schedule { time_zone: self.parsed("zone")?.unwrap_or_default(), hours, holidays })
    }
}

fn from_word<T: DeserializeOwned>(word: &str) -> Outcome<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|error| error.to_string())
}

//! The words of a case. A line is one of:
//!
//! ```text
//! # comment
//! clock 2026-07-01T15:00:00Z
//! policy route_plan_max 2                          (any number of the policy)
//! buyer acme balance 100.00 [credit 50.00] [status suspended]
//! seller leads [status pending]
//! number +18005550100 seller leads vertical roofing [floor 10.00] [share 7000] [origin outbound_transfer]
//!        [tag name=value] [inactive]
//! bid A buyer acme pays 30.00 [per_minute 30/6] [after 90] [vertical roofing] [states FL,GA] [areas 212,646]
//!     [origins organic_inbound] [tag name=value] [open mon 09:00-17:00] [zone America/New_York] [concurrent 1]
//!     [daily_calls 2] [daily_spend 60.00] [priority 2] [rings 20000] [lasts 600] [paused]
//! at 0.0 call 1 from +12125550101 to +18005550100 [state FL]
//! at 2.0 answered 1 attempt 1          | failed 1 attempt 1 busy | ring timeout 1 attempt 1
//! at 9.5 caller hangs up 1             | target hangs up 1 | peer lost 1 | max duration 1 | shutdown 1
//! at 9.5 recover 1 alive 8.0           (the exchange was last known to run at 8.0)
//! at 1.0 deposit acme 25.00 ref-1      | pause A | resume A | suspend acme | activate acme
//! ```
//!
//! Times are seconds after the clock. Marketplace lines take effect where they stand.

use crate::render;
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Criteria, Destination, Price, State};
use exchange::book::Book;
use exchange::call::{Arrival, FailureCause};
use exchange::call_flow;
use exchange::compliance::screening::Screening;
use exchange::effect::{Command, Effect, Input};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::{Currency, Micros};
use exchange::phone_number::CallerId;
use exchange::policy::Policy;
use exchange::schedule::{OpenHours, Schedule, ZoneName};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// A marketplace under test, and what came of it so far.
pub(crate) struct Script {
    book: Book,
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
            book: Book::restore(Snapshot::default(), policy, screening),
            clock: "2026-07-01T15:00:00Z".parse::<jiff::Timestamp>().expect("a time").into(),
            names: Names::default(),
            out: String::new(),
        };
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            script.line(line, &words).map_err(|problem| format!("{line}: {problem}"))?;
        }
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
            ["number", number, rest @ ..] => self.number(number, rest),
            ["bid", name, rest @ ..] => self.bid(name, rest),
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
            id,
            kind,
            name: name.to_owned(),
            status: words.parsed("status")?.unwrap_or(AccountStatus::Active),
            time_zone: ZoneName::default(),
            currency: words.parsed("currency")?.unwrap_or(Currency::USD),
            credit_limit_micros: words.micros("credit")?.unwrap_or_default(),
            opened_at: self.clock,
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

    fn number(&mut self, number: &str, rest: &[&str]) -> Outcome<()> {
        let words = Words(rest);
        let seller = words.after("seller").ok_or("a number needs a seller")?;
        let number = TrackingNumber {
            number: number.parse().map_err(|error| format!("{error}"))?,
            seller: AccountId(self.names.id(seller)),
            vertical: words.after("vertical").ok_or("a number needs a vertical")?.to_owned(),
            origin: words.parsed("origin")?.unwrap_or(CallOrigin::OrganicInbound),
            floor_micros: words.micros("floor")?.unwrap_or_default(),
            payout_basis_points: words.number("share")?.unwrap_or(7_000),
            tags: words.tags(),
            active: !words.0.contains(&"inactive"),
        };
        self.quietly(Command::PutTrackingNumber { number })
    }

    fn bid(&mut self, name: &str, rest: &[&str]) -> Outcome<()> {
        let words = Words(rest);
        let pays = words.micros("pays")?.ok_or("a bid needs a price")?;
        let price = match words.after("per_minute").and_then(|increments| increments.split_once('/')) {
            None => Price::PerCall { amount_micros: pays },
            Some((first, next)) => Price::PerMinute {
                rate_micros: pays,
                first_increment_s: first.parse().map_err(|_| "bad increment")?,
                next_increment_s: next.parse().map_err(|_| "bad increment")?,
            },
        };
        let bid = BidProfile {
            id: BidProfileId(self.names.id(name)),
            buyer: AccountId(self.names.id(words.after("buyer").ok_or("a bid needs a buyer")?)),
            name: name.to_owned(),
            status: if words.0.contains(&"paused") { BidStatus::Paused } else { BidStatus::Active },
            price,
            conversion: Conversion { min_connected_s: words.number("after")?.unwrap_or(90) },
            criteria: Criteria {
                vertical: words.after("vertical").unwrap_or("roofing").to_owned(),
                origins: words.listed("origins")?,
                states: words.listed::<State, _>("states")?,
                area_codes: words
                    .after("areas")
                    .map(|codes| codes.split(',').map(|code| code.parse().unwrap_or(0)).collect())
                    .unwrap_or_default(),
                tags: words.tags(),
            },
            schedule: words.schedule()?,
            caps: Caps {
                concurrent_calls: words.number("concurrent")?,
                daily_calls: words.number("daily_calls")?,
                daily_spend_micros: words.micros("daily_spend")?,
            },
            priority: words.number("priority")?.unwrap_or(1),
            destination: Destination {
                sip_uris: vec![format!("sip:{}@127.0.0.1:5090", name.to_lowercase())],
            },
            ring_timeout_ms: words.number("rings")?,
            max_call_s: words.number("lasts")?,
        };
        self.quietly(Command::PutBidProfile { bid: Box::new(bid) })
    }

    /// Applies a command that sets the scene, without rendering it.
    fn quietly(&mut self, command: Command) -> Outcome<()> {
        self.book.apply(command, self.clock).map(|_| ()).map_err(|refused| refused.to_string())
    }

    fn happen(&mut self, now: Timestamp, words: &[&str]) -> Outcome<()> {
        let attempt = |text: &str| text.parse::<u8>().map_err(|_| "not an attempt".to_owned());
        match *words {
            ["call", call, "from", caller, "to", called, ref rest @ ..] => {
                let arrival = Arrival {
                    called: called.parse().map_err(|error| format!("{error}"))?,
                    caller: CallerId::from_user_part(caller),
                    trunk: "carrier".to_owned(),
                    stated_state: Words(rest).parsed("state")?,
                };
                self.step(call, Input::Arrived(arrival), now);
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
            ["max", "duration", call] => self.step(call, Input::MaxDurationReached, now),
            ["shutdown", call] => self.step(call, Input::ShutDown, now),
            ["recover", call, "alive", seconds] => {
                let last_alive_at = self.after(seconds)?;
                self.step(call, Input::Recovered { last_alive_at }, now);
            }
            ["deposit", buyer, amount, reference] => {
                let account = AccountId(self.names.id(buyer));
                let amount_micros = amount.parse().map_err(|error| format!("{error}"))?;
                let reference = reference.to_owned();
                self.command(Command::Deposit { account, amount_micros, reference }, now);
            }
            ["pause", bid] => self.bid_status(bid, BidStatus::Paused, now),
            ["resume", bid] => self.bid_status(bid, BidStatus::Active, now),
            ["suspend", account] => self.account_status(account, AccountStatus::Suspended, now),
            ["activate", account] => self.account_status(account, AccountStatus::Active, now),
            _ => return Err("nothing that can happen".to_owned()),
        }
        Ok(())
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

/// The rest of a line: names, each followed by its value.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn after(&self, name: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|word| *word == name)?;
        self.0.get(place + 1).copied()
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
        Ok(Schedule { time_zone: self.parsed("zone")?.unwrap_or_default(), hours })
    }
}

fn from_word<T: DeserializeOwned>(word: &str) -> Outcome<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).map_err(|error| error.to_string())
}

//! Reservations in Redis: what `dce.lua` is asked, and how a buyer is written there.

use super::{Redis, library};
use crate::coordination::CoordinationError;
use crate::coordination::reservation::{
    BuyerFigures, Ended, InUse, OpenReservation, Reservation, ReservationKey, Reserved, Shortage,
};
use exchange::account::AccountKind;
use exchange::bid::caps::{Limit, Pacing, Period};
use exchange::id::{AccountId, CallId};
use exchange::ledger::balances::InsufficientFunds;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use exchange::schedule::LocalTime;
use exchange::snapshot::Snapshot;
use exchange::usage::{CapOwner, CapReached, Counted, Periods, Taken};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// The most that can be counted exactly in a double.
pub(in crate::coordination) const MICROS_MAX: i64 = (1 << 53) - 1;

/// A number, or the word for none.
const NONE: &str = "-";

impl Redis {
    pub(in crate::coordination) async fn reserve(
        &self,
        wanted: &Reservation<'_>,
    ) -> Result<Reserved, CoordinationError> {
        let Reservation { key, node, bid, group, credit_limit, hold, now, ref local } = *wanted;
        let Some(epoch) = self.epoch() else { return Ok(Reserved::NotReady) };
        let mut call = library::call("reserve", &self.keys(bid.buyer, &key));
        call.arg(epoch.get()).arg(key.to_string()).arg(node.to_string());
        call.arg(countable(hold)?).arg(clamped(credit_limit.0));
        call.arg(bid.id.to_string()).arg(four(Periods::at(local)));
        call.arg(number(bid.caps.concurrent_calls_at(local))).arg(limits(&bid.caps.limits));
        call.arg(released(wanted));
        match group {
            None => call.arg("").arg("").arg("").arg(""),
            Some(group) => {
                let group_local = LocalTime::at(now, &group.time_zone.time_zone());
                call.arg(group.id.to_string()).arg(four(Periods::at(&group_local)));
                call.arg(number(group.concurrent_calls)).arg(limits(&group.limits))
            }
        };
        let answer: Vec<String> = self.link.query(&call).await?;
        let words: Vec<&str> = answer.iter().map(String::as_str).collect();
        Ok(match words[..] {
            ["granted", taken] => {
                let open = read_open(bid.buyer, key, taken).ok_or_else(|| unreadable(taken))?;
                Reserved::Granted(open.counted)
            }
            ["refused", "funds", available] => {
                let available: i64 = available.parse().map_err(|_| unreadable(available))?;
                let available = Micros(available.saturating_add(credit_limit.0));
                Reserved::Refused(Shortage::Funds(InsufficientFunds { needed: hold, available }))
            }
            ["refused", cap] => {
                Reserved::Refused(Shortage::Cap(read_cap(cap).ok_or_else(|| unreadable(cap))?))
            }
            ["over"] => Reserved::Over,
            ["not_ready"] => Reserved::NotReady,
            _ => return Err(unreadable(&answer.join(" "))),
        })
    }

    pub(in crate::coordination) async fn release(
        &self,
        buyer: AccountId,
        key: ReservationKey,
    ) -> Result<Ended, CoordinationError> {
        let mut call = library::call("finish", &self.keys(buyer, &key));
        call.arg(key.to_string()).arg("release").arg(NONE);
        self.ended(&call).await
    }

    pub(in crate::coordination) async fn finish(
        &self,
        buyer: AccountId,
        key: ReservationKey,
        spent: Option<Micros>,
    ) -> Result<Ended, CoordinationError> {
        let spent = spent.map(countable).transpose()?;
        let mut call = library::call("finish", &self.keys(buyer, &key));
        call.arg(key.to_string()).arg("finish").arg(number(spent));
        self.ended(&call).await
    }

    pub(in crate::coordination) async fn give_back_spend(
        &self,
        ended: &OpenReservation,
        unspent: Micros,
    ) -> Result<Ended, CoordinationError> {
        let keys = self.keys(ended.buyer, &format_args!("{}:rest", ended.key));
        let mut call = library::call("give_back_spend", &keys);
        call.arg(written_open(ended)).arg(countable(unspent)?);
        self.ended(&call).await
    }

    pub(in crate::coordination) async fn deposit(
        &self,
        buyer: AccountId,
        amount: Micros,
        reference: &str,
    ) -> Result<Ended, CoordinationError> {
        let mut call = library::call("deposit", &self.keys(buyer, &format_args!("deposit:{reference}")));
        call.arg(countable(amount)?);
        self.ended(&call).await
    }

    pub(in crate::coordination) async fn open_buyer(
        &self,
        buyer: AccountId,
    ) -> Result<(), CoordinationError> {
        // Before the first epoch there is nothing to add a buyer to.
        let Some(epoch) = self.epoch() else { return Ok(()) };
        let mut call = library::call("open", &[self.buyer(buyer)]);
        call.arg(epoch.get());
        self.link.query::<String>(&call).await.map(|_| ())
    }

    /// Loads buyer after buyer, then says that all of them are there.
    pub(in crate::coordination) async fn rebuild(
        &self,
        snapshot: &Snapshot,
        epoch: NonZeroU64,
        node_of: &impl Fn(CallId) -> Uuid,
    ) -> Result<(), CoordinationError> {
        for (buyer, fields) in buyers(snapshot, node_of)? {
            self.load(self.buyer(buyer), epoch, fields).await?;
        }
        self.load(self.epoch_key(), epoch, BTreeMap::new()).await?;
        self.epoch.store(epoch.get(), Ordering::Release);
        Ok(())
    }

    async fn load(
        &self,
        key: String,
        epoch: NonZeroU64,
        fields: BTreeMap<String, String>,
    ) -> Result<(), CoordinationError> {
        let mut call = library::call("load", &[key]);
        call.arg(epoch.get());
        for (field, value) in fields {
            call.arg(field).arg(value);
        }
        match self.link.query::<String>(&call).await?.as_str() {
            "stale" => Err(CoordinationError::StaleEpoch { epoch }),
            _ => Ok(()),
        }
    }

    pub(in crate::coordination) async fn join(&self) -> Result<Option<NonZeroU64>, CoordinationError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.epoch_key()).arg("epoch");
        let epoch = self.link.query::<Option<u64>>(&get).await?.unwrap_or_default();
        self.epoch.store(epoch, Ordering::Release);
        Ok(NonZeroU64::new(epoch))
    }

    pub(in crate::coordination) async fn figures(
        &self,
        buyer: AccountId,
    ) -> Result<Option<BuyerFigures>, CoordinationError> {
        let mut all = redis::cmd("HGETALL");
        all.arg(self.buyer(buyer));
        let fields: BTreeMap<String, String> = self.link.query(&all).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let mut figures = BuyerFigures::default();
        for (field, value) in &fields {
            read_field(&mut figures, buyer, field, value)
                .ok_or_else(|| unreadable(&format!("{field} {value}")))?;
        }
        figures.in_use.retain(|_, in_use| *in_use != InUse::default());
        figures.open.sort_by_key(|open| open.key);
        Ok(Some(figures))
    }

    pub(in crate::coordination) async fn erase(
        &self,
        buyers: impl IntoIterator<Item = AccountId>,
    ) -> Result<(), CoordinationError> {
        let keys = buyers.into_iter().map(|buyer| self.buyer(buyer));
        for key in keys.chain([self.epoch_key(), self.yardstick()]) {
            self.link.query::<u64>(redis::cmd("DEL").arg(key)).await?;
        }
        self.epoch.store(0, Ordering::Release);
        Ok(())
    }

    async fn ended(&self, call: &redis::Cmd) -> Result<Ended, CoordinationError> {
        let answer: String = self.link.query(call).await?;
        match answer.as_str() {
            "done" => Ok(Ended::Done),
            "already" => Ok(Ended::Already),
            "unknown" => Ok(Ended::Unknown),
            other => Err(unreadable(other)),
        }
    }

    fn buyer(&self, buyer: AccountId) -> String {
        format!("{}:{{{buyer}}}", self.key_prefix)
    }

    /// A buyer, and where it is noted that something of its has ended.
    fn keys(&self, buyer: AccountId, what: &impl Display) -> [String; 2] {
        let buyer = self.buyer(buyer);
        let ended = format!("{buyer}:ended:{what}");
        [buyer, ended]
    }

    fn epoch_key(&self) -> String {
        format!("{}:epoch", self.key_prefix)
    }
}

fn unreadable(text: &str) -> CoordinationError {
    CoordinationError::Refuses { finding: format!("'{text}' is not what this version of dce writes") }
}

fn countable(amount: Micros) -> Result<i64, CoordinationError> {
    let micros = amount.0;
    let is_countable = (-MICROS_MAX..=MICROS_MAX).contains(&micros);
    if is_countable { Ok(micros) } else { Err(CoordinationError::TooMuchMoney { micros }) }
}

/// A limit that is beyond all that can be counted is as good as the largest that is not.
fn clamped(micros: i64) -> i64 {
    micros.clamp(-MICROS_MAX, MICROS_MAX)
}

fn number(figure: Option<impl Display>) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| figure.to_string())
}

fn four(Periods { hour, day, week, month }: Periods) -> String {
    format!("{hour} {day} {week} {month}")
}

fn place(period: Period) -> u8 {
    match period {
        Period::Hour => 1,
        Period::Day => 2,
        Period::Week => 3,
        Period::Month => 4,
        Period::Total => 5,
    }
}

/// Period, calls, conversions and spend of each limit.
fn limits(limits: &[Limit]) -> String {
    limits.iter().fold(String::new(), |mut text, limit| {
        let spend = limit.spend_micros.map(|cap| clamped(cap.0));
        let (calls, conversions) = (number(limit.calls), number(limit.conversions));
        let _ = write!(text, "{} {calls} {conversions} {} ", place(limit.per), number(spend));
        text
    })
}

/// Calls, conversions and spend that are released of each of the day's limits, if the bid is paced.
fn released(wanted: &Reservation<'_>) -> String {
    let Reservation { bid, local, .. } = wanted;
    if bid.caps.pacing != Pacing::Even {
        return String::new();
    }
    let so_far = |cap: i64| clamped(bid.schedule.released(local, cap));
    let daily = bid.caps.limits.iter().filter(|limit| limit.per == Period::Day);
    daily.fold(String::new(), |mut text, limit| {
        let calls = number(limit.calls.map(|cap| so_far(cap.into())));
        let conversions = number(limit.conversions.map(|cap| so_far(cap.into())));
        let spend = number(limit.spend_micros.map(|cap| so_far(cap.0)));
        let _ = write!(text, "{calls} {conversions} {spend} ");
        text
    })
}

fn read_cap(word: &str) -> Option<CapReached> {
    Some(match word {
        "concurrent_calls" => CapReached::ConcurrentCalls,
        "calls" => CapReached::Calls,
        "conversions" => CapReached::Conversions,
        "spend" => CapReached::Spend,
        "paced" => CapReached::Paced,
        "group" => CapReached::Group,
        _ => return None,
    })
}

/// Every buyer's fields as of a snapshot.
fn buyers(
    snapshot: &Snapshot,
    node_of: &impl Fn(CallId) -> Uuid,
) -> Result<BTreeMap<AccountId, BTreeMap<String, String>>, CoordinationError> {
    let mut buyers: BTreeMap<AccountId, Loaded> = BTreeMap::new();
    for account in snapshot.accounts.values().filter(|account| account.kind == AccountKind::Buyer) {
        let available = snapshot.balances.get(&LedgerAccount::Available(account.id)).copied();
        let available = countable(available.unwrap_or_default())?;
        buyers.insert(account.id, Loaded { available, ..Loaded::default() });
    }
    for usage in snapshot.usage.values() {
        let buyer = match usage.owner {
            CapOwner::Bid(id) => snapshot.bid_profiles.get(&id).map(|bid| bid.buyer),
            CapOwner::Group(id) => snapshot.cap_groups.get(&id).map(|group| group.buyer),
        };
        if let Some(loaded) = buyer.and_then(|buyer| buyers.get_mut(&buyer)) {
            loaded.in_use.entry(usage.owner).or_default().taken = usage.taken;
        }
    }
    for call in snapshot.open_calls.values() {
        let Some(open) = OpenReservation::of(call, node_of(call.id)) else { continue };
        let Some(loaded) = buyers.get_mut(&open.buyer) else { continue };
        let group = open.counted.group.map(|(id, _)| CapOwner::Group(id));
        for owner in [Some(CapOwner::Bid(open.bid)), group].into_iter().flatten() {
            loaded.in_use.entry(owner).or_default().concurrent_calls += 1;
        }
        loaded.open.push(open);
    }
    Ok(buyers.into_iter().map(|(buyer, loaded)| (buyer, loaded.fields())).collect())
}

/// A buyer to be written.
#[derive(Default)]
struct Loaded {
    available: i64,
    in_use: BTreeMap<CapOwner, InUse>,
    open: Vec<OpenReservation>,
}

impl Loaded {
    fn fields(self) -> BTreeMap<String, String> {
        let available = [("available".to_owned(), self.available.to_string())];
        let in_use = self.in_use.iter().map(|(owner, in_use)| (owner_field(*owner), written_use(in_use)));
        let open = self.open.iter().map(|open| (format!("o:{}", open.key), written_open(open)));
        available.into_iter().chain(in_use).chain(open).collect()
    }
}

fn owner_field(owner: CapOwner) -> String {
    match owner {
        CapOwner::Bid(id) => format!("b:{id}"),
        CapOwner::Group(id) => format!("g:{id}"),
    }
}

fn written_use(in_use: &InUse) -> String {
    in_use.taken.iter().fold(in_use.concurrent_calls.to_string(), |mut text, taken| {
        let Taken { number, calls, conversions, spend_micros } = taken;
        let _ = write!(text, " {number} {calls} {conversions} {}", spend_micros.0);
        text
    })
}

fn read_use(text: &str) -> Option<InUse> {
    let mut words = text.split(' ');
    let concurrent_calls = words.next()?.parse().ok()?;
    let mut taken = [Taken::default(); 5];
    for period in &mut taken {
        *period = Taken {
            number: words.next()?.parse().ok()?,
            calls: words.next()?.parse().ok()?,
            conversions: words.next()?.parse().ok()?,
            spend_micros: Micros(words.next()?.parse().ok()?),
        };
    }
    Some(InUse { concurrent_calls, taken })
}

/// Node, hold, bid, its periods; then the group and its periods, if there is one.
fn written_open(open: &OpenReservation) -> String {
    let OpenReservation { node, bid, hold, counted, .. } = open;
    let mut text = format!("{node} {} {bid} {}", hold.0, four(counted.bid));
    if let Some((group, periods)) = counted.group {
        let _ = write!(text, " {group} {}", four(periods));
    }
    text
}

fn read_open(buyer: AccountId, key: ReservationKey, text: &str) -> Option<OpenReservation> {
    let words: Vec<&str> = text.split(' ').collect();
    let periods = |words: &[&str]| {
        let [hour, day, week, month] = words.get(..4)? else { return None };
        Some(Periods {
            hour: hour.parse().ok()?,
            day: day.parse().ok()?,
            week: week.parse().ok()?,
            month: month.parse().ok()?,
        })
    };
    let group = match words.get(7) {
        None => None,
        Some(group) => Some((group.parse().ok()?, periods(&words[8..])?)),
    };
    Some(OpenReservation {
        key,
        node: words.first()?.parse().ok()?,
        buyer,
        bid: words.get(2)?.parse().ok()?,
        hold: Micros(words.get(1)?.parse().ok()?),
        counted: Counted { bid: periods(words.get(3..)?)?, group },
    })
}

/// Takes in one field of a buyer; `None` cannot be read.
fn read_field(figures: &mut BuyerFigures, buyer: AccountId, field: &str, value: &str) -> Option<()> {
    match field.split_once(':').unwrap_or((field, "")) {
        ("epoch", "") => {}
        ("available", "") => figures.available = Micros(value.parse().ok()?),
        ("b", id) => {
            figures.in_use.insert(CapOwner::Bid(id.parse().ok()?), read_use(value)?);
        }
        ("g", id) => {
            figures.in_use.insert(CapOwner::Group(id.parse().ok()?), read_use(value)?);
        }
        ("o", key) => {
            let (call, attempt) = key.rsplit_once(':')?;
            let key = ReservationKey { call: call.parse().ok()?, attempt: attempt.parse().ok()? };
            figures.open.push(read_open(buyer, key, value)?);
        }
        _ => return None,
    }
    Some(())
}

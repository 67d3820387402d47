//! Session timers (RFC 4028): a leg whose peer vanished without a word ends, and so does its bill.

use crate::field::{Params, read_number};
use crate::header::{Headers, Name};
use exchange::time::Timestamp;

/// Who refreshes, in the words of one transaction: its client or its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresher {
    /// Whoever sent the request.
    Uac,
    /// Whoever answers it.
    Uas,
}

/// A `Session-Expires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval, in seconds.
    pub interval_s: u32,
    /// Who refreshes, if it says so.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads the field; `None` if there is none or it is malformed.
    pub fn of(headers: &Headers) -> Option<Self> {
        let value = headers.get(Name::SessionExpires)?;
        let (interval, params) = value.split_once(';').unwrap_or((value, ""));
        let refresher = match Params::parse(params).ok()?.get("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(Self { interval_s: read_number(interval.trim())?, refresher })
    }
}

/// The session timer of one leg.
#[derive(Debug, Clone)]
pub struct SessionTimer {
    interval_s: u32,
    we_refresh: bool,
    refresh_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// What a leg's timer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerDue {
    /// Send a refresh.
    Refresh,
    /// The peer is gone.
    Expired,
}

impl SessionTimer {
    /// A timer not yet running, with the interval we offer.
    pub fn new(interval_s: u32) -> Self {
        Self { interval_s, we_refresh: true, refresh_at: None, expires_at: None }
    }

    /// The interval we offer or agreed to.
    pub fn interval_s(&self) -> u32 {
        self.interval_s
    }

    /// Our offer in a request of ours: we refresh unless the peer already does.
    pub fn offer(&self) -> String {
        format!("{};refresher={}", self.interval_s, if self.we_refresh { "uac" } else { "uas" })
    }

    /// The peer demands at least this.
    pub fn raise_to(&mut self, min_se_s: u32) {
        self.interval_s = self.interval_s.max(min_se_s);
    }

    /// Settles on a request of the peer, and gives the `Session-Expires` of our 2xx (section 9): the peer's interval if
    /// shorter than ours, and we refresh unless the peer says that it will.
    pub fn answer(&mut self, request: &Headers, offered_s: u32, now: Timestamp) -> String {
        let supports = request.lists(Name::Supported, "timer");
        let wish = SessionExpires::of(request).filter(|_| supports);
        let floor_s = request.get(Name::MinSe).and_then(read_number).unwrap_or(0);
        self.interval_s = wish.map_or(offered_s, |wish| wish.interval_s.min(offered_s.max(floor_s)));
        self.we_refresh = wish.and_then(|wish| wish.refresher) != Some(Refresher::Uac);
        self.restart(now);
        format!("{};refresher={}", self.interval_s, if self.we_refresh { "uas" } else { "uac" })
    }

    /// Settles on the peer's 2xx to a request of ours (section 7.2). A peer without session timers is refreshed by us.
    pub fn settle(&mut self, response: &Headers, now: Timestamp) {
        match SessionExpires::of(response) {
            Some(settled) => {
                self.interval_s = settled.interval_s.max(1);
                self.we_refresh = settled.refresher != Some(Refresher::Uas);
            }
            None => self.we_refresh = true,
        }
        self.restart(now);
    }

    /// Starts over: a refresh went through.
    fn restart(&mut self, now: Timestamp) {
        let interval_ms = u64::from(self.interval_s) * 1_000;
        self.refresh_at = self.we_refresh.then(|| now.plus_ms(interval_ms / 2));
        // Section 10: whoever waits for a refresh gives up a little before the end, so that its BYE comes in time.
        let early_ms = if self.we_refresh { 0 } else { (interval_ms / 3).min(32_000) };
        self.expires_at = Some(now.plus_ms(interval_ms - early_ms));
    }

    /// A refresh failed for now: try again in a while, the end stays where it is.
    pub fn retry_refresh(&mut self, after_ms: u64, now: Timestamp) {
        self.refresh_at = Some(now.plus_ms(after_ms));
    }

    /// No timer any more.
    pub fn stop(&mut self) {
        (self.refresh_at, self.expires_at) = (None, None);
    }

    /// When to look again.
    pub fn next(&self) -> Option<Timestamp> {
        self.refresh_at.into_iter().chain(self.expires_at).min()
    }

    /// What is due. A refresh is asked for once.
    pub fn take_due(&mut self, now: Timestamp) -> Option<TimerDue> {
        if self.expires_at.is_some_and(|at| at <= now) {
            self.stop();
            return Some(TimerDue::Expired);
        }
        let due = self.refresh_at.is_some_and(|at| at <= now);
        if due {
            self.refresh_at = None;
        }
        due.then_some(TimerDue::Refresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(Name, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(*name, value);
        }
        headers
    }

    #[test]
    fn answers_by_table_2_of_rfc_4028() {
        let timer = (Name::Supported, "timer");
        let cases: [(&[(Name, &str)], &str); 7] = [
            (&[], "1800;refresher=uas"),
            (&[timer], "1800;refresher=uas"),
            (&[timer, (Name::SessionExpires, "600")], "600;refresher=uas"),
            (&[timer, (Name::SessionExpires, "600;refresher=uas")], "600;refresher=uas"),
            (&[timer, (Name::SessionExpires, "600;refresher=uac")], "600;refresher=uac"),
            (&[timer, (Name::SessionExpires, "7200")], "1800;refresher=uas"),
            (&[timer, (Name::SessionExpires, "7200"), (Name::MinSe, "3600")], "3600;refresher=uas"),
        ];
        for (fields, expected) in cases {
            let mut timer = SessionTimer::new(1_800);
            assert_eq!(timer.answer(&headers(fields), 1_800, Timestamp(0)), expected, "{fields:?}");
        }
    }

    #[test]
    fn refreshes_at_half_time_or_gives_up_a_third_early() {
        let at_s = |s: u64| Timestamp(0).plus_ms(s * 1_000);
        let mut ours = SessionTimer::new(90);
        ours.settle(&headers(&[(Name::SessionExpires, "90;refresher=uac")]), at_s(0));
        assert_eq!((ours.next(), ours.take_due(at_s(45))), (Some(at_s(45)), Some(TimerDue::Refresh)));
        assert_eq!((ours.next(), ours.take_due(at_s(90))), (Some(at_s(90)), Some(TimerDue::Expired)));
        let mut theirs = SessionTimer::new(90);
        theirs.settle(&headers(&[(Name::SessionExpires, "90;refresher=uas")]), at_s(0));
        assert_eq!((theirs.next(), theirs.take_due(at_s(60))), (Some(at_s(60)), Some(TimerDue::Expired)));
        assert_eq!(theirs.next(), None);
    }
}

//! The screening line: every rule a call must pass before it is auctioned, in order.

use crate::account::AccountStatus;
use crate::compliance::area_code::{AreaCodes, RuleDataError};
use crate::compliance::calling_hours::{CallingHours, Consumer};
use crate::compliance::verdict::Check;
use crate::phone_number::CallerId;
use crate::place::State;
use crate::time::Timestamp;
use crate::tracking_number::CallOrigin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the operator decides about screening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreeningPolicy {
    /// Whether callers who withhold their number are refused.
    pub refuse_anonymous: bool,
    /// The same caller again within this many milliseconds is refused; 0 refuses nobody.
    pub repeat_caller_window_ms: u64,
    /// At most this many recent callers are remembered.
    pub repeat_caller_entries_max: usize,
    /// States where an emergency is declared that bars telemarketing (Louisiana has such a law): closed to
    /// outbound calls and transfers until taken off the list.
    pub emergency_states: BTreeSet<State>,
}

impl Default for ScreeningPolicy {
    fn default() -> Self {
        Self {
            refuse_anonymous: true,
            repeat_caller_window_ms: 2_000,
            repeat_caller_entries_max: 100_000,
            emergency_states: BTreeSet::new(),
        }
    }
}

/// The policy and the law, ready to be applied.
#[derive(Debug, Clone)]
pub struct Screening {
    policy: ScreeningPolicy,
    area_codes: AreaCodes,
    calling_hours: CallingHours,
}

/// What is known about a call when it is screened.
#[derive(Debug, Clone, Copy)]
pub struct ScreeningFacts<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's state as the seller says it.
    pub stated_state: Option<State>,
    /// The standing of the seller whose number was dialled.
    pub seller_status: AccountStatus,
    /// What [`crate::fraud::repeat_caller::RepeatCaller::seen`] said of the caller.
    pub seen_ms_ago: Option<u64>,
}

impl Screening {
    /// This policy with the rules this crate ships.
    ///
    /// # Errors
    /// The first line of rule data that cannot be used.
    pub fn new(policy: ScreeningPolicy) -> Result<Self, RuleDataError> {
        let area_codes = AreaCodes::shipped()?;
        let calling_hours = CallingHours::shipped(&area_codes)?;
        Ok(Self { policy, area_codes, calling_hours })
    }

    /// The policy it applies.
    pub fn policy(&self) -> &ScreeningPolicy {
        &self.policy
    }

    /// Area codes, states and time zones.
    pub fn area_codes(&self) -> &AreaCodes {
        &self.area_codes
    }

    /// Asks every rule in order and stops at the first refusal, which is then the last of the checks. The call may
    /// go on when all of them passed.
    pub fn screen(&self, facts: &ScreeningFacts<'_>, now: Timestamp) -> Vec<Check> {
        let rules = [caller_id, seller_standing, repeat_caller, calling_hours];
        let mut checks = Vec::with_capacity(rules.len());
        for rule in rules {
            let check = rule(self, facts, now);
            let passed = check.passed;
            checks.push(check);
            if !passed {
                break;
            }
        }
        checks
    }
}

fn caller_id(screening: &Screening, facts: &ScreeningFacts<'_>, _now: Timestamp) -> Check {
    const RULE: &str = "caller_id";
    const CITATION: &str =
        "exchange policy: caller id (47 CFR 64.1601(e) requires telemarketers to send one)";
    match facts.caller {
        CallerId::Number(_) => Check::pass(RULE, "a well-formed number", CITATION),
        CallerId::Malformed => Check::refuse(RULE, "present, but not a telephone number", CITATION),
        CallerId::Anonymous if screening.policy.refuse_anonymous => Check::refuse(RULE, "withheld", CITATION),
        CallerId::Anonymous => Check::pass(RULE, "withheld, which the policy allows", CITATION),
    }
}

fn seller_standing(_screening: &Screening, facts: &ScreeningFacts<'_>, _now: Timestamp) -> Check {
    const RULE: &str = "seller_standing";
    const CITATION: &str = "exchange policy: only active sellers sell calls";
    match facts.seller_status {
        AccountStatus::Active => Check::pass(RULE, "the seller is active", CITATION),
        AccountStatus::Pending => Check::refuse(RULE, "the seller is not yet approved", CITATION),
        AccountStatus::Suspended => Check::refuse(RULE, "the seller is suspended", CITATION),
        AccountStatus::Closed => Check::refuse(RULE, "the seller's account is closed", CITATION),
    }
}

fn repeat_caller(screening: &Screening, facts: &ScreeningFacts<'_>, _now: Timestamp) -> Check {
    const RULE: &str = "repeat_caller";
    const CITATION: &str = "exchange policy: repeat_caller_window_ms";
    match facts.seen_ms_ago {
        Some(ms_ago) if ms_ago < screening.policy.repeat_caller_window_ms => {
            Check::refuse(RULE, format!("the same caller {ms_ago} ms before"), CITATION)
        }
        _ => Check::pass(RULE, "not seen within the window", CITATION),
    }
}

fn calling_hours(screening: &Screening, facts: &ScreeningFacts<'_>, now: Timestamp) -> Check {
    let consumer =
        Consumer { origin: facts.origin, number: facts.caller.number(), stated_state: facts.stated_state };
    screening.calling_hours.check(consumer, &screening.policy.emergency_states, &screening.area_codes, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line of the file is a case:
    /// `policy | user part | origin | seller | seen ms ago | verdict | rules asked, the last one's finding`.
    #[test]
    fn cases() {
        let noon: jiff::Zoned = "2026-03-10T12:00[America/New_York]".parse().expect("a time");
        let mut cases = 0;
        for line in include_str!("../../tests/cases/screening.txt")
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [policy, user, origin, seller, seen, asked, finding] = columns[..] else {
                panic!("not a case: {line}")
            };
            let quoted = |text: &str| format!("\"{text}\"");
            let screening =
                Screening::new(serde_json::from_str(policy).expect(policy)).expect("shipped rules");
            let caller = CallerId::from_user_part(user);
            let facts = ScreeningFacts {
                caller: &caller,
                origin: serde_json::from_str(&quoted(origin)).expect(origin),
                stated_state: None,
                seller_status: serde_json::from_str(&quoted(seller)).expect(seller),
                seen_ms_ago: seen.parse().ok(),
            };
            let checks = screening.screen(&facts, noon.timestamp().into());
            let outcome: Vec<String> = checks
                .iter()
                .map(|check| format!("{}{}", if check.passed { "+" } else { "-" }, check.rule))
                .collect();
            assert_eq!(outcome.join(" "), asked, "{line}\nfound {checks:?}");
            assert!(
                checks.last().is_some_and(|last| last.finding.contains(finding)),
                "{line}\nfound {checks:?}"
            );
            cases += 1;
        }
        assert!(cases > 12, "only {cases} cases were read");
    }

    #[test]
    fn an_unknown_policy_field_is_refused() {
        let error =
            serde_json::from_str::<ScreeningPolicy>(r#"{ "refuse_anonymus": false }"#).expect_err("a typo");
        assert!(error.to_string().contains("refuse_anonymus"), "{error}");
    }
}

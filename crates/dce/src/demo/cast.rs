//! Who plays what: call centres with their habits, consumers with their patience.

use crate::marketplace::Marketplace;
use fastrand::Rng;
use std::collections::HashMap;
use telephony::endpoint::{CallerPlan, TargetPlan, TargetPlans};

/// How a call centre usually behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Answers and talks until the caller has heard enough.
    Good,
    /// Answers and gets to the point: hangs up first.
    Brisk,
    /// Plays an announcement before it answers.
    EarlyMedia,
    /// Hangs up before the call is billable.
    HangsUpEarly,
    /// Busy every second time.
    Busy,
    /// Turns calls away.
    Rejects,
    /// Lets it ring.
    RingsOut,
    /// Is switched off.
    Silent,
}

/// How many of a hundred call centres have this habit.
const HABITS: [(Habit, u32); 8] = [
    (Habit::Good, 49),
    (Habit::Brisk, 19),
    (Habit::EarlyMedia, 8),
    (Habit::HangsUpEarly, 5),
    (Habit::Busy, 8),
    (Habit::Rejects, 4),
    (Habit::RingsOut, 4),
    (Habit::Silent, 3),
];

const REJECTIONS: [u16; 4] = [480, 603, 503, 404];

/// What the targets of a marketplace do. Each call centre keeps its habit.
pub(super) fn targets(marketplace: &Marketplace, seed: u64) -> TargetPlans {
    let mut rng = Rng::with_seed(seed ^ 0x7461_7267);
    let mut habits = HashMap::new();
    for uri in marketplace.bids.iter().flat_map(|bid| &bid.destination.sip_uris) {
        let user = uri.trim_start_matches("sip:").split('@').next().unwrap_or_default();
        habits.entry(user.to_owned()).or_insert_with(|| habit(rng.u32(0..100)));
    }
    Box::new(move |user| habits.get(user).map(|habit| plan(*habit, &mut rng)))
}

fn habit(mut nth: u32) -> Habit {
    for (habit, of_hundred) in HABITS {
        if nth < of_hundred {
            return habit;
        }
        nth -= of_hundred;
    }
    Habit::Good
}

fn plan(habit: Habit, rng: &mut Rng) -> TargetPlan {
    let ring_ms = rng.u64(100..1_200);
    match habit {
        Habit::Busy if rng.bool() => TargetPlan::Busy,
        Habit::Good | Habit::Busy => TargetPlan::AnswerAfter { ring_ms, talk_ms: None },
        Habit::Brisk => TargetPlan::AnswerAfter { ring_ms, talk_ms: Some(rng.u64(3_200..5_000)) },
        Habit::EarlyMedia => TargetPlan::EarlyMediaThenAnswer { ring_ms, talk_ms: None },
        Habit::HangsUpEarly => TargetPlan::AnswerAfter { ring_ms, talk_ms: Some(rng.u64(200..900)) },
        Habit::Rejects => TargetPlan::Reject { status: REJECTIONS[rng.usize(0..REJECTIONS.len())] },
        Habit::RingsOut => TargetPlan::RingForever,
        Habit::Silent => TargetPlan::Silent,
    }
}

/// What a consumer does, and whether his INVITE comes without an offer.
pub(super) fn consumer(rng: &mut Rng) -> (CallerPlan, bool) {
    let plan = match rng.u32(0..100) {
        0..6 => CallerPlan::CancelAfter { ms: rng.u64(50..900) },
        6..11 => CallerPlan::TalkFor { ms: rng.u64(200..900) },
        11..18 => CallerPlan::HoldThenTalk { before_ms: 700, hold_ms: rng.u64(300..1_500), after_ms: 1_500 },
        _ => CallerPlan::TalkFor { ms: rng.u64(2_000..6_000) },
    };
    (plan, rng.u32(0..25) == 0)
}

//! Callers and targets: what each does, as the seed says.

use exchange::phone_number::CallerId;
use fastrand::Rng;
use telephony::endpoint::{CallerPlan, TargetPlan};

/// A caller's number.
pub(super) fn caller_number(index: u32) -> String {
    let number = format!("+1212{:07}", 2_000_000 + index);
    debug_assert!(matches!(CallerId::from_user_part(&number), CallerId::Number(_)));
    number
}

pub(super) fn caller_plan(rng: &mut Rng) -> CallerPlan {
    match rng.u8(..10) {
        0 => CallerPlan::CancelAfter { ms: rng.u64(..30_000) },
        1 => CallerPlan::Vanish { after_ms: rng.u64(..60_000) },
        2 => CallerPlan::HoldThenTalk {
            before_ms: rng.u64(..5_000),
            hold_ms: rng.u64(..5_000),
            after_ms: rng.u64(..60_000),
        },
        _ => CallerPlan::TalkFor { ms: rng.u64(..300_000) },
    }
}

pub(super) fn target_plan(rng: &mut Rng) -> TargetPlan {
    let ring_ms = rng.u64(..15_000);
    let talk_ms = rng.bool().then(|| rng.u64(..200_000));
    match rng.u8(..12) {
        0 | 1 => TargetPlan::Busy,
        2 => TargetPlan::Reject { status: [403, 404, 480, 500, 503, 603][rng.usize(..6)] },
        3 => TargetPlan::RingForever,
        4 => TargetPlan::Silent,
        5 => TargetPlan::Vanish { ring_ms, after_ms: rng.u64(..60_000) },
        6 => TargetPlan::EarlyMediaThenAnswer { ring_ms, talk_ms },
        _ => TargetPlan::AnswerAfter { ring_ms, talk_ms },
    }
}

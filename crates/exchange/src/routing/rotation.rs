//! Taking turns: round robin and percentage.
//!
//! **Round robin**: within a priority group whoever was rung longest ago goes first; whoever was never rung before all.
//!
//! **Percentage**: after every call of a group each bid has taken its share of them, `calls * weight / weights`, give or take
//! one call. Each bid carries the place of its next call in the queue, `turn`, in units of calls divided by weight (in
//! 2^-32): a call taken moves it on by one step, `2^32 / weight`. Among the bids that are not ahead of their share, `turn <=
//! mean` (the mean of all turns by weight), the one whose call is due first, `turn + step`, is rung; behind it the others in the
//! same manner. This is "largest deficit first" with deadlines, the rule that keeps everyone within one call of its
//! share: R. Tijdeman, "The chairman assignment problem", 1980; for queues WF2Q, Bennett and Zhang, 1996.
//!
//! A bid that is new, or was closed, does not get to make up for the calls it was not there for: it joins where the others
//! are now (as in start-time fair queueing, Goyal, Vin and Cheng, 1996), see [`caught_up`].

use crate::routing::{Contender, ordered_by};

/// One call of a bid of weight 1.
const STEP: u64 = 1 << 32;

/// Priority groups; within a group whoever was rung longest ago.
pub(super) fn by_last_rung(contenders: &[Contender<'_>]) -> Vec<usize> {
    ordered_by(contenders, |_, contender| (contender.priority, contender.record.last_rung_at))
}

/// Priority groups; within a group whoever is due first among those not ahead of their share, then the rest. A weight of 0
/// goes last.
pub(super) fn by_share(contenders: &[Contender<'_>]) -> Vec<usize> {
    let turns: Vec<u64> = caught_up(contenders);
    let means = GroupMeans::of(contenders, &turns);
    ordered_by(contenders, |index, contender| {
        let (turn, weightless) = (turns[index], contender.weight == 0);
        let ahead = !weightless && means.is_ahead(contender.priority, turn);
        (contender.priority, weightless, ahead, turn.saturating_add(step(contender)))
    })
}

/// The turn that the bid at `chosen` takes when it is rung first for this call: keep it with
/// [`TrackRecord::took_turn`](crate::track_record::TrackRecord::took_turn), for the next call's percentages to go by.
pub fn turn(contenders: &[Contender<'_>], chosen: usize) -> u64 {
    caught_up(contenders)[chosen].saturating_add(step(&contenders[chosen]))
}

fn step(contender: &Contender<'_>) -> u64 {
    STEP / u64::from(contender.weight.max(1))
}

/// Every contender's turn, at least where its group is now: one step of its own before the latest call that anyone in the
/// group was given. Whoever was there all along is at most that far behind, so this changes nothing for them.
fn caught_up(contenders: &[Contender<'_>]) -> Vec<u64> {
    let mut latest = [0_u64; 256];
    for contender in contenders.iter().filter(|contender| contender.weight > 0) {
        let group = &mut latest[usize::from(contender.priority)];
        *group = (*group).max(contender.record.turn.saturating_sub(step(contender)));
    }
    let caught_up = contenders.iter().map(|contender| {
        let now = latest[usize::from(contender.priority)];
        contender.record.turn.max(now.saturating_sub(step(contender)))
    });
    caught_up.collect()
}

/// The mean turn of every priority group, as a sum and what to divide it by.
struct GroupMeans {
    sums: Vec<(u128, u128)>,
}

impl GroupMeans {
    fn of(contenders: &[Contender<'_>], turns: &[u64]) -> Self {
        let mut sums = vec![(0, 0); 256];
        for (contender, turn) in contenders.iter().zip(turns) {
            let (sum, weights) = &mut sums[usize::from(contender.priority)];
            *sum += u128::from(*turn) * u128::from(contender.weight);
            *weights += u128::from(contender.weight);
        }
        Self { sums }
    }

    fn is_ahead(&self, priority: u8, turn: u64) -> bool {
        let (sum, weights) = self.sums[usize::from(priority)];
        u128::from(turn) * weights > sum
    }
}

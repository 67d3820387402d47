//! From what consumers made of events to rows.

use super::rows::{WriteError, run, write_cursor};
use crate::store::consumers::roll_up_row;
use crate::store::{Effect, LetterId};
use exchange::analytics::roll_up::FIGURES;
use rusqlite::{Connection, params_from_iter};
use std::sync::LazyLock;

/// Adds to a row, or makes it.
static ADD_ROLL_UP: LazyLock<String> = LazyLock::new(|| {
    let values: Vec<String> = (1..=4 + FIGURES.len()).map(|place| format!("?{place}")).collect();
    let sums: Vec<String> =
        FIGURES.iter().map(|figure| format!("{figure} = roll_ups.{figure} + excluded.{figure}")).collect();
    format!(
        "INSERT INTO roll_ups (hour, seller, buyer, vertical, {}) VALUES ({})
         ON CONFLICT (hour, seller, buyer, vertical) DO UPDATE SET {}",
        FIGURES.join(", "),
        values.join(", "),
        sums.join(", ")
    )
});

/// Writes what some events came to.
pub(super) fn write_effect(connection: &Connection, effect: &Effect) -> Result<(), WriteError> {
    let Effect { place, roll_ups, letters } = effect;
    if let Some((name, seq)) = place {
        write_cursor(connection, name, *seq)?;
    }
    for (key, figures) in roll_ups {
        run(connection, "roll-up", &ADD_ROLL_UP, params_from_iter(roll_up_row(key, figures)))?;
    }
    let sql =
        "INSERT INTO dead_letters (consumer, seq, times, state, put_at, finding, type, subject, at, data)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (consumer, seq) DO UPDATE SET times = excluded.times, state = excluded.state,
                   put_at = excluded.put_at, finding = excluded.finding";
    letters.iter().try_for_each(|letter| run(connection, "dead letter", sql, params_from_iter(letter.row()?)))
}

/// Notes which dead letters are to be given again.
pub(super) fn write_replays(connection: &Connection, letters: &[LetterId]) -> Result<(), WriteError> {
    let sql = "INSERT INTO replays (consumer, seq, times) VALUES (?1, ?2, ?3)
               ON CONFLICT (consumer, seq) DO UPDATE SET times = excluded.times";
    letters.iter().try_for_each(|letter| run(connection, "replay", sql, params_from_iter(letter.row())))
}

//! Analytics: facts become roll-ups.

pub mod roll_up;

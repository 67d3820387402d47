//! Where buyers want calls from: states that one call centre serves, and the time zone it works in.

use exchange::place::State;

/// States served together.
pub(super) struct Region {
    pub(super) name: &'static str,
    pub(super) states: &'static [&'static str],
    pub(super) time_zone: &'static str,
}

pub(super) const REGIONS: [Region; 11] = [
    Region {
        name: "Northeast",
        states: &["NY", "NJ", "CT", "MA", "RI", "NH", "VT", "ME"],
        time_zone: "America/New_York",
    },
    Region {
        name: "Mid-Atlantic",
        states: &["PA", "MD", "DE", "VA", "WV", "DC"],
        time_zone: "America/New_York",
    },
    Region { name: "Southeast", states: &["NC", "SC", "GA"], time_zone: "America/New_York" },
    Region { name: "Florida", states: &["FL"], time_zone: "America/New_York" },
    Region { name: "Gulf", states: &["AL", "MS", "LA", "TN", "AR", "KY"], time_zone: "America/Chicago" },
    Region { name: "Texas", states: &["TX", "OK"], time_zone: "America/Chicago" },
    Region { name: "Great Lakes", states: &["OH", "MI", "IN", "IL", "WI"], time_zone: "America/Detroit" },
    Region {
        name: "Plains",
        states: &["MN", "IA", "MO", "KS", "NE", "SD", "ND"],
        time_zone: "America/Chicago",
    },
    Region { name: "Mountain", states: &["CO", "UT", "NM", "WY", "MT", "ID"], time_zone: "America/Denver" },
    Region { name: "Desert", states: &["AZ", "NV"], time_zone: "America/Phoenix" },
    Region { name: "Pacific", states: &["CA", "WA", "OR"], time_zone: "America/Los_Angeles" },
];

/// The region a state is in; territories, Alaska and Hawaii are in none.
pub(super) fn of(state: State) -> Option<&'static Region> {
    let code = state.to_string();
    REGIONS.iter().find(|region| region.states.contains(&code.as_str()))
}

//! Places: states, ZIP codes, and languages as short codes that copy like numbers; and how far ZIP codes are apart.

mod zip_states;

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// A United States state, territory, or Canadian province: two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "FL"))]
#[serde(try_from = "String", into = "String")]
pub struct State([u8; 2]);

impl TryFrom<String> for State {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let state = text.as_bytes().try_into().ok().and_then(Self::of_letters);
        state.ok_or_else(|| format!("'{text}' is not a state; write two capital letters such as FL"))
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.to_string()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("two ASCII capitals"))
    }
}

/// The fifty states, the District of Columbia, the territories, and Canada's provinces and territories, by their postal codes
/// (USPS Publication 28, Canada Post), ascending.
const STATES: [&[u8; 2]; 69] = [
    b"AB", b"AK", b"AL", b"AR", b"AS", b"AZ", b"BC", b"CA", b"CO", b"CT", b"DC", b"DE", b"FL", b"GA", b"GU",
    b"HI", b"IA", b"ID", b"IL", b"IN", b"KS", b"KY", b"LA", b"MA", b"MB", b"MD", b"ME", b"MI", b"MN", b"MO",
    b"MP", b"MS", b"MT", b"NB", b"NC", b"ND", b"NE", b"NH", b"NJ", b"NL", b"NM", b"NS", b"NT", b"NU", b"NV",
    b"NY", b"OH", b"OK", b"ON", b"OR", b"PA", b"PE", b"PR", b"QC", b"RI", b"SC", b"SD", b"SK", b"TN", b"TX",
    b"UT", b"VA", b"VI", b"VT", b"WA", b"WI", b"WV", b"WY", b"YT",
];

impl State {
    /// Whether there is such a state, territory or province. Two other letters are no error in what was stored before this was
    /// asked.
    pub fn is_known(self) -> bool {
        STATES.binary_search(&&self.0).is_ok()
    }

    /// A number below 676 that no other has.
    pub fn number(self) -> usize {
        letters(self.0, b'A')
    }

    pub(crate) fn letters(self) -> [u8; 2] {
        self.0
    }

    /// The state that these letters stand for, if they are capitals.
    pub(crate) fn of_letters(letters: [u8; 2]) -> Option<Self> {
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }
}

/// Two letters as a number below 676.
fn letters([first, second]: [u8; 2], a: u8) -> usize {
    usize::from(first - a) * 26 + usize::from(second - a)
}

/// A language: two small letters (ISO 639-1), such as `es`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "es"))]
#[serde(try_from = "String", into = "String")]
pub struct Language([u8; 2]);

impl TryFrom<String> for Language {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let language = text.as_bytes().try_into().ok().and_then(Self::of_letters);
        language.ok_or_else(|| format!("'{text}' is not a language; write two small letters such as es"))
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.to_string()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("two ASCII small letters"))
    }
}

impl Language {
    /// A number below 676 that no other has.
    pub fn number(self) -> usize {
        letters(self.0, b'a')
    }

    pub(crate) fn letters(self) -> [u8; 2] {
        self.0
    }

    /// The language that these letters stand for, if they are small ones.
    pub(crate) fn of_letters(letters: [u8; 2]) -> Option<Self> {
        letters.iter().all(u8::is_ascii_lowercase).then_some(Self(letters))
    }
}

/// A five-digit ZIP code of the United States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "33101"))]
#[serde(try_from = "String", into = "String")]
pub struct Zip(u32);

impl TryFrom<String> for Zip {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let zip = text.parse().ok().filter(|_| digits).and_then(Self::of_number);
        zip.ok_or_else(|| format!("'{text}' is not a ZIP code; write five digits such as 33101"))
    }
}

impl From<Zip> for String {
    fn from(zip: Zip) -> Self {
        zip.to_string()
    }
}

impl Zip {
    /// Its digits as a number, 0 to 99,999.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The ZIP code with these digits, if they are no more than five.
    pub(crate) fn of_number(number: u32) -> Option<Self> {
        (number < 100_000).then_some(Self(number))
    }
}

impl fmt::Display for Zip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}", self.0)
    }
}

/// Every ZIP code on the map, ascending, 8 bytes each; made as `data/README.md` says.
static MAP: &[u8] = include_bytes!("../data/zip_codes.bin");

/// Bytes of one ZIP code on the map.
const MAP_ROW_BYTES: usize = 8;

/// Mean radius of the earth in miles (6,371.0088 km; IUGG).
const EARTH_RADIUS_MILES: f64 = 3_958.761_3;

/// Miles along the earth's surface between the centres of two ZIP codes, taking the earth for a sphere (haversine formula;
/// Sinnott, "Virtues of the haversine", 1984): within 0.6 % of the ellipsoid. `None` if one of them is not on the map.
pub fn distance_miles(a: Zip, b: Zip) -> Option<f64> {
    let (from, to) = (Centre::of(a)?, Centre::of(b)?);
    let half_sine = |angle: f64| (angle / 2.0).sin().powi(2);
    let haversine = half_sine(to.latitude - from.latitude)
        + from.latitude.cos() * to.latitude.cos() * half_sine(to.longitude - from.longitude);
    Some(2.0 * EARTH_RADIUS_MILES * haversine.sqrt().min(1.0).asin())
}

/// Whether the ZIP code is on the map.
pub fn is_known(zip: Zip) -> bool {
    Centre::of(zip).is_some()
}

/// The middle of a ZIP code, in radians.
struct Centre {
    latitude: f64,
    longitude: f64,
}

impl Centre {
    /// Looks it up on the map, in place: about 16 reads.
    fn of(zip: Zip) -> Option<Self> {
        let (mut from, mut to) = (0, MAP.len() / MAP_ROW_BYTES);
        while from < to {
            let middle = from.midpoint(to);
            let (number, centre) = Self::row(middle)?;
            match number.cmp(&zip.0) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(centre),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// One row of the map: 21 bits of ZIP code, 21 of latitude + 90 degrees, 22 of longitude + 180 degrees, both in ten-thousandths.
    fn row(index: usize) -> Option<(u32, Self)> {
        let (rows, _) = MAP.as_chunks::<MAP_ROW_BYTES>();
        let row = u64::from_le_bytes(*rows.get(index)?);
        let degrees = |field: u64| (field as f64) / 10_000.0;
        let latitude = degrees((row >> 22) & 0x1f_ffff) - 90.0;
        let longitude = degrees(row & 0x3f_ffff) - 180.0;
        let centre = Self { latitude: latitude.to_radians(), longitude: longitude.to_radians() };
        Some(((row >> 43) as u32, centre))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip(text: &str) -> Zip {
        Zip::try_from(text.to_owned()).expect("a ZIP code")
    }

    #[test]
    fn distances_between_known_places() {
        // One ZIP code, another, miles between their centres on the WGS 84 ellipsoid (Vincenty's formula).
        let cases = [
            ("33101", "33139", 2.94),     // Miami, Miami Beach
            ("33101", "33301", 23.92),    // Miami, Fort Lauderdale
            ("60601", "60614", 2.91),     // Chicago: the Loop, Lincoln Park
            ("00501", "10001", 50.14),    // a single building in Holtsville, New York
            ("10001", "90001", 2_453.73), // New York, Los Angeles
            ("99950", "96701", 2_705.65), // Ketchikan, Aiea
            ("96910", "10001", 7_956.60), // Guam, New York: across the date line
            ("33101", "33101", 0.0),
        ];
        for (from, to, miles) in cases {
            for (a, b) in [(from, to), (to, from)] {
                let found = distance_miles(zip(a), zip(b)).expect("on the map");
                assert!((found - miles).abs() <= 0.006 * miles, "{a} to {b}: {found}");
            }
        }
    }

    #[test]
    fn what_is_not_on_the_map_has_no_distance() {
        for unknown in ["00000", "99999", "09001"] {
            assert_eq!(distance_miles(zip(unknown), zip("10001")), None);
            assert_eq!(distance_miles(zip("10001"), zip(unknown)), None);
            assert!(!is_known(zip(unknown)) && is_known(zip("10001")));
        }
    }

    #[test]
    fn the_states_are_those_that_area_codes_lie_in() {
        let codes =
            include_str!("../data/area_codes.csv").lines().filter(|line| !line.starts_with('#')).skip(1);
        let lie_in: std::collections::BTreeSet<&str> =
            codes.filter_map(|line| line.split(',').nth(2)).flat_map(str::split_whitespace).collect();
        let known: Vec<String> = STATES.iter().map(|code| State(**code).to_string()).collect();
        assert_eq!(known, lie_in.into_iter().collect::<Vec<_>>());
        let state = |text: &str| State::try_from(text.to_owned()).expect("two letters");
        for (code, is_known) in
            [("FL", true), ("DC", true), ("PR", true), ("ON", true), ("XX", false), ("ZZ", false)]
        {
            assert_eq!(state(code).is_known(), is_known, "{code}");
        }
    }

    #[test]
    fn the_map_is_whole_ascending_and_within_the_united_states() {
        assert_eq!(MAP.len() % MAP_ROW_BYTES, 0);
        let rows: Vec<(u32, Centre)> = (0..MAP.len() / MAP_ROW_BYTES).filter_map(Centre::row).collect();
        assert_eq!(rows.len(), 41_903);
        assert!(rows.is_sorted_by(|(a, _), (b, _)| a < b));
        for (number, centre) in rows {
            let (latitude, longitude) = (centre.latitude.to_degrees(), centre.longitude.to_degrees());
            // From American Samoa to Alaska; from Puerto Rico west to Guam, beyond the date line.
            let inside = (-15.0..72.0).contains(&latitude) && !(-64.0..144.0).contains(&longitude);
            assert!(number <= 99_999 && inside, "{number:05}: {latitude}, {longitude}");
        }
    }
}

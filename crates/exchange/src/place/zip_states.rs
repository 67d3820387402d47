//! Which state a ZIP code belongs to. Sources and how it was made: `data/README.md`.

use super::{State, Zip};

impl Zip {
    /// Its state, district or territory; none for military post abroad and prefixes that are not in use.
    pub fn state(self) -> Option<State> {
        let after = RANGES.partition_point(|(first, _, _)| *first <= self.0);
        let (_, last, state) = RANGES.get(after.checked_sub(1)?)?;
        (self.0 <= *last).then_some(State(**state))
    }
}

/// First and last ZIP code of a range, ascending, and whose it is.
#[rustfmt::skip]
const RANGES: [(u32, u32, &[u8; 2]); 118] = [
    (500, 599, b"NY"), (600, 799, b"PR"), (800, 899, b"VI"), (900, 999, b"PR"), (1000, 2799, b"MA"),
    (2800, 2999, b"RI"), (3000, 3899, b"NH"), (3900, 4999, b"ME"), (5000, 5499, b"VT"), (5500, 5599, b"MA"),
    (5600, 5999, b"VT"), (6000, 6389, b"CT"), (6390, 6390, b"NY"), (6391, 6999, b"CT"), (7000, 8999, b"NJ"),
    (10000, 14999, b"NY"), (15000, 19699, b"PA"), (19700, 19999, b"DE"), (20000, 20099, b"DC"), (20100, 20199, b"VA"),
    (20200, 20587, b"DC"), (20588, 20588, b"MD"), (20589, 20597, b"DC"), (20598, 20598, b"VA"), (20599, 20599, b"DC"),
    (20600, 21299, b"MD"), (21400, 21999, b"MD"), (22000, 24699, b"VA"), (24700, 26899, b"WV"), (27000, 28999, b"NC"),
    (29000, 29999, b"SC"), (30000, 31999, b"GA"), (32000, 33999, b"FL"), (34100, 34299, b"FL"), (34400, 34499, b"FL"),
    (34600, 34799, b"FL"), (34900, 34999, b"FL"), (35000, 35299, b"AL"), (35400, 36999, b"AL"), (37000, 38599, b"TN"),
    (38600, 39799, b"MS"), (39800, 39999, b"GA"), (40000, 41899, b"KY"), (42000, 42799, b"KY"), (43000, 45999, b"OH"),
    (46000, 47999, b"IN"), (48000, 49999, b"MI"), (50000, 51699, b"IA"), (52000, 52899, b"IA"), (53000, 53299, b"WI"),
    (53400, 53599, b"WI"), (53700, 54999, b"WI"), (55000, 55199, b"MN"), (55300, 56799, b"MN"), (56900, 56999, b"DC"),
    (57000, 57799, b"SD"), (58000, 58899, b"ND"), (59000, 59999, b"MT"), (60000, 62099, b"IL"), (62200, 62999, b"IL"),
    (63000, 63199, b"MO"), (63300, 64199, b"MO"), (64400, 65899, b"MO"), (66000, 66299, b"KS"), (66400, 67999, b"KS"),
    (68000, 68199, b"NE"), (68300, 69399, b"NE"), (70000, 70199, b"LA"), (70300, 70899, b"LA"), (71000, 71499, b"LA"),
    (71600, 72642, b"AR"), (72643, 72643, b"MO"), (72644, 72999, b"AR"), (73000, 73199, b"OK"), (73300, 73399, b"TX"),
    (73400, 73959, b"OK"), (73960, 73960, b"TX"), (73961, 74199, b"OK"), (74300, 74999, b"OK"), (75000, 77099, b"TX"),
    (77200, 79999, b"TX"), (80000, 81699, b"CO"), (82000, 83199, b"WY"), (83200, 83413, b"ID"), (83414, 83414, b"WY"),
    (83415, 83899, b"ID"), (84000, 84799, b"UT"), (85000, 85399, b"AZ"), (85500, 85799, b"AZ"), (85900, 86099, b"AZ"),
    (86300, 86599, b"AZ"), (87000, 87199, b"NM"), (87300, 88499, b"NM"), (88500, 88599, b"TX"), (88800, 88899, b"DC"),
    (88900, 89199, b"NV"), (89300, 89599, b"NV"), (89700, 89899, b"NV"), (90000, 90899, b"CA"), (91000, 92899, b"CA"),
    (93000, 96199, b"CA"), (96700, 96798, b"HI"), (96799, 96799, b"AS"), (96800, 96899, b"HI"), (96900, 96938, b"GU"),
    (96939, 96940, b"PW"), (96941, 96944, b"FM"), (96945, 96949, b"GU"), (96950, 96952, b"MP"), (96953, 96959, b"GU"),
    (96960, 96960, b"MH"), (96961, 96969, b"GU"), (96970, 96970, b"MH"), (96971, 96999, b"GU"), (97000, 97999, b"OR"),
    (98000, 98699, b"WA"), (98800, 99499, b"WA"), (99500, 99999, b"AK"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_ascend_and_do_not_meet() {
        for pair in RANGES.windows(2) {
            assert!(pair[0].0 <= pair[0].1 && pair[0].1 < pair[1].0, "{pair:?}");
        }
    }

    #[test]
    fn places_are_where_they_are() {
        let cases = [
            ("10001", "NY"),
            ("00501", "NY"),
            ("06390", "NY"), // Fishers Island, among Connecticut's
            ("06391", "CT"),
            ("33101", "FL"),
            ("20001", "DC"),
            ("73301", "TX"),
            ("72643", "MO"), // in Missouri, served from Arkansas
            ("96799", "AS"),
            ("96950", "MP"),
            ("99950", "AK"),
            ("09012", "-"), // military, in Germany
            ("00000", "-"),
            ("99999", "AK"),
        ];
        for (zip, expected) in cases {
            let state = Zip::try_from(zip.to_owned()).expect("a ZIP code").state();
            assert_eq!(state.map_or("-".to_owned(), |state| state.to_string()), expected, "{zip}");
        }
    }
}

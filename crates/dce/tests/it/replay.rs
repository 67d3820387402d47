//! `dce replay`: the past of a real run under other rules.

use crate::binary::{directory, run};
use serde_json::{Value, json};

#[test]
fn a_real_run_replays_as_it_was_and_under_other_rules() {
    let here = directory();
    let demo =
        run(&here, &["demo", "--calls", "60", "--cps", "60", "--format", "json", "--data-dir", "past"]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let demo: Value = serde_json::from_str(&demo.stdout).expect("JSON");
    let replay = |arguments: &[&str]| -> Value {
        let arguments = [&["replay", "--data", "past", "--format", "json"], arguments].concat();
        let ran = run(&here, &arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    };

    let same = replay(&[]);
    assert_eq!((&same["not_reproduced"], &same["winners_changed"]), (&json!(0), &json!(0)), "{same}");
    assert_eq!(same["actual"], same["variant"]);
    for (figure, of_demo) in [
        ("converted", "converted"),
        ("charged_micros", "charged_micros"),
        ("payout_micros", "paid_micros"),
        ("margin_micros", "margin_micros"),
        ("screened_out", "screened_out"),
        ("answered", "bridged"),
    ] {
        assert_eq!(same["actual"][figure], demo[of_demo], "{figure}: {same} {demo}");
    }

    let second = replay(&["--auction", "second-price", "--increment", "0.01"]);
    assert!(second["difference"]["charged_micros"].as_i64() < Some(0), "{second}");
    // A deal has a floor of its own: nobody else's bid reaches this one.
    let floor = replay(&["--floor", "100000"]);
    let converted = |side: &str| floor[side]["converted"].as_i64();
    assert!(converted("variant") < converted("actual"), "{floor}");
    assert!(
        floor["variant"]["refused_by_floor"].as_i64() > floor["actual"]["refused_by_floor"].as_i64(),
        "{floor}"
    );
    let nobody = replay(&["--to", "2020-01-01T00:00:00Z", "--floor", "100000"]);
    assert_eq!(nobody["calls"], 0, "{nobody}");
    assert_eq!(nobody["journal"]["calls"], same["calls"], "{nobody}");
    let nobody = run(&here, &["replay", "--data", "past", "--to", "2020-01-01T00:00:00Z"]);
    for part in ["No calls to compare: none of the", "were received from 20", "home_services"] {
        assert!(nobody.stdout.contains(part), "{part} is missing in\n{}", nobody.stdout);
    }
    let vertical = run(&here, &["replay", "--data", "past", "--vertical", "nope"]);
    assert_eq!((vertical.code, vertical.stdout.as_str()), (Some(2), ""), "{vertical:?}");
    for part in ["--vertical nope: no call was ever about it; give one of", "home_services"] {
        assert!(vertical.stderr.contains(part), "{part} is missing in\n{}", vertical.stderr);
    }

    let text = run(&here, &["replay", "--data", "past", "--algorithm", "round-robin"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in ["with another winner", "charged to buyers", "every call goes as it went"] {
        assert!(text.stdout.contains(part), "{part} is missing in\n{}", text.stdout);
    }
}

#[test]
fn wrong_questions_are_refused() {
    let here = directory();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--auction", "third-price"], 2, "second-price"),
        (&["--algorithm", "luck"], 2, "predictive"),
        (&["--floor", "much"], 2, "12.34"),
        (&["--floor=-1"], 2, "0 or more"),
        (&["--floor", "-1"], 2, "write an amount of 0 or more, such as 25 or 12.34"),
        (&["--from", "2020"], 2, "from the year 2000 on"),
        (&["--deadline-ms", "6000"], 2, "5000"),
        (&["--from", "yesterday"], 2, "2026-07-01T00:00:00Z"),
        (&["--from", "2026-07-02T00:00:00Z", "--to", "2026-07-01T00:00:00Z"], 2, "--to is not after --from"),
    ];
    for (arguments, code, part) in cases {
        let ran = run(&here, &[&["replay", "--data", "nowhere"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(part), "{part} is missing in {}", ran.stderr);
    }
    let nowhere = run(&here, &["replay", "--data", "nowhere"]);
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (Some(3), ""), "{nowhere:?}");
}

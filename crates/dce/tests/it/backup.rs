//! `dce backup`: a copy of a data directory that is in use, with its keys.

use crate::binary::{directory, run};
use crate::serve::Server;

#[test]
fn a_copy_made_while_a_server_runs_is_a_sound_data_directory_with_its_keys() {
    let directory = directory();
    run(&directory, &["key", "create", "--name", "first", "--role", "admin"]);
    let server = Server::start(&directory, &[]);
    let copied = run(&directory, &["backup", "--to", "copy"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(copied.stdout.starts_with("ok: the books and "), "{copied:?}");
    assert_eq!(server.stop().0, Some(0));

    let keys = |folder: &str| {
        let files = std::fs::read_dir(directory.path().join(folder)).expect("there");
        let mut keys: Vec<_> = files.map(|file| file.expect("readable").file_name()).collect();
        keys.retain(|name| name.to_string_lossy().ends_with(".key"));
        keys.sort();
        keys
    };
    assert_eq!(keys("copy"), keys("dce-data"));
    assert!(!keys("copy").is_empty(), "there are keys to copy");
    assert_eq!(run(&directory, &["verify", "--data", "copy"]).code, Some(0));
    assert!(run(&directory, &["key", "list", "--data", "copy"]).stdout.contains("first"));

    let again = run(&directory, &["backup", "--to", "copy"]);
    assert_ne!(again.code, Some(0));
    assert!(again.stderr.contains("there is a store already"), "{again:?}");
}

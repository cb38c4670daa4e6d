//! `tests/GB28181.md` against what is there: every test it names exists, every call stands in the API's document, and
//! every command that the program knows by name has a row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gantry::gb28181::manscdp::CmdType;
use gantry::gb28181::settings::ConfigType;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all test functions below a folder.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                if !line.trim_start().starts_with("#[test]") {
                    continue;
                }
                let name = lines
                    .by_ref()
                    .find_map(|line| line.trim().strip_prefix("fn ")?.split_once('('));
                found.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }
}

/// What stands between backticks.
fn code(cell: &str) -> Option<&str> {
    cell.trim().strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn every_row_names_what_is_there() {
    let table = std::fs::read_to_string(root().join("tests/GB28181.md")).expect("the table");
    let mut tests = BTreeSet::new();
    tests_in(&root().join("src"), &mut tests);
    tests_in(&root().join("tests"), &mut tests);
    let document = std::fs::read(root().join("src/api/openapi.json")).expect("the document");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [command, since, implemented, test, call, _page] = cells[..] else {
            panic!("six cells: {line}");
        };
        if command == "command" {
            continue;
        }
        rows += 1;
        assert!(["2011", "2016", "2022", "all"].contains(&since), "{line}");
        match code(test) {
            Some(name) => assert!(tests.contains(name), "{command}: there is no test {name}"),
            None => assert!(test == "none" && implemented.starts_with("no"), "{line}"),
        }
        if let Some(call) = code(call) {
            let (method, path) = call.split_once(' ').expect("method and path");
            let path = match path {
                "control" | "query" | "settings" => {
                    format!("/gantry/v1/device/{path}/{{puid}}/{{index}}")
                }
                whole => whole.to_owned(),
            };
            let known = &document["paths"][&path][method.to_lowercase()];
            assert!(
                known.is_object(),
                "{command}: there is no call {method} {path}"
            );
        } else {
            assert_eq!(call, "none", "{line}");
        }
    }
    assert!(rows >= 60, "only {rows} rows were found");
    for cmd in CmdType::ALL {
        let container = matches!(cmd, CmdType::DeviceControl | CmdType::DeviceConfig);
        assert!(container || table.contains(cmd.name()), "{}", cmd.name());
    }
    for kind in ConfigType::ALL {
        assert!(table.contains(kind.name()), "{}", kind.name());
    }
}

//! `tests/FIELD-REPORTS.md`: every line of the field reports has its row, and every test that a row names exists.

use std::collections::BTreeSet;
use std::path::Path;

/// Parts of the node that a row may wait for.
const TO_COME: [&str; 5] = [
    "cascade",
    "broadcast",
    "recording",
    "playback",
    "signed signalling",
];

/// Names of all tests in the sources below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line
                    .strip_prefix("fn ")
                    .or_else(|| line.strip_prefix("async fn "));
                if line == "#[test]" || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some(rest) = function {
                    if is_test {
                        names.extend(rest.split('(').next().map(str::to_owned));
                    }
                    is_test = false;
                }
            }
        }
    }
}

struct Row {
    line: String,
    tests: Vec<String>,
    /// The part that is to come.
    waits_for: Option<String>,
    does: String,
}

fn rows() -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/FIELD-REPORTS.md");
    let text = std::fs::read_to_string(file).expect("the table");
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|c| c.trim().to_owned()).collect()
    };
    text.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| line"))
        .map(|line| {
            let cells = cells(line);
            let [number, what, tests, does] = &cells[..] else {
                panic!("a row has four cells: {line}");
            };
            assert!(!what.is_empty(), "{line}");
            Row {
                line: number.clone(),
                tests: tests
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect(),
                waits_for: tests.strip_prefix("to come: ").map(str::to_owned),
                does: does.clone(),
            }
        })
        .collect()
}

#[test]
fn every_line_has_its_row() {
    let lines: Vec<String> = rows().into_iter().map(|r| r.line).collect();
    let numbers = (1..=58).map(|n| n.to_string());
    let groups = (1..=10).map(|n| format!("d{n:02}"));
    let threads = (1..=8).map(|n| format!("t{n:02}"));
    let wanted: Vec<String> = numbers.chain(groups).chain(threads).collect();
    assert_eq!(lines, wanted);
}

#[test]
fn every_row_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_below(&root.join(folder), &mut tests);
    }
    assert!(tests.len() > 400, "only {} tests were found", tests.len());
    let mut missing = Vec::new();
    for row in rows() {
        match &row.waits_for {
            Some(part) => assert!(
                TO_COME.contains(&part.as_str()) && row.tests.is_empty(),
                "{}: {part}",
                row.line
            ),
            None => assert!(
                !row.tests.is_empty() && !row.does.is_empty(),
                "{} names no test or not what is done",
                row.line
            ),
        }
        for name in row.tests {
            if !tests.contains(&name) {
                missing.push(format!("{}: {name}", row.line));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
    // A test that says which line it holds stands in that row.
    let named: BTreeSet<String> = rows().into_iter().flat_map(|r| r.tests).collect();
    let forgotten: Vec<&String> = tests
        .iter()
        .filter(|t| t.starts_with("field_") && !named.contains(*t))
        .collect();
    assert!(forgotten.is_empty(), "not in the table: {forgotten:?}");
}

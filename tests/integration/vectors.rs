//! Where the test vectors lie, and their tables; and whether something may be missing at all.

use std::path::{Path, PathBuf};

/// The folder of vectors: `GANTRY_VECTORS`, else `../shared/vectors` beside the package. `None` (with a line that says so):
/// it is not there, and the test is to be skipped.
pub fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GANTRY_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no vectors at {}", folder.display());
    None
}

/// Whether this run must not leave anything out: `CI` is set, and not to `false`.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false")
}

/// The same as [`folder`], where a run in CI needs it. `GANTRY_VECTORS` set to nothing says that there are none on this
/// machine and that this is known.
pub fn needed(name: &str) -> Option<PathBuf> {
    let found = folder(name);
    let known = std::env::var_os("GANTRY_VECTORS").is_some_and(|root| root.is_empty());
    assert!(
        found.is_some() || known || !is_ci(),
        "the vectors are missing"
    );
    found
}

/// Rows of a TSV file without its heading; quotes as spreadsheets write them are taken off.
pub fn table(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).expect("a table beside the vectors");
    text.lines()
        .skip(1)
        .map(|line| {
            line.split('\t')
                .map(
                    |cell| match cell.strip_prefix('"').and_then(|c| c.strip_suffix('"')) {
                        Some(inner) => inner.replace("\"\"", "\""),
                        None => cell.to_owned(),
                    },
                )
                .collect()
        })
        .collect()
}

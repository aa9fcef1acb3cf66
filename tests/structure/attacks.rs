//! docs/auth/attacks.md against the tree: every number has a row, and every test of a row is where the row says.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::source;

const NUMBERS: std::ops::RangeInclusive<u32> = 10..=52;

/// A row: its number, its test without the back quotes, its file.
fn rows(table: &str) -> Vec<(u32, &str, &str)> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| T")?.strip_suffix(" |"));
    let cells = cells.map(|line| line.split(" | ").collect::<Vec<_>>());
    let row = |cells: Vec<_>| match cells[..] {
        [number, _, test, file] => Some((str::parse(number).ok()?, str::trim_matches(test, '`'), file)),
        _ => None,
    };
    cells.map(|cells| row(cells.clone()).unwrap_or_else(|| panic!("no row of four cells: {cells:?}"))).collect()
}

/// What is wrong with a row.
fn wrong(root: &Path, (number, test, file): &(u32, &str, &str)) -> Option<String> {
    if *test == "–" {
        return None;
    }
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let is_there = text.contains(&format!("fn {test}("));
    let is_named = test.starts_with(&format!("t{number}_"));
    (!is_there || !is_named).then(|| format!("T{number}: {test} in {file}"))
}

#[test]
fn every_attack_of_the_table_is_a_test_that_is_named_after_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/auth/attacks.md")).unwrap();
    let rows = rows(&table);
    let missing: Vec<_> = rows.iter().filter_map(|row| wrong(root, row)).collect();
    assert_eq!(missing, [""; 0]);
    let numbers: BTreeSet<u32> = rows.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, NUMBERS.collect());
    // Nor is a test that bears a number missing in the table.
    let mut found = 0;
    for file in ["src", "shared", "registry", "auth", "tests"].iter().flat_map(|directory| files(&root.join(directory)))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        for (_, rest) in text.lines().filter_map(|line| line.split_once("fn t")) {
            let name = rest.split('(').next().unwrap_or_default();
            if name.split_once('_').is_some_and(|(number, _)| number.len() == 2 && number.parse::<u32>().is_ok()) {
                assert!(table.contains(&format!("`t{name}`")), "t{name} of {} is not in the table", file.display());
                found += 1;
            }
        }
    }
    assert_eq!(found, rows.iter().filter(|(_, test, _)| *test != "–").count());
}

/// Every source file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let source = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    source.chain(directories.iter().flat_map(|directory| self::files(directory))).collect()
}

#[test]
fn a_row_that_lies_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in [
        "| T19 | x | `t19_nobody_wrote_this` | tests/structure/attacks.rs |",
        "| T18 | x | `t19_secrets_have_no_equality` | tests/structure/attacks.rs |",
    ] {
        assert!(rows(row).iter().all(|row| wrong(root, row).is_some()), "{row}");
    }
    assert!(wrong(root, &(19, "t19_secrets_have_no_equality", "tests/structure/attacks.rs")).is_none());
}

/// Harbor compared robots' secrets with `!=`. Here the type has no equality, and nobody takes a secret out to compare it.
#[test]
fn t19_secrets_have_no_equality() {
    let tree = source::read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let secret = tree.iter().find(|file| file.path == "shared/src/secret.rs").expect("secrets have a file");
    assert!(!secret.lines.iter().any(|line| line.contains("PartialEq")));
    let compares = |line: &&String| ["expose() ==", "expose() !=", "expose().eq("].iter().any(|way| line.contains(way));
    for file in tree.iter().filter(|file| file.path.contains("/src/") && !file.is_for_tests()) {
        let found: Vec<_> = file.lines.iter().filter(compares).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.path);
    }
}

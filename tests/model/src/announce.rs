//! Figures that somebody runs the tests for.

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

/// Says `line` to whoever runs the tests, also when the test passes (the runner swallows what `println!` prints), and appends it to the file named by
/// `PORTREEVE_TEST_REPORT`, from which `make test` repeats it at the end.
///
/// # Panics
/// The file cannot be written.
#[expect(clippy::expect_used, reason = "only tests have figures, and one that cannot go on says so where it stands")]
pub fn announce(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output takes a line");
    if let Some(report) = std::env::var_os("PORTREEVE_TEST_REPORT") {
        let mut file = OpenOptions::new().create(true).append(true).open(report).expect("the report file opens");
        writeln!(file, "{line}").expect("the report file takes a line");
    }
}

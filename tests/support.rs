//! What every test may lean on: starting the program, running foreign programs, making small images.

mod admin;
mod audit;
pub(crate) mod containers;
pub(crate) mod docker;
pub(crate) mod issuer;
mod leaks;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod slapd;
pub(crate) mod stock;
pub(crate) mod tarball;

use std::{
    fs::OpenOptions,
    io::{self, Write},
};

/// Says `line` to whoever runs the tests, also when the test passes (the runner swallows what `println!` prints), and
/// appends it to the file named by `PORTREEVE_TEST_REPORT`, from which `make test` repeats it at the end.
pub(crate) fn announce(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output takes a line");
    if let Some(report) = std::env::var_os("PORTREEVE_TEST_REPORT") {
        let mut file = OpenOptions::new().create(true).append(true).open(report).expect("the report file opens");
        writeln!(file, "{line}").expect("the report file takes a line");
    }
}

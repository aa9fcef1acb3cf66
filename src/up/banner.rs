//! What the person who started it reads first: where it listens, and the three lines to log in and push.

use std::path::Path;

use shared::data_directory::DataDirectory;

const PASSWORD_FILE: &str = "admin-password";

/// Prints the address, and where the first administrator's password is while it is still there.
#[expect(clippy::print_stderr, reason = "said to the person at the terminal, not logged")]
pub(super) fn greet(address: &str, data: &DataDirectory) {
    eprint!("listening on {address}\n{}", lines(address, &data.path().join(PASSWORD_FILE)));
}

fn lines(address: &str, password: &Path) -> String {
    // A socket file has a proxy before it, whose name nobody here knows.
    let Some((_, host)) = address.split_once("://") else { return String::new() };
    if !password.exists() {
        return String::new();
    }
    let file = password.display();
    format!(
        "\nThe administrator is `admin`; the password is in {file}. To log in and push:\n\n    \
         docker login {host} --username admin --password-stdin < {file}\n    \
         docker tag IMAGE {host}/demo/IMAGE\n    \
         docker push {host}/demo/IMAGE\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_the_host_and_the_file_until_the_password_was_changed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(PASSWORD_FILE);
        assert_eq!(lines("http://127.0.0.1:5000", &file), "");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(super::lines("unix:/run/portreeve.sock", &file), "");
        let lines = lines("http://127.0.0.1:5000", &file);
        let login = format!("docker login 127.0.0.1:5000 --username admin --password-stdin < {}", file.display());
        assert!(lines.contains(&login), "{lines}");
        assert_eq!(lines.lines().filter(|line| line.trim_start().starts_with("docker ")).count(), 3);
    }
}

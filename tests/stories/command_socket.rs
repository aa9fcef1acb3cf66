//! The socket in the data directory, from the outside: whoever is let in there administers.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::support::{
    program::Program,
    server::{Portreeve, program},
};

const NOBODY: &str = "65534";

fn as_uid(uid: &str, command: impl AsRef<std::ffi::OsStr>) -> Program {
    Program::new("setpriv").args(["--reuid", uid, "--regid", uid, "--clear-groups"]).arg(command)
}

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The list of users over the socket, as one user of this machine asks for it.
async fn users(portreeve: &Portreeve, uid: &str) -> String {
    let socket = portreeve.data().join("portreeve.sock");
    let curl = as_uid(uid, "curl").args(["--silent", "--show-error", "--include", "--unix-socket"]).arg(socket);
    curl.arg("http://localhost/api/v1/users").run().await.stdout
}

#[tokio::test]
#[ignore = "needs root, setpriv, curl"]
async fn another_user_of_the_machine_does_not_administer() {
    let portreeve = Portreeve::up();
    let socket = portreeve.data().join("portreeve.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(users(&portreeve, "0").await.contains("admin"));
    // First the file system, and then, where somebody was careless with it, the kernel's word about who is there.
    assert_eq!(users(&portreeve, NOBODY).await, "");
    for (path, mode) in [(portreeve.data(), 0o777), (&socket, 0o666), (&portreeve.data().join("lock"), 0o666)] {
        open_to_all(path, mode);
    }
    let answer = users(&portreeve, NOBODY).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("admin\""), "{answer}");
    assert!(users(&portreeve, "0").await.contains("admin"), "root is let in whatever the modes");
}

/// The command itself, where the program can be run by others at all.
#[tokio::test]
#[ignore = "needs root, setpriv"]
async fn a_command_of_another_user_says_why_it_may_not() {
    let portreeve = Portreeve::up();
    let bin = tempfile::tempdir().unwrap();
    let copy = bin.path().join("portreeve");
    fs::copy(program(), &copy).unwrap();
    open_to_all(bin.path(), 0o755);
    let list = || as_uid(NOBODY, &copy).args(["auth", "user", "list", "--data"]).arg(portreeve.data());
    list().fails().await.says("Permission denied").never_says("admin\n");
    for (path, mode) in [("", 0o777), ("portreeve.sock", 0o666), ("lock", 0o666)] {
        open_to_all(&portreeve.data().join(path), mode);
    }
    list().fails().await.says("Authorization: Bearer");
}

//! An Active Directory of its own: Samba's, on a loopback address that nobody else has, because its ports are fixed.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use shared::random;
use tempfile::TempDir;

use super::{config, slapd::certificates};
use crate::identity::ldap::config::{
    Config, ExternalId, Groups, Nested, Password, Pem, Searcher, Server, Tls, Users, written_filter,
};

pub(crate) const DOMAIN: &str = "dc=corp,dc=test";
const ADMINISTRATOR: &str = "Administrator@corp.test";
const ADMINISTRATORS: &str = "Adm1nistrator's own";
/// The account that searches.
const READER: &str = "reader@corp.test";

pub(crate) struct Samba {
    directory: TempDir,
    address: Ipv4Addr,
    child: Child,
}

impl Drop for Samba {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Samba {
    /// Makes the domain corp.test, and starts its one controller, with no service but LDAP.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        certificates(directory.path(), &address.to_string());
        fs::set_permissions(directory.path().join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        provision(&directory);
        let child = run(&directory, address);
        let samba = Self { directory, address, child };
        samba.until_it_listens();
        samba.add_person("reader", 512);
        samba
    }

    fn until_it_listens(&self) {
        let begun = Instant::now();
        while TcpStream::connect((self.address, 636)).is_err() {
            let log = fs::read_to_string(self.directory.path().join("samba.log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(60), "samba did not start: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Somebody, with the password that [`password_of`] says. 512 is an account like most, 514 a disabled one.
    pub(crate) fn add_person(&self, name: &str, control: u32) {
        let password: Vec<u8> =
            format!("\"{}\"", password_of(name)).encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.modify(&format!(
            "dn: {}\nchangetype: add\nobjectClass: user\nsAMAccountName: {name}\nuserPrincipalName: {name}@corp.test\n\
             displayName: {name} of Corp\nunicodePwd:: {}\nuserAccountControl: {control}\n",
            entry_of(name),
            STANDARD.encode(password)
        ));
    }

    pub(crate) fn group(&self, name: &str, members: &[&str]) {
        let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
        let entry = entry_of(name);
        self.modify(&format!("dn: {entry}\nchangetype: add\nobjectClass: group\nsAMAccountName: {name}\n{members}"));
    }

    pub(crate) fn control(&self, name: &str, control: u32) {
        let entry = entry_of(name);
        self.modify(&format!(
            "dn: {entry}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: {control}\n"
        ));
    }

    /// Changes the tree, as an administrator of the domain does.
    pub(crate) fn modify(&self, ldif: &str) {
        let file = self.directory.path().join("change.ldif");
        fs::write(&file, ldif).unwrap();
        let changed = Command::new("ldapmodify")
            .env("LDAPTLS_CACERT", self.directory.path().join("ca.pem"))
            .args(["-x", "-D", ADMINISTRATOR, "-w", ADMINISTRATORS, "-H"])
            .arg(format!("ldaps://{}", self.address))
            .arg("-f")
            .arg(&file)
            .output()
            .expect("ldap-utils is installed: tests/install.sh does it");
        assert!(changed.status.success(), "{ldif}: {}", String::from_utf8_lossy(&changed.stderr));
    }

    /// The domain from its root, as docs/auth/ldap.md says, at this URL scheme.
    pub(crate) fn config(&self, scheme: &str) -> Config {
        let url = format!("{scheme}://{}", self.address);
        let mut config = config(&[]);
        config.servers = vec![Server::from_url(&url, scheme == "ldap").unwrap()];
        config.tls = Tls { authorities: Some(Pem::File(self.directory.path().join("ca.pem"))), certificate: None };
        config.searcher =
            Searcher::Account { name: READER.to_owned(), password: Password::Here(password_of("reader").into()) };
        config.users = Users {
            base: DOMAIN.to_owned(),
            filter: written_filter("(objectCategory=person)").unwrap(),
            login: ["sAMAccountName", "userPrincipalName"].map(|name| name.parse().unwrap()).to_vec(),
            name: "sAMAccountName".parse().unwrap(),
            id: ExternalId::ObjectGuid,
            ..config.users
        };
        let filter = written_filter("(objectClass=group)").unwrap();
        config.groups = Some(Groups { base: DOMAIN.to_owned(), filter, member_of: false, nested: Nested::Auto });
        config
    }
}

pub(crate) fn entry_of(name: &str) -> String {
    format!("CN={name},CN=Users,{DOMAIN}")
}

/// Long and mixed enough for the domain's rules.
pub(crate) fn password_of(name: &str) -> String {
    format!("{name}'s Passw0rd")
}

fn provision(directory: &TempDir) {
    let made = Command::new("samba-tool")
        .args(["domain", "provision", "--realm=CORP.TEST", "--domain=CORP", "--server-role=dc", "--dns-backend=NONE"])
        .args(["--use-rfc2307", "--host-name=dc1", "--host-ip=127.0.0.1"])
        .arg(format!("--adminpass={ADMINISTRATORS}"))
        .arg(format!("--targetdir={}", directory.path().join("dc").display()))
        .output()
        .expect("samba is installed: tests/install.sh does it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn run(directory: &TempDir, address: Ipv4Addr) -> Child {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let log = fs::File::create(directory.path().join("samba.log")).unwrap();
    let mut samba = Command::new("samba");
    samba.args(["-i", "-M", "single", "-s", &path("dc/etc/smb.conf")]);
    for option in [
        format!("interfaces={address}/8"),
        "bind interfaces only=yes".to_owned(),
        "server services=ldap".to_owned(),
        "panic action=".to_owned(),
        format!("log file={}", path("log")),
        format!("pid directory={}", path("dc")),
        format!("ncalrpc dir={}", path("dc/ncalrpc")),
        format!("tls cafile={}", path("ca.pem")),
        format!("tls certfile={}", path("server.pem")),
        format!("tls keyfile={}", path("server.key")),
    ] {
        samba.arg(format!("--option={option}"));
    }
    // It ends when its standard input does.
    samba.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// An address of this machine on which nobody serves a directory.
fn free_address() -> Ipv4Addr {
    loop {
        let [a, b, c] = random::bytes();
        let address = Ipv4Addr::new(127, a | 64, b, c.clamp(1, 254));
        if TcpListener::bind((address, 389)).is_ok() && TcpListener::bind((address, 636)).is_ok() {
            return address;
        }
    }
}

//! A slapd of its own for each story: own ports, own directory, TLS under a CA that nobody else knows.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::config;
use crate::identity::ldap::config::{Config, Password, Pem, Searcher, Server};

pub(crate) const SUFFIX: &str = "dc=corp,dc=test";
pub(crate) const READER: &str = "cn=reader,dc=corp,dc=test";
pub(crate) const READERS: &str = "the reader's own";

/// The tree that every story begins with. Passwords are the user's name and `'s password`.
const TREE: &str = "\
dn: dc=corp,dc=test
objectClass: dcObject
objectClass: organization
dc: corp
o: Corp

dn: ou=people,dc=corp,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=corp,dc=test
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=corp,dc=test
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: reader
userPassword: the reader's own

";

pub(crate) struct Slapd {
    pub(crate) directory: TempDir,
    port: u16,
    tls_port: u16,
    child: Option<Child>,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.stop();
    }
}

impl Slapd {
    /// Starts one with these people, and whatever else the LDIF says.
    pub(crate) fn start(people: &[&str], more: &str) -> Self {
        Self::with(people, more, "")
    }

    /// The same, with more lines of configuration for the database.
    pub(crate) fn with(people: &[&str], more: &str, lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        certificates(path, "localhost");
        fs::create_dir(path.join("db")).unwrap();
        fs::write(path.join("slapd.conf"), configuration(path, lines)).unwrap();
        let people: String = people.iter().map(|name| person(name)).collect();
        fs::write(path.join("tree.ldif"), format!("{TREE}{people}{more}")).unwrap();
        let added = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(path.join("slapd.conf"))
            .arg("-l")
            .arg(path.join("tree.ldif"))
            .output()
            .expect("slapd is installed: tests/install.sh does it");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let (port, tls_port) = (free_port(), free_port());
        let mut slapd = Self { directory, port, tls_port, child: None };
        slapd.run();
        slapd
    }

    /// Stops it, writes something else into its configuration, and starts it again.
    pub(crate) fn reconfigure(&mut self, from: &str, to: &str) {
        self.stop();
        let file = self.file("slapd.conf");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} does not stand in\n{text}");
        fs::write(&file, text.replace(from, to)).unwrap();
        self.run();
    }

    /// Starts it again after [`Self::stop`], on the same ports.
    pub(crate) fn run(&mut self) {
        let urls = format!("ldap://127.0.0.1:{} ldaps://127.0.0.1:{}", self.port, self.tls_port);
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &urls, "-f"])
            .arg(self.directory.path().join("slapd.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.tls_port)).is_err() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20), "slapd did not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// It keeps its connections, and says nothing any more.
    pub(crate) fn stall(&self) {
        self.signal(Signal::STOP);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// A group with these members, of the kind that names them by this attribute.
    pub(crate) fn group(&self, name: &str, kind: &str, attribute: &str, members: &[&str]) {
        let members: String = members.iter().map(|member| format!("{attribute}: {member}\n")).collect();
        let number = if kind == "posixGroup" { "gidNumber: 4711\n" } else { "" };
        self.modify(&format!(
            "dn: {}\nchangetype: add\nobjectClass: {kind}\ncn: {name}\n{number}{members}",
            group(name)
        ));
    }

    /// Changes the tree, as an administrator of the directory does.
    pub(crate) fn modify(&self, ldif: &str) {
        let file = self.directory.path().join("change.ldif");
        fs::write(&file, ldif).unwrap();
        let changed = Command::new("ldapmodify")
            .args(["-x", "-D", "cn=admin,dc=corp,dc=test", "-w", "admin", "-H"])
            .arg(format!("ldap://127.0.0.1:{}", self.port))
            .arg("-f")
            .arg(&file)
            .output()
            .expect("ldap-utils is installed: tests/install.sh does it");
        assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    }

    pub(crate) fn plain(&self) -> String {
        format!("ldap://localhost:{}", self.port)
    }

    pub(crate) fn tls(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Over LDAPS, as the reader, under the test's CA.
    pub(crate) fn config(&self) -> Config {
        let mut config = config(&[self.tls()]);
        config.servers = vec![Server::from_url(&self.tls(), false).unwrap()];
        config.tls.authorities = Some(Pem::File(self.file("ca.pem")));
        config.searcher = Searcher::Account { name: READER.to_owned(), password: Password::Here(READERS.into()) };
        config
    }
}

pub(crate) fn group(name: &str) -> String {
    format!("cn={name},ou=groups,{SUFFIX}")
}

pub(crate) fn entry_of(name: &str) -> String {
    format!("uid={name},ou=people,{SUFFIX}")
}

pub(crate) fn person(name: &str) -> String {
    format!(
        "dn: uid={name},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name} of Corp\nsn: {name}\n\
         mail: {name}@corp.test\nuserPassword: {name}'s password\n\n"
    )
}

fn configuration(path: &Path, lines: &str) -> String {
    let path = path.display();
    format!(
        "include /etc/ldap/schema/core.schema\n\
         include /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\n\
         include /etc/ldap/schema/nis.schema\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         moduleload memberof\n\
         pidfile {path}/pid\n\
         TLSCACertificateFile {path}/ca.pem\n\
         TLSCertificateFile {path}/server.pem\n\
         TLSCertificateKeyFile {path}/server.key\n\
         TLSVerifyClient try\n\
         authz-regexp \"cn=reader\" \"{READER}\"\n\
         sizelimit size.soft=1000 size.hard=1000 size.prtotal=unlimited\n\
         database mdb\n\
         maxsize 268435456\n\
         suffix {SUFFIX}\n\
         rootdn cn=admin,{SUFFIX}\n\
         rootpw admin\n\
         directory {path}/db\n\
         dbnosync\n\
         index objectClass,uid,entryUUID,member,uniqueMember,memberUid eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact={READER} read by self read by anonymous auth by * none\n\
         {lines}\n"
    )
}

/// A CA, the certificate of the server on this host, one that has ended, one for the reader, and one of a CA that nobody trusts.
pub(super) fn certificates(path: &Path, host: &str) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    let (pem, issuer) = authority("the test's CA");
    let (stranger, _) = authority("a stranger's CA");
    fs::write(path.join("ca.pem"), pem).unwrap();
    fs::write(path.join("stranger.pem"), stranger).unwrap();
    for (name, common, purpose, ends) in [
        ("server", host, ExtendedKeyUsagePurpose::ServerAuth, 2100),
        ("expired", host, ExtendedKeyUsagePurpose::ServerAuth, 2025),
        ("reader", "reader", ExtendedKeyUsagePurpose::ClientAuth, 2100),
    ] {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.extended_key_usages = vec![purpose];
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        fs::write(path.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(path.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

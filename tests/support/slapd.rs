//! OpenLDAP's server with a few people and one group, over LDAPS under a CA of its own.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::{
    program::Program,
    server::{Account, written},
};

const SUFFIX: &str = "dc=corp,dc=test";
/// What the account that may read it binds with, in a file beside the settings.
pub(crate) const READERS: &str = "what the reader of the directory binds with";
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory. Ends with the test, by its process id.
pub(crate) struct Slapd {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Slapd {
    /// Starts one with these people, all of them in the group that [`Self::group`] names.
    pub(crate) async fn start(people: &[&str]) -> Self {
        let directory = TempDir::with_prefix("slapd-").expect("a temporary directory can be made");
        let path = directory.path();
        certificates(path);
        std::fs::create_dir(path.join("db")).expect("a directory can be made in it");
        let configuration = written(path, "slapd.conf", &configuration(path));
        let tree = written(path, "tree.ldif", &tree(people));
        let add = Program::new("/usr/sbin/slapadd").args(["-q", "-f", &configuration, "-l", &tree]);
        add.succeeds().await;
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let mut slapd = Command::new("/usr/sbin/slapd");
        slapd.args(["-d", "0", "-h", &format!("ldaps://127.0.0.1:{port}"), "-f", &configuration]);
        let child = slapd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("slapd starts");
        let slapd = Self { directory, port, child };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", slapd.port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "slapd did not start");
            thread::sleep(Duration::from_millis(20));
        }
        slapd
    }

    /// From now on nobody answers.
    pub(crate) fn stop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Somebody of it, with their password.
    pub(crate) fn person(name: &str) -> Account {
        Account::new(name, &format!("{name}'s password"))
    }

    /// The distinguished name of its one group.
    pub(crate) fn group() -> String {
        format!("cn=dev,ou=groups,{SUFFIX}")
    }

    /// An element of `ldap` in auth's settings.
    pub(crate) fn settings(&self) -> String {
        format!(
            "{{name: corp, urls: ['ldaps://localhost:{}'], ca: '{}', bind: {{dn: 'cn=reader,{SUFFIX}', passwordfile: '{}'}}, \
             users: {{base: 'ou=people,{SUFFIX}'}}, groups: {{base: 'ou=groups,{SUFFIX}'}}}}",
            self.port,
            self.directory.path().join("ca.pem").display(),
            self.directory.path().join("reader").display()
        )
    }

    /// Somebody leaves the group.
    pub(crate) async fn leaves(&self, name: &str) {
        let change = format!("dn: {}\nchangetype: modify\ndelete: member\nmember: {}\n", Self::group(), entry_of(name));
        // Debian's tools take GnuTLS, which wants more of a certificate than rustls; who is asked here is no question of this test.
        let modify = Program::new("ldapmodify").env("LDAPTLS_REQCERT", "never");
        let modify = modify.args(["-x", "-D", &format!("cn=admin,{SUFFIX}"), "-w", "admin", "-H"]);
        modify.arg(format!("ldaps://localhost:{}", self.port)).input(change).succeeds().await;
    }
}

fn entry_of(name: &str) -> String {
    format!("uid={name},ou=people,{SUFFIX}")
}

/// A group of this kind is never empty: nobody is in it from the first to the last.
fn tree(people: &[&str]) -> String {
    let person = |name: &&str| {
        format!(
            "dn: {}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\nuserPassword: {}\n\n",
            entry_of(name),
            Slapd::person(name).secret
        )
    };
    let members: String = people.iter().map(|name| format!("member: {}\n", entry_of(name))).collect();
    let unit = |name: &str| format!("dn: ou={name},{SUFFIX}\nobjectClass: organizationalUnit\nou: {name}\n\n");
    format!(
        "dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: corp\no: Corp\n\n\
         dn: cn=reader,{SUFFIX}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: reader\n\
         userPassword: {READERS}\n\n{}{}{}\
         dn: {}\nobjectClass: groupOfNames\ncn: dev\nmember: cn=nobody\n{members}\n",
        unit("people"),
        unit("groups"),
        people.iter().map(person).collect::<String>(),
        Slapd::group(),
    )
}

fn configuration(path: &Path) -> String {
    let path = path.display();
    let schemas =
        ["core", "cosine", "inetorgperson", "nis"].map(|name| format!("include /etc/ldap/schema/{name}.schema\n"));
    format!(
        "{}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {path}/pid\n\
         TLSCertificateFile {path}/server.pem\nTLSCertificateKeyFile {path}/server.key\n\
         database mdb\nmaxsize 16777216\nsuffix {SUFFIX}\nrootdn cn=admin,{SUFFIX}\nrootpw admin\n\
         directory {path}/db\ndbnosync\nindex objectClass,uid,entryUUID,member,uniqueMember,memberUid eq\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact=\"cn=reader,{SUFFIX}\" read by anonymous auth by * none\n",
        schemas.concat()
    )
}

/// A CA, what it signed for this machine, and the reader's password.
fn certificates(path: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A server of the same name as its authority would be one that signed itself, to the directory's own tools.
    params.distinguished_name.push(DnType::CommonName, "the test's CA");
    let key = KeyPair::generate().expect("a key can be made");
    let authority = params.self_signed(&key).expect("an authority signs itself");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key can be made");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("localhost is a name");
    let server = server.signed_by(&key, &issuer).expect("an authority signs");
    written(path, "ca.pem", &authority.pem());
    written(path, "server.pem", &server.pem());
    written(path, "server.key", &key.serialize_pem());
    written(path, "reader", READERS);
}

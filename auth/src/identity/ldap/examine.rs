//! A directory looked at step by step, for whoever sets it up: the questions of a sign-in, each with its answer.
//!
//! The code that asks is that of a sign-in. What a server says stands there in its own words; no secret is in any of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use shared::secret::Secret;
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;

use super::{
    Ldap, Person,
    config::{Nested, Searcher, Security, Server},
    connection::{Bound, signs_in_nobody},
    fault::Fault,
    groups::{self, Asking, By},
    names::Dn,
    person,
};

/// How long all of it may take: every server may be waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TestedPart)]
pub enum What {
    /// Connecting to a server.
    Connect,
    /// Its certificate, and that nobody on the way reads.
    Tls,
    /// Saying who searches.
    Bind,
    /// Whether there are users where the settings look for them.
    Users,
    /// And groups.
    Groups,
    /// Who follows groups in groups.
    Nesting,
    /// Whether the directory has somebody of that name.
    User,
    /// Whether the password is theirs.
    Password,
    /// Which groups they are in.
    Member,
    /// Which account is theirs.
    Account,
    /// Which teams their groups give.
    Teams,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub what: What,
    /// Of what: a server, a part of the tree, a name.
    pub about: String,
    /// What came of it, as a sentence: as it should, or not.
    pub said: Result<String, String>,
    /// How long it took.
    pub took: Duration,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Examination {
    /// Step by step.
    pub steps: Vec<Step>,
    /// Who was found.
    pub person: Option<Person>,
    /// The groups they are in, and by which rule.
    pub groups: BTreeMap<Dn, By>,
    /// True if a password was tried, and is not theirs.
    pub rejected: bool,
}

impl Examination {
    /// Writes down a step that took no time.
    pub fn note(&mut self, what: What, about: &str, said: Result<String, String>) {
        self.steps.push(Step { what, about: about.to_owned(), said, took: Duration::ZERO });
    }

    /// Takes a step, and writes down what came of it.
    async fn step<T>(
        &mut self,
        what: What,
        about: &str,
        asked: impl Future<Output = Result<T, Fault>>,
        said: impl FnOnce(&T) -> Result<String, String>,
    ) -> Option<T> {
        let begun = Instant::now();
        let answer = asked.await;
        let said = match &answer {
            Ok(answer) => said(answer),
            // The path of a file of this machine is for those who see its log.
            Err(fault @ Fault::Here(_)) => {
                warn!(%fault, about, "a file that the settings of a directory name cannot be used");
                Err("a file that the settings name cannot be used; which, and why, stands in the server's log"
                    .to_owned())
            }
            Err(fault) => Err(fault.to_string()),
        };
        self.steps.push(Step { what, about: about.to_owned(), said, took: begun.elapsed() });
        answer.ok()
    }
}

impl Ldap {
    /// Looks at every server, at what the settings name, and at one user where a name is given.
    pub async fn examine(&self, name: Option<&str>, password: Option<&Secret<String>>) -> Examination {
        let mut seen = Examination::default();
        let Ok(_place) = self.examining.try_acquire() else {
            seen.note(What::Connect, self.name(), Err("others are looking at it at this moment: try again".to_owned()));
            return seen;
        };
        let asked = Box::pin(self.look(&mut seen, name, password));
        if timeout(LIMIT, asked).await.is_err() {
            let last = seen.steps.last().map_or(What::Connect, |step| step.what);
            seen.note(last, self.name(), Err(format!("nothing more is waited for after {} s", LIMIT.as_secs())));
        }
        seen
    }

    async fn look(&self, seen: &mut Examination, name: Option<&str>, password: Option<&Secret<String>>) -> Option<()> {
        let mut searchable = false;
        for server in self.directory.servers() {
            searchable |= self.look_at_server(seen, server).await.is_some();
        }
        if !searchable {
            return None;
        }
        self.look_at_tree(seen).await;
        let name = name?;
        let person = match &self.config.template {
            Some(template) => self.look_by_template(seen, &template.name_of(name), password).await,
            None => self.look_for(seen, name, password).await,
        }?;
        if self.has_groups() {
            let asked = groups::of(&self.directory, &self.config, &self.nesting, &person, Asking::OneByOne);
            let said = |found: &BTreeMap<Dn, By>| Ok(format!("is in {} groups", found.len()));
            seen.groups = seen.step(What::Member, &person.entry, asked, said).await.unwrap_or_default();
        }
        seen.person = Some(person);
        Some(())
    }

    /// Whether this server can be searched.
    async fn look_at_server(&self, seen: &mut Examination, server: &Server) -> Option<()> {
        let about = server.to_string();
        let reached = self.directory.reach(server);
        let reached = seen.step(What::Connect, &about, reached, |_| Ok("answers".to_owned())).await?;
        let secured = match server.security {
            Security::Ldaps => "the certificate is trusted",
            Security::StartTls => "by StartTLS, and the certificate is trusted",
            Security::Plain => "none: everybody on the way can read passwords (insecure)",
        };
        let opened = self.directory.open(reached, server);
        let mut connection = seen.step(What::Tls, &about, opened, |_| Ok(secured.to_owned())).await?;
        let who = match self.directory.searcher() {
            Searcher::Anonymous => "nobody is named: what everybody may read is searched".to_owned(),
            Searcher::Account { name, .. } => format!("as {name}"),
            Searcher::Certificate => "as whom the certificate names".to_owned(),
        };
        seen.step(What::Bind, &about, self.directory.introduce(&mut connection), |()| Ok(who)).await
    }

    /// Whether there is anything where the settings look.
    async fn look_at_tree(&self, seen: &mut Examination) {
        let users = &self.config.users;
        if self.has_reader() {
            let search = person::anybody(&self.config);
            let found = self.directory.search(&search);
            let nobody = format!("no entry below it that may be read matches {}", users.filter.as_str());
            seen.step(What::Users, &users.base, found, |entries| {
                if entries.is_empty() { Err(nobody) } else { Ok("there are users".to_owned()) }
            })
            .await;
        } else {
            let said = "each reads their own entry when they sign in, and nobody reads: who left is not noticed";
            seen.note(What::Users, &users.base, Ok(said.to_owned()));
        }
        let Some(groups) = &self.config.groups else { return };
        let none = format!("no entry below it that may be read matches {}", groups.filter.as_str());
        let search = groups::any(groups);
        seen.step(What::Groups, &groups.base, self.directory.search(&search), |entries| {
            if entries.is_empty() { Err(none) } else { Ok("there are groups".to_owned()) }
        })
        .await;
        let said = |in_chain: &bool| {
            Ok(match (in_chain, groups.nested) {
                (true, Nested::Auto) => "inchain: the directory's root says that it follows groups in groups itself",
                (true, _) => "inchain: the directory follows groups in groups itself",
                (false, Nested::No) => "no: groups in groups do not count",
                (false, _) => "walk: groups in groups are followed from here, level by level",
            }
            .to_owned())
        };
        seen.step(What::Nesting, self.name(), self.nesting.is_in_chain(&self.directory, groups), said).await;
    }

    async fn look_for(&self, seen: &mut Examination, name: &str, password: Option<&Secret<String>>) -> Option<Person> {
        let logins: Vec<&str> = self.config.users.login.iter().map(super::names::Attribute::as_str).collect();
        let search = person::called(&self.config, name);
        let found = async { self.only(&self.directory.search(&search).await?) };
        let unknown = format!("nobody has this name as {}", logins.join(" or "));
        let person = seen.step(What::User, name, found, |person| person.as_ref().map_or(Err(unknown), known)).await??;
        if let Some(password) = password {
            let proved = async {
                match refused_here(password) {
                    Some(refused) => Ok(refused),
                    None => Ok(self.directory.prove(&person.entry, password, None).await?.0),
                }
            };
            let bound = seen.step(What::Password, &person.entry, proved, proof).await;
            seen.rejected = matches!(bound, Some(Bound::No { .. }));
        }
        Some(person)
    }

    async fn look_by_template(
        &self,
        seen: &mut Examination,
        entry: &str,
        password: Option<&Secret<String>>,
    ) -> Option<Person> {
        let Some(password) = password else {
            let said = "signs in by this name; with a password it is seen whether there is such an entry".to_owned();
            seen.note(What::User, entry, Ok(said));
            return None;
        };
        let look = person::at(&self.config, entry);
        let proved = async {
            match refused_here(password) {
                Some(refused) => Ok((refused, Vec::new())),
                None => self.directory.prove(entry, password, Some(&look)).await,
            }
        };
        let (bound, entries) = seen.step(What::Password, entry, proved, |(bound, _)| proof(bound)).await?;
        if bound != Bound::Yes {
            seen.rejected = true;
            return None;
        }
        let none = format!("they may not read their entry, or it does not match {}", self.config.users.filter.as_str());
        let found = async { self.only(&entries) };
        let person = seen.step(What::User, entry, found, |person| person.as_ref().map_or(Err(none), known)).await??;
        Some(person)
    }
}

/// Nothing is sent for a password that signs in nobody.
fn refused_here(password: &Secret<String>) -> Option<Bound> {
    let text = "an empty password is refused before a byte is sent".to_owned();
    signs_in_nobody(password).then_some(Bound::No { code: 49, text })
}

fn proof(bound: &Bound) -> Result<String, String> {
    match bound {
        Bound::Yes => Ok("is right".to_owned()),
        Bound::No { code, text } => {
            Err(Fault::Refused { what: "the password", code: *code, text: text.clone() }.to_string())
        }
    }
}

fn known(person: &Person) -> Result<String, String> {
    let Person { entry, external_id, name, disabled, .. } = person;
    let said = format!("{name}, {external_id}, {entry}");
    if *disabled { Err(format!("{said}: the directory says that the account is disabled")) } else { Ok(said) }
}

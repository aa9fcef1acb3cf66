//! What stands between what there is and what is wanted. Pure: it is asked for a look, and again within the operation.

mod keys;
mod namespaces;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};
use shared::{clock::Timestamp, settings::Place};

pub(super) use self::namespaces::named;
use super::{
    Document, Existing, Missing, Mode, Unfit, Verifiers,
    current::{Account, Current},
    document::each,
    steps::{Action, Line, Password, Step, Verb},
};
use crate::{
    accounts::{
        names::{MAX_DISPLAY_NAME_BYTES, folded},
        principals::PrincipalKind,
    },
    permissions::Recipient,
};

/// Most steps of one setup: while they are made, nobody else changes anything.
pub const MAX_STEPS: usize = 5_000;

/// The steps from what there is to what is wanted, in the order in which they are made.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// The steps.
    pub steps: Vec<Step>,
    /// What is there otherwise, and stays.
    pub kept: Vec<Line>,
}

impl Difference {
    /// What a person reads, what is done first and what stays behind it.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.steps.iter().map(|step| &step.line).chain(&self.kept)
    }

    /// A text that tells differences apart, for whoever has agreed to one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let lines: Vec<_> = self.lines().collect();
        let text = serde_json::to_string(&lines).unwrap_or_default();
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The files that the passwords of accounts to be made are in.
    pub fn password_files(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::CreateUser { password: Some(Password::File(file)), .. } => Some(file.as_str()),
            _ => None,
        })
    }
}

/// Compares.
///
/// # Errors
/// [`Unfit`]: the first line that makes no sense, by itself or beside what there is.
pub fn difference(
    current: &Current,
    document: &Document,
    mode: Mode,
    verifiers: &Verifiers,
    now: Timestamp,
) -> Result<Difference, Unfit> {
    let mut comparison = Comparison {
        current,
        mode,
        verifiers,
        now,
        accounts: BTreeMap::new(),
        teams: BTreeSet::new(),
        difference: Difference::default(),
    };
    comparison.foresee(document)?;
    comparison.users(document)?;
    comparison.namespaces(document)?;
    comparison.system_rules(document)?;
    let mut difference = comparison.difference;
    if difference.steps.len() > MAX_STEPS {
        let place = Place { line: 0, key: "setup".to_owned() };
        return Err(unfit(
            &place,
            format!(
                "it takes {} steps, and at most {MAX_STEPS} are made at once: apply it in parts",
                difference.steps.len()
            ),
        ));
    }
    difference.steps.sort_by_key(|step| step.action.stage());
    Ok(difference)
}

pub(super) struct Comparison<'a> {
    pub(super) current: &'a Current,
    pub(super) mode: Mode,
    pub(super) verifiers: &'a Verifiers,
    pub(super) now: Timestamp,
    /// Who there will be, by folded name, as a grant sees them.
    pub(super) accounts: BTreeMap<String, Recipient>,
    /// Which teams there will be: namespace and name.
    pub(super) teams: BTreeSet<(String, String)>,
    difference: Difference,
}

impl<'a> Comparison<'a> {
    /// What of this will be there in the end, so that what is written may refer to it in any order; and that nothing is said twice.
    fn foresee(&mut self, document: &Document) -> Result<(), Unfit> {
        for account in self.current.accounts.values() {
            self.accounts.insert(account.folded.clone(), recipient(account));
        }
        for team in self.current.teams.values() {
            if let Some(namespace) = self.current.namespaces.get(&team.namespace) {
                self.teams.insert((namespace.name.clone(), team.name.clone()));
            }
        }
        if self.mode.missing == Missing::Remove {
            self.foresee_removals(document);
        }
        let mut said = Said::default();
        for user in each(document.users.as_ref()) {
            said.once(&user.place, ["user", &user.name.folded(), ""], user.name.as_str())?;
            self.accounts.insert(user.name.folded(), Recipient::User);
        }
        for namespace in each(document.namespaces.as_ref()) {
            let name = namespace.name.as_str();
            said.once(&namespace.place, ["namespace", name, ""], name)?;
            for robot in each(namespace.robots.as_ref()) {
                let handle = robot.name.handle_in(&namespace.name);
                said.once(&robot.place, ["robot", &folded(&handle), ""], &handle)?;
                self.accounts.insert(folded(&handle), Recipient::Robot);
            }
            for team in each(namespace.teams.as_ref()) {
                said.once(&team.place, ["team", name, team.name.as_str()], team.name.as_str())?;
                self.teams.insert((name.to_owned(), team.name.as_str().to_owned()));
            }
        }
        Ok(())
    }

    /// What the document does not have is not there in the end: nothing of it can be referred to.
    fn foresee_removals(&mut self, document: &Document) {
        if document.users.is_some() {
            self.accounts.retain(|folded, recipient| {
                let provided = || self.current.account(folded).is_some_and(|account| account.provider.is_some());
                *recipient != Recipient::User || provided()
            });
        }
        if document.namespaces.is_none() {
            return;
        }
        let wanted: BTreeMap<&str, _> =
            each(document.namespaces.as_ref()).map(|part| (part.name.as_str(), &part.value)).collect();
        for row in self.current.namespaces.values() {
            let part = wanted.get(row.name.as_str());
            if part.is_none_or(|part| part.teams.is_some()) {
                self.teams.retain(|(namespace, _)| *namespace != row.name);
            }
            if part.is_none_or(|part| part.robots.is_some()) {
                for robot in self.current.robots_of(row.id) {
                    self.accounts.remove(&robot.folded);
                }
            }
        }
    }

    pub(super) fn step(&mut self, place: &Place, line: Line, action: Action) {
        self.difference.steps.push(Step { line, place: place.clone(), action });
    }

    /// Something is there otherwise.
    pub(super) fn differs(&mut self, place: &Place, line: Line, action: Action) {
        match self.mode.existing {
            Existing::Change => self.step(place, line, action),
            Existing::Keep => self.difference.kept.push(Line { change: Verb::Keep, ..line }),
        }
    }

    /// Something is there, and the document does not have it. Who only adds is not told of it.
    pub(super) fn missing(&mut self, line: Line, action: Action) {
        match self.mode.missing {
            Missing::Remove => self.step(&Place::default(), line, action),
            Missing::Keep if self.mode.existing == Existing::Keep => {}
            Missing::Keep => self.difference.kept.push(Line { change: Verb::Keep, ..line }),
        }
    }

    pub(super) fn keep(&mut self, line: Line) {
        self.difference.kept.push(line);
    }

    pub(super) fn has_ended(&self, end: Option<Timestamp>) -> bool {
        end.is_some_and(|end| end <= self.now)
    }
}

/// What was named already.
#[derive(Default)]
struct Said(BTreeSet<[String; 3]>);

impl Said {
    fn once(&mut self, place: &Place, key: [&str; 3], name: &str) -> Result<(), Unfit> {
        if self.0.insert(key.map(str::to_owned)) {
            Ok(())
        } else {
            Err(unfit(place, format!("{name:?} stands here twice")))
        }
    }
}

pub(super) fn unfit(place: &Place, reason: impl Into<String>) -> Unfit {
    Unfit { place: place.clone(), reason: reason.into() }
}

fn recipient(account: &Account) -> Recipient {
    match account.kind {
        PrincipalKind::User => Recipient::User,
        PrincipalKind::Robot => Recipient::Robot,
    }
}

/// A text that people read beside a name.
fn fits(place: &Place, text: &str) -> Result<(), Unfit> {
    if text.len() <= MAX_DISPLAY_NAME_BYTES && !text.contains(char::is_control) {
        return Ok(());
    }
    Err(unfit(place, format!("at most {MAX_DISPLAY_NAME_BYTES} bytes without control characters stand beside a name")))
}

fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "no end".to_owned(), |end| format!("until {end}"))
}

//! Robots' keys. A key has a name, and two may have one: keys are paired by their secret where the document has it, else by what bounds
//! them, else in the order of their age.

use std::time::Duration;

use shared::{clock::Timestamp, settings::Placed};

use super::{Comparison, unfit, until};
use crate::accounts::{
    PrincipalId,
    credentials::{MAX_IDLE_DAYS, NewCredential},
    names::{Label, folded},
    setup::{
        Existing, KeyVerifier, Unfit,
        current::KeyRow,
        document::{KeyPart, RobotPart},
        steps::{AccountRef, Action, Line, Verb},
    },
};

const KEY: &str = "key";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A key that the document has, with what its secret is stored as.
struct Wanted<'a> {
    part: &'a Placed<KeyPart>,
    verifier: Option<&'a KeyVerifier>,
}

impl<'a> Comparison<'a> {
    pub(super) fn keys(&mut self, robot: &Placed<RobotPart>, handle: &str, known: Option<i64>) -> Result<(), Unfit> {
        let Some(parts) = &robot.keys else { return Ok(()) };
        let mut wanted = Vec::new();
        for part in parts.iter().filter(|part| !self.has_ended(part.expires_at)) {
            wanted.push(Wanted { part, verifier: self.verifier(part)? });
        }
        let mut there = known.map(|id| self.current.keys_of(id)).unwrap_or_default();
        let of_this_secret =
            |wanted: &Wanted<'_>, row: &KeyRow| wanted.verifier.is_some_and(|one| one.is(&row.verifier));
        let bounded_alike =
            |wanted: &Wanted<'_>, row: &KeyRow| wanted.verifier.is_none() && bounds_of(row) == bounds(wanted.part);
        let whichever = |wanted: &Wanted<'_>, _: &KeyRow| wanted.verifier.is_none();
        let mut pairs = Vec::new();
        take_pairs(&mut wanted, &mut there, &mut pairs, of_this_secret);
        take_pairs(&mut wanted, &mut there, &mut pairs, bounded_alike);
        take_pairs(&mut wanted, &mut there, &mut pairs, whichever);
        for (part, row) in pairs {
            self.known_key(part, row, handle);
        }
        for Wanted { part, verifier } in wanted {
            self.new_key(part, verifier, handle, &mut there)?;
        }
        for row in there {
            let line = Line::new(Verb::Remove, KEY, format!("{} of {handle}", row.name)).before(bounds_of(row));
            self.missing(line, Action::RevokeKey { robot: AccountRef(folded(handle)), id: row.id });
        }
        Ok(())
    }

    fn verifier(&self, part: &Placed<KeyPart>) -> Result<Option<&'a KeyVerifier>, Unfit> {
        if part.idle_days.is_some_and(|days| !(1..=MAX_IDLE_DAYS).contains(&days)) {
            return Err(unfit(&part.place, format!("idle_days is 1 to {MAX_IDLE_DAYS}")));
        }
        let Some(file) = &part.secret_file else { return Ok(None) };
        let verifiers = self.verifiers;
        let found = verifiers.keys.get(file);
        found.map(Some).ok_or_else(|| unfit(&part.place, format!("the secret {file:?} did not come with the document")))
    }

    fn known_key(&mut self, part: &Placed<KeyPart>, row: &KeyRow, handle: &str) {
        if bounds_of(row) == bounds(part) {
            return;
        }
        let line = Line::new(Verb::Change, KEY, format!("{} of {handle}", row.name))
            .before(bounds_of(row))
            .after(bounds(part));
        let key = Box::new(credential(part, None));
        self.differs(&part.place, line, Action::ChangeKey { robot: AccountRef(folded(handle)), id: row.id, key });
    }

    /// A key whose secret nobody has here yet. One of the same name that is left over was its predecessor.
    fn new_key(
        &mut self,
        part: &Placed<KeyPart>,
        verifier: Option<&KeyVerifier>,
        handle: &str,
        there: &mut Vec<&KeyRow>,
    ) -> Result<(), Unfit> {
        let name = format!("{} of {handle}", part.name.as_str());
        let Some(verifier) = verifier else {
            return Err(unfit(
                &part.place,
                format!("there is no key {name} yet: say in which file its secret is (secret_file)"),
            ));
        };
        let before = there.iter().position(|row| row.name == part.name.as_str());
        if let Some(before) = before.map(|index| there.remove(index)) {
            if self.mode.existing == Existing::Keep {
                self.keep(Line::new(Verb::Keep, KEY, name).before("it has another secret"));
                return Ok(());
            }
            let line = Line::new(Verb::Remove, KEY, &*name).before("another secret takes its place");
            self.step(&part.place, line, Action::RevokeKey { robot: AccountRef(folded(handle)), id: before.id });
        }
        let line = Line::new(Verb::Create, KEY, name).after(bounds(part));
        let key = Box::new(credential(part, Some(verifier)));
        self.step(&part.place, line, Action::AddKey { robot: AccountRef(folded(handle)), key });
        Ok(())
    }
}

/// Takes out of both lists what has one name and fits.
fn take_pairs<'a>(
    wanted: &mut Vec<Wanted<'a>>,
    there: &mut Vec<&'a KeyRow>,
    pairs: &mut Vec<(&'a Placed<KeyPart>, &'a KeyRow)>,
    fits: impl Fn(&Wanted<'a>, &KeyRow) -> bool,
) {
    wanted.retain(|one| {
        let found = there.iter().position(|row| row.name == one.part.name.as_str() && fits(one, row));
        if let Some(index) = found {
            pairs.push((one.part, there.remove(index)));
        }
        found.is_none()
    });
}

/// What bounds a key, as people read it; two keys that are bounded alike read alike.
fn bounds(part: &KeyPart) -> String {
    let scope = part.scope.as_ref().map(ToString::to_string);
    let networks = part.networks.as_ref().map(ToString::to_string);
    text(scope, networks, part.api.as_str(), part.idle_days, part.expires_at)
}

fn bounds_of(row: &KeyRow) -> String {
    let ends = row.expires_at.map(Timestamp::from_micros);
    text(row.scope.clone(), row.networks.clone(), row.api.as_str(), row.idle_days(), ends)
}

fn text(
    scope: Option<String>,
    networks: Option<String>,
    api: &str,
    idle: Option<u32>,
    ends: Option<Timestamp>,
) -> String {
    let said = [
        scope.map(|scope| format!("scope {scope}")),
        networks.map(|networks| format!("from {networks}")),
        (api != "none").then(|| format!("api {api}")),
        idle.map(|days| format!("idle {days} d")),
        Some(until(ends)),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The row to be; its owner is set when it is written.
fn credential(part: &KeyPart, verifier: Option<&KeyVerifier>) -> NewCredential {
    let name: Label = part.name.clone();
    NewCredential {
        principal: PrincipalId(0),
        name,
        lookup: None,
        verifier: verifier.map(|one| one.verifier.clone()).unwrap_or_default(),
        master_id: verifier.map(|one| one.master_id.clone()).unwrap_or_default(),
        earlier: verifier.map(|one| one.earlier.clone()).unwrap_or_default(),
        scope: part.scope.clone(),
        networks: part.networks.clone(),
        api: part.api,
        idle: part.idle_days.map(|days| DAY * days),
        expires_at: part.expires_at,
    }
}

//! People.

use std::collections::BTreeSet;

use shared::settings::{Place, Placed};

use super::{Comparison, fits, unfit};
use crate::{
    accounts::{
        principals::AccountState,
        setup::{
            Document, Existing, Unfit,
            current::Account,
            document::{Standing, UserPart, each},
            steps::{AccountRef, Action, Line, Password, Verb},
        },
    },
    permissions::SystemRole,
};

const USER: &str = "user";

impl Comparison<'_> {
    pub(super) fn users(&mut self, document: &Document) -> Result<(), Unfit> {
        let Some(users) = &document.users else { return Ok(()) };
        let current = self.current;
        for user in users {
            fits(&user.place, &user.display_name)?;
            match current.account(&user.name.folded()) {
                None => self.new_user(user)?,
                Some(account) if self.mode.existing == Existing::Keep => {
                    self.keep(
                        Line::new(Verb::Keep, USER, &account.handle).before("there is an account of this name already"),
                    );
                }
                Some(account) => self.known_user(user, account)?,
            }
        }
        let said: BTreeSet<String> = each(Some(users)).map(|user| user.name.folded()).collect();
        for account in current.users().filter(|account| !said.contains(&account.folded)) {
            self.missing_user(account);
        }
        Ok(())
    }

    fn new_user(&mut self, user: &Placed<UserPart>) -> Result<(), Unfit> {
        if let Some(provider) = &user.provider {
            let name = user.name.as_str();
            return Err(unfit(
                &user.place,
                format!(
                    "{name:?} comes to be when they first sign in with {provider:?}; say nothing about them before"
                ),
            ));
        }
        let password = match (&user.secret_file, &user.password_hash) {
            (Some(_), Some(_)) => return Err(unfit(&user.place, "secret_file and password_hash exclude each other")),
            (Some(file), None) => Some(Password::File(file.clone())),
            (None, hash) => hash.clone().map(Password::Hash),
        };
        let mut after = vec![role(user.system_role).to_owned()];
        if password.is_none() {
            after.push("no password yet".to_owned());
        }
        let line = Line::new(Verb::Create, USER, user.name.as_str()).after(after.join(", "));
        let action = Action::CreateUser {
            handle: user.name.clone(),
            display_name: user.display_name.clone(),
            role: user.system_role,
            password,
        };
        self.step(&user.place, line, action);
        if user.state == Some(Standing::Suspended) {
            self.suspend_new(&user.place, USER, user.name.as_str(), user.name.folded());
        }
        Ok(())
    }

    pub(super) fn suspend_new(&mut self, place: &Place, kind: &'static str, name: &str, folded: String) {
        let line = Line::new(Verb::Change, kind, name).before("active").after("suspended");
        self.step(place, line, Action::SetState { account: AccountRef(folded), state: Standing::Suspended });
    }

    fn known_user(&mut self, user: &Placed<UserPart>, account: &Account) -> Result<(), Unfit> {
        if user.provider != account.provider {
            let whose = account
                .provider
                .as_ref()
                .map_or("a local account".to_owned(), |provider| format!("provider {provider:?}'s"));
            return Err(unfit(&user.place, format!("{:?} is {whose}", account.handle)));
        }
        let account_ref = || AccountRef(account.folded.clone());
        // What a provider calls its people is the provider's to say.
        if account.provider.is_none() && user.display_name != account.display_name {
            let line = Line::new(Verb::Change, USER, &account.handle)
                .before(format!("{:?}", account.display_name))
                .after(format!("{:?}", user.display_name));
            let action =
                Action::Describe { account: account_ref(), display_name: user.display_name.clone(), expires_at: None };
            self.differs(&user.place, line, action);
        }
        if user.system_role != account.system_role {
            let line = Line::new(Verb::Change, USER, &account.handle)
                .before(role(account.system_role))
                .after(role(user.system_role));
            self.differs(&user.place, line, Action::SetRole { account: account_ref(), role: user.system_role });
        }
        self.state(&user.place, USER, account, user.state);
        Ok(())
    }

    /// Whether somebody is let in is what people change in a hurry: where the document says nothing, it stays.
    pub(super) fn state(&mut self, place: &Place, kind: &'static str, account: &Account, wanted: Option<Standing>) {
        let suspended = account.state == AccountState::Suspended;
        let (before, after) = match wanted {
            Some(Standing::Suspended) if !suspended => ("active", "suspended"),
            Some(Standing::Active) if suspended => ("suspended", "active"),
            _ => return,
        };
        let Some(state) = wanted else { return };
        let line = Line::new(Verb::Change, kind, &account.handle).before(before).after(after);
        self.differs(place, line, Action::SetState { account: AccountRef(account.folded.clone()), state });
    }

    /// A provider's account goes with the provider; what was given to it here goes with the document.
    fn missing_user(&mut self, account: &Account) {
        let account_ref = AccountRef(account.folded.clone());
        match (&account.provider, account.system_role) {
            (None, _) => {
                let line = Line::new(Verb::Remove, USER, &account.handle).before(role(account.system_role));
                self.missing(line, Action::DeleteAccount { account: account_ref });
            }
            (Some(_), Some(held)) => {
                let line = Line::new(Verb::Change, USER, &account.handle).before(role(Some(held))).after(role(None));
                self.missing(line, Action::SetRole { account: account_ref, role: None });
            }
            (Some(_), None) => {}
        }
    }
}

fn role(role: Option<SystemRole>) -> &'static str {
    role.map_or("no system role", SystemRole::as_str)
}

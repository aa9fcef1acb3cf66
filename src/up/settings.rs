//! What `up` needs to know: Distribution's tree with auth's under `portreeve.auth`, and defaults where a file leaves a section out.

use std::path::{Path, PathBuf};

use auth::accounts::networks::{NetworkError, Networks};
use registry::{
    cli::ALIASES,
    settings::{AccessSettings, RawSettings, Settings, TokenSettings},
};
use shared::{
    clock::Clock,
    data_directory::DataDirectory,
    listen::{MinimumTls, Place, Tls},
    settings::{SettingsError as Unreadable, Source, Unknown},
};

use super::Up;

/// Where everything lies where nobody says otherwise.
const DATA: &str = "./data";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Registry(#[from] registry::settings::SettingsError),
    #[error("portreeve.auth: {0}")]
    Auth(#[from] auth::settings::SettingsError),
    #[error("{0}")]
    Unknown(Unknown),
    #[error(
        "auth.token.{key} is {registry:?}, but portreeve.auth makes tokens with {auth:?}: one of them has to follow the other"
    )]
    Disagree { key: &'static str, registry: String, auth: String },
    #[error(
        "{0}; `up` makes tokens itself, so `auth` stays out or has a `token` section; for other ways of access there is `registry serve`"
    )]
    NotTokens(&'static str),
    #[error(
        "portreeve.trustedproxies cannot hold for auth too: {0}; name the proxies before auth in portreeve.auth.trustedproxies"
    )]
    Proxies(NetworkError),
    #[error("the development certificate cannot be made: {0}")]
    DevelopmentTls(#[from] auth::pki::PkiError),
    #[error(transparent)]
    Keys(#[from] shared::data_directory::DataDirectoryError),
    #[error("{}: {error}", file.display())]
    InFile { file: PathBuf, error: Box<Self> },
}

impl SettingsError {
    /// Names the file, where the error does not do so by itself.
    fn of(self, file: Option<&Path>) -> Self {
        match (self, file) {
            (error @ (Self::Unreadable(_) | Self::Unknown(_)), _) | (error, None) => error,
            (error, Some(file)) => Self::InFile { file: file.to_owned(), error: Box::new(error) },
        }
    }
}

/// The settings of both services.
#[derive(Debug)]
pub(super) struct Together {
    pub(super) registry: Settings,
    pub(super) auth: auth::settings::Settings,
    pub(super) unknown: Vec<Unknown>,
}

impl Together {
    /// Reads the file, if there is one, lays the environment over it, and the command line over that.
    ///
    /// # Errors
    /// [`SettingsError`], naming file, key and reason.
    pub(super) fn load(up: &Up, environment: &[(String, String)]) -> Result<Self, SettingsError> {
        Self::read(up, environment).map_err(|error| error.of(up.config.as_deref()))
    }

    fn read(up: &Up, environment: &[(String, String)]) -> Result<Self, SettingsError> {
        let file = match &up.config {
            Some(path) => Source::file(path)?,
            None => Source::empty(),
        };
        let data = up.data.clone().unwrap_or_else(|| DATA.into());
        let mut auth = read_auth(file.clone(), environment)?;
        let file = if up.config.is_some() { file.version("0.1")? } else { file };
        let (named, _) = read_registry(file.clone(), &data, environment)?;
        // Once more, with the directory that the configuration names: the keys to believe are those that are made there.
        let root = up.data.clone().unwrap_or(named.storage.root);
        let (mut registry, unknown) = read_registry(file, &root, environment)?;
        registry.storage.root = root;
        if let Some(listen) = &up.listen {
            registry.http.listen = Place::Tcp(listen.clone());
        }
        if auth.trusted_proxies.is_none() {
            auth.trusted_proxies = proxies_of(&registry)?;
        }
        let together = Self { registry, auth, unknown };
        together.check()?;
        Ok(together)
    }

    fn check(&self) -> Result<(), SettingsError> {
        match &self.registry.access {
            AccessSettings::Token(token) => self.check_agreement(token),
            AccessSettings::Htpasswd { .. } => Err(SettingsError::NotTokens("auth.htpasswd is set")),
            AccessSettings::None => Err(SettingsError::NotTokens("auth.none is set")),
        }
    }

    /// A registry that refuses every token of the service beside it would be found out at the first login; better now.
    fn check_agreement(&self, token: &TokenSettings) -> Result<(), SettingsError> {
        let disagree = |key, registry: &str, auth: String| {
            Err(SettingsError::Disagree { key, registry: registry.to_owned(), auth })
        };
        if token.issuer != self.auth.issuer {
            return disagree("issuer", &token.issuer, self.auth.issuer.clone());
        }
        let services: Vec<&str> = self.auth.services.iter().map(|(name, _)| name.as_str()).collect();
        if !services.contains(&token.service.as_str()) {
            return disagree("service", &token.service, services.join(", "));
        }
        Ok(())
    }

    /// The name under which tokens are made for this registry.
    pub(super) fn service(&self) -> String {
        match &self.registry.access {
            AccessSettings::Token(token) => token.service.clone(),
            AccessSettings::Htpasswd { .. } | AccessSettings::None => String::new(),
        }
    }

    /// Speaks TLS with a certificate of the development authority.
    pub(super) fn use_development_tls(
        &mut self,
        data: &DataDirectory,
        names: &[String],
        clock: &Clock,
    ) -> Result<PathBuf, SettingsError> {
        let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        all.extend(names.iter().cloned());
        let files = auth::pki::development_tls(&data.keys()?, &all, clock.now())?;
        self.registry.http.tls = Some(Tls {
            certificate: files.server.clone(),
            key: files.server,
            clients: None,
            minimum: MinimumTls::default(),
        });
        Ok(files.root)
    }
}

/// The registry's part of the file, with defaults for `data` where it leaves a section out.
fn read_registry(
    file: Source,
    data: &Path,
    environment: &[(String, String)],
) -> Result<(Settings, Vec<Unknown>), SettingsError> {
    let read = file
        .or_sections_of(Source::text("defaults", &defaults(data))?)
        .overlay("REGISTRY", environment.iter().cloned())
        .aliases(ALIASES)
        .read::<RawSettings>()?;
    registry::settings::refuse_unknown_access(&read.unknown)?;
    Ok((read.value.try_into()?, read.unknown))
}

/// Auth's part of the file. A misspelled setting of the service that decides who may do what is an error, not a warning.
fn read_auth(file: Source, environment: &[(String, String)]) -> Result<auth::settings::Settings, SettingsError> {
    let read =
        file.section(&["portreeve", "auth"]).overlay(auth::settings::PREFIX, environment.iter().cloned()).read()?;
    match read.unknown.into_iter().find(Unknown::is_in_file) {
        Some(unknown) => Err(SettingsError::Unknown(unknown)),
        None => Ok(auth::settings::Settings::together(read.value)?),
    }
}

/// Both services stand behind the same proxies, so what is said once holds for both.
fn proxies_of(registry: &Settings) -> Result<Option<Networks>, SettingsError> {
    let proxies: Vec<String> = registry.http.trusted_proxies.iter().map(ToString::to_string).collect();
    if proxies.is_empty() { Ok(None) } else { Networks::try_from(proxies).map(Some).map_err(SettingsError::Proxies) }
}

/// The sections of a configuration that says nothing. `/token` on the host that was asked is the realm, so that tunnels and
/// ingresses work.
fn defaults(data: &Path) -> String {
    let data = data.display().to_string().replace('\'', "''");
    format!(
        "log: {{accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: '{data}'}}, delete: {{enabled: true}}}}\n\
         http: {{addr: '127.0.0.1:5000'}}\n\
         auth: {{token: {{service: portreeve, issuer: portreeve, rootcertbundle: '{data}/keys/bundle.pem'}}}}\n\
         portreeve: {{undelete: 168h}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(config: Option<PathBuf>) -> Up {
        Up { listen: None, data: None, config, tls: false, tls_name: Vec::new(), insecure: false }
    }

    fn bundle(together: &Together) -> &Path {
        let AccessSettings::Token(token) = &together.registry.access else { panic!("{:?}", together.registry.access) };
        token.bundle.as_deref().unwrap()
    }

    #[test]
    fn the_keys_that_are_believed_lie_where_the_data_lies() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("it's here");
        let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n", data.display());
        let file = home.path().join("config.yml");
        std::fs::write(&file, text).unwrap();
        let variable = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY".to_owned(), data.display().to_string());
        for (config, environment) in [(Some(file), vec![]), (None, vec![variable])] {
            let together = Together::load(&up(config), &environment).unwrap();
            assert_eq!(together.registry.storage.root, data);
            assert_eq!(bundle(&together), data.join("keys/bundle.pem"));
        }
        assert_eq!(bundle(&Together::load(&up(None), &[]).unwrap()), Path::new("./data/keys/bundle.pem"));
    }

    #[test]
    fn what_the_command_line_says_counts_before_the_environment() {
        let environment = [
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY".to_owned(), "/var/lib/registry".to_owned()),
            ("REGISTRY_HTTP_ADDR".to_owned(), "127.0.0.1:1".to_owned()),
        ];
        let up = Up { data: Some("/srv/data".into()), listen: Some("127.0.0.1:2".to_owned()), ..up(None) };
        let together = Together::load(&up, &environment).unwrap();
        assert_eq!(together.registry.storage.root, Path::new("/srv/data"));
        assert_eq!(bundle(&together), Path::new("/srv/data/keys/bundle.pem"));
        assert_eq!(together.registry.http.listen, Place::Tcp("127.0.0.1:2".to_owned()));
    }

    #[test]
    fn auth_believes_the_proxies_that_the_registry_believes_unless_it_has_its_own() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.yml");
        let load = |portreeve: &str| {
            std::fs::write(&file, format!("version: 0.1\nportreeve: {{{portreeve}}}\n")).unwrap();
            Together::load(&up(Some(file.clone())), &[]).map(|together| together.auth.trusted_proxies)
        };
        let networks = |text: &str| Some(text.parse::<Networks>().unwrap());
        let written = "10.0.0.0/8, 192.0.2.7, '::ffff:198.51.100.0/120', 'fd00::/8'";
        let proxies = networks("10.0.0.0/8 192.0.2.7/32 198.51.100.0/24 fd00::/8");
        assert_eq!(load(&format!("trustedproxies: [{written}]")).unwrap(), proxies);
        let both = "trustedproxies: [10.0.0.0/8], auth: {trustedproxies: [192.0.2.0/24]}";
        assert_eq!(load(both).unwrap(), networks("192.0.2.0/24"));
        assert_eq!(load("undelete: 1h").unwrap(), None);
        let many: Vec<String> = (0..17).map(|n| format!("10.0.0.{n}")).collect();
        let refused = load(&format!("trustedproxies: [{}]", many.join(", "))).unwrap_err().to_string();
        assert!(refused.contains("portreeve.auth.trustedproxies"), "{refused}");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config.yml");
        for (text, expected) in [
            ("storage: {filesystem: {rootdirectory: 7x}}\nportreeve: {manifestlimit: 1}", "portreeve.manifestlimit"),
            ("portreeve: {auth: {token: {expiration: 1}}}", "portreeve.auth: token.expiration"),
            ("portreeve: {auth: {tokens: {}}}", "tokens is unknown"),
            ("auth: {token: {issuer: other, service: portreeve, rootcertbundle: b.pem}}", "auth.token.issuer"),
            ("auth: {htpasswd: {realm: r, path: p}}", "auth.htpasswd is set"),
            ("storage: [", ""),
        ] {
            std::fs::write(&file, format!("version: 0.1\n{text}\n")).unwrap();
            let refused = Together::load(&up(Some(file.clone())), &[]).unwrap_err().to_string();
            assert!(refused.starts_with(&file.display().to_string()) && refused.contains(expected), "{refused}");
        }
    }
}

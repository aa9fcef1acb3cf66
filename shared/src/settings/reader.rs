//! Reads a tree of settings and the variables over it into a typed tree, which says at each place what it wants.

mod deserialize;
mod nearest;

use std::{cell::RefCell, collections::BTreeMap, fmt, fs};

use serde::de;

use self::nearest::nearest;
use super::{
    Origin, SettingsError, Unknown, scalar,
    yaml::{self, Node, Value},
};

/// What all places of one reading share.
pub(super) struct Context {
    pub(super) file: String,
    pub(super) prefix: String,
    pub(super) aliases: &'static [(&'static str, &'static str)],
    pub(super) unknown: RefCell<Vec<Unknown>>,
}

/// An environment variable on its way to its place.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// The parts of its name that lie ahead.
    pub(super) rest: Vec<String>,
}

impl Variable {
    /// One or more parts further.
    fn behind(mut self, parts: usize) -> Self {
        self.rest.drain(..parts);
        self
    }

    fn is_here(&self) -> bool {
        self.rest.is_empty()
    }

    fn names_a_file(&self) -> bool {
        self.rest.len() == 1 && self.rest[0].eq_ignore_ascii_case("file")
    }
}

/// A place in the tree.
pub(super) struct Cursor<'c> {
    context: &'c Context,
    path: String,
    node: Option<Node>,
    /// The variable that the node was written in, if it was not the file.
    written_in: Option<String>,
    variables: Vec<Variable>,
    /// Whether the value is a secret, whose text is taken literally.
    secret: bool,
}

/// What a visitor or a place complains about.
#[derive(Debug)]
pub(super) struct Error(SettingsError);

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self(SettingsError { origin: None, key: String::new(), reason: reason.into() })
    }

    fn said_by(mut self, name: &str) -> Self {
        self.0.origin = Some(Origin::Variable(name.to_owned()));
        self
    }

    /// Says where, unless an inner place has said so already.
    fn at(mut self, place: &Place) -> Self {
        if self.0.key.is_empty() {
            self.0.key.clone_from(&place.path);
            self.0.origin = self.0.origin.or_else(|| place.origin.clone());
        }
        self
    }
}

impl From<Error> for SettingsError {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// A place's name, kept for the case that something is wrong there.
struct Place {
    path: String,
    origin: Option<Origin>,
}

impl<'c> Cursor<'c> {
    pub(super) fn root(node: Option<Node>, variables: Vec<Variable>, context: &'c Context) -> Self {
        Self { context, path: String::new(), node, written_in: None, variables, secret: false }
    }

    fn place(&self) -> Place {
        let here = self.variables.iter().find(|variable| variable.is_here() || variable.names_a_file());
        let origin = match (here, &self.written_in, &self.node) {
            (Some(variable), ..) => Some(Origin::Variable(variable.name.clone())),
            (None, Some(name), _) => Some(Origin::Variable(name.clone())),
            (None, None, Some(node)) => Some(Origin::File { file: self.context.file.clone(), line: node.line }),
            (None, None, None) => self.variables.first().map(|variable| Origin::Variable(variable.name.clone())),
        };
        Place { path: self.path.clone(), origin }
    }

    /// Puts the value of a variable that names exactly this place in the file's stead.
    fn replaced(mut self) -> Result<Self, Error> {
        while let Some(at) = self.variables.iter().position(Variable::is_here) {
            let Variable { name, value, .. } = self.variables.remove(at);
            let node = yaml::parse(&value).map_err(|fault| Error::new(fault.reason).said_by(&name))?;
            self.node = Some(node);
            self.written_in = Some(name);
        }
        Ok(self)
    }

    fn child(&self, key: &str, node: Option<Node>, variables: Vec<Variable>) -> Self {
        let path = match (self.path.as_str(), key.starts_with('[')) {
            ("", _) => key.to_owned(),
            (path, true) => format!("{path}{key}"),
            (path, false) => format!("{path}.{key}"),
        };
        let written_in = if node.is_some() { self.written_in.clone() } else { None };
        Self { context: self.context, path, node, written_in, variables, secret: false }
    }

    /// The entries of a section with fixed names.
    fn fields(self, fields: &'static [&'static str]) -> Result<Vec<(String, Self)>, Error> {
        let mut this = self.replaced()?;
        let variables = std::mem::take(&mut this.variables);
        let mut nodes: BTreeMap<&'static str, Node> = BTreeMap::new();
        for (key, node) in this.entries(fields)? {
            match fields.iter().find(|field| **field == key) {
                Some(field) => {
                    nodes.insert(field, node);
                }
                None => this.unknown_key(&key, &node, fields),
            }
        }
        let mut theirs: BTreeMap<&'static str, Vec<Variable>> = BTreeMap::new();
        for variable in variables {
            match this.field_of(&variable, fields) {
                Some((field, parts)) => theirs.entry(field).or_default().push(variable.behind(parts)),
                None => this.unknown_variable(&variable, fields),
            }
        }
        let found = fields.iter().filter_map(|field| {
            let (node, variables) = (nodes.remove(field), theirs.remove(field).unwrap_or_default());
            let there = node.is_some() || !variables.is_empty();
            there.then(|| ((*field).to_owned(), this.child(field, node, variables)))
        });
        Ok(found.collect())
    }

    /// The file's entries here. One word stands for a section that has this one entry: `storage: inmemory`.
    fn entries(&mut self, fields: &[&str]) -> Result<Vec<(String, Node)>, Error> {
        let Some(node) = self.node.take() else { return Ok(Vec::new()) };
        let line = node.line;
        match node.value {
            Value::Null => Ok(Vec::new()),
            Value::Map(entries) => Ok(entries),
            Value::Scalar { text, .. } if fields.contains(&text.as_str()) => {
                Ok(vec![(text, Node { line, value: Value::Map(Vec::new()) })])
            }
            Value::Scalar { text, .. } => Err(Error::new(format!("a section is expected here, not {text:?}"))),
            Value::List(_) => Err(Error::new("a section is expected here, not a list")),
        }
    }

    /// The field that a variable goes on to, and how many parts of its name that takes: a field's name may have `_`.
    fn field_of(&self, variable: &Variable, fields: &[&'static str]) -> Option<(&'static str, usize)> {
        (1..=variable.rest.len()).rev().find_map(|parts| {
            let part = variable.rest[..parts].join("_");
            let field = fields.iter().find(|field| field.eq_ignore_ascii_case(&part) || self.is_alias(field, &part))?;
            Some((*field, parts))
        })
    }

    fn is_alias(&self, field: &str, part: &str) -> bool {
        let path = self.child(field, None, Vec::new()).path;
        self.context.aliases.iter().any(|(key, alias)| *key == path && alias.eq_ignore_ascii_case(part))
    }

    /// The entries of a section with free names.
    fn free_entries(self) -> Result<Vec<(String, Self)>, Error> {
        let mut this = self.replaced()?;
        let variables = std::mem::take(&mut this.variables);
        let mut nodes = this.entries(&[])?;
        let mut theirs: BTreeMap<String, Vec<Variable>> = BTreeMap::new();
        for variable in variables {
            let (key, parts) = free_key(&variable, &nodes);
            theirs.entry(key).or_default().push(variable.behind(parts));
        }
        let mut found = Vec::new();
        for (key, node) in nodes.drain(..) {
            let variables = theirs.remove(&key).unwrap_or_default();
            found.push((key.clone(), this.child(&key, Some(node), variables)));
        }
        for (key, variables) in theirs {
            found.push((key.clone(), this.child(&key, None, variables)));
        }
        Ok(found)
    }

    fn items(self) -> Result<Vec<Self>, Error> {
        let mut this = self.replaced()?;
        let variables = std::mem::take(&mut this.variables);
        let mut nodes: Vec<Option<Node>> = match this.node.take().map(|node| node.value) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(items)) => items.into_iter().map(Some).collect(),
            Some(Value::Map(_)) => return Err(Error::new("a list is expected here, not a section")),
            Some(Value::Scalar { text, .. }) => {
                return Err(Error::new(format!("a list is expected here, like [{text}]")));
            }
        };
        let mut theirs: BTreeMap<usize, Vec<Variable>> = BTreeMap::new();
        for variable in variables {
            let Ok(index) = variable.rest[0].parse() else {
                let reason = format!("a list index is expected in place of {}", variable.rest[0]);
                return Err(Error::new(reason).said_by(&variable.name));
            };
            theirs.entry(index).or_default().push(variable.behind(1));
        }
        for (index, variables) in &theirs {
            match nodes.len() {
                length if *index == length => nodes.push(None),
                length if *index > length => {
                    let reason = format!("the list has {length} entries, so the next index is {length}");
                    return Err(Error::new(reason).said_by(&variables[0].name));
                }
                _ => {}
            }
        }
        let item = |(index, node)| this.child(&format!("[{index}]"), node, theirs.remove(&index).unwrap_or_default());
        Ok(nodes.into_iter().enumerate().map(item).collect())
    }

    /// The one value here, `None` for null.
    fn text(self) -> Result<Option<String>, Error> {
        let (here, beyond): (Vec<_>, Vec<_>) =
            self.variables.iter().partition(|variable| variable.is_here() || variable.names_a_file());
        for variable in beyond {
            self.unknown_variable(variable, &[]);
        }
        match (here.as_slice(), self.node) {
            ([], None) => Ok(None),
            ([], Some(node)) => match node.value {
                Value::Null => Ok(None),
                Value::Scalar { text, .. } => Ok(Some(text)),
                Value::List(_) => Err(Error::new("one value is expected here, not a list")),
                Value::Map(_) => Err(Error::new("one value is expected here, not a section")),
            },
            ([variable], _) => content(variable, self.secret).map(Some),
            ([one, two, ..], _) => Err(Error::new(format!("{} and {} both set this", one.name, two.name))),
        }
    }

    fn needed(self, what: &str) -> Result<String, Error> {
        self.text()?.ok_or_else(|| Error::new(format!("{what} is expected here, not nothing")))
    }

    fn integer<T: TryFrom<i128>>(self) -> Result<T, Error> {
        let text = self.needed("a whole number")?;
        let text = text.trim();
        let value = scalar::integer(text).map_err(|error| Error::new(scalar::why_no_integer(text, &error)))?;
        T::try_from(value).map_err(|_| Error::new(format!("{text} is out of range")))
    }

    fn float(self) -> Result<f64, Error> {
        let text = self.needed("a number")?;
        scalar::float(text.trim()).ok_or_else(|| Error::new(format!("{text:?} is not a number")))
    }

    fn boolean(self) -> Result<bool, Error> {
        let text = self.needed("true or false")?;
        scalar::boolean(text.trim()).ok_or_else(|| Error::new(format!("true or false is expected here, not {text:?}")))
    }

    /// Whether there is nothing, or null, or an empty variable, which says "unset" in compose files.
    fn is_nothing(&self) -> bool {
        match self.variables.as_slice() {
            [] => self.node.as_ref().is_none_or(|node| node.value == Value::Null),
            variables => variables.iter().all(|variable| variable.is_here() && variable.value.is_empty()),
        }
    }

    fn unknown_key(&self, key: &str, node: &Node, fields: &[&str]) {
        let origin = match &self.written_in {
            Some(name) => Origin::Variable(name.clone()),
            None => Origin::File { file: self.context.file.clone(), line: node.line },
        };
        let key_path = self.child(key, None, Vec::new()).path;
        self.report(Unknown { origin, key: key_path, nearest: nearest(key, fields).map(str::to_owned) });
    }

    fn unknown_variable(&self, variable: &Variable, fields: &[&str]) {
        let origin = Origin::Variable(variable.name.clone());
        let meant = variable.rest.first().and_then(|part| nearest(&part.to_lowercase(), fields));
        let nearest = meant.map(|field| {
            let behind = variable.rest[1..].iter().map(String::as_str);
            let parts = self.path.split(['.', '[', ']']).chain([field]).chain(behind).filter(|part| !part.is_empty());
            let parts: Vec<String> = parts.map(str::to_uppercase).collect();
            format!("{}_{}", self.context.prefix, parts.join("_"))
        });
        self.report(Unknown { origin, key: variable.name.clone(), nearest });
    }

    fn report(&self, unknown: Unknown) {
        let mut reported = self.context.unknown.borrow_mut();
        if !reported.contains(&unknown) {
            reported.push(unknown);
        }
    }
}

/// What a variable says, or the file that it names.
fn content(variable: &Variable, secret: bool) -> Result<String, Error> {
    let mut text = variable.value.clone();
    if variable.names_a_file() {
        text = fs::read_to_string(&variable.value)
            .map_err(|error| Error::new(format!("cannot read {}: {error}", variable.value)).said_by(&variable.name))?;
        let kept = text.trim_end_matches(['\n', '\r']).len();
        text.truncate(kept);
    } else if !secret {
        text = scalar::unquoted(&text);
    }
    Ok(text)
}

/// The key that a variable means in a section with free names, and how many parts of its name that takes.
fn free_key(variable: &Variable, nodes: &[(String, Node)]) -> (String, usize) {
    let existing = (1..=variable.rest.len()).rev().find_map(|parts| {
        let part = variable.rest[..parts].join("_");
        let (key, _) = nodes.iter().find(|(key, _)| key.eq_ignore_ascii_case(&part))?;
        Some((key.clone(), parts))
    });
    existing.unwrap_or_else(|| (variable.rest[0].to_lowercase(), 1))
}

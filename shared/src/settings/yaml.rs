//! YAML as a tree whose scalars are still text.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

/// The most values of one file, more than anybody writes; aliases multiply them.
pub(super) const MAX_NODES: usize = 50_000;

/// How many sections may stand within another.
pub(super) const MAX_DEPTH: usize = 32;

/// A node and the line it begins on, counted from one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar {
        text: String,
        /// Without quotes, so that it may mean a number or a boolean.
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file, no key twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Takes the entry out of a map.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(at).1)
    }

    /// Adds the entries of another map whose keys this one does not have; an empty node becomes that map.
    pub(super) fn add_missing(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (Value::Map(entries), Value::Map(others)) => {
                let missing: Vec<_> =
                    others.into_iter().filter(|(key, _)| entries.iter().all(|(known, _)| known != key)).collect();
                entries.extend(missing);
            }
            (Value::Null, other) => self.value = other,
            _ => {}
        }
    }
}

/// Why a text is not a tree.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) reason: String,
}

fn fault(line: usize, reason: impl Into<String>) -> Fault {
    Fault { line, reason: reason.into() }
}

/// Parses one document; an empty text is null.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    while let Some((event, span)) = builder.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if root.is_some() => return Err(fault(span.start.line(), "there is a second document")),
            event => root = Some(builder.node(&event, span, 0)?),
        }
    }
    Ok(root.unwrap_or(Node { line: 1, value: Value::Null }))
}

struct Builder<'t> {
    parser: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Builder<'t> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Fault> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => return Err(fault(error.marker().line(), format!("not YAML: {error}"))),
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'t>, Span), Fault> {
        self.next()?.ok_or_else(|| fault(1, "not YAML: it ends too early"))
    }

    fn node(&mut self, event: &Event<'t>, span: Span, depth: usize) -> Result<Node, Fault> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(fault(line, "nested too deeply"));
        }
        self.count(1, line)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(text, *style), *anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(depth)?, *anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth)?, *anchor),
            Event::Alias(anchor) => {
                let node = self.anchors.get(anchor).cloned().ok_or_else(|| fault(line, "an alias within itself"))?;
                self.count(size(&node), line)?;
                return Ok(node);
            }
            other => return Err(fault(line, format!("unexpected here: {other:?}"))),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err(fault(line, "too many values")) } else { Ok(()) }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(&event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.expect()?;
            let line = span.start.line();
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(fault(line, "a key is one word")),
            };
            let (event, span) = self.expect()?;
            let mut node = self.node(&event, span, depth + 1)?;
            if key == "<<" && plain {
                merged.push(node);
            } else if entries.iter().any(|(name, _)| *name == key) {
                return Err(fault(line, format!("{key} stands here twice")));
            } else {
                // The key's line is where a person looks.
                node.line = line;
                entries.push((key, node));
            }
        }
        for node in merged {
            merge(&mut entries, node)?;
        }
        Ok(Value::Map(entries))
    }
}

/// `<<: *defaults`: entries that are not there already.
fn merge(entries: &mut Vec<(String, Node)>, node: Node) -> Result<(), Fault> {
    match node.value {
        Value::Map(more) => {
            for (key, node) in more {
                if !entries.iter().any(|(name, _)| *name == key) {
                    entries.push((key, node));
                }
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(entries, node)),
        _ => Err(fault(node.line, "<< takes a section")),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar { text: text.to_owned(), plain }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

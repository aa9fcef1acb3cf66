//! The matcher: a pattern becomes a row of states, and a name is read once while a set of them is kept.
//!
//! Nothing is ever tried twice, so no pattern can be made slow: each byte of the name costs at most one look at each
//! state, and there are fewer states than [`MAX_PATTERN_BYTES`] + 1.

use super::{MAX_ALTERNATIVES, MAX_PATTERN_BYTES, PatternError, USERNAME};

/// States of one pattern and the one that accepts: a pattern's byte makes one state at most.
const MAX_STATES: usize = MAX_PATTERN_BYTES + 1;
const WORDS: usize = MAX_STATES.div_ceil(64);

/// How a state is left. All but `Choose` and `Skip` read one byte.
#[derive(Debug)]
enum Step {
    /// This byte.
    Literal(u8),
    /// Any byte of a segment.
    One,
    /// Any bytes of a segment, or none.
    Star,
    /// Whole segments with the `/` behind each, or none: `**/`.
    Segments,
    /// One segment at least, to the end of the name: a closing `**`.
    Rest,
    /// Reads nothing: goes on at any of these states.
    Choose(Box<[usize]>),
    /// Reads nothing: goes on at that state.
    Skip(usize),
    /// `{username}`, which nobody has filled in: never left.
    Username,
}

/// A compiled pattern. The state behind the last step accepts.
#[derive(Debug)]
pub(super) struct Program(Box<[Step]>);

impl Program {
    /// Compiles a pattern of at most [`MAX_PATTERN_BYTES`] bytes.
    pub(super) fn compile(text: &str) -> Result<Self, PatternError> {
        let mut steps = Vec::with_capacity(text.len());
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            match segment {
                "" => return Err(PatternError::EmptySegment),
                "**" if last => steps.push(Step::Rest),
                "**" => steps.push(Step::Segments),
                _ => {
                    compile_segment(segment, &mut steps)?;
                    if !last {
                        steps.push(Step::Literal(b'/'));
                    }
                }
            }
        }
        debug_assert!(steps.len() < MAX_STATES, "a byte of the pattern makes one state at most");
        Ok(Self(steps.into()))
    }

    /// Whether the program accepts the whole name, which has no empty segment.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let mut states = States::default();
        self.enter(0, &mut states);
        for &byte in name {
            let mut next = States::default();
            states.for_each(|state| self.read(state, byte, &mut next));
            if next.is_empty() {
                return false;
            }
            states = next;
        }
        states.has(self.0.len())
    }

    /// Adds a state, and those that are reached from it without reading.
    fn enter(&self, state: usize, states: &mut States) {
        if states.has(state) {
            return;
        }
        states.add(state);
        match self.0.get(state) {
            Some(Step::Star | Step::Segments) => self.enter(state + 1, states),
            Some(Step::Choose(targets)) => targets.iter().for_each(|&target| self.enter(target, states)),
            Some(Step::Skip(target)) => self.enter(*target, states),
            _ => {}
        }
    }

    fn read(&self, state: usize, byte: u8, next: &mut States) {
        match self.0.get(state) {
            Some(&Step::Literal(literal)) if literal == byte => self.enter(state + 1, next),
            Some(Step::One) if byte != b'/' => self.enter(state + 1, next),
            Some(Step::Star) if byte != b'/' => self.enter(state, next),
            Some(Step::Segments) if byte == b'/' => self.enter(state, next),
            // Within a segment the pattern cannot go on, so its following state stays out.
            Some(Step::Segments) => next.add(state),
            Some(Step::Rest) => {
                next.add(state);
                next.add(state + 1);
            }
            _ => {}
        }
    }
}

fn compile_segment(segment: &str, steps: &mut Vec<Step>) -> Result<(), PatternError> {
    let mut rest = segment;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix(USERNAME) {
            steps.push(Step::Username);
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('{') {
            let (inside, behind) = behind.split_once('}').ok_or(PatternError::Braces)?;
            compile_choice(inside, steps)?;
            rest = behind;
        } else {
            if rest.starts_with("**") {
                return Err(PatternError::DeepWithinSegment);
            }
            steps.push(character(first)?);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(())
}

/// `{a,b}` becomes a `Choose`, and behind each text but the last a `Skip` to what follows the braces.
fn compile_choice(inside: &str, steps: &mut Vec<Step>) -> Result<(), PatternError> {
    if inside.contains('{') {
        return Err(PatternError::Braces);
    }
    let texts: Vec<&str> = inside.split(',').collect();
    match texts.len() {
        1 => return Err(PatternError::Placeholder),
        n if n > MAX_ALTERNATIVES => return Err(PatternError::TooManyAlternatives),
        _ => {}
    }
    let choose = steps.len();
    let end = choose + inside.len() + 1;
    steps.push(Step::Choose(Box::default()));
    let mut targets = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            steps.push(Step::Skip(end));
        }
        targets.push(steps.len());
        if text.contains("**") {
            return Err(PatternError::DeepWithinSegment);
        }
        for c in text.chars() {
            steps.push(character(c)?);
        }
    }
    steps[choose] = Step::Choose(targets.into());
    debug_assert_eq!(steps.len(), end, "every byte within the braces makes one state");
    Ok(())
}

fn character(c: char) -> Result<Step, PatternError> {
    match c {
        '*' => Ok(Step::Star),
        '?' => Ok(Step::One),
        '}' => Err(PatternError::Braces),
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => Ok(Step::Literal(c as u8)),
        other => Err(PatternError::Character(other)),
    }
}

/// A set of states.
#[derive(Default)]
struct States([u64; WORDS]);

impl States {
    const fn add(&mut self, state: usize) {
        self.0[state / 64] |= 1 << (state % 64);
    }

    const fn has(&self, state: usize) -> bool {
        self.0[state / 64] & (1 << (state % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn for_each(&self, mut visit: impl FnMut(usize)) {
        for (index, mut word) in self.0.iter().copied().enumerate() {
            while word != 0 {
                visit(index * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }
}

//! What `strace -f -v -xx` has written of a server, read back: who did what to files and sockets, in the order in which it happened.
//!
//! A call of one thread may be cut in two by the calls of others (`<unfinished ...>`, `<... resumed>`). Both ends matter: a sync vouches for writes that had
//! returned before it was asked for, and only once it has returned itself.

use std::collections::HashMap;

/// One end of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moment<'t> {
    /// It was asked for.
    Begun(Call<'t>),
    /// It returned, with this.
    Ended(Call<'t>, i64),
}

/// A call, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call<'t> {
    /// Which thread's: it has one at a time.
    pub(super) thread: u32,
    /// Its name.
    pub(super) name: &'t str,
    /// Its arguments, in the tracer's words.
    pub(super) arguments: String,
}

/// Every moment of a trace, in order. Lines about anything but calls (signals, ends of threads) say nothing here.
pub(super) fn moments(text: &str) -> Vec<Moment<'_>> {
    let (mut moments, mut unfinished) = (Vec::new(), HashMap::new());
    for line in text.lines() {
        let (thread, rest) = line.trim_start().split_once(char::is_whitespace).expect("a line begins with a thread");
        let thread: u32 = thread.parse().unwrap_or_else(|_| panic!("no thread: {line}"));
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let (name, rest) = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("what resumes? {line}"));
            // A call that began before the tracer looked has no beginning here.
            let Some(begun) = unfinished.remove(&thread) else { continue };
            let Call { name: known, arguments, .. } = begun;
            assert_eq!(name, known, "{line}");
            // The process ended inside it.
            let Some((more, result)) = result(rest) else { continue };
            moments.push(Moment::Ended(Call { thread, name, arguments: arguments + more }, result));
        } else {
            let (name, rest) = rest.split_once('(').unwrap_or_else(|| panic!("no call: {line}"));
            if let Some(arguments) = rest.strip_suffix("<unfinished ...>") {
                let call = Call { thread, name, arguments: arguments.trim_end().to_owned() };
                unfinished.insert(thread, call.clone());
                moments.push(Moment::Begun(call));
            } else if let Some((arguments, result)) = result(rest) {
                let call = Call { thread, name, arguments: arguments.to_owned() };
                moments.push(Moment::Begun(call.clone()));
                moments.push(Moment::Ended(call, result));
            }
        }
    }
    moments
}

/// Splits `arguments) = result …`; none for a call that never returned.
fn result(text: &str) -> Option<(&str, i64)> {
    let at = text.rfind(") = ").or_else(|| text.rfind(")  = ")).or_else(|| padded(text))?;
    let (arguments, rest) = text.split_at(at);
    let result = rest.trim_start_matches([')', ' ', '=']);
    let result = result.split_whitespace().next()?;
    match result.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => result.parse().ok(),
    }
    .map(|result| (arguments, result))
}

/// Short calls are padded with blanks before the equals sign.
fn padded(text: &str) -> Option<usize> {
    let equals = text.rfind(" = ")?;
    let arguments = text[..equals].trim_end();
    arguments.ends_with(')').then(|| arguments.len() - 1)
}

impl Call<'_> {
    /// The argument at a place, in the tracer's words. Texts hold no commas, because every byte of them is written in hexadecimal.
    pub(super) fn argument(&self, place: usize) -> &str {
        let mut rest = Some(self.arguments.as_str());
        for passed in 0..=place {
            let Some((argument, behind)) = rest.map(split) else { break };
            if passed == place {
                return argument;
            }
            rest = behind;
        }
        panic!("{} has no argument {place}: {}", self.name, self.arguments)
    }

    /// A number.
    pub(super) fn number(&self, place: usize) -> i64 {
        let argument = self.argument(place);
        argument.parse().unwrap_or_else(|_| panic!("{} in {}: no number: {argument}", place, self.name))
    }

    /// The number at the end.
    pub(super) fn last_number(&self) -> i64 {
        let last = self.arguments.rsplit(", ").next().unwrap_or_default();
        last.parse().unwrap_or_else(|_| panic!("the last of {}: no number: {last}", self.name))
    }

    /// A text of bytes.
    pub(super) fn bytes(&self, place: usize) -> Vec<u8> {
        quoted(self.argument(place))
    }

    /// A path.
    pub(super) fn path(&self, place: usize) -> String {
        String::from_utf8(self.bytes(place)).expect("paths of this test are text")
    }

    /// All texts in it: the pieces of a gathered write, or the one text of a plain one. How much of it was taken is in the result.
    pub(super) fn data(&self) -> Vec<u8> {
        assert!(!self.arguments.contains("\"..."), "the tracer cut a text short in {}", self.name);
        self.arguments.split('"').skip(1).step_by(2).flat_map(unescaped).collect()
    }
}

/// The first argument at the outermost level, and what stands behind its comma. No further: what a write takes may be long.
fn split(arguments: &str) -> (&str, Option<&str>) {
    let mut depth = 0;
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            b',' if depth == 0 => return (arguments[..at].trim(), Some(arguments[at + 1..].trim())),
            _ => {}
        }
    }
    (arguments.trim(), None)
}

fn quoted(argument: &str) -> Vec<u8> {
    let inside = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    unescaped(inside.unwrap_or_else(|| panic!("no text: {argument}")))
}

/// `\x41\x42` as bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("no hexadecimal: {text}"),
    };
    text.as_bytes().chunks(4).map(|escape| digit(escape[2]) << 4 | digit(escape[3])).collect()
}

#[test]
fn calls_are_read_as_the_tracer_writes_them() {
    let text = "7  openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9\n\
                7  pwrite64(9, \"\\x61\\x62\\x63\", 3, 4096 <unfinished ...>\n\
                8  fdatasync(10)                     = 0\n\
                8  +++ exited with 0 +++\n\
                7  <... pwrite64 resumed>)           = 2\n\
                9  pwritev(9, [{iov_base=\"\\x78\", iov_len=1}, {iov_base=\"\\x79\\x7a\", iov_len=2}], 2, 0) = 3\n\
                9  close(77)                         = -1 EBADF (Bad file descriptor)\n\
                9  fsync(3 <unfinished ...>\n\
                7  fcntl(4, F_SETFL <unfinished ...>\n\
                9  exit_group(0)                     = ?\n\
                7  <... fcntl resumed> <unfinished ...>) = ?\n";
    let moments = moments(text);
    let ended: Vec<_> = moments
        .iter()
        .filter_map(|moment| match moment {
            Moment::Ended(call, result) => Some((call.thread, call.name, *result)),
            Moment::Begun(_) => None,
        })
        .collect();
    assert_eq!(ended, [(7, "openat", 9), (8, "fdatasync", 0), (7, "pwrite64", 2), (9, "pwritev", 3), (9, "close", -1)]);
    let calls: Vec<&Call<'_>> = moments
        .iter()
        .map(|moment| match moment {
            Moment::Begun(call) | Moment::Ended(call, _) => call,
        })
        .collect();
    assert_eq!((calls[0].path(1).as_str(), calls[0].argument(2)), ("/a", "O_RDWR|O_CREAT|O_CLOEXEC"));
    assert_eq!(
        (calls[2].name, calls[2].data(), calls[2].last_number(), calls[2].number(3)),
        ("pwrite64", b"abc".to_vec(), 4096, 4096)
    );
    let gathered = calls.iter().find(|call| call.name == "pwritev").unwrap();
    assert_eq!((gathered.data(), gathered.last_number()), (b"xyz".to_vec(), 0));
    assert!(matches!(moments.last(), Some(Moment::Begun(call)) if call.name == "fcntl"), "it never returned");
}

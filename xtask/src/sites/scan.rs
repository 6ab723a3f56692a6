//! Finds the places in a kernel's sources that ask for a capability.
//!
//! No C compiler is asked: that would need a configuration, and leave out what it does not build. The kernel's coding style
//! makes up for it: a function ends with a brace in the first column, which is where a count of braces that conditional
//! compilation confused is put right.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use capaudit_core::kernel::Layer;

/// One function that asks, in one file, for one capability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asks {
    pub(super) file: String,
    pub(super) function: String,
    /// Without `CAP_`; `?` where the source has a variable.
    pub(super) capability: String,
}

/// What is known of such a function besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// A refusal is reported, by some of the layers that it asks through.
    pub(super) audit: bool,
    /// A refusal is not reported, by some of them.
    pub(super) noaudit: bool,
    /// Functions that a stack may show in its place: a compiler may put a static function into its callers, and a function
    /// that ends with the question leaves nothing behind on the stack.
    pub(super) seen_as: BTreeSet<String>,
}

pub(super) type Sites = BTreeMap<Asks, Seen>;

/// Reads every C file below the given directories and files of a source tree.
pub(super) fn scan(tree: &Path, scope: &Scope, layers: &[Layer]) -> Result<Sites> {
    let mut paths = Vec::new();
    for part in scope.within {
        let path = tree.join(part);
        // What a release does not have yet, or no longer.
        if path.exists() {
            c_files(&path, &mut paths)?;
        }
    }
    paths.sort();
    paths.dedup();
    let mut texts = Vec::new();
    for path in paths {
        let file = path
            .strip_prefix(tree)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        if !scope.without.iter().any(|part| is_below(&file, part)) {
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push((file, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(find_all(&texts, layers))
}

/// Which files of a source tree are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) within: &'static [&'static str],
    pub(super) without: &'static [&'static str],
}

/// Whether a path is the given one, or below it.
fn is_below(path: &str, part: &str) -> bool {
    path.strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn c_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        let entries =
            fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            c_files(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|end| end == "c" || end == "h") {
        files.push(path.to_owned());
    }
    Ok(())
}

/// The sites in some files, each with its path.
fn find_all(texts: &[(String, String)], layers: &[Layer]) -> Sites {
    let mut parsed: Vec<Option<Vec<Function>>> = texts.iter().map(|_| None).collect();
    let mut sites = Sites::new();
    let mut vanishing: Vec<(Asks, Vanishing)> = Vec::new();
    for (index, (file, text)) in texts.iter().enumerate() {
        if !layers.iter().any(|layer| text.contains(layer.function)) {
            continue;
        }
        let functions = functions(&tokens(text));
        for (asks, site) in sites_of(file, &functions, layers) {
            // Also a function that others may call is put into those of its own file.
            let of = Vanishing::of(site.function, file, index, site.in_the_end);
            let of = of.unwrap_or(Vanishing {
                home: Some(index),
                by_end: false,
            });
            vanishing.push((asks.clone(), of));
            sites.insert(asks, site.seen);
        }
        parsed[index] = Some(functions);
    }
    let calling = files_by_call(texts);
    for (asks, first) in vanishing {
        let mut found = BTreeSet::new();
        let mut open = vec![(asks.function.clone(), first)];
        while let Some((called, of)) = open.pop() {
            let files = calling.get(called.as_str()).map_or(&[][..], Vec::as_slice);
            for index in files.iter().copied() {
                if found.len() > MOST_CALLERS {
                    break;
                }
                if of.home.is_some_and(|home| home != index) {
                    continue;
                }
                let (file, text) = &texts[index];
                let functions = parsed[index].get_or_insert_with(|| functions(&tokens(text)));
                for function in functions
                    .iter()
                    .filter(|function| function.name != asks.function)
                {
                    let Some(in_the_end) = function.calls_to(&called) else {
                        continue;
                    };
                    if found.insert(function.name.clone()) {
                        let of = Vanishing::of(function, file, index, of.by_end && in_the_end);
                        open.extend(of.map(|of| (function.name.clone(), of)));
                    }
                }
            }
        }
        if let Some(site) = sites.get_mut(&asks)
            && found.len() <= MOST_CALLERS
        {
            site.seen_as = found;
        }
    }
    sites
}

/// How a function comes to be missing on a stack.
#[derive(Clone, Copy, Debug)]
struct Vanishing {
    /// The file that all its callers are in, if it is static.
    home: Option<usize>,
    /// It ends with the question.
    by_end: bool,
}

impl Vanishing {
    fn of(function: &Function, file: &str, index: usize, by_end: bool) -> Option<Self> {
        let home = (function.is_static && file.ends_with(".c")).then_some(index);
        (function.is_static || by_end).then_some(Self { home, by_end })
    }
}

/// In which files something of a name is called or defined.
fn files_by_call(texts: &[(String, String)]) -> HashMap<&str, Vec<usize>> {
    let mut files: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, (_, text)) in texts.iter().enumerate() {
        // Words before a parenthesis, in comments too: what is found is read again.
        for before in text.split('(') {
            let word = before.trim_end_matches(' ');
            let start = word
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |at| at + 1);
            let name = word.get(start..).unwrap_or_default();
            if is_name(name) {
                let known = files.entry(name).or_default();
                if known.last() != Some(&index) {
                    known.push(index);
                }
            }
        }
    }
    files
}

/// A function with more is too large to be put into all of them, or is a layer.
const MOST_CALLERS: usize = 60;

struct Site<'a> {
    function: &'a Function,
    in_the_end: bool,
    seen: Seen,
}

fn sites_of<'a>(
    file: &str,
    functions: &'a [Function],
    layers: &[Layer],
) -> BTreeMap<Asks, Site<'a>> {
    let mut sites = BTreeMap::new();
    let known = |name: &str| layers.iter().find(|layer| layer.function == name);
    for function in functions
        .iter()
        .filter(|function| known(&function.name).is_none())
    {
        for call in &function.calls {
            let Some(layer) = known(&call.name) else {
                continue;
            };
            let capabilities = match layer.capability {
                Some(one) => vec![one.name().to_owned()],
                None if call.capabilities.is_empty() => vec!["?".to_owned()],
                None => call.capabilities.clone(),
            };
            for capability in capabilities {
                let asks = Asks {
                    file: file.to_owned(),
                    function: function.name.clone(),
                    capability,
                };
                let site = sites.entry(asks).or_insert_with(|| Site {
                    function,
                    in_the_end: false,
                    seen: Seen::default(),
                });
                site.in_the_end |= call.in_the_end;
                if layer.noaudit || call.noaudit {
                    site.seen.noaudit = true;
                } else {
                    site.seen.audit = true;
                }
            }
        }
    }
    sites
}

#[derive(Debug)]
struct Function {
    name: String,
    is_static: bool,
    calls: Vec<Call>,
}

impl Function {
    /// Whether it calls the other one, and if so, whether it can end with that.
    fn calls_to(&self, name: &str) -> Option<bool> {
        let calls = self.calls.iter().filter(|call| call.name == name);
        calls
            .map(|call| call.in_the_end)
            .reduce(|any, one| any | one)
    }
}

#[derive(Debug)]
struct Call {
    name: String,
    capabilities: Vec<String>,
    /// It passes the option not to report a refusal.
    noaudit: bool,
    /// What it returns is returned: the compiler may jump there.
    in_the_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'a> {
    text: &'a str,
    /// It begins its line.
    first_column: bool,
}

/// Names, numbers and marks; without comments, texts and preprocessor lines.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line_start = 0;
    let mut blank_line = true;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let end = match byte {
            b'\n' => {
                line_start = at + 1;
                blank_line = true;
                at + 1
            }
            b'#' if blank_line => directive_end(bytes, at),
            _ if byte.is_ascii_whitespace() => at + 1,
            _ if rest.starts_with(b"/*") => {
                find(bytes, at + 2, b"*/").map_or(bytes.len(), |end| end + 2)
            }
            _ if rest.starts_with(b"//") => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'"' | b'\'' => text_end(bytes, at),
            _ => {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let length = rest.iter().take_while(|byte| word(byte)).count();
                let end = at + length.max(1);
                if let Some(text) = text.get(at..end) {
                    tokens.push(Token {
                        text,
                        first_column: at == line_start,
                    });
                }
                end
            }
        };
        if byte != b'\n' && !byte.is_ascii_whitespace() {
            blank_line = false;
        }
        at = end;
    }
    tokens
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let at = rest.windows(what.len()).position(|window| window == what)?;
    Some(from + at)
}

/// The end of a preprocessor line, with those that it goes on in.
fn directive_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(end) = find(bytes, at, b"\n") {
        if end == 0 || bytes[end - 1] != b'\\' {
            return end;
        }
        at = end + 1;
    }
    bytes.len()
}

fn text_end(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let mut at = from + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            // Not closed: an apostrophe in assembly or in a macro.
            b'\n' => return at,
            _ if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Attributes between a function's parameters and its body.
const ATTRIBUTES: &[&str] = &[
    "__acquires",
    "__acquires_shared",
    "__releases",
    "__releases_shared",
    "__must_hold",
    "__must_hold_shared",
    "__cond_acquires",
    "__attribute__",
    "__printf",
    "__section",
    "__context_unsafe",
    "__no_context_analysis",
];

fn functions(tokens: &[Token<'_>]) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    let mut head = Vec::new();
    let mut depth = 0_usize;
    let mut returned = false;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            ";" | "{" | "}" => returned = false,
            "return" => returned = true,
            _ => {}
        }
        match token.text {
            "{" => {
                if depth == 0 {
                    functions.extend(function_of(&head));
                }
                depth += 1;
            }
            "}" => {
                depth = if token.first_column {
                    0
                } else {
                    depth.saturating_sub(1)
                };
                if depth == 0 {
                    head.clear();
                }
            }
            ";" if depth == 0 => head.clear(),
            _ if depth == 0 => head.push(token.text),
            name if tokens.get(index + 1).is_some_and(|next| next.text == "(") && is_name(name) => {
                if let Some(function) = functions.last_mut() {
                    function
                        .calls
                        .push(call(name, &tokens[index + 1..], returned));
                }
            }
            // A function whose address is taken is called by others: nothing is concluded from that.
            _ => {}
        }
    }
    functions
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// A call whose arguments begin the tokens.
fn call(name: &str, tokens: &[Token<'_>], returned: bool) -> Call {
    let mut call = Call {
        name: name.to_owned(),
        capabilities: Vec::new(),
        noaudit: false,
        in_the_end: false,
    };
    let mut depth = 0_usize;
    let mut rest = tokens.iter();
    for token in rest.by_ref() {
        match token.text {
            "(" => depth += 1,
            ")" if depth <= 1 => break,
            ")" => depth -= 1,
            "CAP_OPT_NOAUDIT" => call.noaudit = true,
            text if text.starts_with("CAP_OPT_") => {}
            text => call
                .capabilities
                .extend(text.strip_prefix("CAP_").map(str::to_owned)),
        }
    }
    let end = rest.find(|token| token.text != ")");
    call.in_the_end = returned && end.is_some_and(|token| token.text == ";");
    call
}

/// The function that a head at the outermost level begins: `static int name(…)`, `SYSCALL_DEFINE2(name, …)`.
fn function_of(head: &[&str]) -> Option<Function> {
    let mut depth = 0_usize;
    let mut named = None;
    for (index, text) in head.iter().enumerate() {
        match *text {
            "(" => {
                let before = index.checked_sub(1).map(|before| head[before]);
                if let Some(name) =
                    before.filter(|name| depth == 0 && is_name(name) && !ATTRIBUTES.contains(name))
                {
                    named = Some((name, head.get(index + 1).copied()));
                }
                depth += 1;
            }
            ")" => depth = depth.saturating_sub(1),
            // Data.
            "=" if depth == 0 => return None,
            _ => {}
        }
    }
    let (name, first) = named?;
    let name = match first {
        Some(first)
            if name.starts_with("SYSCALL_DEFINE") || name.starts_with("SYSCALL32_DEFINE") =>
        {
            format!("sys_{first}")
        }
        Some(first) if name.starts_with("COMPAT_SYSCALL_DEFINE") => format!("compat_sys_{first}"),
        Some(first) if name.starts_with("BPF_CALL_") => first.to_owned(),
        _ => name.to_owned(),
    };
    Some(Function {
        name,
        is_static: head.contains(&"static"),
        calls: Vec::new(),
    })
}

#[cfg(test)]
mod tests;

//! `capaudit decode WORD…`

use capaudit_core::{
    capability::{CapSet, Capability},
    text::{Style, paragraph, sanitize},
};
use capaudit_tracer::{
    inspect::{
        all_of_running_kernel,
        decode::{DecodeError, Decoded, Reading, Word},
    },
    proc::status::SetName,
};
use serde::Serialize;

use super::{
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, style},
};

/// Tell which capabilities a mask, a process or a saved status holds, or which mask a list of names is.
///
/// A WORD is read by its look: hex digits are a mask if they start with 0x, are 8 or more, or have a letter among them
/// (00000000a80425fb, 0x21, 3f); other digits are a process id, and `self` is capaudit's own process; what has a / in it
/// is a file with lines like CapEff: in /proc/PID/status, and - is such lines on standard input; all else is a list of
/// names (chown,net_raw), numbers (12,13) or ALL,!NAME, of which the mask is printed, alone on its line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capaudit decode 00000000a80425fb
  capaudit decode self /proc/1/status
  capaudit decode net_bind_service,setuid,setgid
  ssh host cat /proc/1/status | capaudit decode -")]
pub(super) struct Arguments {
    /// Read every WORD as a mask
    #[arg(long, conflicts_with = "pid")]
    mask: bool,

    /// Read every WORD as a process id
    #[arg(long)]
    pid: bool,

    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Masks, process ids, files or lists
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

/// The contract capaudit.decode/1.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    decoded: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    word: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    sets: Vec<Set>,
}

#[derive(Debug, Serialize)]
struct Set {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<SetName>,
    mask: String,
    capabilities: CapSet,
    /// Numbers among them that no known capability has.
    unknown: Vec<u8>,
}

impl Set {
    fn of(name: Option<SetName>, set: CapSet) -> Self {
        Self {
            name,
            mask: hex(set),
            capabilities: set,
            unknown: (set - CapSet::known())
                .iter()
                .map(Capability::number)
                .collect(),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let reading = match (arguments.mask, arguments.pid) {
        (true, _) => Reading::Mask,
        (_, true) => Reading::Process,
        _ => Reading::ByLook,
    };
    // All before any is printed: a wrong word leaves nothing half done.
    let decoded: Result<Vec<(&str, Decoded)>, DecodeError> = arguments
        .words
        .iter()
        .map(|word| Ok((word.as_str(), Word::read(word, reading)?.decode()?)))
        .collect();
    let decoded = decoded.map_err(Failure::usage)?;
    match arguments.format {
        Format::Text => {
            let style = style();
            let all = all_of_running_kernel();
            let texts: Vec<String> = decoded
                .iter()
                .map(|(word, decoded)| text(word, decoded, all, style))
                .collect();
            print(&texts.concat())?;
        }
        Format::Json => {
            let report = Report {
                schema: "capaudit.decode/1",
                decoded: decoded
                    .iter()
                    .map(|(word, decoded)| entry(word, decoded))
                    .collect(),
            };
            print_json(&report)?;
        }
    }
    Ok(Exit::Success)
}

fn entry<'a>(word: &'a str, decoded: &'a Decoded) -> Entry<'a> {
    let (kind, command, sets) = match decoded {
        Decoded::Mask(set) => ("mask", None, vec![Set::of(None, *set)]),
        Decoded::List(set) => ("list", None, vec![Set::of(None, *set)]),
        Decoded::Status { name, sets } => (
            "status",
            name.as_deref(),
            sets.iter()
                .map(|(name, set)| Set::of(Some(*name), *set))
                .collect(),
        ),
    };
    Entry {
        word,
        kind,
        command,
        sets,
    }
}

fn hex(set: CapSet) -> String {
    format!("{:016x}", set.bits())
}

fn text(word: &str, decoded: &Decoded, all: CapSet, style: Style) -> String {
    let mut out = String::new();
    match decoded {
        Decoded::List(set) => out.push_str(&format!("{}\n", hex(*set))),
        Decoded::Mask(set) => members(&mut out, &style.bold(&hex(*set)), *set, all, style),
        Decoded::Status { name, sets } => {
            let mut title = sanitize(word);
            if let Some(name) = name {
                title.push_str(&format!(" ({})", sanitize(name)));
            }
            out.push_str(&format!("{}\n", style.bold(&title)));
            // Mostly the same few sets: each is written out once.
            let mut shown: Vec<(SetName, CapSet)> = Vec::new();
            for (name, set) in sets {
                let start = format!("  {:<11}  {}", name.as_str(), hex(*set));
                match shown
                    .iter()
                    .find(|(_, other)| other == set && !set.is_empty())
                {
                    Some((other, _)) => {
                        out.push_str(&format!("{start}  as {}\n", other.as_str()));
                    }
                    None => members(&mut out, &start, *set, all, style),
                }
                shown.push((*name, *set));
            }
        }
    }
    out
}

/// What people call a set, and where that is not its members anyway, these.
fn members(out: &mut String, start: &str, set: CapSet, all: CapSet, style: Style) {
    const INDENT: &str = "    ";
    let brief = set.brief(all);
    let names: Vec<&str> = set.iter().map(Capability::cap_name).collect();
    if set.is_empty() || set.names().collect::<Vec<_>>().join(" ") == brief {
        let names = if names.is_empty() {
            brief
        } else {
            names.join(" ")
        };
        paragraph(out, &format!("{start}  "), INDENT, &names, style);
    } else {
        out.push_str(&format!("{start}  {brief} ({} capabilities)\n", set.len()));
        paragraph(out, INDENT, INDENT, &names.join(" "), style);
    }
}

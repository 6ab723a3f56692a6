//! The program's own log: what it and its BPF programs have to say beside their result, on standard error.

use std::fmt;

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// How much is written into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    /// Nothing
    Off,
    /// What cannot be gone on with
    Error,
    /// And what is lost or does not answer
    Warn,
    /// And what begins and ends, with hook, kernel and version
    Info,
    /// And what was tried
    Debug,
    /// And everything else
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// From now on everything of at least this level is written to standard error.
pub(super) fn begin(level: LogLevel) {
    if level == LogLevel::Off {
        return;
    }
    let lines = if is_journal() {
        Lines::Journal
    } else {
        Lines::Timed
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(level))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(lines)
        .finish();
    // What libraries try is of interest to who looks for faults in them.
    let of_libraries = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        _ => LevelFilter::WARN,
    };
    let wanted = Targets::new()
        .with_default(level)
        .with_targets(["aya", "aya_obj", "hyper", "mio"].map(|library| (library, of_libraries)));
    let subscriber = subscriber.with(wanted);
    // There is one log of a process, and this is the one place that begins it.
    let _ = subscriber.try_init();
}

/// Whether standard error goes to the systemd journal, as systemd says: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|status| stream == format!("{}:{}", status.st_dev, status.st_ino))
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
enum Lines {
    /// The journal has the time, and takes the level from `<N>` in front: sd-daemon(3).
    Journal,
    /// For everybody else, with the time and the level.
    Timed,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self {
            Self::Journal => write!(writer, "<{}>", priority(level))?,
            Self::Timed => {
                write!(writer, "{:.3} {level} ", jiff::Timestamp::now())?;
            }
        }
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        // One event, one line: what others named may have line breaks in it. What the BPF programs say is filled up with spaces.
        writeln!(writer, "{}", capaudit_core::text::sanitize(text.trim_end()))
    }
}

/// syslog(3)'s number of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

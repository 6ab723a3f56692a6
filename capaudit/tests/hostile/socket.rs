//! Questions to the daemon, from whoever may reach its socket.

use capaudit_core::ledger::{self, Hook, Ledger, SCHEMA, Session};
use capaudit_daemon::socket::{Question, answer};
use libtest_mimic::Trial;
use proptest::{prelude::*, test_runner::TestCaseError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::{Builder, Runtime},
    sync::mpsc,
};

use crate::{
    drive::{Verdict, target},
    mutate::{Bytes, mutated},
    text::is_shown_safely,
};

const WORDS: &[&str] = &[
    "ledger",
    "\n",
    "\r\n",
    " ",
    "\0",
    "\u{1b}[2J",
    "{\"error\":\"x\"}",
    "LEDGER",
];

pub(crate) fn targets() -> Vec<Trial> {
    let seeds = || {
        [&b"ledger\n"[..], b"ledger", b"\n"]
            .map(|seed| Bytes(seed.to_vec()))
            .to_vec()
    };
    vec![target(
        "socket",
        move || seeds().into_iter().map(|seed| (seed, true)).collect(),
        move || (mutated(seeds(), WORDS), any::<bool>()),
        |(question, allowed)| {
            thread_local! {
                static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_all().build().ok();
            }
            RUNTIME.with(|runtime| {
                let runtime = runtime
                    .as_ref()
                    .ok_or_else(|| TestCaseError::fail("no runtime"))?;
                runtime.block_on(asked(question, allowed))
            })
        },
    )]
}

/// There is always an answer, one JSON text: all totals to whoever may have them and asks rightly, else a refusal.
async fn asked(question: Bytes, allowed: bool) -> Verdict {
    let failed = |error: std::io::Error| TestCaseError::fail(error.to_string());
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (ask, mut questions) = mpsc::channel(1);
    let daemon = async move {
        while let Some(Question::Ledger(sender)) = questions.recv().await {
            let _ = sender.send(nothing());
        }
    };
    let peer = async move {
        let (mut reader, mut writer) = tokio::io::split(ours);
        // The daemon may have answered, and gone, before all was written.
        let _ = writer.write_all(&question).await;
        let _ = writer.shutdown().await;
        let mut heard = Vec::new();
        let read = reader.read_to_end(&mut heard).await;
        (question, heard, read)
    };
    let answered = async move {
        // With the sender, the daemon ends.
        let ask = ask;
        answer(theirs, allowed, &ask).await
    };
    let (answered, (), (question, heard, read)) = tokio::join!(answered, daemon, peer);
    answered.map_err(failed)?;
    read.map_err(failed)?;
    is_shown_safely("the answer", &String::from_utf8_lossy(&heard))?;
    let line = question
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    // More than 256 bytes are not read.
    let line = &line[..line.len().min(256)];
    let asks = String::from_utf8_lossy(line).trim_end() == "ledger";
    match ledger::from_bytes(&heard, std::path::Path::new("socket")) {
        Ok(totals) => {
            prop_assert!(allowed && asks, "{question:?}");
            prop_assert_eq!(totals, nothing());
            Ok("answered")
        }
        Err(_) => {
            let refusal: serde_json::Value = serde_json::from_slice(&heard)
                .map_err(|error| TestCaseError::fail(format!("{error}: {heard:?}")))?;
            prop_assert!(refusal["error"].is_string());
            prop_assert!(!(allowed && asks), "{question:?}");
            Ok("refused")
        }
    }
}

fn nothing() -> Ledger {
    Ledger {
        schema: SCHEMA.to_owned(),
        session: Session {
            started: "2026-01-01T00:00:00Z".to_owned(),
            ..Session::new(Hook::TpBtf)
        },
        subjects: Vec::new(),
    }
}

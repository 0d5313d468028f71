//! Defines how what a fleet file has told to programs and people is tried from the command line.

use std::{process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use chrono::Utc;

use super::{unknown_client, wrong_usage};
use crate::{
    alerts, document,
    fleet::{ClientKey, Fleet},
    headless::Format,
    hooks::Trial,
    lines, stdio,
    telling::{Hook, Notifier},
    text::Scrubbed,
    words::figures,
};

/// Has those who can be told of alerts told that this is a test; says how it went. The exit code is 3 where one could not be told.
pub(super) async fn test_notifiers(
    fleet: &Fleet,
    all: Vec<Notifier>,
    name: Option<&str>,
    format: Format,
) -> Result<ExitCode> {
    let is_meant = |notifier: &&Notifier| name.is_none_or(|name| notifier.name.as_str() == name);
    let meant: Vec<&Notifier> = all.iter().filter(is_meant).collect();
    if meant.is_empty() {
        let names: Vec<&str> = all.iter().map(|notifier| notifier.name.as_str()).collect();
        wrong_usage(&match (name, names.as_slice()) {
            (_, []) => "the file names nobody to be told: write a [notify.KIND.NAME]".to_owned(),
            (Some(name), names) => format!("nobody to be told has the name {name:?}: there are {}", names.join(", ")),
            (None, _) => String::new(),
        });
    }
    let message = alerts::test_message(fleet);
    // Beside each other: a silent one keeps nobody waiting but for itself.
    let tries = meant.iter().map(|notifier| async {
        let begin = Instant::now();
        (alerts::hand_over(notifier, &message).await, begin.elapsed())
    });
    let mut failed = false;
    for (notifier, (told, took)) in meant.iter().zip(futures_util::future::join_all(tries).await) {
        failed |= told.is_err();
        let why = told.err().map(|failure| failure.why);
        let line = match format {
            Format::Json => lines::json_notify_test(Utc::now(), &notifier.name, took, why.as_deref()),
            Format::Text => match why {
                None => format!("{}: told within {}", notifier.name, figures::wait(took)),
                Some(why) => format!("{}: cannot be told: {why}", notifier.name),
            },
        };
        stdio::print(&format!("{line}\n")).context("cannot print")?;
    }
    Ok(if failed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// What is tried of the hooks of a fleet.
pub(super) fn trial(hooks: Vec<Hook>, fleet: Fleet, name: &str, client: Option<&str>) -> Trial {
    let hook = hooks.iter().find(|hook| hook.name.as_str() == name).cloned().unwrap_or_else(|| {
        let names = || hooks.iter().map(|hook| hook.name.as_str());
        let hint = match (document::nearest(name, names()), hooks.is_empty()) {
            (Some(near), _) => format!("did you mean \"{near}\"?"),
            (None, true) => "it has none".to_owned(),
            (None, false) => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
        };
        wrong_usage(&format!("the file has no hook \"{}\": {hint}", Scrubbed::new(name)))
    });
    let fleet = Arc::new(fleet);
    let is_it = |key: &ClientKey| client.is_none_or(|id| *fleet.client(*key).id == *id);
    let mut keys = fleet.keys().filter(is_it);
    // Of all clients one that may be meant: what becomes of them is not known here.
    let meant = keys.clone().find(|key| hook.matching.is_for_defined(fleet.client(*key), &fleet));
    let client = meant.or_else(|| keys.next()).unwrap_or_else(|| match client {
        Some(id) => wrong_usage(&unknown_client(id, &fleet)),
        None => wrong_usage("the fleet has no clients to tell of"),
    });
    if hook.matching.is_never_for(fleet.client(client), &fleet) {
        let name = &fleet.client(client).name;
        stdio::complain(&format!("warning: `match` leaves {name} out: the hook would not be told of it"));
    }
    Trial { hook, fleet: fleet.clone(), client }
}

//! Defines how the alerts of a fleet file are tried on a recording: which would have fired, what would have been sent to whom, and which recovery would have run; nobody is told, and nothing is done.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    alerts::{Book, Memory, Outcome},
    clock::Moment,
    event::{Event, What},
    headless::Format,
    lines,
    recording::{Place, Recording, RecordingError},
    replay::{Passage, tell_ending},
    telling::Telling,
    words::figures,
};

/// How often a rule fired, and for how long in all; since when it does, where it does.
#[derive(Default)]
struct Tally {
    fired: u32,
    lasted: Duration,
    since: Option<Moment>,
    messages: u32,
    /// Steps of its recovery.
    steps: u32,
}

/// What the rules of a file would have done, as lines. Clients and endpoints are those of the recording that have the file's names.
///
/// # Errors
/// Where the recording is damaged.
pub fn run(
    recording: &Arc<Recording>,
    telling: &Telling,
    format: Format,
    from: Option<Place>,
    to: Option<Place>,
) -> Result<String, RecordingError> {
    let [from, to] = [from, to].map(|place| place.map(|place| place.moment(recording)));
    let begin = from.unwrap_or(recording.begin());
    let mut book = Book::new(recording.fleet().clone(), telling, Memory::default(), recording.begin());
    let mut known_fleet = recording.fleet().clone();
    let mut tallies: BTreeMap<String, Tally> =
        telling.alerts.iter().map(|rule| (rule.name.to_string(), Tally::default())).collect();
    let mut text = String::new();
    let mut end = begin;
    for entry in Passage::new(recording, from, to) {
        let entry = entry?;
        let anchor = entry.anchor();
        let event = entry.event();
        end = end.max(event.at);
        if let What::Fleet(fleet) = &event.what {
            known_fleet = fleet.clone();
        }
        // What the recorded run's own rules said is another matter.
        if matches!(event.what, What::Alert(_)) {
            continue;
        }
        let Some(Outcome { alerts, handlings, due, decided }) = book.apply(&event) else { continue };
        if event.at < begin {
            continue;
        }
        let tell = |what| {
            let told = Event { at: event.at, what };
            let line = match format {
                Format::Json => lines::json(&known_fleet, &anchor, &told, false),
                Format::Text => lines::plain(&known_fleet, &anchor, &told),
            };
            line.map(|line| line + "\n").unwrap_or_default()
        };
        for alert in alerts {
            let tally = tallies.entry(alert.rule.to_string()).or_default();
            match alert.is_firing {
                true => (tally.fired, tally.since) = (tally.fired + 1, Some(event.at - alert.lasted)),
                false => tally.lasted += tally.since.take().map_or(alert.lasted, |since| event.at.since(since)),
            }
            text += &tell(What::Alert(Box::new(alert)));
        }
        handlings.into_iter().for_each(|handling| text += &tell(What::Handling(Box::new(handling))));
        for (due, _) in due {
            tallies.entry(due.rule.to_string()).or_default().steps += 1;
            let (at, would) = (anchor.utc(event.at), due.would());
            text += &match format {
                Format::Json => lines::json_would_recover(at, &due.rule, &would) + "\n",
                Format::Text => {
                    let stamp = at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
                    format!("{stamp} recovery of {}: {}\n", due.rule, would.text)
                }
            };
        }
        for (to, message) in decided.messages {
            let name = &telling.notifiers[to].name;
            message.alerts.iter().for_each(|alert| tallies.entry(alert.rule.to_string()).or_default().messages += 1);
            match format {
                Format::Json => {
                    text += &lines::json_message(message.at, name, &message.subject(), &message.webhook(name));
                    text.push('\n');
                }
                Format::Text => {
                    let stamp = message.at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
                    text += &format!("{stamp} would tell {name}: {}\n", message.subject());
                }
            }
        }
        if format == Format::Text {
            decided.notices.iter().for_each(|notice| {
                text += &format!("{} {notice}\n", anchor.utc(event.at).format("%Y-%m-%dT%H:%M:%S%.3fZ"))
            });
        }
    }
    if format == Format::Text {
        for rule in &telling.alerts {
            let Tally { fired, lasted, since, messages, steps } = &tallies[rule.name.as_str()];
            let lasted = *lasted + since.map(|since| end.since(since)).unwrap_or_default();
            let still = if since.is_some() { ", still firing at the end" } else { "" };
            let would = match steps {
                0 => String::new(),
                1 => "; 1 step of recovery".to_owned(),
                n => format!("; {} steps of recovery", figures::count(*n)),
            };
            text += &match fired {
                0 => format!("{}: never fired\n", rule.name),
                n => format!(
                    "{}: fired {}, {} in all{still}; told {}{would}\n",
                    rule.name,
                    times(*n),
                    figures::wait(lasted),
                    times(*messages)
                ),
            };
        }
    }
    if to.is_none() {
        tell_ending(recording);
    }
    Ok(text)
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{} times", figures::count(n)) }
}

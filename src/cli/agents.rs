//! Defines how the command line comes to agents: which of them is meant, showing their fleets, and their fleet file read anew.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use super::has_screen;
use crate::{
    agent::{self, Agents, Purpose, Reread, Target, Wrong},
    appearance::Appearance,
    console::{self, Chosen, ConsoleError},
    fleet_file,
    telling::Telling,
};

/// Which agent to attach to where none was named: where there are several, and somebody at a terminal, that is asked.
pub(super) async fn chosen() -> Result<Chosen<Target>> {
    let running = if has_screen() { agent::running().await } else { Vec::new() };
    match running.len() {
        0 | 1 => Ok(Chosen::One(Target::Only)), // which says by itself that there is none, or names several
        _ => Ok(console::choose("attach to which fleet?", running).await?),
    }
}

/// Shows the fleets of agents. The only one that was replaced by another program meanwhile is attached to by that.
pub(super) async fn attached(targets: Vec<Target>, purpose: Purpose, look: &Appearance) -> Result<ExitCode> {
    loop {
        let mut agents = Agents::attach(targets.clone(), purpose).await?;
        match console::attached(&mut agents, look).await {
            Err(ConsoleError::AgentChanged) => {}
            shown => return Ok(shown?),
        }
    }
}

/// Reads the fleet file of a running agent anew. Of what it was started with, group, metrics, hooks, alerts and the store stay as
/// they are.
pub(super) fn reread(file: &Path, (group, telling): &(Option<String>, Telling)) -> Result<Reread, Wrong> {
    let loaded = fleet_file::load(file);
    let loaded = loaded.map_err(|errors| Wrong { text: errors.render(false), lines: errors.lines() })?;
    let now = &loaded.telling;
    let tables = [
        ("[agent] group", loaded.agent_group == *group),
        ("[metrics]", now.metrics == telling.metrics),
        ("[[hook]]", now.hooks == telling.hooks),
        ("[[alert]]", now.alerts == telling.alerts),
        ("[notify]", now.notifiers == telling.notifiers),
        ("[store]", now.store == telling.store),
    ];
    let differing = tables.into_iter().filter(|(_, is_same)| !is_same);
    let later = differing.map(|(table, _)| format!("{table} holds only after a restart")).collect();
    let warnings = loaded.warnings.iter().map(|warning| warning.title().to_owned()).collect();
    Ok(Reread { fleet: loaded.fleet, later, warnings })
}

//! Defines how the command line comes to stores: which one is meant, and for which fleet, and what is done there.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};

use super::{
    arguments::{StoreAccess, StoreOrder},
    block_on, warned, wrong_usage,
};
use crate::{
    agent::{Stored, Target},
    fleet::Password,
    fleet_file::{self, password_from_env, password_from_file},
    headless::Format,
    listing,
    query::Query,
    stdio, store,
    telling::Store,
    text::Scrubbed,
};

/// A store, and what is meant there.
struct Meant {
    store: Store,
    fleet: Option<String>,
    /// Whether a fleet file says so, whose agents write there.
    is_of_file: bool,
}

impl Meant {
    /// What a URL or a fleet file means.
    fn of(place: &str, access: &StoreAccess) -> Result<Meant> {
        let StoreAccess { username, password_env, password_file, ca_file } = access;
        if !place.contains("://") {
            if access.is_any() {
                wrong_usage(
                    "--username, --password-… and --ca-file are for a URL; a fleet file's [store] says so itself",
                );
            }
            let mut loaded = fleet_file::load(Path::new(place))?;
            let store = loaded.telling.store.take();
            let fleet = warned(loaded);
            let Some(store) = store else { wrong_usage(&format!("{place} has no [store] with a `url`")) };
            return Ok(Meant { store, fleet: Some(fleet.name.to_string()), is_of_file: true });
        }
        let read = fleet_file::store(place, ca_file.clone());
        let (store, fleet) = read.unwrap_or_else(|why| wrong_usage(&why));
        let from_env = password_env.as_deref().map(password_from_env);
        let from_file = password_file.as_deref().map(password_from_file);
        let password = from_env.or(from_file).map(|read| read.unwrap_or_else(|why| wrong_usage(&why)));
        if username.is_some() && password.is_none() {
            wrong_usage("--username goes with --password-env or --password-file");
        }
        let store = Store { username: username.clone(), password: password.map(Password::Fixed), ..store };
        // As an agent has it.
        let fleet = fleet.map(|fleet| Scrubbed::new(&fleet).to_string());
        Ok(Meant { store, fleet, is_of_file: false })
    }

    fn fleet(&self, place: &str) -> String {
        let none =
            || wrong_usage(&format!("which fleet? its name ends the URL: {}/plant-eu", place.trim_end_matches('/')));
        self.fleet.clone().unwrap_or_else(none)
    }
}

/// Lists the rows of a fleet.
pub(super) fn list(place: &str, access: &StoreAccess, whom: &Query, format: Format) -> Result<ExitCode> {
    let meant = Meant::of(place, access)?;
    let fleet = meant.fleet(place);
    let snapshot = block_on(store::read(&meant.store, &fleet))??;
    if snapshot.agents == 0 {
        let (fleet, store) = (Scrubbed::new(&fleet), &meant.store);
        anyhow::bail!("no agent of a fleet called {fleet} has written to {store}; is the name right?");
    }
    for doubt in &snapshot.doubts {
        stdio::complain(&format!("warning: {doubt}"));
    }
    stdio::print(&listing::of_store(&snapshot, whom, format)).context("cannot print")?;
    Ok(ExitCode::SUCCESS)
}

/// The agents of a fleet that are there, to be attached to.
pub(super) async fn agents(url: &str, access: &StoreAccess) -> Result<Vec<Target>> {
    let meant = Meant::of(url, access)?;
    let fleet = meant.fleet(url);
    let present = store::present(&meant.store, &fleet).await?;
    let of = |agent: &Scrubbed| {
        // The only one is the fleet.
        let name = if present.len() == 1 { Scrubbed::new(&fleet) } else { agent.clone() };
        Target::Stored(Box::new(Stored {
            store: meant.store.clone(),
            fleet: fleet.clone(),
            agent: agent.clone(),
            name,
        }))
    };
    if present.is_empty() {
        let store = &meant.store;
        anyhow::bail!(
            "no agent of a fleet called {fleet} is there that writes to {store}: mqfleet store check says who was"
        );
    }
    Ok(present.iter().map(of).collect())
}

pub(super) fn order(order: &StoreOrder) -> Result<ExitCode> {
    match order {
        StoreOrder::Check { place, access } => {
            let meant = Meant::of(place, access)?;
            let (said, is_well) = block_on(store::check(&meant.store, meant.fleet.as_deref(), meant.is_of_file))??;
            stdio::print(&said).context("cannot print")?;
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(3) })
        }
        StoreOrder::Acl { fleet, user } => {
            let file = Path::new(fleet);
            let (fleet, of_file) = if file.exists() || fleet.ends_with(".toml") {
                let mut loaded = fleet_file::load(file)?;
                let user = loaded.telling.store.take().and_then(|store| store.username);
                (warned(loaded).name.to_string(), user)
            } else {
                (Scrubbed::new(fleet).to_string(), None)
            };
            let user = user.clone().or(of_file).unwrap_or_else(|| "mqfleet".to_owned());
            if user.is_empty() || user.contains(char::is_whitespace) {
                wrong_usage("a user of a store has no spaces in its name");
            }
            stdio::print(&store::acl(&fleet, &user)).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
        StoreOrder::Forget { place, agent, access } => {
            let meant = Meant::of(place, access)?;
            let said = block_on(store::forget(&meant.store, &meant.fleet(place), &Scrubbed::new(agent)))??;
            stdio::print(&format!("{}\n", Scrubbed::new(&said))).context("cannot print")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

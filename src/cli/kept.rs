//! Defines what is kept of a run beside the screen, as the command line and the fleet file ask for it: files, metrics, alerts, hooks, a store.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use super::arguments::Keep;
use crate::{
    alerts::Alerts,
    bus::Bus,
    fleet::Fleet,
    hooks::Hooks,
    metrics::Metrics,
    pool::Placement,
    recording::{Limits, Recorder},
    run::{Kept, LogFile, Run},
    store::Store,
    telling::{self, Hook, Telling},
};

/// Starts what is to be kept of a run, which is to begin, and hands it to the run. `folder` is where that is kept
/// which outlives it.
pub(super) fn keep<'a>(
    fleet: &Arc<Fleet>,
    bus: &Bus,
    keep: &'a Keep,
    telling: &Telling,
    folder: Option<&Path>,
) -> Result<impl FnOnce(Run) -> Run + use<'a>> {
    let open = |path: &PathBuf| {
        LogFile::open(path, fleet.clone(), bus).with_context(|| format!("cannot open the log {}", path.display()))
    };
    let log = keep.log.as_ref().map(open).transpose()?;
    let limits = Limits { size: keep.record_max_size, age: keep.record_max_age };
    let workers = Placement::new(fleet).workers().len();
    let record = |path: &PathBuf| {
        Recorder::start(path, limits, fleet.clone(), workers, bus)
            .with_context(|| format!("cannot record to {}", path.display()))
    };
    let recorder = keep.record.as_ref().map(record).transpose()?;
    let listen = keep.metrics.or(telling.metrics.listen);
    let serve = || {
        Metrics::start(telling, listen, fleet.clone(), workers, bus).with_context(|| match listen {
            Some(listen) => format!("cannot serve metrics at {listen}"),
            None => "cannot push metrics".to_owned(),
        })
    };
    let is_wanted = listen.is_some() || telling.metrics.influx.is_some();
    let metrics = is_wanted.then(serve).transpose()?;
    let alerts = Alerts::start(telling, fleet.clone(), folder, bus).context("cannot watch for alerts")?;
    let tell = |hooks: &Vec<Hook>| {
        Hooks::start(hooks.clone(), fleet.clone(), bus).context("cannot start the thread that runs the hooks")
    };
    let hooks = Some(&telling.hooks).filter(|hooks| !hooks.is_empty()).map(tell).transpose()?;
    let write = |store: &telling::Store| {
        Store::start(store.clone(), fleet.clone(), bus).context("cannot start the thread that writes to the store")
    };
    let store = telling.store.as_ref().map(write).transpose()?;
    Ok(move |run: Run| run.with(Kept { log, recorder, metrics, alerts, hooks, store }))
}

impl Keep {
    /// As the command line has it, with files where they are for a process elsewhere.
    pub(super) fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments = Vec::new();
        for (name, path) in [("--log", &self.log), ("--record", &self.record), ("--debug-log", &self.debug.path)] {
            if let Some(path) = path {
                let path = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
                arguments.extend([name.into(), path.into_os_string()]);
            }
        }
        if let Some(address) = self.metrics {
            arguments.extend(["--metrics".into(), address.to_string().into()]);
        }
        if let Some(size) = self.record_max_size {
            arguments.extend(["--record-max-size".into(), size.to_string().into()]);
        }
        if let Some(age) = self.record_max_age {
            arguments.extend(["--record-max-age".into(), format!("{}s", age.as_secs()).into()]);
        }
        Ok(arguments)
    }
}

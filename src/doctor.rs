//! Defines the doctor: what every endpoint of a fleet, or one URL, has to say when it is probed, for people and for scripts; the probe itself is the endpoint's.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;

use crate::{
    endpoint::{Prober, Resolver},
    fleet::{Endpoint, EndpointKey},
    headless::Format,
};

mod address;
mod advice;
mod json;
mod waterfall;

pub use address::{endpoint, is_url};

/// Probes all endpoints side by side and prints what was found, in their order. The exit code is 0
/// where all are well, 3 where some are not.
///
/// # Errors
/// Where standard output fails.
pub async fn run(endpoints: Vec<Endpoint>, format: Format, limit: Duration) -> io::Result<ExitCode> {
    let endpoints: Arc<[Endpoint]> = endpoints.into();
    let mut prober = Prober::new(endpoints.clone(), Resolver::system());
    let mut findings = vec![None; endpoints.len()];
    for index in 0..endpoints.len() {
        prober.ask(EndpointKey(index as u16), limit);
    }
    let mut out = io::stdout().lock();
    let (mut told, mut failed) = (0, false);
    while prober.under_way() > 0 {
        let news = prober.next().await;
        findings[news.endpoint.index()] = Some(news.finding);
        // In the order of the file: one that comes early waits for those before it.
        while let Some(finding) = findings.get_mut(told).and_then(Option::take) {
            failed |= !finding.is_ok();
            let endpoint = &endpoints[told];
            match format {
                Format::Text => {
                    let gap = if told > 0 { "\n" } else { "" };
                    write!(out, "{gap}{}", waterfall::text(endpoint, &finding, Utc::now()))?;
                }
                Format::Json => writeln!(out, "{}", json::line(endpoint, &finding, Utc::now()))?,
            }
            out.flush()?;
            told += 1;
        }
    }
    Ok(if failed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

//! Defines the doctor: what every endpoint of a fleet, or one URL, has to say when it is probed, and how one client fares there, for people and for scripts; the probe itself is the endpoint's, the connection a worker's.

use std::{io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use chrono::Utc;

use crate::{
    endpoint::Prober,
    fleet::{Endpoint, EndpointKey},
    headless::Format,
    stdio::print,
    transport::{Connector, Resolver},
};

mod advice;
mod case;
mod json;
mod trial;
mod waterfall;

use case::Case;
pub use case::Patient;

/// The URL that an argument is; `None` where it names a file. A host and a port alone, which no file's name
/// is, are those of a broker without TLS, or with it at the port that is TLS's (8883, as IANA lists it).
pub fn url(argument: &str) -> Option<String> {
    if argument.contains("://") {
        return Some(argument.to_owned());
    }
    let (host, port) = argument.rsplit_once(':')?;
    let is_broker = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok();
    let scheme = if port == "8883" { "mqtts" } else { "mqtt" };
    (is_broker && !Path::new(argument).exists()).then(|| format!("{scheme}://{argument}"))
}

/// Probes all endpoints side by side, has the patient, if any, connect at each that answers, one after
/// the other, and prints what was found, in their order. Each probe, each connect and what comes after
/// one may take `limit`. The exit code is 0 where all is well, 3 where something is not.
///
/// # Errors
/// Where standard output fails.
pub async fn run(
    endpoints: Vec<Endpoint>,
    patient: Option<Patient>,
    format: Format,
    limit: Duration,
) -> io::Result<ExitCode> {
    let endpoints: Arc<[Endpoint]> = endpoints.into();
    let mut prober = Prober::new(endpoints.clone(), Connector::new(Resolver::system()));
    let mut findings = vec![None; endpoints.len()];
    for index in 0..endpoints.len() {
        prober.ask(EndpointKey(index as u16), limit);
    }
    let (mut told, mut failed) = (0, false);
    while prober.under_way() > 0 {
        let news = prober.next().await;
        findings[news.endpoint.index()] = Some(news.finding);
        // In the order of the file: one that comes early waits for those before it.
        while let Some(finding) = findings.get_mut(told).and_then(Option::take) {
            let patient = patient.as_ref();
            let mut case = Case { endpoint: &endpoints[told], finding: &finding, patient, trial: None };
            let trial = match patient.filter(|_| finding.is_ok()) {
                Some(patient) => Some(trial::run(&patient.client, case.endpoint, case.hop(), limit).await),
                None => None,
            };
            case.trial = trial.as_ref();
            failed |= !case.is_ok();
            print(&match format {
                Format::Text => {
                    let gap = if told > 0 { "\n" } else { "" };
                    format!("{gap}{}", waterfall::text(&case, Utc::now()))
                }
                Format::Json => format!("{}\n", json::line(&case, Utc::now())),
            })?;
            told += 1;
        }
    }
    Ok(if failed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_a_broker_and_all_else_is_a_file() {
        for (argument, is) in [
            ("ws://a/mqtt", Some("ws://a/mqtt")),
            ("localhost:1883", Some("mqtt://localhost:1883")),
            ("broker.example:8883", Some("mqtts://broker.example:8883")),
            ("[::1]:1883", Some("mqtt://[::1]:1883")),
            ("fleet.toml", None),
            ("localhost", None),
            ("./a:1883", None),
            ("a:b", None),
            (":1883", None),
            ("a:70000", None),
        ] {
            assert_eq!(url(argument).as_deref(), is, "{argument}");
        }
    }
}

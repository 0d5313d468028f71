//! Defines what the latency view shows of the fleet or of the clients that a filter shows, worked out once a second off the frame path; how it looks is the UI's matter.

use std::time::Duration;

use crate::{
    clock::Moment,
    fleet::ClientKey,
    model::{
        heat::{Heat, Slice},
        histogram::Histogram,
        known::Known,
    },
};

/// The round trips of several clients.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How many clients it is about.
    pub clients: usize,
    /// Whether these are not all, but those that a filter shows.
    pub is_filtered: bool,
    pub histogram: Histogram,
    /// How far back the histogram goes at most.
    pub span: Duration,
    /// The last [`Heat::SLICES`] slices of time, oldest first; `None` where nothing is known. Of a whole
    /// fleet they have every answer, of a filter each client's slowest of a probe interval.
    pub slices: Vec<Option<Slice>>,
    /// Probes that were never answered in the time of the histogram, where that is known.
    pub lost: u64,
}

impl Survey {
    pub(super) fn of_fleet(known: &Known, now: Moment) -> Survey {
        let slices: Vec<_> = known.latencies().heat().slices(now, Heat::SLICES).map(|slice| slice.cloned()).collect();
        let span = known.latencies().span(now);
        let recent = span.as_micros().div_ceil(Heat::WIDTH.as_micros()) as usize;
        let lost = slices.iter().rev().take(recent).flatten().map(|slice| u64::from(slice.lost)).sum();
        let histogram = known.latencies().fleet(now);
        Survey { clients: known.rows().len(), is_filtered: false, histogram, span, slices, lost }
    }

    pub(super) fn of(known: &Known, clients: &[ClientKey], now: Moment) -> Survey {
        let mut survey = Survey {
            clients: clients.len(),
            is_filtered: true,
            histogram: Histogram::default(),
            span: Duration::ZERO,
            slices: vec![Some(Slice::default()); Heat::SLICES],
            lost: 0,
        };
        let width = Heat::WIDTH.as_micros() as u64;
        let oldest = (now.0 / width + 1).saturating_sub(Heat::SLICES as u64);
        for row in clients.iter().map(|key| known.row(*key)) {
            if let Some(answers) = row.answers() {
                survey.histogram.merge(&answers.histogram(now));
                survey.span = survey.span.max(answers.span(now));
                survey.lost += u64::from(answers.loss(now).1);
            }
            for (begin, rtt) in row.trend_answers() {
                // A slow probe's answer is true of all the slices until the next one.
                let end = (begin + row.trend_width()).0.min(now.0 + 1).div_ceil(width);
                for slice in (begin.0 / width).max(oldest)..end {
                    if let Some(Some(slice)) = survey.slices.get_mut((slice - oldest) as usize) {
                        slice.record(rtt);
                    }
                }
            }
        }
        survey
    }
}

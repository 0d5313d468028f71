//! Defines the keys that say how clients are measured (`probe` and `slow`), and the tables that set them for all clients with a label; what else a client has is read elsewhere.

use std::{ops::Range, time::Duration};

use super::format;
use crate::{
    document::{Draft, Keys, Report, Table},
    fleet::{Labels, ProbeKind, Settings},
    text::Scrubbed,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// What one table gives of `probe` and `slow`.
#[derive(Clone, Copy, Default)]
pub(super) struct Measuring {
    kind: Option<ProbeKind>,
    every: Option<Duration>,
    p99: Option<Duration>,
}

impl Measuring {
    /// `keys` are those that its `probe` may have.
    pub(super) fn read(table: &Table<'_>, keys: Keys, report: &mut Report<'_>) -> Measuring {
        const WORDS: [(&str, ProbeKind); 4] = [
            ("heartbeat", ProbeKind::Heartbeat),
            ("ack", ProbeKind::Ack),
            ("echo", ProbeKind::Echo),
            ("off", ProbeKind::Off),
        ];
        let mut given = Measuring::default();
        let probe = table.get("probe");
        if let Some(t) = probe.and_then(|v| v.table(report, "`probe`", "{ kind = \"ack\", every = \"5s\" }")) {
            t.check(keys, report);
            given.kind = t.get("kind").and_then(|v| v.word(report, &WORDS));
            given.every = t.get("every").and_then(|v| v.duration(report, Duration::from_millis(100), HOUR));
        }
        if let Some(t) = table.get("slow").and_then(|v| v.table(report, "`slow`", "{ p99 = \"250ms\" }")) {
            t.check(format::SLOW, report);
            given.p99 = t.get("p99").and_then(|v| v.duration(report, MILLISECOND, HOUR));
        }
        given
    }

    /// Puts what is given in the place of what there is.
    pub(super) fn lay_over(&self, settings: &mut Settings) {
        settings.probe.kind = self.kind.unwrap_or(settings.probe.kind);
        settings.probe.every = self.every.unwrap_or(settings.probe.every);
        settings.slow_p99 = self.p99.or(settings.slow_p99);
    }
}

/// How all clients with a label are measured: `[label.site.hall-3]`.
pub(super) struct OfLabel {
    name: Scrubbed,
    value: Scrubbed,
    measuring: Measuring,
    span: Range<usize>,
    is_used: bool,
}

/// Reads `[label.NAME.VALUE]` tables, as they stand in the file.
pub(super) fn read_labels(root: &Table<'_>, report: &mut Report<'_>) -> Vec<OfLabel> {
    let example = "[label.site.hall-3], a label's name and its value";
    let mut labels = Vec::new();
    let names = root.get("label").and_then(|value| value.table(report, "[label]", example));
    for (name, values) in names.map(|table| table.in_order()).unwrap_or_default() {
        let values = values.table(report, format!("[label.{}]", Scrubbed::new(&name)), example);
        for (value, table) in values.map(|table| table.in_order()).unwrap_or_default() {
            let (name, value) = (Scrubbed::new(&name), Scrubbed::new(&value));
            let Some(table) = table.table(report, format!("[label.{name}.{value}]"), example) else { continue };
            table.check(format::LABEL, report);
            let measuring = Measuring::read(&table, format::PROBE_OF_LABEL, report);
            labels.push(OfLabel { name, value, measuring, span: table.span, is_used: false });
        }
    }
    labels
}

/// Which of them are for a client's labels.
pub(super) fn matching(of_labels: &[OfLabel], labels: &Labels) -> Vec<usize> {
    let is_of = |of: &OfLabel| labels.get(&of.name) == Some(&of.value);
    of_labels.iter().enumerate().filter(|(_, of)| is_of(of)).map(|(index, _)| index).collect()
}

/// Lays what is given for a client's labels over its settings; of several the last in the file counts.
pub(super) fn lay_over(of_labels: &mut [OfLabel], labels: &Labels, settings: &mut Settings) {
    for of_label in of_labels.iter_mut().filter(|of| labels.get(&of.name) == Some(&of.value)) {
        of_label.is_used = true;
        of_label.measuring.lay_over(settings);
    }
}

/// Warns of labels that no client has.
pub(super) fn warn_of_unused(of_labels: &[OfLabel], report: &mut Report<'_>) {
    for OfLabel { name, value, span, .. } in of_labels.iter().filter(|of| !of.is_used) {
        report.warning(
            Draft::at(span.clone(), format!("no client has the label {name} = \"{value}\""))
                .help("labels are given in [defaults] or [[client]]: labels = { site = \"hall-3\" }"),
        );
    }
}

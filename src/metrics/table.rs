//! Defines the table of all metrics (name, type, unit, labels, help), of which exposition and documents are made; their values come from elsewhere.

/// How a metric's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the program runs.
    Counter,
    Gauge,
    Histogram,
    /// A gauge that is always 1: its labels are what it tells.
    Info,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Without the suffix (`_total`, `_info`, `_bucket`) that its type gives it.
    pub base: &'static str,
    pub kind: Kind,
    /// The labels beside that of the fleet file's choice, where the metric is by client's place.
    pub labels: &'static [&'static str],
    /// Whether the chosen label is there, too.
    pub is_by_label: bool,
    pub help: &'static str,
}

impl Metric {
    /// The base unit that the name ends with, where there is one.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }

    /// The name as it is queried.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.base),
            Kind::Info => format!("{}_info", self.base),
            Kind::Gauge | Kind::Histogram => self.base.to_owned(),
        }
    }
}

macro_rules! metrics {
    ($($name:ident = $kind:ident $base:literal [$($label:literal)*] $by:literal $help:literal;)*) => {
        $(pub(super) const $name: Metric = Metric {
            base: $base, kind: Kind::$kind, labels: &[$($label),*], is_by_label: $by, help: $help,
        };)*
        /// All metrics, in the order in which they are told.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    BUILD = Info "mqfleet_build" ["version"] false "The program's version.";
    FLEET = Info "mqfleet_fleet" ["fleet" "env"] false "The fleet's name and kind of installation, as its file has them.";
    SECOND = Gauge "mqfleet_last_second_timestamp_seconds" [] false "The second of which all the figures are, those of processes left out.";
    CLIENTS = Gauge "mqfleet_clients" ["endpoint" "state"] true "Clients in each state.";
    SLOW = Gauge "mqfleet_slow_clients" ["endpoint"] true "Clients that are up and not well: slow, short of a subscription, or without an answer.";
    LATE = Gauge "mqfleet_unanswered_clients" ["endpoint"] true "Of these, clients whose probe has no answer.";
    WAIT = Gauge "mqfleet_longest_wait_seconds" ["endpoint"] true "For how long the longest of these has waited.";
    CONNECTS = Counter "mqfleet_connects" ["endpoint"] true "Connects that the broker accepted.";
    FAILURES = Counter "mqfleet_connect_failures" ["endpoint" "reason"] true "Connects that came to nothing, by reason.";
    LOSSES = Counter "mqfleet_disconnects" ["endpoint" "reason"] true "Connections that were up and ended, by reason; those that the operator ended too.";
    ROUND_TRIP = Histogram "mqfleet_round_trip_seconds" ["endpoint"] true "Round trips of probes through the broker.";
    CONNECT_DURATION = Histogram "mqfleet_connect_duration_seconds" ["endpoint"] true "From the order to connect until CONNACK.";
    PROBES_LOST = Counter "mqfleet_probes_lost" ["endpoint"] true "Probes that were never answered.";
    RECEIVED = Counter "mqfleet_messages_received" ["endpoint"] true "Messages that clients received.";
    PUBLISHED = Counter "mqfleet_messages_published" ["endpoint"] true "Messages that clients published, their probes left out.";
    REFUSED = Counter "mqfleet_messages_refused" ["endpoint"] true "Of these, messages that the broker refused.";
    SENT_BYTES = Counter "mqfleet_network_sent_bytes" ["endpoint"] true "Bytes that the other side of TCP acknowledged, TLS included, as the kernel said when last asked; of a connection's last seconds they may be missing.";
    RECEIVED_BYTES = Counter "mqfleet_network_received_bytes" ["endpoint"] true "Bytes that came from the other side of TCP, likewise.";
    RETRANSMITS = Counter "mqfleet_tcp_retransmits" ["endpoint"] true "Segments that were sent again, likewise.";
    OPEN = Gauge "mqfleet_endpoint_open" ["endpoint"] false "Whether clients may connect: 1, or 0 where it does not answer or is on hold.";
    QUEUE = Gauge "mqfleet_queued_clients" ["endpoint"] false "Clients in the endpoint's queue.";
    ETA = Gauge "mqfleet_queue_eta_seconds" ["endpoint"] false "When the last of them has its turn, as far as the rate decides.";
    CONNECTING = Gauge "mqfleet_connects_in_flight" ["endpoint"] false "Connects under way.";
    RATE = Gauge "mqfleet_connect_rate_limit" ["endpoint"] false "Connects a second that the gate lets through now.";
    CERTIFICATE = Gauge "mqfleet_certificate_not_after_timestamp_seconds" ["endpoint"] false "When the certificate of the endpoint's server ends.";
    OWN_CERTIFICATE = Gauge "mqfleet_client_certificate_not_after_timestamp_seconds" ["endpoint"] false "When the first of the clients' own certificates ends, by the endpoint they prefer.";
    WORKER_UP = Gauge "mqfleet_worker_up" ["worker"] false "Whether the worker process holds its clients: 1 or 0.";
    WORKER_DEATHS = Counter "mqfleet_worker_deaths" ["worker"] false "Worker processes that died or were put down, and were replaced.";
    CPU = Counter "mqfleet_process_cpu_seconds" ["process"] false "CPU time of the program itself (main) and of each worker, those before the present one included.";
    MEMORY = Gauge "mqfleet_process_resident_memory_bytes" ["process"] false "Resident memory.";
    FILES = Gauge "mqfleet_process_open_fds" ["process"] false "Open file descriptors.";
    WAITING = Gauge "mqfleet_queue_events" ["queue"] false "Events that wait for a subscriber of the run.";
    FOLDED = Counter "mqfleet_queue_folded_events" ["queue"] false "Events that were folded into others because the subscriber was late.";
    SAMPLES_DROPPED = Counter "mqfleet_samples_dropped" [] false "Round trips that were measured and are in no histogram, because a queue was full.";
    ALERTS = Gauge "mqfleet_alerts" ["severity"] false "Alerts that fire, by severity.";
    FIRING = Gauge "mqfleet_alert_firing" ["alert" "severity"] false "Whether the rule of this name fires: 1 or 0.";
    FIRED = Counter "mqfleet_alerts_fired" ["alert" "severity"] false "How often it began to fire; what fires since before the run began counts once.";
    RULES_LEFT_OUT = Gauge "mqfleet_alert_rules_left_out" [] false "Rules that have no series of their own, because there are more than 100.";
    NOTIFICATIONS = Counter "mqfleet_notifications" ["notifier"] false "Messages about alerts that the receiver took.";
    NOTIFICATION_FAILURES = Counter "mqfleet_notification_failures" ["notifier"] false "Tries to send one that came to nothing.";
    NOTIFICATIONS_DROPPED = Counter "mqfleet_notifications_dropped" ["notifier"] false "Messages that were given up, because they could not be sent for 24 hours.";
    NOTIFICATIONS_WAITING = Gauge "mqfleet_notifications_waiting" ["notifier"] false "Messages that wait until the receiver takes them.";
    HOOK_RUNS = Counter "mqfleet_hook_runs" ["hook"] false "Processes of the hook that ended well.";
    HOOK_FAILURES = Counter "mqfleet_hook_failures" ["hook"] false "Processes of it that failed, took too long or could not be started.";
    HOOK_WAITING = Gauge "mqfleet_hook_changes_waiting" ["hook"] false "Changes that wait until it takes them.";
    POINTS = Counter "mqfleet_influx_points" [] false "Points that InfluxDB took.";
    POINTS_FAILURES = Counter "mqfleet_influx_write_failures" [] false "Tries to write some that came to nothing.";
    POINTS_DROPPED = Counter "mqfleet_influx_points_dropped" [] false "Points that were given up: InfluxDB was away for longer than they are kept, or refused them.";
    POINTS_WAITING = Gauge "mqfleet_influx_points_waiting" [] false "Points that wait until InfluxDB takes them.";
    LEFT_OUT = Gauge "mqfleet_clients_left_out" [] false "Clients that `clients` picks and that have no series, because there are more than its `at_most`.";
    VALUES_LEFT_OUT = Gauge "mqfleet_label_values_left_out" [] false "Values of the chosen label that are told together as `other`, because there are more than 50.";
    CLIENT_UP = Gauge "mqfleet_client_up" ["client" "endpoint"] true "Whether a picked client is up: 1 or 0.";
    CLIENT_ROUND_TRIP = Gauge "mqfleet_client_round_trip_seconds" ["client" "endpoint"] true "Its last answer on this connection.";
    CLIENT_CONNECTS = Counter "mqfleet_client_connects" ["client"] false "Connects of it that the broker accepted.";
    CLIENT_RECEIVED = Counter "mqfleet_client_messages_received" ["client"] false "Messages that it received.";
    CLIENT_PUBLISHED = Counter "mqfleet_client_messages_published" ["client"] false "Messages that it published, its probes left out.";
}

/// What the README tells of them, as a table in Markdown.
pub fn document() -> String {
    let mut text = "| Metric | Type | Labels | Tells |\n|---|---|---|---|\n".to_owned();
    for metric in ALL {
        let own = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels: Vec<String> = own.chain(metric.is_by_label.then(|| "*label*".to_owned())).collect();
        let (name, kind, help) = (metric.name(), metric.kind.name(), metric.help);
        text += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    text
}

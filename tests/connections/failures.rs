//! The table of failures: each is provoked for real on the whole program, which must tell the state, the reason, the next action and the sentence of the table's row. Figures are measured elsewhere.
//!
//! What comes next is one of:
//!
//! - *probe*: the client is held and does not connect; its endpoint is asked again within half a second
//!   at first, then less and less often, and as soon as it answers the client comes up by itself;
//! - *retry*: the client tries again as its `reconnect` says (here 0.3 s later);
//! - *soon*: the client tries again within seconds, whatever its `reconnect` says;
//! - *slow*: somebody has to mend something at the broker; the client tries again in 5 to 30 minutes;
//! - *operator*: nothing is done until the operator says so;
//! - *worker*: the client waits for a new worker process;
//! - *none*: it is up all the same.
//!
//! Where mending the fault is cheap, the test does so and sees the client come up by itself. In the
//! sentences PORT, DIR and N stand for what is different each time. "A broker says" is a server of
//! these tests that speaks MQTT and always says the same; all others are real mosquittos. One failure
//! is shown elsewhere: a disk that is full for the log, in `fleet.rs` (the run goes on, nothing is lost)
//! and in `console.rs` (it is told on the screen).
//!
//! | failure | provoked by | state | reason | next | sentence |
//! |---|---|---|---|---|---|
//! | `name_not_resolved` | a name server says that there is no such name | held | name_not_resolved | probe | `press is waiting for plant: host name not found: broker.test: Name or service not known; asked again in N s` |
//! | `resolver_hangs` | a name server says nothing | held | dns_timeout | probe | `press is waiting for plant: name lookup timed out: no answer about broker.test; asked again in N s` |
//! | `no_route` | no route leads to the broker's address | held | network_unreachable | probe | `press is waiting for plant: network unreachable: 10.77.0.1:40000; asked again in N s` |
//! | `ports_exhausted` | all local ports are in use | held | network_unreachable | probe | `press is waiting for plant: network unreachable: 127.0.0.1:PORT: cannot assign requested address; asked again in N s` |
//! | `refused` | nobody listens at the port | held | connection_refused | probe | `press is waiting for plant: connection refused: 127.0.0.1:PORT; asked again in N s` |
//! | `blackholed` | a full backlog swallows each SYN | held | connect_timeout | probe | `press is waiting for plant: connect timed out: no answer from 127.0.0.1:PORT; asked again in N s` |
//! | `proxy_down` | nobody listens at the proxy's port | held | connection_refused | probe | `press is waiting for plant: connection refused: the proxy 127.0.0.1:PORT; asked again in N s` |
//! | `proxy_refuses` | the proxy says 403 | held | proxy_refused | probe | `press is waiting for plant: refused by proxy: 403 Forbidden; asked again in N s` |
//! | `proxy_wants_password` | the proxy says 407 | held | proxy_authentication_required | probe | `press is waiting for plant: proxy wants a password: 407 Proxy Authentication Required; asked again in N s` |
//! | `proxy_reaches_nobody` | the proxy says 502 | held | proxy_failed | probe | `press is waiting for plant: proxy failed: 502 Bad Gateway; asked again in N s` |
//! | `proxy_is_none` | what is taken for a proxy is a mail server | held | proxy_failed | probe | `press is waiting for plant: proxy failed: it does not speak HTTP: 220 mail.example ESMTP; asked again in N s` |
//! | `proxy_hangs` | the proxy says nothing | held | connect_timeout | probe | `press is waiting for plant: connect timed out: no answer from the proxy; asked again in N s` |
//! | `proxy_tls_unknown_ca` | an `https://` proxy whose CA nobody knows | held | certificate_unknown_ca | probe | `press is waiting for plant: certificate of unknown CA: the proxy's TLS: CN=broker was issued by CN=plant CA, which is not trusted; asked again in N s` |
//! | `socks_refuses` | a SOCKS proxy says 2 | held | proxy_refused | probe | `press is waiting for plant: refused by proxy: not allowed by its rules (2); asked again in N s` |
//! | `socks_wants_password` | a SOCKS proxy takes nobody without one | held | proxy_authentication_required | probe | `press is waiting for plant: proxy wants a password: it takes nobody without a user name; asked again in N s` |
//! | `unix_socket_missing` | no file is at the path | held | connection_refused | probe | `press is waiting for plant: connection refused: DIR/mqtt.sock: no such file or directory; asked again in N s` |
//! | `unix_socket_refused` | nobody listens at the socket any more | held | connection_refused | probe | `press is waiting for plant: connection refused: DIR/mqtt.sock: connection refused; asked again in N s` |
//! | `source_address_gone` | `bind` is no address of this host | held | network_unreachable | probe | `press is waiting for plant: network unreachable: 127.0.0.1:PORT: cannot connect from 192.0.2.1: cannot assign requested address; asked again in N s` |
//! | `websocket_refused` | a web server says 404 | held | websocket_refused | probe | `press is waiting for plant: WebSocket refused: 404 Not Found: is the path right?; asked again in N s` |
//! | `reset_in_tls` | a reset after the server's hello | held | connection_reset | probe | `press is waiting for plant: connection reset: in the middle of the TLS handshake, by the server or on the way there; asked again in N s` |
//! | `tls_on_plain_port` | TLS to mosquitto's plain port | held | connection_reset | probe | `press is waiting for plant: connection reset: by the server instead of an answer in TLS (it may be full, or this be no TLS port); asked again in N s` |
//! | `plain_on_tls_port` | plain MQTT to mosquitto's TLS port | backoff | connection_lost | retry | `press could not connect to plant: connection lost: the broker closed the connection instead of answering CONNECT (it may want TLS at this port, be full, or speak MQTT 3.1.1 only: set protocol = "3.1.1"); retry in N s` |
//! | `expired` | the broker's certificate has ended | held | certificate_expired | probe | `press is waiting for plant: certificate expired: CN=broker ended on DAY; asked again in N s` |
//! | `not_yet_valid` | it has not begun | held | certificate_not_yet_valid | probe | `press is waiting for plant: certificate not yet valid: CN=broker is valid from DAY; asked again in N s` |
//! | `wrong_name` | it is for another host | held | certificate_name_mismatch | probe | `press is waiting for plant: certificate for another host: it is for elsewhere.example, not for localhost; asked again in N s` |
//! | `unknown_ca` | another CA has signed it | held | certificate_unknown_ca | probe | `press is waiting for plant: certificate of unknown CA: CN=broker was issued by CN=another CA, which is not trusted; asked again in N s` |
//! | `self_signed` | nobody has signed it | held | certificate_self_signed | probe | `press is waiting for plant: certificate self-signed: CN=broker vouches for itself; asked again in N s` |
//! | `tls_too_old` | a server of TLS 1.1 | held | tls_failed | probe | `press is waiting for plant: TLS failed: the broker speaks TLS 1.1 at most; asked again in N s` |
//! | `tls_min_too_high` | a server of TLS 1.2, and `tls_min = "1.3"` | held | tls_failed | probe | `press is waiting for plant: TLS failed: the broker speaks TLS 1.2 at most, and tls_min is "1.3"; asked again in N s` |
//! | `no_cipher_in_common` | a server with ciphers of its own | held | tls_failed | probe | `press is waiting for plant: TLS failed: no cipher in common: the broker takes none of the ciphers, curves and signatures offered; asked again in N s` |
//! | `no_protocol_in_common` | a server that speaks another protocol (ALPN) | held | tls_failed | probe | `press is waiting for plant: TLS failed: the broker takes none of alpn = ["mqtt", "x-mqtt"]; asked again in N s` |
//! | `server_name_mismatch` | `server_name` is not in the certificate | held | certificate_name_mismatch | probe | `press is waiting for plant: certificate for another host: it is for localhost, 127.0.0.1, not for other.example; asked again in N s` |
//! | `revoked` | the certificate is in `crl_file` | held | certificate_invalid | probe | `press is waiting for plant: certificate not acceptable: CN=broker has been revoked by CN=plant CA; asked again in N s` |
//! | `ca_file_unusable` | the CA file was spoilt after the start | held | ca_file_unusable | probe | `press is waiting for plant: CA file cannot be used: DIR/ca.pem: no certificates in PEM (no certificate or crl found); asked again in N s` |
//! | `client_certificate_missing` | mosquitto demands one, the client has none; TLS 1.3 | failed | client_certificate_refused | slow | `broker refused press: client certificate refused: the broker demands a certificate of the client; tried again in N min` |
//! | `client_certificate_missing_12` | the same with TLS 1.2 | failed | client_certificate_refused | slow | `broker refused press: client certificate refused: the broker refused the handshake: it may demand a certificate of the client; tried again in N min` |
//! | `client_certificate_of_wrong_ca` | another CA has signed the client's; TLS 1.3 | failed | client_certificate_refused | slow | `broker refused press: client certificate refused: the broker does not trust the CA of the client's certificate; tried again in N min` |
//! | `client_certificate_of_wrong_ca_12` | the same with TLS 1.2 | failed | client_certificate_refused | slow | `broker refused press: client certificate refused: the broker does not trust the CA of the client's certificate; tried again in N min` |
//! | `client_certificate_expired` | the client's has ended; TLS 1.3 | failed | client_certificate_refused | slow | `broker refused press: client certificate refused: to the broker the client's certificate has expired; tried again in N min` |
//! | `key_password_wrong` | the client's key is replaced by one with another password | backoff | tls_failed | retry | `press could not connect to plant: TLS failed: the client's certificate cannot be used: DIR/press.locked: wrong password for the key, or of a kind that is too old; retry in N s` |
//! | `bad_password` | mosquitto with a password file, MQTT 5 | failed | not_authorized | slow | `broker refused press: not authorized; tried again in N min` |
//! | `bad_password_311` | the same with MQTT 3.1.1 | failed | not_authorized | slow | `broker refused press: not authorized; tried again in N min` |
//! | `no_password` | the same, and the client gives none | failed | not_authorized | slow | `broker refused press: not authorized; tried again in N min` |
//! | `bad_credentials` | a broker says 0x86 | failed | bad_credentials | slow | `broker refused press: bad user name or password; tried again in N min` |
//! | `bad_credentials_311` | a broker says 4, MQTT 3.1.1 | failed | bad_credentials | slow | `broker refused press: bad user name or password; tried again in N min` |
//! | `client_id_rejected` | a broker says 0x85 | failed | client_id_rejected | operator | `broker refused press: client ID rejected; not tried again` |
//! | `client_id_rejected_311` | a broker says 2, MQTT 3.1.1 | failed | client_id_rejected | operator | `broker refused press: client ID rejected; not tried again` |
//! | `client_id_prefix` | mosquitto with another `clientid_prefixes` | failed | not_authorized | slow | `broker refused press: not authorized; tried again in N min` |
//! | `banned` | a broker says 0x8a | failed | banned | operator | `broker refused press: banned by broker; not tried again` |
//! | `version_unsupported` | a broker of MQTT 3 says 1, in its own shape, to MQTT 5 | failed | unsupported_protocol_version | operator | `broker refused press: MQTT version refused: it answers in MQTT 3; it may speak MQTT 3.1.1 only: set protocol = "3.1.1"; not tried again` |
//! | `version_unsupported_5` | a broker says 0x84 | failed | unsupported_protocol_version | operator | `broker refused press: MQTT version refused: it may speak MQTT 3.1.1 only: set protocol = "3.1.1"; not tried again` |
//! | `server_unavailable_311` | a broker says 3, MQTT 3.1.1 | backoff | server_unavailable | retry | `broker refused press: broker unavailable; retry in N s` |
//! | `server_busy` | a broker says 0x89 | backoff | server_busy | retry | `broker refused press: broker busy; retry in N s` |
//! | `quota_exceeded` | a broker says 0x97 | backoff | quota_exceeded | retry | `broker refused press: quota exceeded; retry in N s` |
//! | `connection_rate_exceeded` | a broker says 0x9f | backoff | connection_rate_exceeded | retry | `broker refused press: connection rate exceeded; retry in N s` |
//! | `use_another_server` | a broker says 0x9c, which is not to be followed | failed | use_another_server | operator | `broker refused press: told to use another broker; not tried again` |
//! | `use_another_server_and_go` | the same, and it is | backoff | use_another_server | retry | `broker refused press: told to use another broker; retry in N s` |
//! | `max_connections` | mosquitto has no file left for another connection | backoff | connection_lost | retry | `press could not connect to plant: connection lost: the broker closed the connection instead of answering CONNECT (it may want TLS at this port, be full, or speak MQTT 3.1.1 only: set protocol = "3.1.1"); retry in N s` |
//! | `connack_never_comes` | mosquitto is frozen before the connect | backoff | connect_timeout | retry | `press could not connect to plant: connect timed out: no CONNACK within 1s (it may speak MQTT 3.1.1 only: set protocol = "3.1.1"); retry in N s` |
//! | `no_broker_at_the_port` | a web server | backoff | protocol_violation | retry | `press could not connect to plant: protocol violation: it answers in HTTP, not in MQTT (it may be a web server, or a port for WebSocket); retry in N s` |
//! | `taken_over` | a broker says 0x8e | backoff | session_taken_over | retry | `broker disconnected press: taken over: same client ID; retry in N s` |
//! | `taken_over_twice` | it says so again at once | failed | duplicate_client_id | operator | `press lost its connection to plant: same client ID used twice: taken over twice within a minute; not tried again` |
//! | `taken_over_without_a_word` | another program has the same ID, MQTT 3.1.1 | backoff | connection_lost | retry | `press lost its connection to plant: the broker closed the connection; retry in N s` |
//! | `shutting_down` | a broker says 0x8b | backoff | server_shutting_down | retry | `broker disconnected press: broker shutting down; retry in N s` |
//! | `broker_stopped` | mosquitto is ended in order, MQTT 3.1.1 | backoff | connection_lost | retry | `press lost its connection to plant: the broker closed the connection; retry in N s` |
//! | `broker_killed` | mosquitto is killed | backoff | connection_lost | retry | `press lost its connection to plant: the broker closed the connection; retry in N s` |
//! | `broker_frozen` | mosquitto is frozen while the client is up | backoff | keep_alive_timeout | retry | `press lost its connection to plant: no answer to ping: no PINGRESP within one and a half times the keep alive; retry in N s` |
//! | `half_open` | the way goes deaf under the connection | backoff | keep_alive_timeout | retry | `press lost its connection to plant: no answer to ping: no PINGRESP within one and a half times the keep alive; retry in N s` |
//! | `keep_alive_expired` | a broker says 0x8d | backoff | keep_alive_expired | retry | `broker disconnected press: broker missed our pings; retry in N s` |
//! | `receive_maximum_exceeded` | a broker says 0x93 | backoff | receive_maximum_exceeded | retry | `broker disconnected press: receive maximum exceeded; retry in N s` |
//! | `packet_too_large` | a broker says 0x95 | backoff | packet_too_large | retry | `broker disconnected press: packet too large; retry in N s` |
//! | `websocket_closed` | a server closes the WebSocket with 1008 | backoff | connection_lost | retry | `press lost its connection to plant: the broker closed the WebSocket with 1008 (policy violation): over quota; retry in N s` |
//! | `websocket_text` | a server sends text in the WebSocket | backoff | protocol_violation | retry | `press left plant, which broke the protocol: the broker sent text in the WebSocket, where MQTT is binary; retry in N s` |
//! | `malformed_packet` | a broker sends a PUBLISH with QoS 3 | backoff | protocol_violation | retry | `press left plant, which broke the protocol: PUBLISH with QoS 3; retry in N s` |
//! | `suback_without_codes` | a broker answers SUBSCRIBE with no code, MQTT 3.1.1 | backoff | protocol_violation | retry | `press left plant, which broke the protocol: SUBACK without reason codes; retry in N s` |
//! | `message_too_large` | a message beyond `maximum_packet_size`, MQTT 3.1.1 | backoff | protocol_violation | retry | `press left plant, which broke the protocol: PUBLISH of 3,011 bytes, of which 1,000 are allowed; retry in N s` |
//! | `message_rate_too_high` | a broker says 0x96 | backoff | message_rate_too_high | retry | `broker disconnected press: message rate too high; retry in N s` |
//! | `kicked` | mosquitto's administrator disables the client's user | backoff | administrative_action | retry | `broker disconnected press: kicked by administrator; retry in N s` |
//! | `maximum_connect_time` | a broker says 0xa0 | backoff | maximum_connect_time | retry | `broker disconnected press: maximum connect time reached; retry in N s` |
//! | `publish_closed_on_once` | a broker closes on the birth message | backoff | connection_lost | retry | `press lost its connection to plant: the broker closed the connection N ms after PUBLISH to status/press at QoS 1; retry in N s` |
//! | `publish_closed_on` | the same once more | failed | publish_refused | slow | `broker disconnected press: publish refused: the broker closed the connection N ms after PUBLISH to status/press at QoS 1, for the second time: let the broker's access rules (ACL) allow it, or leave it out; tried again in N min` |
//! | `subscribe_closed_on` | a broker closes on SUBSCRIBE, twice | failed | subscribe_refused | slow | `broker disconnected press: subscribe refused: the broker closed the connection N ms after SUBSCRIBE cmd/#, for the second time: let the broker's access rules (ACL) allow it, or leave it out; tried again in N min` |
//! | `probe_closed_on` | a broker closes on the probe, twice | backoff | probe_refused | soon | `broker disconnected press: probe refused: the broker closed the connection N ms after PUBLISH to diag/press at QoS 1 (its probe); retry in N s` |
//! | `probe_disconnected_over` | a broker says 0x87 to the probe | backoff | probe_refused | soon | `broker disconnected press: probe refused: not authorized, N ms after PUBLISH to diag/press at QoS 1 (its probe); retry in N s` |
//! | `disconnected_over_a_message` | a broker says 0x90 to the birth message | failed | topic_invalid | operator | `broker disconnected press: topic not accepted: N ms after PUBLISH to status/press at QoS 1; not tried again` |
//! | `broker_full` | a broker hangs up on CONNECT while another client is up | backoff | broker_full | retry | `broker refused press: broker full, it seems: it hung up, while another is up; or it does not let this client in; retry in N s` |
//! | `broker_full_tls` | the way to it hangs up in the TLS handshake meanwhile | backoff | broker_full | retry | `broker refused press: broker full, it seems: it hung up, while another is up; or it does not let this client in; retry in N s` |
//! | `not_let_in` | a broker hangs up on one client's CONNECT twice, and lets another in between | failed | not_let_in | slow | `broker refused press: not let in, it seems: it hung up again, and let another in meanwhile: it may not take this client's ID, user name, password or certificate; tried again in N min` |
//! | `version_hung_up_on` | a broker of MQTT 3.1.1 hangs up on MQTT 5 | backoff | connection_lost | retry | `press could not connect to plant: connection lost: the broker closed the connection instead of answering CONNECT (it may want TLS at this port, be full, or speak MQTT 3.1.1 only: set protocol = "3.1.1"); retry in N s` |
//! | `version_in_silence` | a broker of MQTT 3.1.1 does not answer MQTT 5 | backoff | connect_timeout | retry | `press could not connect to plant: connect timed out: no CONNACK within 1s (it may speak MQTT 3.1.1 only: set protocol = "3.1.1"); retry in N s` |
//! | `version_found_by_itself` | a broker that answers neither, and `protocol = "auto"` | backoff | connection_lost | retry | `press could not connect to plant: connection lost: the broker closed the connection instead of answering CONNECT (it may want TLS at this port, or be full); retry in N s` |
//! | `refused_after_being_up` | a broker lets it in, and later says 0x87 | backoff | not_authorized | soon | `broker refused press: not authorized; retry in N s` |
//! | `refused_with_a_reason` | a broker says 0x87 and why | failed | not_authorized | slow | `broker refused press: not authorized: token old!; tried again in N min` |
//! | `refused_with_an_unknown_code` | a broker says 0xb5 and why | backoff | other_broker_reason | retry | `broker refused press: refused by broker: CONNACK reason code 0xb5: noon; retry in N s` |
//! | `double_elsewhere` | another program has the same ID and comes back each time, MQTT 3.1.1 | backoff | suspected_duplicate | retry | `broker disconnected press: same client ID elsewhere, it seems: closed 3 times, each about N s after it came up; retry in N s` |
//! | `double_elsewhere_for_sure` | the same, while another client is up all along | failed | duplicate_client_id | operator | `press lost its connection to plant: same client ID used twice: closed 4 times, each about N s after it came up; not tried again` |
//! | `session_lost` | mosquitto is killed and keeps no session, `clean_start = false` | up | session_lost | none | `press connected to plant; session lost: the broker has none of it, though clean_start = false` |
//! | `worker_killed` | SIGKILL to the worker process | held | worker_lost | worker | `press is waiting for its worker: worker died: killed by signal 9` |
//! | `worker_stopped` | SIGSTOP to the worker process | held | worker_silent | worker | `press is waiting for its worker: worker is silent: no word for 5 s (stopped, or hung)` |
//! | `worker_cannot_start` | the same, and the system has no file for the next one | held | worker_lost | worker | `press is waiting for its worker: worker died: killed by signal 9` |
//! | `password_file_gone` | the file of the client's password is gone at its next connect | backoff | password_unavailable | retry | `press could not connect to plant: password not to be had: cannot read the password file "DIR/press.pw": No such file or directory (os error 2); retry in N s` |
//! | `password_command_fails` | the command of the client's password ends with code 7 | backoff | password_unavailable | retry | `press could not connect to plant: password not to be had: its command "DIR/token" failed (exit status: 7): no token server; retry in N s` |
//! | `out_of_files` | the worker has no file left for another connection | backoff | too_many_open_files | retry | `press could not connect to plant: too many open files: 127.0.0.1:PORT: raise ulimit -n, or lower worker_size; retry in N s` |
//! | `retries_exhausted` | the third failure with `max_retries = 2` | failed | retries_exhausted | operator | `press was given up: out of retries: last: connection lost: the broker closed the connection instead of answering CONNECT (it may want TLS at this port, be full, or speak MQTT 3.1.1 only: set protocol = "3.1.1")` |

mod asked;
mod cut;
mod ours;
mod refused;
mod tls;
mod way;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use mqfleet_test_support::{
    SOON,
    fleet_file::FleetFile,
    headless::{self, Headless},
    program,
};

use serde_json::Value;

/// A row of the table.
struct Row {
    state: &'static str,
    reason: &'static str,
    next: &'static str,
    says: &'static str,
}

/// The rows of the table above, by name.
fn rows() -> impl Iterator<Item = (&'static str, Row)> {
    let lines = include_str!("failures.rs").lines().filter_map(|l| l.strip_prefix("//! | `"));
    lines.map(|line| {
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(|c| c.trim().trim_matches('`')).collect();
        let [name, _, state, reason, next, says] = cells[..] else { panic!("not six cells: {line}") };
        (name, Row { state, reason, next, says })
    })
}

#[test]
fn every_row_has_its_test_and_every_test_its_row() {
    let sources = [
        include_str!("failures/asked.rs"),
        include_str!("failures/cut.rs"),
        include_str!("failures/ours.rs"),
        include_str!("failures/refused.rs"),
        include_str!("failures/tls.rs"),
        include_str!("failures/way.rs"),
    ];
    let mut tests = BTreeSet::new();
    for source in sources {
        for test in source.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().expect("a name");
            assert!(test.split("\n}\n").next().expect("a body").contains(&format!("\"{name}\"")), "{name}: which row?");
            assert!(tests.insert(name), "{name} is there twice");
        }
    }
    let rows: Vec<&str> = rows().map(|(name, _)| name).collect();
    assert_eq!(rows.len(), tests.len(), "a row is there twice");
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), tests);
}

/// The program with the client `press` at the endpoint `plant`, and what it said so far.
struct Run {
    program: Headless,
    file: FleetFile,
    /// Lines before this one were looked at.
    seen: usize,
}

impl Run {
    /// The client at this URL.
    fn at(url: &str) -> Run {
        Run::with(url, "", "")
    }

    /// The same, with further lines for the endpoint and for the client.
    fn with(url: &str, endpoint: &str, client: &str) -> Run {
        Run::of(url, endpoint, client, plainly)
    }

    /// The same, started by `command`.
    fn of(url: &str, endpoint: &str, client: &str, command: impl FnOnce(&str, &[&str]) -> Command) -> Run {
        let file = FleetFile::new(&format!(
            r#"
            [endpoint.plant]
            url = "{url}"
            {endpoint}
            [defaults]
            reconnect = {{ strategy = "fixed", every = "300ms" }}
            connect_timeout = "1s"
            [[client]]
            id = "press"
            endpoints = ["plant"]
            {client}
            "#
        ));
        Run::file(file, command)
    }

    /// A fleet file with such a client, started by `command`.
    fn file(file: FleetFile, command: impl FnOnce(&str, &[&str]) -> Command) -> Run {
        let log = log(&file);
        let args = ["run", file.path(), "--log", log.to_str().expect("a path")];
        let mut command = command(program(), &args);
        command.current_dir(file.dir.path());
        Run { program: Headless::of(&mut command), file, seen: 0 }
    }

    /// The client's next failure is the row's to the letter.
    #[track_caller]
    fn expect(&mut self, name: &str) -> Value {
        let step = self.step("a failure", is_failure);
        self.compare(name, step)
    }

    /// The same, of its first failure that is not for this reason, which may come before it.
    #[track_caller]
    fn expect_after(&mut self, reason: &str, name: &str) -> Value {
        self.expect_after_all(&[reason], name)
    }

    /// The same, of its first failure that is for none of these reasons.
    #[track_caller]
    fn expect_after_all(&mut self, reasons: &[&str], name: &str) -> Value {
        let is_other = |step: &Value| !reasons.contains(&step["reason"].as_str().unwrap_or_default());
        let step = self.step("another failure", |step| is_failure(step) && is_other(step));
        self.compare(name, step)
    }

    /// This failure, the last that was looked at, is the row's to the letter.
    #[track_caller]
    fn compare(&self, name: &str, step: Value) -> Value {
        let row = rows().find(|(n, _)| *n == name).map(|(_, row)| row);
        let said = self.sentence();
        let next = next_action(&step);
        let [state, reason] = [&step["to"], &step["reason"]].map(|c| c.as_str().unwrap_or_default());
        let found = format!("//! | `{name}` | ? | {state} | {reason} | {next} | `{said}` |");
        let row = row.unwrap_or_else(|| panic!("no row for it:\n{found}"));
        assert_eq!((state, reason, next), (row.state, row.reason, row.next), "not the row's:\n{found}");
        let detail = alike(step["detail"].as_str().expect("a detail"));
        assert!(said.contains(&detail), "the log says something else: {step}");
        assert_eq!(said, row.says, "not the row's:\n{found}");
        step
    }

    #[track_caller]
    fn comes_up(&mut self) {
        self.step("press up", |step| step["to"] == "up");
    }

    /// Nothing is done about it, two seconds long, although tries are 0.3 s apart.
    #[track_caller]
    fn waits_for_the_operator(&self) {
        let summaries = |h: &headless::Heard| h.of_type("summary").count();
        let before = summaries(&self.program.heard());
        let heard = self.program.wait_for("two seconds", |h| summaries(h) >= before + 2);
        assert!(states(&heard.lines[self.seen..]).next().is_none(), "it moves: {:?}", &heard.lines[self.seen..]);
        assert_eq!(heard.states["press"], "failed");
    }

    /// The client's next step that is so, none of those that were looked at.
    #[track_caller]
    fn step(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let seen = self.seen;
        let place = |lines: &[Value]| lines[seen..].iter().position(|l| states(std::slice::from_ref(l)).any(&wanted));
        let heard = self.program.wait_for(what, |h| place(&h.lines).is_some());
        let place = seen + place(&heard.lines).expect("a step");
        let step = heard.lines[place].clone();
        drop(heard);
        self.seen = place + 1;
        step
    }

    /// The line of the log about the failure that was looked at last, with what is different each time
    /// made alike.
    #[track_caller]
    fn sentence(&self) -> String {
        let nth = states(&self.program.heard().lines[..self.seen]).filter(|step| is_failure(step)).count();
        let is_failure = |words: &&str| {
            let passes = ["press connected to plant", ": endpoint not probed yet", ": starting"];
            let is_brokers = ["broker refused press", "broker disconnected press"].iter().any(|w| words.starts_with(w));
            words.starts_with("press ") && !passes.iter().any(|p| words.ends_with(p)) || is_brokers
        };
        let end = Instant::now() + SOON;
        loop {
            let log = fs::read_to_string(log(&self.file)).unwrap_or_default();
            let whole = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let mut told = whole.filter_map(|line| Some(line.split_once(' ')?.1)).filter(is_failure);
            if let Some(words) = told.nth(nth - 1) {
                return alike(words);
            }
            assert!(Instant::now() < end, "no failure number {nth} in the log:\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The words with ports, folders, days and waits made alike.
fn alike(words: &str) -> String {
    // Each test's folders are called `.tmp` and six letters.
    let folder = format!("{}/.tmp", std::env::temp_dir().display());
    let mut parts = words.split(&folder);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words += "DIR";
        words += part.get(6..).unwrap_or_default();
    }
    let mut parts = words.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "127.0.0.1:PORT";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    // After a packet.
    let mut parts = out.split(" ms after ");
    let mut timeless = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        timeless.truncate(timeless.trim_end_matches(|c: char| c.is_ascii_digit()).len());
        timeless += "N ms after ";
        timeless += part;
    }
    out = timeless;
    // How long it was up.
    if let Some((before, after)) = out.split_once("each about ") {
        out = format!("{before}each about N{}", after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    }
    for waits in ["; retry in ", "; asked again in ", "; tried again in "] {
        if let Some((before, after)) = out.split_once(waits) {
            let unit = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            out = format!("{before}{waits}N{unit}");
        }
    }
    for on in [" ended on ", " is valid from "] {
        if let Some((before, after)) = out.split_once(on) {
            let rest = after.get("2026-11-22".len()..).unwrap_or_default();
            out = format!("{before}{on}DAY{rest}");
        }
    }
    out
}

const V311: &str = "protocol = '3.1.1'\n";

/// A program with nothing special about it.
fn plainly(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn log(file: &FleetFile) -> PathBuf {
    file.dir.path().join("log")
}

/// The steps of the client in question.
fn states(lines: &[Value]) -> impl Iterator<Item = &Value> {
    lines.iter().filter(|l| l["type"] == "state" && l["client"] == "press")
}

fn is_failure(step: &Value) -> bool {
    match step["to"].as_str() {
        Some("backoff" | "failed") => true,
        Some("up") => step["reason"] == "session_lost",
        Some("held") => !["start", "endpoint_unknown"].iter().any(|r| step["reason"] == *r),
        _ => false,
    }
}

/// What happens next, as the table calls it.
fn next_action(step: &Value) -> &'static str {
    const MINUTES: std::ops::RangeInclusive<u64> = 5 * 60_000..=30 * 60_000;
    match (step["to"].as_str(), step["next_try_ms"].as_u64()) {
        (Some("held"), Some(0..=500)) => "probe",
        (Some("held"), None) => "worker",
        (Some("backoff"), Some(300)) if step["reason"] != "probe_refused" => "retry",
        (Some("backoff"), Some(1..=4_000)) => "soon",
        (Some("up"), None) => "none",
        (Some("failed"), Some(ms)) if MINUTES.contains(&ms) => "slow",
        (Some("failed"), None) => "operator",
        _ => panic!("no next action that anybody knows: {step}"),
    }
}

/// Says, past the capture of test output, that a failure is not shown on this machine.
fn not_shown(name: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT SHOWN HERE: {name}: {why}");
}

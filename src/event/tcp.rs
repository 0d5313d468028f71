//! Defines what the kernel tells of a client's TCP connection (`TCP_INFO`, tcp(7)); asking the kernel is the worker's matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A connection as the kernel sees it. Where the kernel does not tell (other than Linux), there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    pub state: TcpState,
    /// The smoothed round trip time (RFC 6298), and its variation.
    pub rtt: Duration,
    pub rtt_variation: Duration,
    /// Segments that were sent again since the connection began.
    pub retransmits: u32,
    /// Segments that the other side has not acknowledged yet.
    pub unacknowledged: u32,
    /// Since anything came from the other side.
    pub since_received: Duration,
    /// Bytes that the other side acknowledged, and that came from it, since the connection began: those of TLS and
    /// the WebSocket included, the headers of TCP and IP left out.
    #[serde(default)]
    pub sent: u64,
    #[serde(default)]
    pub received: u64,
}

/// The states of a connection (RFC 9293 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl TcpState {
    /// The name, as ss(8) has it.
    pub fn name(self) -> &'static str {
        match self {
            TcpState::Established => "ESTAB",
            TcpState::SynSent => "SYN-SENT",
            TcpState::SynReceived => "SYN-RECV",
            TcpState::FinWait1 => "FIN-WAIT-1",
            TcpState::FinWait2 => "FIN-WAIT-2",
            TcpState::TimeWait => "TIME-WAIT",
            TcpState::Closed => "UNCONN",
            TcpState::CloseWait => "CLOSE-WAIT",
            TcpState::LastAck => "LAST-ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
        }
    }
}

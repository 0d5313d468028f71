//! Defines an order that Paho has not fulfilled yet, and whom its completion wakes; what was ordered is not its matter.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use paho_mqtt as mqtt;

use super::Slots;
use crate::wire::Slot;

/// An order that Paho has not fulfilled yet. Its completion marks the slot.
pub struct Pending {
    token: mqtt::Token,
    waker: Waker,
}

impl Pending {
    pub(super) fn new(token: mqtt::Token, slots: Arc<Slots>, slot: Slot) -> Pending {
        Pending { token, waker: Waker::from(Arc::new(Marker { slots, slot })) }
    }

    /// Whether the order is done with, well or not.
    pub fn is_done(&mut self) -> bool {
        self.poll().is_some()
    }

    pub(super) fn poll(&mut self) -> Option<mqtt::Result<mqtt::ServerResponse>> {
        match Future::poll(Pin::new(&mut self.token), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// Marks a slot when Paho completes an order.
struct Marker {
    slots: Arc<Slots>,
    slot: Slot,
}

impl Wake for Marker {
    fn wake(self: Arc<Self>) {
        self.slots.mark(self.slot);
    }
}

//! Defines hooks: programs that are told of clients' changes of state while a run lasts; which ones there are the fleet file says.
//!
//! They are a subscriber of the bus, on a thread and a runtime of their own: neither a program that hangs nor ten
//! thousand changes at once hold anybody up. Each hook has a queue that is folded by client where it is too slow, and
//! its processes are each in a group that ends with them.

mod complaint;
mod modes;
mod process;
mod queue;
mod trial;
mod watch;

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinSet, time::timeout};

pub use trial::{Trial, run as test};

use crate::{
    bus::{Bus, Receiver, Subscription},
    event::What,
    fleet::Fleet,
    hooks::{
        complaint::Complaint,
        queue::{Change, Queue, Words},
        watch::{Step, Watch},
    },
    telling::Hook,
};

/// The hooks of a run, for as long as it lasts.
#[derive(Debug)]
pub struct Hooks {
    done: oneshot::Receiver<()>,
}

impl Hooks {
    /// How long processes may take to end once the run has ended; then they are killed.
    const ENDING: Duration = Duration::from_secs(2);

    /// Has the hooks told of a run that is to begin.
    ///
    /// # Errors
    /// Where there can be no thread for them.
    pub fn start(hooks: Vec<Hook>, fleet: Arc<Fleet>, bus: &Bus) -> io::Result<Hooks> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (events, bus) = (bus.subscribe("hooks"), bus.clone());
        let (sender, done) = oneshot::channel();
        std::thread::Builder::new().name("hooks".into()).spawn(move || {
            runtime.block_on(keep(hooks, fleet, events, bus));
            drop(runtime); // and with it all processes
            let _ = sender.send(());
        })?;
        Ok(Hooks { done })
    }

    /// Waits until all that a run, which has ended, has told is told to them as well, and their processes are gone.
    pub async fn finish(self) {
        let _ = self.done.await;
    }
}

async fn keep(hooks: Vec<Hook>, fleet: Arc<Fleet>, mut events: Subscription, bus: Bus) {
    let mut watch = Watch::new(fleet, bus.begin());
    let mut running = JoinSet::new();
    let of_hook = |hook: Hook| {
        let queue = Queue::new(words(&watch), modes::patience(hook.mode));
        let waiting = queue.clone();
        let delivery = bus.deliver(Receiver::Hook, &hook.name, move || waiting.len() as u64);
        let complaint = Complaint::new(bus.clone(), delivery, hook.name.clone());
        let (own, of_task) = (hook.clone(), queue.clone());
        running.spawn(async move { modes::serve(&own, &of_task, complaint).await });
        (hook, queue)
    };
    let hooks: Vec<(Hook, Queue)> = hooks.into_iter().map(of_hook).collect();
    while let Some(events) = events.next().await {
        for event in events {
            let step = watch.apply(&event);
            if let What::Fleet(_) | What::Second(_) = event.what {
                hooks.iter().for_each(|(_, queue)| queue.set_words(&words(&watch)));
            }
            let Some(step) = step else { continue };
            for (_, queue) in hooks.iter().filter(|(hook, _)| watch.is_for(hook, event.at, &step)) {
                let Step { step, is_initial } = step.clone();
                queue.push(Change { at: event.at, step, folded: 0, is_initial });
            }
        }
    }
    hooks.iter().for_each(|(_, queue)| queue.close());
    let _ = timeout(Hooks::ENDING, running.join_all()).await;
}

fn words(watch: &Watch) -> Words {
    Words { fleet: watch.fleet().clone(), anchor: watch.anchor }
}

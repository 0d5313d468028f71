//! Defines how the steps of a recovery are taken: commands go where an operator's go, a program is run; what became of each is told as an event.

use std::time::Instant;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    message::Message,
    program::give,
    recovery::{Due, Order},
};
use crate::{
    bus::Bus,
    clock::Moment,
    command::Command,
    event::{Event, Handled, Handling, RecoveryStage, What},
    text::ellipsize,
    words::figures,
};

/// A step, with the message that a program is given.
pub(super) type Task = (Due, Option<Message>);

/// The most steps that wait for their turn; one more is not taken, which is told.
pub(super) const WAITING_MOST: usize = 1_024;

/// Takes steps for as long as there are any; commands can be given once `commands` is there.
pub(super) async fn run(mut due: mpsc::Receiver<Task>, commands: oneshot::Receiver<mpsc::Sender<Command>>, bus: Bus) {
    let Ok(commands) = commands.await else { return };
    // They end with this task.
    let mut programs = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = due.recv() => next,
            Some(_) = programs.join_next() => continue,
        };
        let Some((step, message)) = next else { break };
        match (&step.order, message) {
            (Order::Commands(orders), _) => {
                for order in orders {
                    let _ = commands.send(order.clone()).await; // an engine that has ended closes the bus
                }
                tell(&bus, &step, RecoveryStage::Done, &format!("{} {}", step.verb[1], step.object));
            }
            (Order::Run { .. }, Some(message)) => {
                tell(&bus, &step, RecoveryStage::Started, &format!("runs {}", step.object));
                programs.spawn(run_program(step, message, bus.clone()));
            }
            (Order::Run { .. }, None) => {}
        }
    }
    while programs.join_next().await.is_some() {}
}

async fn run_program(step: Due, message: Message, bus: Bus) {
    let Order::Run { program, timeout } = &step.order else { return };
    let variables = [
        ("MQFLEET_FLEET", message.fleet.to_string()),
        ("MQFLEET_ALERT", step.rule.to_string()),
        ("MQFLEET_CLIENTS", step.clients.to_string()),
        ("MQFLEET_STEP", (step.step + 1).to_string()),
    ];
    let begin = Instant::now();
    let body = message.webhook("recovery").to_string() + "\n";
    let ended = give(program, variables, body, *timeout).await;
    let (name, took) = (&step.object, figures::wait(begin.elapsed()));
    let (stage, text) = match ended {
        Ok((status, _)) if status.success() => (RecoveryStage::Done, format!("ran {name}: exit 0 after {took}")),
        Ok((status, words)) => {
            let how = status.code().map_or_else(|| status.to_string(), |code| format!("exit {code}"));
            let words = if words.is_empty() { String::new() } else { format!(": {}", ellipsize(&words, 120)) };
            (RecoveryStage::Failed, format!("ran {name}: {how} after {took}{words}"))
        }
        Err(why) => (RecoveryStage::Failed, why),
    };
    tell(&bus, &step, stage, &text);
}

/// Tells of a step that is not taken because too many wait.
pub(super) fn give_up(bus: &Bus, step: &Due) {
    tell(
        bus,
        step,
        RecoveryStage::Failed,
        &format!("{WAITING_MOST} steps of recoveries wait already: this one is not taken"),
    );
}

fn tell(bus: &Bus, step: &Due, stage: RecoveryStage, text: &str) {
    let handling = Handling::of(&step.rule, Handled::Recovery(step.told(stage, text)));
    bus.publish([Event { at: Moment::now(), what: What::Handling(Box::new(handling)) }]);
}

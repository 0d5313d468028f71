//! Suspending and going on, in a real shell with job control.

use mqfleet_test_support::{SOON, console::Console, fleet_file::FleetFile, mosquitto::Mosquitto, process, program};
use rustix::process::Signal;

use super::{count_in_log, start};

fn started(shell: &mut Console, file: &FleetFile) -> (u32, String) {
    shell.wait_text("prompt$");
    let cooked = shell.modes();
    shell.press(&format!("{} run {}\n", program(), file.path()));
    shell.wait_text("20 up");
    // The shell's child, and not the workers below it.
    let job = shell.descendants().into_iter().min().expect("the job");
    (job, cooked)
}

#[track_caller]
fn wait_modes(shell: &Console, wanted: impl Fn(&str) -> bool) {
    let end = std::time::Instant::now() + SOON;
    while !wanted(&shell.modes()) {
        assert!(std::time::Instant::now() < end, "the terminal's modes are {}", shell.modes());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn suspended_by_key_or_signal_the_shell_has_its_terminal_and_fg_goes_on() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 20);
    let mut shell = Console::start_shell(100, 30);
    let (job, _) = started(&mut shell, &file);
    let raw = shell.modes();
    for way in ["ctrl-z", "TSTP", "TSTP to the group"] {
        match way {
            "ctrl-z" => shell.press("\x1a"),
            "TSTP" => process::signal(job, Signal::TSTP),
            _ => {
                let group = rustix::process::Pid::from_raw(job as i32).expect("a group");
                rustix::process::kill_process_group(group, Signal::TSTP).expect("sent");
            }
        }
        shell.wait_for(&format!("{way}: the prompt on the normal screen"), |s| {
            s.contains("its workers hold the 20 clients that are up") && s.trim_end().ends_with("prompt$")
        });
        shell.with_screen(|screen| {
            assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{way}");
        });
        wait_modes(&shell, |modes| modes != raw);
        shell.press("clear; echo the shell $((40 + 2)) hears\n");
        shell.wait_text("the shell 42 hears");
        shell.resize(120, 40);
        shell.press("fg\n");
        shell.wait_for(&format!("{way}: the table"), |s| s.contains("20 up") && s.contains("CLIENT"));
        assert!(shell.with_screen(|screen| screen.alternate_screen()), "{way}");
        wait_modes(&shell, |modes| modes == raw);
        shell.press("/0007\r");
        shell.wait_text("1 of 20 match");
        shell.press("\x1b");
        shell.wait_for("no filter", |s| !s.contains("match"));
        shell.resize(100, 30);
    }
    // Stopped by force, and woken by the shell: it has to take the terminal over again itself.
    process::signal(job, Signal::STOP);
    wait_modes(&shell, |modes| modes != raw);
    shell.press("fg\n");
    wait_modes(&shell, |modes| modes == raw);
    shell.press("/0007\r");
    shell.wait_text("1 of 20 match");
    shell.press("\x03");
    shell.wait_text("yes, quit");
    shell.press("\x03");
    shell.wait_text("mqfleet: test after");
    shell.press("exit\n");
    shell.wait_exit();
    assert_eq!(count_in_log(&broker.log(), "New client connected"), 20, "nobody lost its connection");
}

#[test]
fn without_a_shell_nobody_is_stopped_whom_nobody_could_wake() {
    let broker = Mosquitto::start();
    let file = FleetFile::presses(broker.port(), 5);
    let mut console = start(&file);
    console.wait_text("5 up");
    console.press("\x1a");
    console.wait_text("not suspended: there is no shell here");
    super::quit(&mut console);
}

//! Defines how this process keeps its memory, and with it the fleet's passwords, to itself when it crashes; how secrets are held while it runs is the fleet's matter.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on no core file is written of this process. To be called first of all.
///
/// The limit alone would not do: where the system hands core files to a program (`core_pattern` with a
/// `|`), it does not count. A process that is not dumpable has none in any case; nor can others of the
/// same user look into its memory, read its environment or open its files under `/proc`. It can itself.
/// A program that it starts begins anew, and has to call this for itself.
pub fn memory() {
    // Neither can fail where it matters: a limit may always be lowered.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

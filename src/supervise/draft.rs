//! What is known of a holder before it is one: everything but its token, its lifeline and its job.

use std::io::ErrorKind;

use super::policy::Group;
use super::unit;
use crate::cli::args::{JobGroup, Leftovers, OnSupervisorDeath};
use crate::cli::plan::RunPlan;
use crate::error::Error;
use crate::identity::host::INITIAL_PID_NS;
use crate::identity::stat::Stat;
use crate::identity::verdict::Observer;
use crate::machine::argument::Argument;
use crate::machine::record::{Context, HeldBy, Holder, State, Unknown};
use crate::sys::pidfd::PidFd;
use crate::sys::signal::parent_death_signal;
use crate::sys::wait::reap_all;
use crate::transaction::now;

/// The holder as far as it is known before the claim, and the process group of its job.
pub fn draft(plan: &RunPlan, observer: &Observer) -> Result<(Holder, Group), Error> {
    let host = &observer.host;
    let me = std::process::id().cast_signed();
    let own = Stat::read_own();
    let supervisor = PidFd::open_if_there_are_any(me)
        .and_then(|pidfd| observer.kernel.identify_ourselves(pidfd.as_ref(), &own))
        .map_err(Error::io("find out our own identity: is /proc mounted?"))?;
    let terminal = match own {
        Ok(stat) => stat.terminal,
        Err(error) if error.kind() == ErrorKind::NotFound => 0, // no /proc
        Err(error) => return Err(Error::io("find out our terminal")(error)),
    };
    let dies_with_supervisor = match plan.on_supervisor_death {
        Some(OnSupervisorDeath::Keep) => false,
        Some(OnSupervisorDeath::Kill) => true,
        // If we are to be killed with whoever started us, so would the job be without us.
        None => host.pid_ns != INITIAL_PID_NS || parent_death_signal() == libc::SIGKILL,
    };
    // Whose orphans come to us is known only where all our children are the job's.
    let adopts_orphans = plan.leftovers != Leftovers::Leave
        && !reap_all().map_err(Error::io("look for children of our own"))?;
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let holder = Holder {
        token: 0,
        mode: plan.mode,
        slots: plan.slots,
        parent: None,
        state: State::Running,
        held_by: if plan.outlives_its_job() { HeldBy::Supervisor } else { HeldBy::Job },
        dies_with_supervisor,
        adopted: false,
        adopts_orphans,
        lifeline: None,
        job: None,
        supervisor: Some(supervisor),
        host: host.clone(),
        command: plan.command.iter().map(|word| Argument(word.clone())).collect(),
        name: plan.name.clone().map(Argument),
        cwd: std::env::current_dir().ok().map(|dir| Argument(dir.into_os_string())),
        uid: uid.as_raw(),
        user: user.map(|user| user.name),
        started_at: now().0,
        rerun_if_lost: false,
        leftovers: Vec::new(),
        output: None,
        context: Context {
            systemd_unit: unit::own(),
            invocation_id: unit::invocation_id(),
            tty: terminal_name(terminal),
            unknown: Unknown::new(),
        },
        unknown: Unknown::new(),
    };
    // With a terminal the shell's job control must reach the job as it would without us.
    let group = match plan.group {
        Some(JobGroup::Own) => Group::Own,
        Some(JobGroup::Share) => Group::Shared,
        None if terminal == 0 => Group::Own,
        None => Group::Shared,
    };
    Ok((holder, group))
}

/// A terminal's name, from its device number in `/proc/PID/stat`: `pts/3`, `tty1`.
fn terminal_name(device: u32) -> Option<String> {
    let device = u64::from(device);
    let (major, minor) = (nix::libc::major(device), nix::libc::minor(device));
    match major {
        0 => None,
        // UNIX98_PTY_SLAVE_MAJOR and the seven after it (linux/major.h), 256 ptys each.
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Some(format!("tty{minor}")),
        _ => Some(format!("{major}:{minor}")),
    }
}
